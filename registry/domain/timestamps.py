"""Instants as text: RFC 3339 in UTC, six digits, so that text order is time order."""

from datetime import UTC, datetime

from registry.errors import InvalidInputError


def rfc3339(instant: datetime) -> str:
    """``2026-11-20T12:00:00.000000Z``; takes an aware datetime."""
    utc = instant.astimezone(UTC).replace(tzinfo=None)
    return utc.isoformat(timespec="microseconds") + "Z"


def parse_rfc3339(text: str, *, field: str) -> datetime:
    """The instant in UTC.

    Raises:
        InvalidInputError: when it is not a date and time with an offset.
    """
    try:
        instant = datetime.fromisoformat(text)
        return _aware(instant).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidInputError(
            "expected a time such as 2026-11-20T12:00:00Z", field=field
        ) from error


def _aware(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError("no offset from UTC")
    return instant
