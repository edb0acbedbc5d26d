"""Instants as text, and back."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.timestamps import parse_rfc3339, rfc3339
from registry.errors import InvalidInputError

INSTANTS = st.datetimes(timezones=st.just(UTC))


def test_instant_is_written_in_utc_with_six_digits() -> None:
    at = datetime(2026, 11, 20, 14, 0, tzinfo=timezone(timedelta(hours=2)))

    assert rfc3339(at) == "2026-11-20T12:00:00.000000Z"


@given(INSTANTS)
def test_what_is_written_reads_back_as_the_same_instant(at: datetime) -> None:
    assert parse_rfc3339(rfc3339(at), field="at") == at


@given(INSTANTS, INSTANTS)
def test_order_of_texts_is_order_of_instants(one: datetime, other: datetime) -> None:
    assert (rfc3339(one) < rfc3339(other)) is (one < other)


@pytest.mark.parametrize(
    "text",
    ["2026-11-20T12:00:00Z", "2026-11-20T13:00:00+01:00", "2026-11-20 12:00:00+00:00"],
)
def test_any_offset_is_read_as_utc(text: str) -> None:
    found = parse_rfc3339(text, field="at")

    assert found == datetime(2026, 11, 20, 12, tzinfo=UTC)
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-11-20",
        "2026-11-20T12:00:00",
        "2026-13-01T00:00:00Z",
        "2026-11-20T12:00:00 01:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "1" * 1000,
    ],
)
def test_what_is_no_instant_is_refused_with_the_field_named(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_rfc3339(text, field="at")

    assert caught.value.field == "at"
