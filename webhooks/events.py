"""What happened, said once: the event and its standard body.

Rules:

- An event has a type, an ordering key and data; this package never learns what
  the data means.
- ``subject`` is what a subscription's glob filters, ``target`` is what its list
  of targets filters. A glob finds an event by ``former_subjects`` as well: whoever
  asked for something hears of it after it was renamed.
- An event is checked when it is made: data that JSON cannot express is a fault
  of the caller and must show before anything is written.
- Bodies are JSON in UTF-8 with the members ``type``, ``timestamp`` (RFC 3339, six
  decimals, ``Z``) and ``data`` (Standard Webhooks 1.0, "Payload structure").
- Events about the delivery itself (``webhook.…``) go to those who name them: ``*``
  does not; and never to the subscription that they are about. Trouble with delivering
  one makes no further one: two subscriptions that watch each other must not talk for
  ever. No URL is told: it may hold a secret.
- Opt-in events say in detail what another event says already. They go to those who
  name their very type: neither ``*`` nor a prefix does.
- Ids contain no dot, because the signed text is joined by dots.
"""

import base64
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, NewType, TypedDict

Instant = NewType("Instant", str)
OPERATIONAL_PREFIX = "webhook."
PING_EVENT_TYPE = "webhook.ping"
#: Whoever acts on a webhook by a request that makes others passes it on.
HOP_HEADER = "webhook-hop"
EVENT_TYPE = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")
EVENT_TYPE_FILTER = re.compile(rf"\*|{EVENT_TYPE.pattern}(\.\*)?")
# Made once: making one takes longer than writing a short text.
_ENCODER = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))
#: Writes a JSON value without blanks, and every character as it is.
compact_json = _ENCODER.encode


def new_event_id() -> str:
    """Make a message id: ``msg_`` and 128 random bits in base32."""
    encoded = base64.b32encode(secrets.token_bytes(16)).decode()
    return "msg_" + encoded.rstrip("=").lower()


@dataclass(frozen=True)
class Event:
    """Something that happened.

    Events of one ``ordering_key`` reach each subscription in the order in which
    they were committed. ``sequence`` is the caller's number of the event within
    its key; the feed goes by it where two have one instant. ``is_opt_in`` keeps it
    from whoever does not name its type. ``hop`` counts the webhooks of a chain in which
    one leads to the next, this event's included; each delivery tells it.

    Raises:
        ValueError: the type is not dotted words, the instant is naive, or the
            data holds what JSON cannot express (NaN and infinities included).
    """

    type: str
    ordering_key: str
    subject: str
    target: str | None
    data: Mapping[str, Any]
    occurred_at: datetime
    sequence: int = 0
    is_opt_in: bool = False
    hop: int = 1
    former_subjects: Sequence[str] = ()
    id: str = field(default_factory=new_event_id)

    def __post_init__(self) -> None:
        if not EVENT_TYPE.fullmatch(self.type):
            raise ValueError(f"an event type is dotted words, got {self.type!r}")
        if self.occurred_at.tzinfo is None:
            raise ValueError("an event's instant must be aware")
        try:
            standard_body(self)
        except TypeError as error:
            raise ValueError(f"event data must be JSON: {error}") from error


def format_instant(instant: datetime) -> Instant:
    """Write an aware instant as RFC 3339 in UTC with six decimals."""
    return Instant(instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))


def standard_body(event: Event) -> bytes:
    """Render the Standard Webhooks body; equal events give equal bytes."""
    document = {
        "type": event.type,
        "timestamp": format_instant(event.occurred_at),
        "data": dict(event.data),
    }
    return compact_json(document).encode()


def new_sortable_id(prefix: str, now: datetime) -> str:
    """Make an id that sorts by time: 48 bits of milliseconds, 80 random bits."""
    milliseconds = int(now.timestamp() * 1000)
    return f"{prefix}_{milliseconds:012x}{secrets.token_hex(10)}"


def operational_key(subscription_id: str) -> str:
    """Return the ordering key of the events about a subscription."""
    return f"webhook:{subscription_id}"


def matches_event_type(filters: Sequence[str], event_type: str) -> bool:
    """Whether one filter is ``*``, the exact type or a prefix ``a.*``."""
    return any(
        entry == event_type
        or (entry == "*" and not event_type.startswith(OPERATIONAL_PREFIX))
        or (entry.endswith(".*") and event_type.startswith(entry[:-1]))
        for entry in filters
    )


def is_asked_for(filters: Sequence[str], event: Event) -> bool:
    """Whether the filters let the event pass by its type."""
    if event.is_opt_in:
        return event.type in filters
    return matches_event_type(filters, event.type)


def matches_subject(pattern: str | None, *subjects: str) -> bool:
    """Whether the case-sensitive glob lets one of the subjects pass."""
    return pattern is None or any(fnmatchcase(subject, pattern) for subject in subjects)


def matches_target(targets: Sequence[str] | None, target: str | None) -> bool:
    """Whether the target is listed; no list lets every event pass."""
    return targets is None or target in targets


class OperationalType(StrEnum):
    """What can be announced."""

    FAILING = "webhook.failing"  #: nothing but failures for 1, 24, 96 hours
    RECOVERED = "webhook.recovered"  #: the first success after that
    DISABLED = "webhook.disabled"  #: nothing is sent until somebody enables it
    EXHAUSTED = "webhook.exhausted"  #: the attempts of a delivery are used up
    KEY_BLOCKED = "webhook.key_blocked"  #: and its key waits for somebody


class About(TypedDict):
    """The subscription that an event is about."""

    subscription_id: str
    description: str


class Failures(TypedDict):
    """Since when it has failed, and how often."""

    failing_since: Instant | None
    failures: int


class Failing(Failures):
    """And what came of the last attempt."""

    status: int | None
    error: str | None


class Disabled(Failures):
    """And why nothing is sent any more."""

    reason: str


class GivenUp(TypedDict):
    """The delivery that was given up."""

    delivery_id: str
    event_id: str
    event_type: str
    ordering_key: str
    attempts: int
    reason: str | None
    created_at: Instant


class Pinged(TypedDict):
    """The subscription that is tested."""

    subscription_id: str


class Ping(Pinged, total=False):
    """And what its format makes an example of."""

    sample: str


#: The documents that each event's data are made of.
EVENTS: Mapping[str, tuple[Any, ...]] = {
    OperationalType.FAILING: (About, Failing),
    OperationalType.RECOVERED: (About, Failures),
    OperationalType.DISABLED: (About, Disabled),
    OperationalType.EXHAUSTED: (About, GivenUp),
    OperationalType.KEY_BLOCKED: (About, GivenUp),
    PING_EVENT_TYPE: (Ping,),
}


def is_operational(event_type: str) -> bool:
    """Whether an event is about the delivery itself."""
    return event_type.startswith(OPERATIONAL_PREFIX)
