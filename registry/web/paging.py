"""Cursor paging: a page ends where the next begins, whatever changed meanwhile.

Rules:

- The cursor is the last item's sort key, as URL-safe base64 of its JSON. It says
  nothing about the data but that key and needs no memory on the server.
- A page ends early once it holds ``MAX_CHARACTERS``, so that what an answer takes in
  memory is bounded whatever the rows hold: by that and one row more. Clients go on
  by the cursor whenever there is one.
"""

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from flask import Response, current_app

from registry.domain.names import clean_text
from registry.errors import InvalidInputError

Row = TypeVar("Row")
Key = TypeVar("Key", str, int)

#: More than 200 versions with what is usually said of one.
MAX_CHARACTERS = 2_000_000
EMPTY = "[]"
_MAX_CURSOR_CHARACTERS = 8192


def encode_cursor(key: str | int) -> str:
    """Return the cursor behind the item with this sort key."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def decode_cursor(
    cursor: str | None, kind: type[Key], *, field: str = "cursor"
) -> Key | None:
    """Return the sort key in a cursor, which came as ``field``.

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


@dataclass(frozen=True)
class Filled(Generic[Row]):
    """What one answer holds of a list.

    Attributes:
        items: a JSON array.
        last: the row behind which the list goes on; None where it ends.
    """

    items: str
    last: Row | None


def fill(
    rows: Iterable[Row],
    limit: int,
    *,
    document: Callable[[Row], Mapping[str, Any] | None],
    characters: int | None = None,
) -> Filled[Row]:
    """Render rows until there are ``limit``, or too many characters.

    Rows are taken one by one, so that those behind the end need not be read; there
    is one more than ``limit`` where the list goes on. One without a document is not
    shown, and counts.
    """
    texts: list[str] = []
    dumps, size, last = current_app.json.dumps, 0, None
    most = MAX_CHARACTERS if characters is None else characters
    for count, row in enumerate(rows):
        if count == limit or size > most:
            break
        last, shown = row, document(row)
        if shown is not None:
            texts.append(dumps(shown, separators=(",", ":")))
            size += len(texts[-1])
    else:
        last = None
    return Filled(f"[{','.join(texts)}]", last)


def page(
    rows: Iterable[Row],
    limit: int,
    *,
    document: Callable[[Row], Mapping[str, Any] | None],
    key: Callable[[Row], str | int],
) -> Response:
    """Answer a page of at most ``limit`` documents; ``rows`` as for ``fill``."""
    filled = fill(rows, limit, document=document)
    cursor = None if filled.last is None else encode_cursor(key(filled.last))
    return json_answer(items=filled.items, next_cursor=json.dumps(cursor))


def json_answer(**members: str) -> Response:
    """Return an object of members that are JSON already."""
    body = ",".join(f'"{name}":{value}' for name, value in members.items())
    return Response(f"{{{body}}}\n", mimetype="application/json")
