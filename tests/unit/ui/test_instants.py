"""Instants as people type them."""

import pytest

from registry.errors import InvalidInputError
from registry.ui.instants import typed


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", None),
        ("  ", None),
        ("2026-11-20", "2026-11-20T00:00:00Z"),
        ("2026-11-20T12:30", "2026-11-20T12:30:00Z"),
        ("2026-11-20 12:30:05", "2026-11-20T12:30:05Z"),
        ("2026-11-20T12:30:05+01:00", "2026-11-20T12:30:05+01:00"),
    ],
)
def test_what_is_left_out_is_midnight_the_full_minute_and_utc(
    text: str, meant: str | None
) -> None:
    assert typed("since", {"since": text}) == meant


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "2026-11-20T25:00"])
def test_what_is_no_instant_is_refused_with_its_field(text: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        typed("since", {"since": text})

    assert refused.value.field == "since"
