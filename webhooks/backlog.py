"""How much waits for each subscription, read from the database in two statements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from webhooks.tables import (
    LIVE_STATES,
    Delivery,
    DeliveryState,
    Subscription,
    state_in,
)


@dataclass(frozen=True)
class Backlog:
    """What waits for one subscription."""

    subscription_id: str
    state: str
    is_breaker_open: bool
    counts: Mapping[DeliveryState, int] = field(default_factory=dict)
    oldest_pending_at: datetime | None = None


def read_backlogs(session: Session, *, now: datetime) -> Sequence[Backlog]:
    """Read the backlog of every subscription that was not deleted."""
    rows = session.execute(
        select(
            Delivery.subscription_id,
            Delivery.state,
            func.count(),
            func.min(Delivery.created_at),
        )
        .where(state_in(Delivery.state, *LIVE_STATES))
        .group_by(Delivery.subscription_id, Delivery.state)
    )
    counts: dict[str, dict[DeliveryState, int]] = {}
    oldest: dict[str, datetime] = {}
    for subscription_id, state, number, since in rows:
        counts.setdefault(subscription_id, {})[DeliveryState(state)] = number
        if state == DeliveryState.PENDING:
            oldest[subscription_id] = since
    subscriptions = session.execute(
        select(Subscription.id, Subscription.state, Subscription.held_back_until)
        .where(Subscription.deleted_at.is_(None))
        .order_by(Subscription.id)
    )
    return [
        Backlog(
            subscription_id,
            state,
            held_back_until is not None and held_back_until > now,
            counts.get(subscription_id, {}),
            oldest.get(subscription_id),
        )
        for subscription_id, state, held_back_until in subscriptions
    ]
