"""Finding a receipt in an answer, which a receiver may fill with anything."""

import json
from typing import Any

MAX_RECEIPT_LENGTH = 1000


def json_object(body: bytes) -> dict[str, Any]:
    """Read an answer's JSON object; empty where it is none."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def first_text(*candidates: object) -> str | None:
    """Give the first candidate that can be shown: one printable line, or a number."""
    for candidate in candidates:
        if isinstance(candidate, int) and not isinstance(candidate, bool):
            return str(candidate)
        if isinstance(candidate, str) and candidate and candidate.isprintable():
            return candidate[:MAX_RECEIPT_LENGTH]
    return None
