"""Settling claimed deliveries by what became of them.

Rules:

- A result counts while its queue has the lease that it was claimed under. A sender that
  lost its lease is fenced: its result changes nothing.
- When a lease runs out the attempt is ``unknown`` and the delivery is sent again:
  the documented case in which a receiver sees a message twice.
- What was not acknowledged is retried, and at last given up: dead, or with ``hold``
  pending with the reason, until somebody decides. While its subscription is not active
  nothing is given up. With ``latest_wins`` it is superseded if a newer one came
  meanwhile. ``webhooks.queue.health`` has what it means for the receiver.
- A probe that fails costs no attempt: it came before the schedule's next one.
- Several results are recorded in one transaction, with a fixed number of statements
  as long as all is well.
- Queues are locked before subscriptions. That is safe although others go the other
  way: they touch only queues that nobody sends from.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, Update, bindparam, select, update
from sqlalchemy.orm import Session, aliased, defer

from webhooks import formats
from webhooks.metrics import count_by_day, note_attempt
from webhooks.outbox import given_up_as, log_given_up, publish_given_up
from webhooks.queue import health
from webhooks.queue.row import release
from webhooks.queue.schedule import is_last, next_attempt_at
from webhooks.roster.specs import OnPoison
from webhooks.sending.prepare import Claim
from webhooks.sending.sender import SendResult
from webhooks.statements import fetch, is_among, pipelined, write
from webhooks.subscriptions import REASON_DELETED
from webhooks.tables import (
    LIVE_STATES,
    REASON_SUPERSEDED,
    Attempt,
    AttemptOutcome,
    Delivery,
    DeliveryKind,
    DeliveryState,
    Queue,
    Subscription,
    SubscriptionState,
    state_in,
)

logger = logging.getLogger(__name__)

REASON_EXHAUSTED = "every attempt failed"
REASON_TEST_FAILED = "the test was not acknowledged"
REASON_ABORTED = "the receiver asked for no further attempt"
Answered = tuple[Claim, SendResult]


def settle_results(
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
    settled, failing = _still_held(session, answered)
    if not settled:
        return set()
    attempts = [_attempt_values(claim, result, now) for claim, result in settled]
    cx = session.connection()
    with pipelined(cx):
        write(cx, _finish_statement(), attempts)
        _deliver(cx, [pair for pair in settled if pair[1].is_delivered], now)
    failed = _read_failed(session, settled)
    # In one order, because the rows of failing subscriptions are locked.
    for claim, result in sorted(settled, key=lambda pair: pair[0].subscription_id):
        if result.is_delivered:
            _note_success(session, (claim, result), failing, now)
            continue
        delivery = failed[claim.delivery_id]
        _settle_failure(session, claim, result, delivery, now=now, jitter=jitter())
        failing.add(claim.subscription_id)
    for claim, result in settled:
        _tell(session, claim, result, failed.get(claim.delivery_id), now=now)
    count_by_day(
        cx,
        [
            (claim.subscription_id, result.is_delivered)
            for claim, result in settled
            if claim.kind != DeliveryKind.TEST
        ],
        now,
    )
    return {claim.delivery_id for claim, _ in settled}


def sweep_expired_leases(session: Session, *, now: datetime, limit: int = 100) -> int:
    """Give back what was being sent when its process ended; return how many."""
    rows = session.execute(
        select(Queue.id, Delivery, Attempt)
        .join(Delivery, Delivery.id == Queue.head_id)
        .join(
            Attempt,
            (Attempt.delivery_id == Delivery.id)
            & (Attempt.number == Delivery.attempt_count),
        )
        .where(Queue.lease_token.is_not(None), Queue.lease_until <= now)
        .order_by(Queue.lease_until)
        .limit(limit)
        .with_for_update(skip_locked=True, of=Queue)
        .execution_options(populate_existing=True)
    ).all()
    # In one order, because the rows of their subscriptions are locked.
    for queue_id, delivery, attempt in sorted(rows, key=lambda r: r[1].subscription_id):
        logger.warning(
            "webhook_lease_expired delivery=%s attempt=%d",
            *(delivery.id, delivery.attempt_count),
        )
        was_probe = delivery.next_attempt_at > attempt.started_at
        attempt.outcome, attempt.finished_at = AttemptOutcome.UNKNOWN, now
        subscription = health.lock(session, delivery.subscription_id)
        due = _due_after(delivery, subscription, now, now, was_probe=was_probe)
        _fail(session, delivery, subscription, due, now=now)
        _end(session, queue_id, delivery, subscription, now=now)
        note_attempt(
            session,
            subscription_id=subscription.id,
            kind=delivery.kind,
            state=delivery.state,
            outcome=AttemptOutcome.UNKNOWN,
            duration_seconds=None,
            waited=now - delivery.created_at,
        )
    unknown = [
        (delivery.subscription_id, False)
        for _, delivery, _ in rows
        if delivery.kind != DeliveryKind.TEST
    ]
    count_by_day(session.connection(), unknown, now)
    return len(rows)


def _still_held(
    session: Session, answered: Sequence[Answered]
) -> tuple[list[Answered], set[str]]:
    """Lock the queues; return the results whose claims still hold theirs.

    Claim by claim: a late result may come together with that of the claim after it.
    And the subscriptions whose last answer was a failure.
    """
    cx = session.connection()
    ids = sorted({claim.queue_id for claim, _ in answered})
    rows = fetch(cx, _held_query(cx.dialect.name), {"ids": ids})
    tokens = {queue_id: token for queue_id, token, _, _ in rows}
    held = []
    for claim, result in answered:
        if tokens.get(claim.queue_id) == claim.lease_token:
            held.append((claim, result))
        else:
            logger.warning(
                "webhook_result_fenced delivery=%s attempt=%d",
                *(claim.delivery_id, claim.attempt),
            )
    return held, {owner for _, _, owner, failures in rows if failures}


def _deliver(cx: Connection, answered: Sequence[Answered], now: datetime) -> None:
    """Settle all that was acknowledged."""
    if not answered:
        return
    ids = [claim.delivery_id for claim, _ in answered]
    write(cx, _deliver_statement(cx.dialect.name), [{"ids": ids, "now": now}])
    receipts = [
        {"of_delivery": claim.delivery_id, "receipt": receipt}
        for claim, result in answered
        if (receipt := _find_receipt(claim, result)) is not None
    ]
    if receipts:
        write(cx, _receipt_statement(), receipts)
    release(cx, [claim.queue_id for claim, _ in answered])


def _read_failed(
    session: Session, answered: Sequence[Answered]
) -> Mapping[str, Delivery]:
    ids = [claim.delivery_id for claim, result in answered if not result.is_delivered]
    if not ids:
        return {}
    rows = session.scalars(
        select(Delivery)
        .options(defer(Delivery.body))
        .where(Delivery.id.in_(ids))
        .execution_options(populate_existing=True)
    )
    return {row.id: row for row in rows}


def _note_success(
    session: Session, answered: Answered, failing: set[str], now: datetime
) -> None:
    claim, result = answered
    if claim.kind == DeliveryKind.TEST:
        return
    health.note_success(
        session,
        claim.subscription_id,
        result,
        was_failing=claim.subscription_id in failing,
        event_type=claim.event_type,
        now=now,
    )
    failing.discard(claim.subscription_id)


def _settle_failure(
    session: Session,
    claim: Claim,
    result: SendResult,
    delivery: Delivery,
    *,
    now: datetime,
    jitter: float,
) -> None:
    """Settle what failed. ``jitter``, from 0 to 1, varies the delay of a retry."""
    subscription = health.lock(session, claim.subscription_id)
    if claim.kind == DeliveryKind.TEST:
        _fail(session, delivery, subscription, None, now=now)
    elif _is_elsewhere(claim, subscription):
        # What was answered there says nothing of the present place.
        delivery.attempts_forgiven = delivery.attempt_count
        _fail(session, delivery, subscription, now, now=now)
    else:
        scheduled = next_attempt_at(
            _attempts_of_budget(delivery),
            now,
            jitter,
            result.retry_after,
            schedule=subscription.schedule_seconds,
        )
        due = _due_after(
            delivery, subscription, now, scheduled, was_probe=claim.is_probe
        )
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
            _put(delivery, now, state=DeliveryState.DEAD, reason=REASON_ABORTED)
        else:
            _fail(session, delivery, subscription, due, now=now)
    _end(session, claim.queue_id, delivery, subscription, now=now)


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
    is_active = subscription.state == SubscriptionState.ACTIVE
    if delivery.kind == DeliveryKind.TEST:
        _put(delivery, now, state=DeliveryState.DEAD, reason=REASON_TEST_FAILED)
    elif subscription.deleted_at is not None:
        _put(delivery, now, state=DeliveryState.DEAD, reason=REASON_DELETED)
    elif _is_overtaken(session, delivery, subscription):
        _put(delivery, now, state=DeliveryState.DEAD, reason=REASON_SUPERSEDED)
    elif due is None and is_active:
        on_poison, kind = subscription.on_poison, delivery.kind
        _put(delivery, now, **given_up_as(on_poison, kind, REASON_EXHAUSTED))
    else:
        due = due or now
        delivery.next_attempt_at = max(due, subscription.held_back_until or due)
        _put(delivery, now, state=DeliveryState.PENDING, reason=None)


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


def _put(
    delivery: Delivery, now: datetime, *, state: DeliveryState, reason: str | None
) -> None:
    delivery.state, delivery.reason, delivery.updated_at = state, reason, now


def _end(
    session: Session,
    queue_id: int,
    delivery: Delivery,
    subscription: Subscription,
    *,
    now: datetime,
) -> None:
    """End the lease, and publish that attempts are used up where they are."""
    session.flush()
    release(session.connection(), [queue_id])
    if delivery.reason == REASON_EXHAUSTED:
        publish_given_up(session, delivery, subscription, now=now)


def _tell(
    session: Session,
    claim: Claim,
    result: SendResult,
    failed: Delivery | None,
    *,
    now: datetime,
) -> None:
    """Log and count what came of a claim; ``failed`` is its delivery if it did."""
    state = DeliveryState.DELIVERED if failed is None else failed.state
    is_given_up = failed is not None and failed.reason is not None
    logger.info(
        "webhook_attempt_finished delivery=%s event=%s subscription=%s attempt=%d"
        " outcome=%s status=%s state=%s duration_seconds=%.3f",
        claim.delivery_id,
        claim.event_id,
        claim.subscription_id,
        claim.attempt,
        result.outcome,
        result.status,
        "blocked" if is_given_up and state == DeliveryState.PENDING else state,
        result.duration_seconds,
    )
    if failed is not None and is_given_up and failed.reason != REASON_SUPERSEDED:
        log_given_up(failed)
    note_attempt(
        session,
        subscription_id=claim.subscription_id,
        kind=claim.kind,
        state=state,
        outcome=result.outcome,
        duration_seconds=result.duration_seconds,
        waited=now - claim.created_at,
    )


# Statements are built once: building one costs more than executing it.
@cache
def _held_query(database: str) -> Select[int, str | None, str, int]:
    return (
        select(
            Queue.id,
            Queue.lease_token,
            Queue.subscription_id,
            Subscription.consecutive_failures,
        )
        .join(Subscription, Subscription.id == Queue.subscription_id)
        # As no index has it: by the statistics of an idle time, PostgreSQL would look
        # through all leases since its last vacuum.
        .where(
            is_among(Queue.id, "ids", database),
            Queue.lease_token.concat("").is_not(None),
        )
        .order_by(Queue.subscription_id, Queue.ordering_key)
        .with_for_update(of=Queue)
    )


@cache
def _deliver_statement(database: str) -> Update:
    return (
        update(Delivery)
        .where(is_among(Delivery.id, "ids", database))
        .values(
            state=DeliveryState.DELIVERED,
            reason=None,
            receipt=None,
            updated_at=bindparam("now"),
        )
    )


@cache
def _receipt_statement() -> Update:
    return (
        update(Delivery)
        .where(Delivery.id == bindparam("of_delivery"))
        .values(receipt=bindparam("receipt"))
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


def _find_receipt(claim: Claim, result: SendResult) -> str | None:
    """Return what the receiver started because of the delivery, if it tells."""
    return formats.find_receipt(
        claim.format, result.response_headers, result.response_body
    )
