"""What of the audit log is for whom: everybody who may read, or admins alone.

Rules:

- Where a request came from, and what only admins may read of a webhook, stands in an
  entry's private part (``audit_chain``), which is shown to admins.
- What may hold a secret of somebody's (a URL's query and user, the values of headers
  and of the texts that a format is told to send) is in no part of any entry.
- Entries of the former version have it all in their sealed text. To others than admins
  they are shown redacted, and whoever redacts vouches for what was sealed.

Pure: nothing here knows who is asking.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from registry.domain.audit_chain import (
    SealedEntry,
    entry_hash,
    is_private_part_whole,
    members_of,
)

LEFT_OUT = "…"
SOURCE_IP = "source_ip"

Members = Mapping[str, Any]


def public(entry: SealedEntry) -> SealedEntry:
    """The entry as others than admins may see it.

    It is verifiable still: a private part that is not what was sealed shows as an empty
    one, and a text that is not shows with a hash that does not fit.
    """
    text = entry.text
    shown = replace(
        entry,
        private=None if is_private_part_whole(entry, text) else "",
        is_withheld=True,
    )
    redacted = _redacted(text)
    if text and redacted == text:
        return shown
    return replace(
        shown,
        canonical=json.dumps(redacted) if text else "",
        is_redacted=bool(text) and _is_sealed(entry),
    )


def source_ip(entry: SealedEntry) -> str | None:
    """Where the request came from, if the entry is shown with that."""
    found = entry.text.get(SOURCE_IP) or members_of(entry.private or "").get(SOURCE_IP)
    return found if isinstance(found, str) else None


def _redacted(text: Members) -> dict[str, Any]:
    """The text of an entry of the former version, without what not all may see."""
    left = {name: value for name, value in text.items() if name != SOURCE_IP}
    if not str(text.get("action")).startswith("webhook."):
        return left
    for name in ("before", "after"):
        value = text.get(name)
        if isinstance(value, dict) and "url" in value:
            left[name] = public_webhook(value)
    return left


def _is_sealed(entry: SealedEntry) -> bool:
    try:
        return entry_hash(entry.prev_hash, entry.canonical) == entry.hash
    except ValueError:
        return False


def public_webhook(document: Members) -> dict[str, Any]:
    """A webhook as everybody may see it in an entry."""
    place, rest = _parts_of(document.get("url"))
    options = document.get("options")
    return {
        **document,
        "url": place + (LEFT_OUT if rest else ""),
        "headers": _values_left_out(document.get("headers")),
        "options": {
            name: _values_left_out(value)
            for name, value in (options if isinstance(options, dict) else {}).items()
        },
    }


def private_webhook(document: Members) -> dict[str, Any]:
    """What of a webhook only admins may see in an entry: its URL but the query."""
    return {"url": "".join(_parts_of(document.get("url")))}


def _values_left_out(given: Any) -> Any:  # noqa: ANN401  # any JSON
    return dict.fromkeys(given, LEFT_OUT) if isinstance(given, dict) else given


def _parts_of(url: object) -> tuple[str, str]:
    """Scheme, host and port; path. What follows the path is marked as left out."""
    try:
        parts = urlsplit(str(url))
    except ValueError:
        return LEFT_OUT, ""
    if not parts.netloc:
        return LEFT_OUT, ""
    place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/"
    rest = f"?{LEFT_OUT}" if parts.query or parts.fragment else ""
    return place, parts.path.removeprefix("/") + rest
