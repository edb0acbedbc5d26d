"""Documents and forms as bytes that fit, with placeholders where secrets go.

- ``${NAME}`` in what a person writes (URL, header, option) stands for a credential
  of the subscription or for a value that the application lends to each send. Only a
  ``Template`` has placeholders; the same characters in an event stay as they are.
- In a stored body a placeholder is NUL, its name, NUL. Neither JSON nor a form can
  hold a bare NUL, so nothing in an event's data can be taken for one.
- A placeholder is filled when a request is sent, never before: what is stored,
  logged and shown has the name only.
- The substitution knows no conditions, filters or nesting. A filled value is
  not looked at again.
- JSON is UTF-8 without blanks, so equal documents give equal bytes.
- An event that fits is sent as it is. One that does not loses as little of its data as
  makes it fit, whatever the format makes of it.
- The longest members are shortened, each to the same length: what a deployment needs
  is short, and what is long are tags, reasons and descriptions.
- An address is never shortened, because a part of it leads elsewhere, nor is a member
  that is short already. Where these alone are too much, nothing is sent.
- What was shortened ends with the mark ``…``; tags and lists that lost entries say
  beside it how many.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import quote_plus

from webhooks.errors import OversizeError
from webhooks.events import Event, compact_json
from webhooks.roster.specs import CREDENTIAL_NAME

PLACEHOLDER = re.compile(rf"\$\{{({CREDENTIAL_NAME.pattern})\}}")
MARKED = re.compile(rb"\0([A-Za-z0-9_]+)\0")
FORM_CONTENT_TYPE = "application/x-www-form-urlencoded"
JSON_CONTENT_TYPE = "application/json"

DEPLOYMENT_TOKEN = "deployment_token"  # noqa: S105  # The name of a placeholder.
#: The id of the subscription that is sent to; no secret.
SUBSCRIPTION_ID = "subscription_id"
#: What each send has besides credentials. What an application does not lend is
#: filled with nothing, because a lent value may belong to some event types only.
LENT_NAMES = frozenset({DEPLOYMENT_TOKEN, SUBSCRIPTION_ID})

#: What nginx and Argo Events take unless they are told otherwise, 1 MiB, and a margin.
MAX_BODY_BYTES = 1_000_000
#: How much longer than its mark a filled placeholder may be, for size limits.
PLACEHOLDER_BYTES = 512

MARK = "…"
#: Members of an event's data that are addresses, or what addresses are made of.
ADDRESSES = frozenset({"links", "source", "download_uri", "run_id"})
#: A member of the data this short stays whole, in bytes of its JSON.
SHORT = 256
#: An entry of tags or of a list keeps this much of its JSON, or is left out.
ENTRY = 64
#: Which part of what there is room for may be left unused: each try costs time.
_UNUSED = 16
_QUOTES = 2
_COLON_AND_COMMA = 2
T = TypeVar("T")


class Template(str):
    """Text whose placeholders count; other text is taken as it is."""

    __slots__ = ()


def names_in(text: str) -> set[str]:
    """Name the placeholders of a text.

    Raises:
        ValueError: a ``${`` does not open a placeholder.
    """
    if "${" in PLACEHOLDER.sub("", text):
        raise ValueError(
            "a placeholder is ${NAME}, the name of letters, digits and underscores"
        )
    return set(PLACEHOLDER.findall(text))


def names_in_body(body: bytes) -> set[str]:
    """Name the placeholders of a stored body."""
    return {name.decode() for name in MARKED.findall(body)}


def fill(text: str, values: Mapping[str, str]) -> str:
    """Fill the placeholders of a text with the bare values.

    Raises:
        KeyError: a name has no value.
    """
    return PLACEHOLDER.sub(lambda match: values[match[1]], text)


def fill_body(body: bytes, content_type: str, values: Mapping[str, str]) -> bytes:
    """Fill the placeholders of a stored body, escaped as its type needs.

    Raises:
        KeyError: a name has no value.
    """
    escape = quote_plus if content_type == FORM_CONTENT_TYPE else _json_escape
    return MARKED.sub(lambda match: escape(values[match[1].decode()]).encode(), body)


def json_bytes(document: object) -> bytes:
    """Write a JSON document; mappings keep their order."""
    return _json(document).encode()


def form_bytes(members: Mapping[str, str]) -> bytes:
    """Write an ``application/x-www-form-urlencoded`` body."""
    written = (
        f"{quote_plus(name)}={_escaped(value, quote_plus)}"
        for name, value in members.items()
    )
    return "&".join(written).encode()


def require_size(body: bytes, maximum: int, target: str) -> None:
    """Refuse a body that the target would not take.

    Raises:
        OversizeError: it has more bytes than the maximum, placeholders filled.
    """
    size = len(body) + PLACEHOLDER_BYTES * len(names_in_body(body))
    if size > maximum:
        raise OversizeError(size, maximum, target)


def _json(value: object) -> str:
    if isinstance(value, str):
        return f'"{_escaped(value, _json_escape)}"'
    if isinstance(value, Mapping):
        members = (
            f"{compact_json(name)}:{_json(entry)}" for name, entry in value.items()
        )
        return f"{{{','.join(members)}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_json, value))}]"
    return compact_json(value)


def _json_escape(text: str) -> str:
    return compact_json(text)[1:-1]


def _escaped(text: str, escape: Callable[[str], str]) -> str:
    """Escape a text for a stored body, the placeholders of a template marked."""
    if not isinstance(text, Template):
        return escape(text)
    pieces = PLACEHOLDER.split(text)
    pieces[0::2] = map(escape, pieces[0::2])
    pieces[1::2] = [f"\0{name}\0" for name in pieces[1::2]]
    return "".join(pieces)


def fit(event: Event, make: Callable[[Event], T]) -> T:
    """Return what is made of the event, or of as much of it as fits.

    Raises:
        OversizeError: what may not be shortened is too much by itself.
    """
    try:
        return make(event)
    except OversizeError as error:
        high = min(error.maximum, max(map(_size, event.data.values()), default=0))
    low, best = SHORT, make(_shortened(event, SHORT))
    while high - low > low // _UNUSED:
        middle = (low + high) // 2
        try:
            best, low = make(_shortened(event, middle)), middle
        except OversizeError:
            high = middle
    return best


def shorten(text: str, maximum: int) -> str:
    """Cut a text that has more characters, and show that it was cut."""
    return text if len(text) <= maximum else text[: maximum - 1] + MARK


def _shortened(event: Event, room: int) -> Event:
    """Give each member of the data so many bytes at most."""
    data = {
        name: value if name in ADDRESSES else _cut(value, room)
        for name, value in event.data.items()
    }
    return replace(event, data=data)


def _cut(value: Any, room: int) -> Any:  # noqa: ANN401  # A JSON value.
    if _size(value) <= room:
        return value
    if isinstance(value, str):
        return _cut_text(value, room)
    if isinstance(value, Mapping):
        return _cut_entries(value, room)
    if isinstance(value, list | tuple):
        return list(_cut_entries(dict(enumerate(value)), room).values())
    return value


def _cut_text(text: str, room: int) -> str:
    room = max(0, room - _size(MARK))
    kept = text[:room]
    while (size := _size(kept) - _QUOTES) > room:
        kept = kept[: len(kept) * room // size]
    return kept + MARK


def _cut_entries(value: Mapping[Any, Any], room: int) -> dict[Any, Any]:
    """Keep the first entries that there is room for, and share it out among them."""
    costs: dict[Any, int] = {}
    left = room - ENTRY
    for key, entry in value.items():
        cost = _size(key) + _size(entry) + _COLON_AND_COMMA
        left -= min(cost, ENTRY)
        if left < 0:
            break
        costs[key] = cost
    share = _share(list(costs.values()), room - ENTRY)
    shortened = {
        key: value[key]
        if cost <= share
        else _cut(value[key], share - _size(key) - _COLON_AND_COMMA)
        for key, cost in costs.items()
    }
    rest = len(value) - len(costs)
    return shortened | ({MARK: f"{MARK} {rest} more"} if rest else {})


def _share(costs: Sequence[int], room: int) -> int:
    """Return what each may have at most; what small ones leave is for the others."""
    for count, cost in zip(range(len(costs), 0, -1), sorted(costs), strict=True):
        if cost * count > room:
            return room // count
        room -= cost
    return max(costs, default=0)


def _size(value: object) -> int:
    return len(compact_json(value).encode())
