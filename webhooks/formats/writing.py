"""Documents and forms as bytes, with the placeholders of templates marked.

- JSON is UTF-8 without blanks, so equal documents give equal bytes.
- Only a ``Template`` has placeholders; the same characters in an event's data
  stay what they are.
"""

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote_plus

from webhooks.errors import OversizeError
from webhooks.events import compact_json
from webhooks.placeholders import Template, json_escape, mark, names_in_body

JSON_CONTENT_TYPE = "application/json"
#: What nginx and Argo Events take unless they are told otherwise, 1 MiB, and a margin.
MAX_BODY_BYTES = 1_000_000
#: What a job can be given in one variable: Linux takes 128 KiB of it, name and all.
MAX_VARIABLE_BYTES = 100_000
#: How much longer than its mark a filled placeholder may be, for size limits.
PLACEHOLDER_BYTES = 512


def json_bytes(document: object) -> bytes:
    """Write a JSON document; mappings keep their order."""
    return _json(document).encode()


def form_bytes(pairs: Sequence[tuple[str, str]]) -> bytes:
    """Write an ``application/x-www-form-urlencoded`` body."""
    written = (f"{quote_plus(name)}={_form_value(value)}" for name, value in pairs)
    return "&".join(written).encode()


def require_size(body: bytes, maximum: int, target: str) -> None:
    """Refuse a body that the target would not take.

    Raises:
        OversizeError: it has more bytes than the maximum, placeholders filled.
    """
    size = len(body) + PLACEHOLDER_BYTES * len(names_in_body(body))
    if size > maximum:
        raise OversizeError(size, maximum, target)


def require_variables(texts: Iterable[str]) -> None:
    """Refuse a text that no job could be given as a variable.

    Raises:
        OversizeError: one has too many bytes.
    """
    for text in texts:
        size = len(text.encode())
        if size > MAX_VARIABLE_BYTES:
            raise OversizeError(size, MAX_VARIABLE_BYTES, "a variable of a job")


def _json(value: object) -> str:
    if isinstance(value, Template):
        return f'"{mark(value, json_escape)}"'
    if isinstance(value, Mapping):
        members = (
            f"{compact_json(name)}:{_json(entry)}" for name, entry in value.items()
        )
        return f"{{{','.join(members)}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_json, value))}]"
    return compact_json(value)


def _form_value(value: str) -> str:
    return mark(value, quote_plus) if isinstance(value, Template) else quote_plus(value)
