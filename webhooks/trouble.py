"""Which endpoints are in trouble, at a glance: one statement, whatever waits for them.

Rules:

- What waits is counted up to ``MANY`` and no further.
- Late is what could go and does not: its retries, its rest and its pause are others.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select

from webhooks.statements import fetch
from webhooks.tables import (
    LIVE_STATES,
    Delivery,
    Queue,
    QueueState,
    Subscription,
    SubscriptionState,
    state_in,
)

MANY = 1_000
LATE_AFTER = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How a subscription that was not deleted stands.

    Attributes:
        held_back_until: as long as the breaker is open.
        due_since: when the oldest of what may be sent became due; None without any.
        blocked: how many ordering keys wait for a person.
        waiting: how many deliveries are live, ``MANY`` at most.
    """

    id: str
    description: str
    state: str
    state_reason: str | None
    failing_since: datetime | None
    held_back_until: datetime | None
    due_since: datetime | None
    blocked: int
    waiting: int

    @property
    def name(self) -> str:
        """Return what its owner calls it, else its id; never its address."""
        return self.description or self.id

    def is_resting(self, now: datetime) -> bool:
        """Whether the breaker is open."""
        return self.held_back_until is not None and now < self.held_back_until

    def is_late(self, now: datetime) -> bool:
        """Whether something waits that should have gone."""
        return self.due_since is not None and self.due_since < now - LATE_AFTER

    def is_in_trouble(self, now: datetime) -> bool:
        """Whether a person should look; a pause is somebody's wish."""
        is_off = self.state == SubscriptionState.DISABLED
        is_failing = self.failing_since is not None or self.is_resting(now)
        is_late = self.state == SubscriptionState.ACTIVE and self.is_late(now)
        return is_off or is_failing or bool(self.blocked) or is_late


def _due_since() -> Any:  # noqa: ANN401  # SQLAlchemy's
    return (
        select(func.min(Queue.next_at))
        .where(
            Queue.subscription_id == Subscription.id,
            state_in(Queue.state, QueueState.OPEN),
            Queue.lease_token.is_(None),
            Queue.next_at.is_not(None),
        )
        .correlate(Subscription)
        .scalar_subquery()
    )


def _blocked() -> Any:  # noqa: ANN401  # as above
    return (
        select(func.count())
        .select_from(Queue)
        .where(
            Queue.subscription_id == Subscription.id,
            state_in(Queue.state, QueueState.BLOCKED),
        )
        .correlate(Subscription)
        .scalar_subquery()
    )


def _waiting() -> Any:  # noqa: ANN401  # as above
    live = (
        select(Delivery.sequence)
        .where(
            Delivery.subscription_id == Subscription.id,
            state_in(Delivery.state, *LIVE_STATES),
        )
        .limit(MANY)
        .correlate(Subscription)
        .subquery()
    )
    return select(func.count()).select_from(live).scalar_subquery()


_ENDPOINTS = (
    select(
        Subscription.id,
        Subscription.description,
        Subscription.state,
        Subscription.state_reason,
        Subscription.failing_since,
        Subscription.held_back_until,
        _due_since(),
        _blocked(),
        _waiting(),
    )
    .where(Subscription.deleted_at.is_(None))
    .order_by(Subscription.id)
)


def read_endpoints(cx: Connection) -> list[Endpoint]:
    """How every subscription stands, the oldest first."""
    return [Endpoint(*row) for row in fetch(cx, _ENDPOINTS, {})]
