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
from typing import Any

from webhooks.events import (
    OPERATIONAL_PREFIX,
    Event,
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
    return Event(
        type=kind,
        ordering_key=operational_key(subscription.id),
        subject="",
        target=None,
        data={
            "subscription_id": subscription.id,
            "description": subscription.description,
            **details,
        },
        occurred_at=now,
    )


def describe_delivery(delivery: Delivery) -> dict[str, Any]:
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
