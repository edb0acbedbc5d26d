"""Documents and forms as bytes, with the placeholders of templates marked.

- JSON is pure ASCII without blanks, so equal documents give equal bytes.
- Only a ``Template`` has placeholders; the same characters in an event's data
  stay what they are.
"""

import json
from collections.abc import Mapping, Sequence
from urllib.parse import quote_plus

from webhooks.errors import RenderError
from webhooks.placeholders import Template, json_escape, mark, names_in_body

JSON_CONTENT_TYPE = "application/json"
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
        RenderError: it has more bytes than the maximum, placeholders filled.
    """
    size = len(body) + PLACEHOLDER_BYTES * len(names_in_body(body))
    if size > maximum:
        raise RenderError(
            f"{size} bytes are more than the {maximum} that {target} takes"
        )


def _json(value: object) -> str:
    if isinstance(value, Template):
        return f'"{mark(value, json_escape)}"'
    if isinstance(value, Mapping):
        members = (
            f"{json.dumps(name)}:{_json(entry)}" for name, entry in value.items()
        )
        return f"{{{','.join(members)}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_json, value))}]"
    return json.dumps(value, allow_nan=False)


def _form_value(value: str) -> str:
    return mark(value, quote_plus) if isinstance(value, Template) else quote_plus(value)
