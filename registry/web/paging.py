"""Cursor paging: a page ends where the next begins, whatever changed meanwhile.

The cursor is the last item's sort key, as URL-safe base64 of its JSON. It says
nothing about the data but that key and needs no memory on the server.
"""

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from registry.domain.names import clean_text
from registry.errors import InvalidInputError

Row = TypeVar("Row")
Key = TypeVar("Key", str, int)

_MAX_CURSOR_CHARACTERS = 8192


def encode_cursor(key: str | int) -> str:
    """The cursor behind the item with this sort key."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def decode_cursor(
    cursor: str | None, kind: type[Key], *, field: str = "cursor"
) -> Key | None:
    """The sort key in a cursor, which came as ``field``.

    Raises:
        InvalidInputError: when the cursor is not one of this list.
    """
    if cursor is None:
        return None
    if len(cursor) > _MAX_CURSOR_CHARACTERS:
        raise _not_a_cursor(field)
    try:
        key = json.loads(
            base64.b64decode(cursor.encode(), altchars=b"-_", validate=True)
        )
    except (ValueError, RecursionError) as error:
        raise _not_a_cursor(field) from error
    if type(key) is not kind or not _is_storable(key):
        raise _not_a_cursor(field)
    return key


def _is_storable(key: str | int) -> bool:
    """Whether the database can be asked for what lies behind this key."""
    if isinstance(key, int):
        return abs(key) < 2**63
    try:
        return clean_text(key, field="cursor") == key
    except InvalidInputError:
        return False


def _not_a_cursor(field: str) -> InvalidInputError:
    return InvalidInputError("is not a next_cursor of this list", field=field)


def page(
    rows: Sequence[Row],
    limit: int,
    *,
    document: Callable[[Row], dict[str, Any]],
    key: Callable[[Row], str | int],
) -> dict[str, Any]:
    """A page of at most ``limit`` documents; ``rows`` holds one more if there is."""
    shown = rows[:limit]
    more = len(rows) > limit
    return {
        "items": [document(row) for row in shown],
        "next_cursor": encode_cursor(key(shown[-1])) if more else None,
    }
