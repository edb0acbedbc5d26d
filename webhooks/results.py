"""Recording what became of claimed deliveries.

Rules:

- Every result is a compare-and-set on (id, token). A sender that lost its lease is
  fenced: its result changes nothing.
- When a lease runs out the attempt is ``unknown`` and the delivery is sent again:
  the documented case in which a receiver sees a message twice.
- A failure is a retry, then ``blocked`` (hold) or ``dead``; ``held`` where the
  subscription is not active any more. With ``latest_wins`` it is ``superseded`` if
  a newer one came meanwhile. ``webhook.health`` has what it means for the endpoint.
- A probe that fails costs no attempt: it came before the schedule's next one.
- Several results are recorded in one transaction, with a fixed number of statements
  as long as all is well.
- Deliveries' rows are locked before subscriptions'. That is safe although others go
  the other way: they touch only rows that are not being sent.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Select, Update, bindparam, select, update
from sqlalchemy.orm import Session, aliased, defer

from webhooks import formats, health
from webhooks.claims import Claim, release
from webhooks.metrics import note_attempt
from webhooks.operational import (
    OperationalType,
    announce,
    describe_delivery,
    is_operational,
)
from webhooks.outbox import REASON_SUPERSEDED
from webhooks.retry import is_last, next_attempt_at
from webhooks.sending.sender import SendResult
from webhooks.subscriptions import REASON_DELETED
from webhooks.tables import (
    LIVE_STATES,
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

REASON_EXHAUSTED = "every attempt failed"
REASON_TEST_FAILED = "the test was not acknowledged"
REASON_ABORTED = "the receiver asked for no further attempt"

Answered = tuple[Claim, SendResult]


def record_results(
    session: Session,
    answered: Sequence[Answered],
    *,
    now: datetime,
    jitter: Callable[[], float],
) -> set[str]:
    """Settle claims by their results.

    ``jitter`` gives random numbers from 0 to 1 for the delays before retries.

    Returns:
        The ids of the deliveries that were settled. One that is missing had lost
        its lease: another sender has or had it, and nothing was changed.
    """
    held = _held_by(session, [claim for claim, _ in answered])
    settled = [pair for pair in answered if pair[0].delivery_id in held]
    if not settled:
        return set()
    owners = _read_subscriptions(session, [claim for claim, _ in settled])
    _finish_attempts(session, settled, now)
    # In one order, because the rows of failing subscriptions are locked.
    for claim, result in sorted(settled, key=lambda pair: pair[0].subscription_id):
        delivery, owner = held[claim.delivery_id], owners[claim.subscription_id]
        if not result.is_delivered:
            _settle_failure(session, claim, result, delivery, now=now, jitter=jitter())
            continue
        release(delivery, DeliveryState.DELIVERED, None, now)
        delivery.receipt = _find_receipt(claim, result)
        if claim.kind != DeliveryKind.TEST:
            health.note_success(
                session, owner, result, event_type=claim.event_type, now=now
            )
    session.flush()
    for claim, result in settled:
        _log(claim, held[claim.delivery_id], result)
        note_attempt(
            session,
            held[claim.delivery_id],
            result.outcome,
            duration_seconds=result.duration_seconds,
            now=now,
        )
    return set(held)


def record_result(
    session: Session, claim: Claim, result: SendResult, *, now: datetime, jitter: float
) -> bool:
    """Settle one claim; False means that its lease was lost."""
    settled = record_results(session, [(claim, result)], now=now, jitter=lambda: jitter)
    return bool(settled)


def sweep_expired_leases(session: Session, *, now: datetime, limit: int = 100) -> int:
    """Give back what was being sent when its process ended; say how many."""
    rows = session.execute(
        select(Delivery, Subscription, Attempt)
        .join(Subscription, Subscription.id == Delivery.subscription_id)
        .join(
            Attempt,
            (Attempt.delivery_id == Delivery.id)
            & (Attempt.number == Delivery.attempt_count),
        )
        .where(
            state_in(Delivery.state, DeliveryState.SENDING), Delivery.lease_until <= now
        )
        .order_by(Delivery.lease_until)
        .limit(limit)
        .with_for_update(skip_locked=True, of=Delivery)
        .execution_options(populate_existing=True)
    ).all()
    for delivery, subscription, attempt in rows:
        logger.warning(
            "webhook_lease_expired delivery=%s attempt=%d",
            *(delivery.id, delivery.attempt_count),
        )
        was_probe = delivery.next_attempt_at > attempt.started_at
        attempt.outcome, attempt.finished_at = AttemptOutcome.UNKNOWN, now
        due = _due_after(delivery, subscription, now, now, was_probe=was_probe)
        _fail(session, delivery, subscription, due, now=now)
        _announce_end(session, delivery, subscription, now)
        note_attempt(
            session,
            delivery,
            AttemptOutcome.UNKNOWN,
            duration_seconds=None,
            now=now,
        )
    session.flush()
    return len(rows)


def _held_by(session: Session, claims: Iterable[Claim]) -> dict[str, Delivery]:
    """Lock the deliveries that their claims still hold."""
    tokens = {claim.delivery_id: claim.lease_token for claim in claims}
    rows = session.scalars(_held_query(), {"ids": sorted(tokens)})
    held = {row.id: row for row in rows if row.lease_token == tokens[row.id]}
    for delivery_id in tokens.keys() - held.keys():
        logger.warning("webhook_result_fenced delivery=%s", delivery_id)
    return held


def _read_subscriptions(
    session: Session, claims: Iterable[Claim]
) -> Mapping[str, Subscription]:
    subscription_ids = {claim.subscription_id for claim in claims}
    rows = session.scalars(_owners_query(), {"ids": sorted(subscription_ids)})
    return {row.id: row for row in rows}


def _finish_attempts(
    session: Session, answered: Iterable[Answered], now: datetime
) -> None:
    session.connection().execute(
        _finish_statement(),
        [_attempt_values(claim, result, now) for claim, result in answered],
    )


# Statements are built once: building one costs more than executing it.
@cache
def _held_query() -> Select[Delivery]:
    return (
        select(Delivery)
        .options(defer(Delivery.body))
        .where(
            Delivery.id.in_(bindparam("ids", expanding=True)),
            state_in(Delivery.state, DeliveryState.SENDING),
        )
        .order_by(Delivery.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )


@cache
def _owners_query() -> Select[Subscription]:
    return (
        select(Subscription)
        .where(Subscription.id.in_(bindparam("ids", expanding=True)))
        .execution_options(populate_existing=True)
    )


@cache
def _finish_statement() -> Update:
    return (
        update(Attempt)
        .where(
            Attempt.delivery_id == bindparam("of_delivery"),
            Attempt.number == bindparam("of_number"),
        )
        .values({name: bindparam(name) for name in _ATTEMPT_COLUMNS})
    )


_ATTEMPT_COLUMNS = (
    "finished_at",
    "outcome",
    "status",
    "error",
    "duration_seconds",
    "request_headers",
    "response_headers",
    "response_body",
    "address",
    "timings",
)


def _attempt_values(claim: Claim, result: SendResult, now: datetime) -> dict[str, Any]:
    return {
        "of_delivery": claim.delivery_id,
        "of_number": claim.attempt,
        "finished_at": now,
        "outcome": result.outcome,
        "status": result.status,
        "error": result.error,
        "duration_seconds": result.duration_seconds,
        "request_headers": dict(result.request_headers),
        "response_headers": dict(result.response_headers),
        "response_body": result.response_body,
        "address": result.address,
        "timings": dict(result.timings),
    }


def _settle_failure(
    session: Session,
    claim: Claim,
    result: SendResult,
    delivery: Delivery,
    *,
    now: datetime,
    jitter: float,
) -> None:
    if claim.kind == DeliveryKind.TEST:
        release(delivery, DeliveryState.DEAD, REASON_TEST_FAILED, now)
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
    due = _due_after(delivery, subscription, now, scheduled, was_probe=claim.is_probe)
    # What an address that is no longer told answers says nothing of the present one.
    if subscription.deleted_at is None and claim.url == subscription.url:
        health.note_failure(
            session,
            subscription,
            result,
            event_type=claim.event_type,
            retry_at=due,
            now=now,
        )
    if health.control_of(result) == health.CONTROL_ABORT:
        release(delivery, DeliveryState.DEAD, REASON_ABORTED, now)
        return
    _fail(session, delivery, subscription, due, now=now)
    _announce_end(session, delivery, subscription, now)


def _find_receipt(claim: Claim, result: SendResult) -> str | None:
    """Say what the receiver started because of the delivery, if it tells."""
    return formats.find_receipt(
        claim.format, result.status or 0, result.response_headers, result.response_body
    )


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
    """Say when the delivery is due again; None where its attempts are used up."""
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
        release(delivery, DeliveryState.DEAD, REASON_TEST_FAILED, now)
    elif subscription.deleted_at is not None:
        release(delivery, DeliveryState.DEAD, REASON_DELETED, now)
    elif _is_overtaken(session, delivery, subscription):
        release(delivery, DeliveryState.SUPERSEDED, REASON_SUPERSEDED, now)
    elif subscription.state != SubscriptionState.ACTIVE:
        reason = subscription.state_reason or str(subscription.state)
        release(delivery, DeliveryState.HELD, reason, now)
    elif due is None:
        state = _exhausted_state(delivery, subscription)
        release(delivery, state, REASON_EXHAUSTED, now)
    else:
        delivery.next_attempt_at = max(due, subscription.breaker_until or due)
        release(delivery, DeliveryState.PENDING, None, now)


def _is_overtaken(
    session: Session, delivery: Delivery, subscription: Subscription
) -> bool:
    """Tell whether a newer event came while this one was being sent."""
    if (
        subscription.on_poison != OnPoison.LATEST_WINS
        or delivery.kind != DeliveryKind.EVENT
    ):
        return False
    newer = aliased(Delivery)
    found = session.scalars(
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
    return found.one_or_none() is not None


def _exhausted_state(delivery: Delivery, subscription: Subscription) -> DeliveryState:
    """Block only where there is an order to keep."""
    keeps_order = (
        delivery.kind == DeliveryKind.EVENT
        and subscription.ordering == Ordering.KEY
        and subscription.on_poison == OnPoison.HOLD
    )
    return DeliveryState.BLOCKED if keeps_order else DeliveryState.DEAD


def _announce_end(
    session: Session, delivery: Delivery, subscription: Subscription, now: datetime
) -> None:
    """Announce that the attempts of a delivery are used up."""
    if delivery.reason != REASON_EXHAUSTED or is_operational(delivery.event_type):
        return
    session.flush()
    details = describe_delivery(delivery)
    announce(session, OperationalType.EXHAUSTED, subscription, details, now=now)
    if delivery.state == DeliveryState.BLOCKED:
        announce(session, OperationalType.KEY_BLOCKED, subscription, details, now=now)


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
