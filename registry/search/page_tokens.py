"""Page tokens of a search: where the page before ended, and of which search.

A token is opaque to its holder: URL-safe base64 of JSON. It needs no memory on the
server and grants nothing, for it says only where in its search to go on. That search
is named by a digest, so a token handed to another one is refused and not answered
with a page that leaves something out.
"""

import base64
import json
from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from registry.domain.names import clean_text
from registry.errors import InvalidInputError
from registry.search.conditions import Position
from registry.search.language import Attribute, Ordering, Search

_EPOCH = datetime.fromtimestamp(0, UTC)
_MICROSECOND = timedelta(microseconds=1)
_MAX_TOKEN_CHARACTERS = 8192
_MAX_NUMBER = 2**31


def write_token(kind: str, search: Search, position: Position) -> str:
    """Return the token of the page behind ``position`` in a search for ``kind``."""
    values = [_number_of(value) for value in position]
    document = json.dumps([_digest(kind, search), *values])
    return base64.urlsafe_b64encode(document.encode()).decode()


def read_token(kind: str, search: Search, token: str) -> Position:
    """Return where to go on.

    Raises:
        InvalidInputError: when this search has not given the token.
    """
    values = _values(token)
    if values[:1] != [_digest(kind, search)]:
        raise _refusal("is a page token of another search")
    ordering = search.ordering
    if len(values) != 1 + len(ordering):
        raise _refusal()
    return tuple(
        _value(term, value) for term, value in zip(ordering, values[1:], strict=True)
    )


def _digest(kind: str, search: Search) -> str:
    said = json.dumps([kind, astuple(search)])
    return sha256(said.encode()).hexdigest()[:16]


def _number_of(value: str | int | datetime) -> str | int:
    if isinstance(value, datetime):
        return (value - _EPOCH) // _MICROSECOND
    return value


def _values(token: str) -> list[Any]:
    if len(token) > _MAX_TOKEN_CHARACTERS:
        raise _refusal()
    try:
        values = json.loads(
            base64.b64decode(token.encode(), altchars=b"-_", validate=True)
        )
    except (ValueError, RecursionError) as error:
        raise _refusal() from error
    if not isinstance(values, list):
        raise _refusal()
    return values


def _value(ordering: Ordering, value: object) -> str | int | datetime:
    try:
        match ordering.column, value:
            case Attribute.NAME, str(name):
                return clean_text(name, field="page_token")
            case Attribute.VERSION_NUMBER, int(number) if abs(number) < _MAX_NUMBER:
                return number
            case (
                Attribute.CREATION_TIMESTAMP | Attribute.LAST_UPDATED_TIMESTAMP,
                int(count),
            ):
                return _EPOCH + count * _MICROSECOND
    except (InvalidInputError, OverflowError) as error:
        raise _refusal() from error
    raise _refusal()


def _refusal(message: str = "is not a page token of this search") -> InvalidInputError:
    return InvalidInputError(message, field="page_token")
