"""How an event is put into bytes, by the name a subscription chose.

- The bytes are made once, when the event is stored, and frozen: what is stored and
  shown is the same on every attempt, and so is what is signed and sent, secrets
  filled in, while the secrets stay the same.
- What is more than a receiver takes is shortened (``writing``).
- A format that cannot express an event raises ``RenderError``. The delivery is then
  given up with the reason; the caller's change never fails because of it.
- What a delivery stores of it are columns of its row: ``columns_for``.
- What can be known before is refused when the subscription is saved: options are
  read, and a sample event as large as usual ones get is rendered.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from webhooks.errors import InvalidSubscriptionError, RenderError
from webhooks.events import HOP_HEADER, Event, matches_event_type
from webhooks.formats import chat, ci, registries, standard
from webhooks.formats.contract import Format, Options, Rendered
from webhooks.formats.writing import MAX_BODY_BYTES, fit, require_size

FORMATS: Mapping[str, Format] = {
    "standard": standard.STANDARD,
    "cloudevents": standard.CLOUDEVENTS,
    "github": ci.GITHUB,
    "gitlab": ci.GITLAB,
    "jenkins": ci.JENKINS,
    "slack": chat.SLACK,
    "teams": chat.TEAMS,
    "mlflow": registries.MLFLOW,
    "databricks": registries.DATABRICKS,
}
NO_OPTIONS: Options = {}

# Escaped in a form, a character like this takes six bytes.
_LONG_TEXT = "é" * 500
_SAMPLE_DATA_PARTS = 4
_SAMPLE_ID = "msg_" + "a" * 26
_DATA_PATH = re.compile(r"data(\.[^.\s{}\"']+)+")


def render(
    format_name: str, message_id: str, event: Event, options: Options = NO_OPTIONS
) -> Rendered:
    """Render the event in the named format.

    Raises:
        RenderError: there is no such format, or it cannot express the event.
    """
    if format_name not in FORMATS:
        raise RenderError(f"there is no format named {format_name!r}")

    def make(shortened: Event) -> Rendered:
        rendered = FORMATS[format_name].render(message_id, shortened, options)
        require_size(rendered.body, MAX_BODY_BYTES, "a receiver")
        return rendered

    try:
        return fit(event, make)
    except RenderError:
        raise
    except Exception as error:
        # Whatever a format stumbles over must not undo the caller's transaction.
        raise RenderError(
            f"format {format_name!r} failed: {type(error).__name__}"
        ) from error


class Formatted(Protocol):
    """What says in which words a subscription is told of events."""

    @property
    def format(self) -> str:
        """The format's name."""

    @property
    def options(self) -> Options:
        """What the format needs to know."""


def columns_for(
    subscription: Formatted, message_id: str, event: Event
) -> dict[str, Any]:
    """Render in the subscription's format; return the frozen columns of a delivery.

    Raises:
        RenderError: the format cannot express the event.
    """
    name, options = subscription.format, subscription.options
    rendered = render(name, message_id, event, options)
    return {
        "body": rendered.body,
        "content_type": rendered.content_type,
        "rendered_as": {"format": name, "options": options},
        "headers": {**rendered.headers, HOP_HEADER: str(event.hop)},
    }


def columns_of_nothing(event: Event) -> dict[str, Any]:
    """Return the columns of a delivery that there are no words for."""
    return {
        "body": b"",
        "content_type": "",
        "rendered_as": None,
        "headers": {HOP_HEADER: str(event.hop)},
    }


def check(format_name: str, options: Options) -> Rendered:
    """Judge options before they are saved; return a sample of what they render.

    Raises:
        InvalidSubscriptionError: names the option at fault.
    """
    if format_name not in FORMATS:
        raise InvalidSubscriptionError(
            "format", f"must be one of {', '.join(sorted(FORMATS))}"
        )
    FORMATS[format_name].check(options)
    event = _sample_event(options, FORMATS[format_name].event_types)
    try:
        return render(format_name, _SAMPLE_ID, event, options)
    except RenderError as error:
        raise InvalidSubscriptionError("options", error.message) from error


def takes(format_name: str, event: Event, options: Options) -> bool:
    """Whether the event is to be sent in the named format.

    It is in one that is gone: the delivery, which cannot be rendered, tells of that.
    """
    known = FORMATS.get(format_name)
    if known is None:
        return True
    has_words = known.event_types is None or event.type in known.event_types
    return has_words and known.takes(event, options)


def first_type(format_name: str, filters: Sequence[str]) -> str | None:
    """Return the first type that the filters ask for and the format has words for.

    None where the format has words for any type.
    """
    types = FORMATS[format_name].event_types if format_name in FORMATS else None
    wanted = (
        name
        for entry in filters
        for name in types or ()
        if matches_event_type([entry], name)
    )
    return next(wanted, None)


def find_receipt(
    format_name: str, headers: Mapping[str, str], body: bytes
) -> str | None:
    """Find in a 2xx answer what the receiver started; never raises."""
    return (
        FORMATS[format_name].receipt(headers, body) if format_name in FORMATS else None
    )


def _sample_event(options: Options, types: Sequence[str] | None) -> Event:
    """Make an event with a long text at every path that the options name."""
    data: dict[str, Any] = {f"text_{n}": _LONG_TEXT for n in range(_SAMPLE_DATA_PARTS)}
    for match in _DATA_PATH.finditer(_all_texts(options)):
        inner = data
        *outer, last = match[0].split(".")[1:]
        for name in outer:
            if not isinstance(inner.get(name), dict):
                inner[name] = {}
            inner = inner[name]
        inner.setdefault(last, _LONG_TEXT)
    return Event(
        type=types[0] if types else "sample." + "a" * 80,
        ordering_key="sample",
        subject="é" * 250,
        target=None,
        data=data,
        occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def _all_texts(value: object) -> str:
    """Join every text within the options."""
    if isinstance(value, Mapping):
        return " ".join(map(_all_texts, value.values()))
    return value if isinstance(value, str) else ""
