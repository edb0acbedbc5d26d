"""What the delivery itself has to announce: events about subscriptions.

Rules:

- They are enqueued in the transaction that found the trouble (``outbox.announce``),
  and delivered like any event, in order for each subscription they are about.
- They go to subscriptions that name them (``webhook.*`` or the exact type) and
  never to the one they are about (``outbox`` sees to both).
- Trouble with delivering an operational event makes no further one: two
  subscriptions that watch each other must not talk for ever.
- No URL is told: it may hold a secret.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, TypedDict

from webhooks.events import (
    OPERATIONAL_PREFIX,
    PING_EVENT_TYPE,
    Event,
    Instant,
    format_instant,
    operational_key,
)
from webhooks.tables import Delivery, Subscription


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


def event_about(
    subscription: Subscription,
    kind: OperationalType,
    details: Mapping[str, Any],
    *,
    now: datetime,
) -> Event:
    """Make an event about a subscription."""
    about: About = {
        "subscription_id": subscription.id,
        "description": subscription.description,
    }
    return Event(
        type=kind,
        ordering_key=operational_key(subscription.id),
        subject="",
        target=None,
        data={**about, **details},
        occurred_at=now,
    )


def describe_delivery(delivery: Delivery) -> GivenUp:
    """Return the facts of the delivery that an event is about."""
    return {
        "delivery_id": delivery.id,
        "event_id": delivery.event_id,
        "event_type": delivery.event_type,
        "ordering_key": delivery.ordering_key,
        "attempts": delivery.attempt_count,
        "reason": delivery.reason,
        "created_at": format_instant(delivery.created_at),
    }
