"""What happened to attempts, as Prometheus counters of this process.

Rules:

- An attempt counts once its record is committed; one that is rolled back and
  recorded again counts once.
- Each process counts what it sent itself: sum over processes. What stands in the
  database is not counted here, see ``webhooks.backlog``.
- Labels have few values: outcomes, and ids of subscriptions.
"""

from dataclasses import dataclass
from datetime import timedelta

from prometheus_client import Counter, Histogram
from sqlalchemy import event
from sqlalchemy.orm import Session

from webhooks.tables import AttemptOutcome, DeliveryKind, DeliveryState

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
    "Deliveries that were given up after an attempt",
    ["webhook"],
)

_NOTED = "webhook_attempts_noted"


@dataclass(frozen=True)
class _Noted:
    subscription_id: str
    outcome: str
    duration_seconds: float | None
    delivery_seconds: float | None
    is_dead: bool


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
    is_delivered = state == DeliveryState.DELIVERED
    noted = session.info.get(_NOTED)
    if noted is None:
        noted = session.info[_NOTED] = []
        event.listen(session, "after_commit", _count, once=True)
    noted.append(
        _Noted(
            subscription_id,
            str(outcome),
            duration_seconds,
            max(0.0, waited.total_seconds())
            if kind == DeliveryKind.EVENT and is_delivered
            else None,
            state == DeliveryState.DEAD and kind != DeliveryKind.TEST,
        )
    )


def _count(session: Session) -> None:
    for noted in session.info.pop(_NOTED):
        ATTEMPTS.labels(noted.subscription_id, noted.outcome).inc()
        if noted.duration_seconds is not None:
            ATTEMPT_SECONDS.labels(noted.outcome).observe(noted.duration_seconds)
        if noted.delivery_seconds is not None:
            DELIVERY_SECONDS.observe(noted.delivery_seconds)
        if noted.is_dead:
            DEAD.labels(noted.subscription_id).inc()
