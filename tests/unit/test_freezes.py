"""When freeze windows are, by the clocks of their time zones."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from registry.domain.freezes import Freeze, parse_weekly

BERLIN = ZoneInfo("Europe/Berlin")
WEEKEND = "Fri 16:00 - Mon 08:00"


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-{text}+00:00")


def ends(weekly: str, now: str) -> datetime | None:
    freeze = Freeze(reason="rest", weekly=parse_weekly(weekly), zone=BERLIN)
    return freeze.ends_at(at(now))


@pytest.mark.parametrize(
    ("weekly", "now", "until"),
    [
        (WEEKEND, "06-05T13:59", None),
        (WEEKEND, "06-05T14:00", "06-08T06:00"),
        (WEEKEND, "06-08T05:59", "06-08T06:00"),
        (WEEKEND, "06-08T06:00", None),
        (WEEKEND, "06-10T12:00", None),
        ("mon 08:00 - FRI 16:00", "06-08T06:00", "06-12T14:00"),
        ("Tue 10:00 - Tue 09:00", "06-09T07:30", None),
        ("Tue 10:00 - Tue 09:00", "06-09T06:30", "06-09T07:00"),
        ("Wed 00:00 - Wed 00:00", "06-10T12:00", "06-16T22:00"),
        # Clocks are put forward on 29 March, and back on 25 October, at 01:00 UTC.
        (WEEKEND, "03-27T14:59", None),
        (WEEKEND, "03-27T15:00", "03-30T06:00"),
        (WEEKEND, "10-23T14:00", "10-26T07:00"),
        ("Fri 16:00 - Sun 02:30", "10-25T00:29", "10-25T00:30"),
        ("Fri 16:00 - Sun 02:30", "10-25T01:15", None),
        ("Sun 02:30 - Mon 08:00", "10-25T00:29", None),
        ("Sun 02:30 - Mon 08:00", "10-25T01:15", "10-26T07:00"),
    ],
)
def test_week_is_that_of_the_time_zone_in_summer_and_in_winter(
    weekly: str, now: str, until: str | None
) -> None:
    assert ends(weekly, now) == (at(until) if until else None)


def test_week_without_a_time_zone_is_that_of_utc() -> None:
    freeze = Freeze(reason="rest", weekly=parse_weekly(WEEKEND))

    assert freeze.ends_at(at("06-05T15:59")) is None
    assert freeze.ends_at(at("06-05T16:00")) == at("06-08T08:00")


def test_window_that_comes_once_holds_its_beginning_and_not_its_end() -> None:
    freeze = Freeze(reason="x", begins=at("12-20T00:00"), ends=at("12-27T00:00"))

    assert freeze.ends_at(at("12-19T23:59")) is None
    assert freeze.ends_at(at("12-20T00:00")) == at("12-27T00:00")
    assert freeze.ends_at(at("12-27T00:00")) is None


def test_window_is_of_the_stages_that_it_names_or_of_all() -> None:
    assert Freeze(reason="x").is_of("Staging")
    assert Freeze(reason="x", stages=("Production",)).is_of("Production")
    assert not Freeze(reason="x", stages=("Production",)).is_of("Staging")


@pytest.mark.parametrize(
    "text",
    ["", "Fri - Mon", "Fri 16:00", "Fri 25:00 - Mon 08:00", "Fri 16:00-Mon 08:00"],
)
def test_week_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # in words of Python's own, too
        parse_weekly(text)


def test_instant_is_told_in_utc() -> None:
    until = ends(WEEKEND, "06-05T14:00")

    assert until is not None
    assert until.tzinfo is UTC
