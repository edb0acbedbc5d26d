"""What becomes of a delivery that was not acknowledged.

Rules:

- It is a retry, then ``blocked`` (hold) or ``dead``; ``held`` where the
  subscription is not active any more. With ``latest_wins`` it is ``superseded`` if
  a newer one came meanwhile. ``webhook.health`` has what it means for the receiver.
- A probe that fails costs no attempt: it came before the schedule's next one.
"""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from webhooks import health
from webhooks.blocking import block_key, given_up_state
from webhooks.claims import Claim
from webhooks.outbox import REASON_SUPERSEDED, announce_given_up
from webhooks.retry import is_last, next_attempt_at
from webhooks.roster.specs import OnPoison
from webhooks.sending.sender import SendResult
from webhooks.subscriptions import REASON_DELETED
from webhooks.tables import (
    LIVE_STATES,
    Delivery,
    DeliveryKind,
    DeliveryState,
    Subscription,
    SubscriptionState,
    state_in,
)

REASON_EXHAUSTED = "every attempt failed"
REASON_TEST_FAILED = "the test was not acknowledged"
REASON_ABORTED = "the receiver asked for no further attempt"


def settle_failure(
    session: Session,
    claim: Claim,
    result: SendResult,
    delivery: Delivery,
    *,
    now: datetime,
    jitter: float,
) -> None:
    """Settle what failed. ``jitter``, from 0 to 1, varies the delay of a retry."""
    if claim.kind == DeliveryKind.TEST:
        _release(delivery, DeliveryState.DEAD, REASON_TEST_FAILED, now)
        return
    # What was settled before must be in the database when the row is read anew.
    session.flush()
    subscription = health.lock(session, claim.subscription_id)
    scheduled = next_attempt_at(
        _attempts_of_budget(delivery),
        now,
        jitter,
        result.retry_after,
        schedule=subscription.schedule_seconds,
    )
    if _is_elsewhere(claim, subscription):
        # What was answered there says nothing of the present place.
        delivery.attempts_forgiven = delivery.attempt_count
        _fail(session, delivery, subscription, now, now=now)
        return
    due = _due_after(delivery, subscription, now, scheduled, was_probe=claim.is_probe)
    if subscription.deleted_at is None:
        health.note_failure(
            session,
            subscription,
            result,
            event_type=claim.event_type,
            retry_at=due,
            now=now,
        )
    if health.control_of(result) == health.CONTROL_ABORT:
        _release(delivery, DeliveryState.DEAD, REASON_ABORTED, now)
        return
    _fail(session, delivery, subscription, due, now=now)
    _publish_end(session, delivery, subscription, now)


def _is_elsewhere(claim: Claim, subscription: Subscription) -> bool:
    """Whether the subscription goes to another place than was tried."""
    return (
        claim.url,
        claim.headers,
        claim.sealed_credentials,
        claim.ca_certificate,
        claim.client_certificate,
    ) != (
        subscription.url,
        subscription.headers,
        subscription.sealed_credentials,
        subscription.ca_certificate,
        subscription.client_certificate,
    )


def settle_unknown(
    session: Session,
    delivery: Delivery,
    subscription: Subscription,
    *,
    was_probe: bool,
    now: datetime,
) -> None:
    """Settle what was being sent when its process ended."""
    due = _due_after(delivery, subscription, now, now, was_probe=was_probe)
    _fail(session, delivery, subscription, due, now=now)
    _publish_end(session, delivery, subscription, now)


def _attempts_of_budget(delivery: Delivery) -> int:
    return delivery.attempt_count - delivery.attempts_forgiven


def _due_after(
    delivery: Delivery,
    subscription: Subscription,
    now: datetime,
    scheduled: datetime | None,
    *,
    was_probe: bool,
) -> datetime | None:
    """Return when the delivery is due again; None where its attempts are used up."""
    if was_probe:
        delivery.attempts_forgiven += 1
        return max(delivery.next_attempt_at, now)
    if is_last(_attempts_of_budget(delivery), subscription.schedule_seconds):
        return None
    return scheduled


def _fail(
    session: Session,
    delivery: Delivery,
    subscription: Subscription,
    due: datetime | None,
    *,
    now: datetime,
) -> None:
    """Decide what becomes of a delivery that was not acknowledged."""
    if delivery.kind == DeliveryKind.TEST:
        _release(delivery, DeliveryState.DEAD, REASON_TEST_FAILED, now)
    elif subscription.deleted_at is not None:
        _release(delivery, DeliveryState.DEAD, REASON_DELETED, now)
    elif _is_overtaken(session, delivery, subscription):
        _release(delivery, DeliveryState.SUPERSEDED, REASON_SUPERSEDED, now)
    elif subscription.state != SubscriptionState.ACTIVE:
        reason = subscription.state_reason or str(subscription.state)
        _release(delivery, DeliveryState.HELD, reason, now)
    elif due is None:
        state = given_up_state(subscription.on_poison, delivery.kind)
        _release(delivery, state, REASON_EXHAUSTED, now)
        if state == DeliveryState.BLOCKED:
            session.flush()
            block_key(session, delivery, now=now)
    else:
        delivery.next_attempt_at = max(due, subscription.held_back_until or due)
        _release(delivery, DeliveryState.PENDING, None, now)


def _is_overtaken(
    session: Session, delivery: Delivery, subscription: Subscription
) -> bool:
    """Whether a newer event came while this one was being sent."""
    if (
        subscription.on_poison != OnPoison.LATEST_WINS
        or delivery.kind != DeliveryKind.EVENT
    ):
        return False
    newer = aliased(Delivery)
    newer_id = session.scalars(
        select(newer.id)
        .where(
            newer.subscription_id == delivery.subscription_id,
            newer.ordering_key == delivery.ordering_key,
            newer.sequence > delivery.sequence,
            newer.target.is_not_distinct_from(delivery.target),
            state_in(newer.state, *LIVE_STATES),
        )
        .limit(1)
    )
    return newer_id.one_or_none() is not None


def _publish_end(
    session: Session, delivery: Delivery, subscription: Subscription, now: datetime
) -> None:
    """Announce that the attempts of a delivery are used up."""
    if delivery.reason == REASON_EXHAUSTED:
        announce_given_up(session, delivery, subscription, now=now)


def _release(
    delivery: Delivery, state: DeliveryState, reason: str | None, now: datetime
) -> None:
    """End the lease, if there is one, and settle the delivery's state."""
    delivery.state = state
    delivery.reason = reason
    delivery.lease_token = None
    delivery.lease_until = None
    delivery.updated_at = now
