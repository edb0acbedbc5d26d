"""The schedule and Retry-After, without a clock."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.queue.schedule import (
    MAX_ATTEMPTS,
    RETRY_AFTER_CAP,
    SCHEDULE_SECONDS,
    check_schedule,
    next_attempt_at,
    parse_retry_after,
)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def test_the_schedule_has_18_attempts_over_a_week() -> None:
    assert MAX_ATTEMPTS == 18
    window = timedelta(seconds=sum(SCHEDULE_SECONDS))
    assert window == timedelta(hours=171, minutes=52, seconds=35)


@pytest.mark.parametrize(
    ("attempt", "seconds"), [(1, 5), (2, 30), (7, 3600), (11, 43200), (17, 86400)]
)
def test_without_jitter_the_schedule_is_kept(attempt: int, seconds: int) -> None:
    assert next_attempt_at(attempt, NOW, 0.5) == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize("attempt", [18, 19, 1000])
def test_nothing_follows_the_last_attempt(attempt: int) -> None:
    assert next_attempt_at(attempt, NOW, 0.5, timedelta(hours=1)) is None


@given(
    st.integers(1, MAX_ATTEMPTS - 1),
    st.floats(0, 1),
    st.none() | st.timedeltas(timedelta(0), timedelta(days=400)),
)
def test_a_delay_stays_within_jitter_and_retry_after(
    attempt: int, jitter: float, retry_after: timedelta | None
) -> None:
    due = next_attempt_at(attempt, NOW, jitter, retry_after)

    assert due is not None
    delay = due - NOW
    planned = timedelta(seconds=SCHEDULE_SECONDS[attempt])
    asked = min(retry_after or timedelta(0), RETRY_AFTER_CAP)
    tolerance = timedelta(microseconds=1)
    assert delay >= max(planned * 0.8 - tolerance, asked)
    assert delay <= max(planned * 1.2 + tolerance, asked)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("NaN", None),
        ("-5", None),
        ("1.5", None),
        ("1" * 13, None),
        ("0", timedelta(0)),
        (" 120 ", timedelta(minutes=2)),
        ("1000000000000"[:12], DAY),
        ("Fri, 20 Nov 2026 12:00:30 GMT", timedelta(seconds=30)),
        ("Fri, 20 Nov 2026 13:00:30 +0100", timedelta(seconds=30)),
        ("Fri, 20 Nov 2026 12:00:30 -0000", timedelta(seconds=30)),
        ("Thu, 01 Jan 1970 00:00:00 GMT", timedelta(0)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", DAY),
        ("Fri, 31 Dec 9999 23:59:59 -2359", DAY),
        ("Fri, 99 Nov 2026 12:00:30 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(
    value: str | None, expected: timedelta | None
) -> None:
    assert parse_retry_after(value, NOW) == expected


@given(st.text())
def test_no_header_breaks_the_parser(value: str) -> None:
    delay = parse_retry_after(value, NOW)

    assert delay is None or timedelta(0) <= delay <= RETRY_AFTER_CAP


def test_a_subscription_may_have_a_schedule_of_its_own() -> None:
    schedule = [0, 10]

    assert next_attempt_at(1, NOW, 0.5, schedule=schedule) == NOW + timedelta(
        seconds=10
    )
    assert next_attempt_at(2, NOW, 0.5, schedule=schedule) is None


@pytest.mark.parametrize("schedule", [[0], [0] * 50, [0, 30 * 24 * 3600]])
def test_a_reasonable_schedule_is_accepted(schedule: list[int]) -> None:
    check_schedule(schedule)


@pytest.mark.parametrize("schedule", [[], [0] * 51, [0, -1], [1, 30 * 24 * 3600]])
def test_an_unreasonable_schedule_is_refused(schedule: list[int]) -> None:
    with pytest.raises(ValueError, match=r"must|may"):
        check_schedule(schedule)
