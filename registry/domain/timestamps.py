"""Instants as text: RFC 3339 in UTC, six digits, so that text order is time order."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import NewType

from registry.errors import InvalidInputError

Instant = NewType("Instant", str)


def rfc3339(instant: datetime) -> Instant:
    """Return ``2026-11-20T12:00:00.000000Z`` of an aware datetime."""
    utc = instant.astimezone(UTC).replace(tzinfo=None)
    return Instant(utc.isoformat(timespec="microseconds") + "Z")


def parse_rfc3339(text: str, *, field: str) -> datetime:
    """Return the instant in UTC.

    Raises:
        InvalidInputError: when it is not a date and time with an offset.
    """
    with suppress(ValueError, OverflowError):
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is not None:
            return instant.astimezone(UTC)
    raise InvalidInputError("expected a time such as 2026-11-20T12:00:00Z", field=field)
