"""Instants as people type them into a form: in UTC, seconds and zone if they like."""

import re
from collections.abc import Mapping

from registry.domain.timestamps import parse_rfc3339

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_MINUTE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?")


def typed(name: str, form: Mapping[str, str]) -> str | None:
    """Return a field as RFC 3339; None where it is empty.

    Raises:
        InvalidInputError: it is no instant.
    """
    text = form.get(name, "").strip().replace(" ", "T")
    if not text:
        return None
    if _DAY.fullmatch(text):
        text = f"{text}T00:00"
    if found := _MINUTE.fullmatch(text):
        text += "Z" if found[1] else ":00Z"
    parse_rfc3339(text, field=name)
    return text
