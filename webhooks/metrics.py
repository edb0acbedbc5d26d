"""What happened to attempts, as Prometheus counters of this process.

Rules:

- What happens counts once it is committed; what is rolled back and done again counts
  once.
- Each process counts what it sent itself: sum over processes. What stands in the
  database is no counter, but read when it is asked for (``read_backlogs``).
- Labels have few values: outcomes, and ids of subscriptions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from prometheus_client import Counter, Histogram
from sqlalchemy import and_, event, func, select
from sqlalchemy.orm import Session

from webhooks.tables import (
    LIVE_STATES,
    AttemptOutcome,
    Delivery,
    DeliveryKind,
    DeliveryState,
    Queue,
    ShownState,
    Subscription,
    shown_state,
    state_in,
)

ATTEMPTS = Counter(
    "stagegate_webhook_attempts",
    "Attempts to deliver, by what came of them",
    ["webhook", "outcome"],
)
ATTEMPT_SECONDS = Histogram(
    "stagegate_webhook_attempt_seconds",
    "How long attempts took, from the name's resolution to the last byte",
    ["outcome"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20),
)
DELIVERY_SECONDS = Histogram(
    "stagegate_webhook_delivery_seconds",
    "From the change to its acknowledgement, retries and holds included",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300, 3600, 86400),
)
DEAD = Counter(
    "stagegate_webhook_dead",
    "Deliveries that were given up",
    ["webhook"],
)

_NOTED = "webhook_counts_noted"


def note_attempt(
    session: Session,
    *,
    subscription_id: str,
    kind: str,
    state: str,
    outcome: AttemptOutcome,
    duration_seconds: float | None,
    waited: timedelta,
) -> None:
    """Count an attempt, and what its delivery became, when the session commits.

    ``state`` is the delivery's after it, ``waited`` the time since it was stored.
    """

    def count() -> None:
        ATTEMPTS.labels(subscription_id, str(outcome)).inc()
        if duration_seconds is not None:
            ATTEMPT_SECONDS.labels(str(outcome)).observe(duration_seconds)
        if kind == DeliveryKind.EVENT and state == DeliveryState.DELIVERED:
            DELIVERY_SECONDS.observe(max(0.0, waited.total_seconds()))

    _count_once_committed(session, count)
    if state == DeliveryState.DEAD and kind != DeliveryKind.TEST:
        note_dead(session, subscription_id)


def note_dead(session: Session, subscription_id: str) -> None:
    """Count a delivery that was given up, when the session commits."""
    _count_once_committed(session, lambda: DEAD.labels(subscription_id).inc())


def _count_once_committed(session: Session, count: Callable[[], None]) -> None:
    noted = session.info.get(_NOTED)
    if noted is None:
        noted = session.info[_NOTED] = []
        event.listen(session, "after_commit", _count, once=True)
        event.listen(session, "after_rollback", _forget, once=True)
    noted.append(count)


def _count(session: Session) -> None:
    for count in session.info.pop(_NOTED, ()):
        count()


def _forget(session: Session) -> None:
    session.info.pop(_NOTED, None)


@dataclass(frozen=True)
class Backlog:
    """What waits for one subscription."""

    subscription_id: str
    state: str
    is_breaker_open: bool
    counts: Mapping[ShownState, int] = field(default_factory=dict)
    oldest_pending_at: datetime | None = None


def read_backlogs(session: Session, *, now: datetime) -> Sequence[Backlog]:
    """Read the backlog of every subscription that was not deleted."""
    state = shown_state(
        Delivery.state, Delivery.reason, Queue.state, Subscription.state
    )
    rows = session.execute(
        select(
            Delivery.subscription_id,
            state,
            func.count(),
            func.min(Delivery.created_at),
        )
        .join(Subscription, Subscription.id == Delivery.subscription_id)
        .join(
            Queue,
            and_(
                Queue.subscription_id == Delivery.subscription_id,
                Queue.ordering_key == Delivery.ordering_key,
            ),
        )
        .where(state_in(Delivery.state, *LIVE_STATES))
        .group_by(Delivery.subscription_id, state)
    )
    counts: dict[str, dict[ShownState, int]] = {}
    oldest: dict[str, datetime] = {}
    for subscription_id, shown, number, since in rows:
        counts.setdefault(subscription_id, {})[ShownState(shown)] = number
        if shown == ShownState.PENDING:
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
