"""Recording what became of a claimed delivery.

Rules:

- Every result is a compare-and-set on (id, token). A sender that lost its lease is
  fenced: its result changes nothing.
- When a lease runs out the attempt is ``unknown`` and the delivery is sent again:
  the documented case in which a receiver sees a message twice.
- A failure is a retry, then ``blocked`` (hold) or ``dead``; ``held`` where the
  subscription is not active any more. A 410 disables the subscription and holds
  the delivery too.
- A delivery's row is locked before its subscription's. That is safe although
  others go the other way: they touch only rows that are not being sent.
"""

import logging
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from webhooks.claims import Claim, release
from webhooks.retry import MAX_ATTEMPTS, next_attempt_at
from webhooks.sender import SendResult
from webhooks.subscriptions import REASON_DELETED, disable
from webhooks.tables import (
    Attempt,
    AttemptOutcome,
    Delivery,
    DeliveryKind,
    DeliveryState,
    OnPoison,
    Ordering,
    Subscription,
    SubscriptionState,
    state_in,
)

logger = logging.getLogger(__name__)

GONE = 410
REASON_EXHAUSTED = "every attempt failed"
REASON_TEST_FAILED = "the test was not acknowledged"


def record_result(
    session: Session, claim: Claim, result: SendResult, *, now: datetime, jitter: float
) -> bool:
    """Settle a claim by its result.

    ``jitter`` is a random number from 0 to 1 for the delay before a retry. False
    means that the lease was lost: another sender has or had the delivery, and
    nothing was changed.
    """
    delivery = _held_by(session, claim)
    if delivery is None:
        logger.warning(
            "webhook_result_fenced delivery=%s attempt=%d",
            *(claim.delivery_id, claim.attempt),
        )
        return False
    subscription = _read_subscription(session, claim.subscription_id)
    _finish_attempt(session, claim, result, now)
    if result.is_delivered:
        release(delivery, DeliveryState.DELIVERED, None, now)
    else:
        if result.status == GONE and claim.kind != DeliveryKind.TEST:
            _disable(session, subscription, now)
        due = next_attempt_at(
            _attempts_of_budget(delivery), now, jitter, result.retry_after
        )
        _fail(delivery, subscription, due, now)
    if claim.kind != DeliveryKind.TEST:
        _count(session, subscription, result, now)
    session.flush()
    _log(claim, delivery, result)
    return True


def sweep_expired_leases(session: Session, *, now: datetime, limit: int = 100) -> int:
    """Give back what was being sent when its process ended; say how many."""
    rows = session.execute(
        select(Delivery, Subscription)
        .join(Subscription, Subscription.id == Delivery.subscription_id)
        .where(
            state_in(Delivery.state, DeliveryState.SENDING), Delivery.lease_until <= now
        )
        .order_by(Delivery.lease_until)
        .limit(limit)
        .with_for_update(skip_locked=True, of=Delivery)
        .execution_options(populate_existing=True)
    ).all()
    for delivery, subscription in rows:
        logger.warning(
            "webhook_lease_expired delivery=%s attempt=%d",
            *(delivery.id, delivery.attempt_count),
        )
        session.execute(
            update(Attempt)
            .where(
                Attempt.delivery_id == delivery.id,
                Attempt.number == delivery.attempt_count,
            )
            .values(outcome=AttemptOutcome.UNKNOWN, finished_at=now)
        )
        is_over = _attempts_of_budget(delivery) >= MAX_ATTEMPTS
        _fail(delivery, subscription, None if is_over else now, now)
    session.flush()
    return len(rows)


def _held_by(session: Session, claim: Claim) -> Delivery | None:
    """Lock the delivery if the claim still holds it."""
    return session.scalars(
        select(Delivery)
        .where(
            Delivery.id == claim.delivery_id,
            Delivery.lease_token == claim.lease_token,
            state_in(Delivery.state, DeliveryState.SENDING),
        )
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()


def _read_subscription(session: Session, subscription_id: str) -> Subscription:
    return session.get_one(Subscription, subscription_id, populate_existing=True)


def _finish_attempt(
    session: Session, claim: Claim, result: SendResult, now: datetime
) -> None:
    values: dict[str, Any] = {
        "finished_at": now,
        "outcome": result.outcome,
        "status": result.status,
        "error": result.error,
        "duration_seconds": result.duration_seconds,
        "request_headers": dict(result.request_headers),
        "response_headers": dict(result.response_headers),
        "response_body": result.response_body,
    }
    session.execute(
        update(Attempt)
        .where(
            Attempt.delivery_id == claim.delivery_id, Attempt.number == claim.attempt
        )
        .values(**values)
    )


def _disable(session: Session, subscription: Subscription, now: datetime) -> None:
    if subscription.deleted_at is None:
        disable(session, subscription.id, now=now)


def _attempts_of_budget(delivery: Delivery) -> int:
    return delivery.attempt_count - delivery.attempts_forgiven


def _fail(
    delivery: Delivery,
    subscription: Subscription,
    due: datetime | None,
    now: datetime,
) -> None:
    """Decide what becomes of a delivery that was not acknowledged."""
    if delivery.kind == DeliveryKind.TEST:
        release(delivery, DeliveryState.DEAD, REASON_TEST_FAILED, now)
    elif subscription.deleted_at is not None:
        release(delivery, DeliveryState.DEAD, REASON_DELETED, now)
    elif subscription.state != SubscriptionState.ACTIVE:
        release(delivery, DeliveryState.HELD, str(subscription.state), now)
    elif due is None:
        release(
            delivery, _exhausted_state(delivery, subscription), REASON_EXHAUSTED, now
        )
    else:
        delivery.next_attempt_at = due
        release(delivery, DeliveryState.PENDING, None, now)


def _exhausted_state(delivery: Delivery, subscription: Subscription) -> DeliveryState:
    """Block only where there is an order to keep."""
    keeps_order = (
        delivery.kind == DeliveryKind.EVENT
        and subscription.ordering == Ordering.KEY
        and subscription.on_poison == OnPoison.HOLD
    )
    return DeliveryState.BLOCKED if keeps_order else DeliveryState.DEAD


def _count(
    session: Session, subscription: Subscription, result: SendResult, now: datetime
) -> None:
    """Keep the run of failures; a healthy subscription's row is not written."""
    if result.is_delivered and subscription.consecutive_failures == 0:
        return
    values: dict[str, Any] = {"consecutive_failures": 0, "failing_since": None}
    if not result.is_delivered:
        values = {
            "consecutive_failures": Subscription.consecutive_failures + 1,
            "failing_since": func.coalesce(Subscription.failing_since, now),
        }
    session.execute(
        update(Subscription)
        .where(Subscription.id == subscription.id)
        .values(**values)
        .execution_options(synchronize_session=False)
    )


def _log(claim: Claim, delivery: Delivery, result: SendResult) -> None:
    logger.info(
        "webhook_attempt_finished delivery=%s event=%s subscription=%s attempt=%d"
        " outcome=%s status=%s state=%s duration_seconds=%.3f",
        claim.delivery_id,
        claim.event_id,
        claim.subscription_id,
        claim.attempt,
        result.outcome,
        result.status,
        delivery.state,
        result.duration_seconds,
    )
    if delivery.state in (DeliveryState.BLOCKED, DeliveryState.DEAD):
        logger.error(
            "webhook_delivery_given_up delivery=%s subscription=%s state=%s",
            *(claim.delivery_id, claim.subscription_id, delivery.state),
        )
