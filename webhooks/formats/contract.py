"""What a format is, and what formats read of their options and of an event.

- A format turns an event into a request: frozen bytes, their content type, and
  headers that belong to them. It is pure: no I/O, no clock, no secret.
- Where a secret goes, a format leaves a placeholder (``webhooks.formats.writing``).
- ``check`` reads the options as ``render`` will; what it accepts only the size of
  an event can make fail later.
- A path is ``id``, ``type``, ``timestamp``, ``data`` or ``event`` (all four), and
  goes on by member names: ``data.model``. ``deployment_token`` is a lent value.
- A selection maps names of the target's to a path or to ``{"value": "text"}``,
  whose text may have placeholders.
- A path that an event does not have gives null, or nothing in text: one
  subscription may take events of several types.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NoReturn, TypeGuard

from webhooks.errors import InvalidSubscriptionError
from webhooks.events import Event, compact_json, standard_body
from webhooks.formats.writing import (
    DEPLOYMENT_TOKEN,
    FORM_CONTENT_TYPE,
    JSON_CONTENT_TYPE,
    PLACEHOLDER,
    Template,
    form_bytes,
    json_bytes,
)

MAX_RECEIPT_LENGTH = 1000
MAX_PATH_LENGTH = 255
PATH = re.compile(r"(event|id|type|timestamp|deployment_token|data(\.[^.\s{}]+)*)")

Options = Mapping[str, Any]
Selection = Mapping[str, str | Mapping[str, str]]


@dataclass(frozen=True)
class Rendered:
    """The frozen part of a request."""

    body: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


def json_request(
    document: object, headers: Mapping[str, str] | None = None
) -> Rendered:
    """Send a JSON document; mappings keep their order."""
    return Rendered(json_bytes(document), JSON_CONTENT_TYPE, headers or {})


def form_request(members: Mapping[str, str]) -> Rendered:
    """Send members as a form."""
    return Rendered(form_bytes(members), FORM_CONTENT_TYPE)


class OptionKind(StrEnum):
    """What an option's value is."""

    TEXT = "text"  #: one line
    FLAG = "flag"  #: true or false
    CHOICE = "choice"  #: one of its choices, the first by default
    CHOICES = "choices"  #: some of them
    SELECTION = "selection"  #: names to paths or constants


@dataclass(frozen=True)
class Option:
    """An option of a format, for forms; ``check`` judges its value.

    Args:
        kind: what its value is.
        told: what it does.
        choices: what may be chosen.
    """

    kind: OptionKind
    told: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Format:
    """One format, as functions.

    Args:
        check: raises InvalidSubscriptionError for options it cannot use.
        render: takes message id, event and options; raises RenderError where the
            target would refuse the request, OversizeError where a shorter event helps.
        receipt: finds in headers (lower-case names) and body of a 2xx answer what the
            receiver started; it may have filled them with anything.
        authorization: gives the headers that the credentials make where the
            owner wrote no ``authorization`` header; raises
            InvalidSubscriptionError when it lacks one that the target insists on.
        signature: gives the headers of an attempt that the receiver verifies it
            by, besides the standard ones, of message id, aware instant, body as it
            is sent, and credentials.
        event_types: those that it has words for, the first one for examples; the
            others are not sent. None where it has words for any.
        takes: tells of an event of these types whether the options ask for it.
        lends_by_header: whether lent values travel as ``webhook-…`` headers; else
            they are in the body, or the target has no use for them.
        has_secret_url: whether whoever knows the URL may post to it.
        options: every option that ``check`` knows, by name.
        credentials: names of credentials that it makes something of.
        example: what a URL of the target looks like.
    """

    check: Callable[[Options], object]
    render: Callable[[str, Event, Options], Rendered]
    receipt: Callable[[Mapping[str, str], bytes], str | None] = lambda *_: None
    authorization: Callable[[Options, Mapping[str, str]], Mapping[str, str]] = (
        lambda *_: {}
    )
    signature: Callable[
        [str, datetime, bytes, Mapping[str, str]], Mapping[str, str]
    ] = lambda *_: {}
    event_types: tuple[str, ...] | None = None
    takes: Callable[[Event, Options], bool] = lambda *_: True
    lends_by_header: bool = False
    has_secret_url: bool = False
    options: Mapping[str, Option] = field(default_factory=dict)
    credentials: tuple[str, ...] = ()
    example: str = "https://ci.example.com/hook"


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


def receipt_in(*members: str) -> Callable[[Mapping[str, str], bytes], str | None]:
    """Make what finds the first of these members in a JSON answer."""
    return lambda _headers, body: first_text(*map(json_object(body).get, members))


class Reader:
    """Reads options, and refuses what is not of the right kind."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def require_known(self, *known: str) -> None:
        """Refuse options that the format does not have, so that no typo is lost."""
        for name in self._options:
            if name not in known:
                listed = ", ".join(known)
                refuse(name, f"is not an option of this format; it has {listed}")

    def text(self, name: str, default: str | None = None, *, maximum: int = 255) -> str:
        """Read one line of text; without a default it must be given."""
        text = self._options.get(name, default)
        if not isinstance(text, str) or not text or not text.isprintable():
            refuse(name, "must be one line of text")
        if len(text) > maximum or "${" in text:
            refuse(name, f"must have at most {maximum} characters and no placeholder")
        return text

    def choice(self, name: str, *choices: str) -> str:
        """Read one of the choices; the first is the default."""
        choice = self._options.get(name, choices[0])
        if choice not in choices:
            refuse(name, f"must be one of {', '.join(choices)}")
        return str(choice)

    def flag(self, name: str, *, default: bool) -> bool:
        """Read true or false."""
        flag = self._options.get(name, default)
        if not isinstance(flag, bool):
            refuse(name, "must be true or false")
        return flag

    def selection(self, name: str, default: Selection, *, maximum: int) -> Selection:
        """Read a selection of at most ``maximum`` names."""
        selection = self._options.get(name, default)
        if not isinstance(selection, Mapping):
            refuse(name, "must map names to paths")
        if len(selection) > maximum:
            refuse(
                name, f"has {len(selection)} names, and the receiver takes {maximum}"
            )
        for key, chosen in selection.items():
            if not (_is_name(key) and (is_path(chosen) or _is_constant(chosen))):
                refuse(
                    name,
                    f"{key!r} must be a path such as data.model, id, type, timestamp,"
                    ' event or deployment_token, or {"value": "text"}',
                )
        return selection


def refuse(option: str, fault: str) -> NoReturn:
    """Refuse an option: raise InvalidSubscriptionError with ``options.<name>``."""
    raise InvalidSubscriptionError(f"options.{option}", fault)


def is_path(value: object) -> bool:
    """Whether the value is a path into an event."""
    return _is_name(value) and PATH.fullmatch(value) is not None


def _is_name(value: object) -> TypeGuard[str]:
    return (
        isinstance(value, str)
        and 0 < len(value) <= MAX_PATH_LENGTH
        and value.isprintable()
    )


def _is_constant(chosen: object) -> bool:
    match chosen:
        case {"value": str(text), **others} if not others and text.isprintable():
            return "${" not in PLACEHOLDER.sub("", text)
    return False


def document_of(message_id: str, event: Event) -> dict[str, Any]:
    """Return the event as formats show it: the standard body with the id."""
    return {"id": message_id, **json.loads(standard_body(event))}


def find(path: str, document: Mapping[str, Any]) -> Any:  # noqa: ANN401  # A JSON value.
    """Follow a path; None where the event has nothing there."""
    if path == "event":
        return document
    if path == DEPLOYMENT_TOKEN:
        return Template(f"${{{DEPLOYMENT_TOKEN}}}")
    value: Any = document
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def select(selection: Selection, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of each name; constants are templates."""
    return {
        name: find(chosen, document)
        if isinstance(chosen, str)
        else Template(chosen["value"])
        for name, chosen in selection.items()
    }


def select_texts(selection: Selection, document: Mapping[str, Any]) -> dict[str, str]:
    """Return the value of each name as text, as ``text_of`` writes it."""
    return {name: text_of(value) for name, value in select(selection, document).items()}


def text_of(value: object) -> str:
    """Write a JSON value as text: strings bare, null as nothing, else compact JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else compact_json(value)
