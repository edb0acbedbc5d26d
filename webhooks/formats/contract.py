"""What a format is.

- A format turns an event into a request: frozen bytes, their content type, and
  headers that belong to them. It is pure: no I/O, no clock, no secret.
- Where a secret goes, a format leaves a placeholder (``webhooks.placeholders``).
- ``check`` reads the options as ``render`` will; what it accepts only the size of
  an event can make fail later.
- A format may have words for some event types only; the others are not sent.
- ``receipt`` finds in a receiver's answer what it started because of a delivery; the
  receiver may have filled it with anything.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from webhooks.events import Event

Options = Mapping[str, Any]


MAX_RECEIPT_LENGTH = 1000


@dataclass(frozen=True)
class Rendered:
    """The frozen part of a request."""

    body: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


def _no_receipt(_status: int, _headers: Mapping[str, str], _body: bytes) -> None:
    return None


def _no_authorization(
    _options: Options, _credentials: Mapping[str, str]
) -> Mapping[str, str]:
    return {}


def _no_signature(
    _message_id: str, _now: datetime, _body: bytes, _credentials: Mapping[str, str]
) -> Mapping[str, str]:
    return {}


def _take_all(_event: Event, _options: Options) -> bool:
    return True


@dataclass(frozen=True)
class Format:
    """One format, as functions.

    Args:
        check: raises InvalidSubscriptionError for options it cannot use.
        render: takes message id, event and options; raises RenderError where the
            target would refuse the request, OversizeError where a shorter event helps.
        receipt: takes status, headers (lower-case names) and body of a 2xx answer.
        authorization: gives the headers that the credentials make where the
            owner wrote no ``authorization`` header; raises
            InvalidSubscriptionError when it lacks one that the target insists on.
        signature: gives the headers of an attempt that the receiver verifies it
            by, besides the standard ones, of message id, aware instant, body as it
            is sent, and credentials.
        event_types: those that it has words for, the first one for examples; None
            where it has for any.
        takes: tells of an event of these types whether the options ask for it.
        lends_by_header: whether lent values travel as ``webhook-…`` headers; else
            they are in the body, or the target has no use for them.
        has_secret_url: whether whoever knows the URL may post to it.
    """

    check: Callable[[Options], object]
    render: Callable[[str, Event, Options], Rendered]
    receipt: Callable[[int, Mapping[str, str], bytes], str | None] = _no_receipt
    authorization: Callable[[Options, Mapping[str, str]], Mapping[str, str]] = (
        _no_authorization
    )
    signature: Callable[
        [str, datetime, bytes, Mapping[str, str]], Mapping[str, str]
    ] = _no_signature
    event_types: tuple[str, ...] | None = None
    takes: Callable[[Event, Options], bool] = _take_all
    lends_by_header: bool = False
    has_secret_url: bool = False


def json_object(body: bytes) -> dict[str, Any]:
    """Read an answer's JSON object; empty where it is none."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def first_text(*candidates: object) -> str | None:
    """Return the first candidate that can be shown: one printable line, or a number."""
    for candidate in candidates:
        if isinstance(candidate, int) and not isinstance(candidate, bool):
            return str(candidate)
        if isinstance(candidate, str) and candidate and candidate.isprintable():
            return candidate[:MAX_RECEIPT_LENGTH]
    return None
