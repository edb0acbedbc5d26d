"""Settling claimed deliveries by what became of them.

Rules:

- Every result is a compare-and-set on (id, token). A sender that lost its lease is
  fenced: its result changes nothing.
- When a lease runs out the attempt is ``unknown`` and the delivery is sent again:
  the documented case in which a receiver sees a message twice.
- What failed goes to ``webhooks.unacknowledged``.
- Several results are recorded in one transaction, with a fixed number of statements
  as long as all is well.
- Deliveries' rows are locked before subscriptions'. That is safe although others go
  the other way: they touch only rows that are not being sent.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Select, Update, bindparam, select, update
from sqlalchemy.orm import Session, defer

from webhooks import formats, health
from webhooks.claims import Claim
from webhooks.metrics import note_attempt
from webhooks.sending.sender import SendResult
from webhooks.tables import (
    Attempt,
    AttemptOutcome,
    Delivery,
    DeliveryKind,
    DeliveryState,
    Subscription,
    state_in,
)
from webhooks.unacknowledged import settle_failure, settle_unknown

logger = logging.getLogger(__name__)

Answered = tuple[Claim, SendResult]
_DELIVERED = str(DeliveryState.DELIVERED)


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
    settled = _still_held(session, answered)
    if not settled:
        return set()
    _finish_attempts(session, settled, now)
    _deliver(session, [pair for pair in settled if pair[1].is_delivered], now)
    failed = _read_failed(session, settled)
    failing = _failing_among(session, {claim.subscription_id for claim, _ in settled})
    # In one order, because the rows of failing subscriptions are locked.
    for claim, result in sorted(settled, key=lambda pair: pair[0].subscription_id):
        if result.is_delivered:
            _note_success(session, (claim, result), failing, now)
            continue
        delivery = failed[claim.delivery_id]
        settle_failure(session, claim, result, delivery, now=now, jitter=jitter())
        failing.add(claim.subscription_id)
    session.flush()
    for claim, result in settled:
        is_failed = claim.delivery_id in failed
        state = failed[claim.delivery_id].state if is_failed else _DELIVERED
        _log(claim, state, result)
        note_attempt(
            session,
            subscription_id=claim.subscription_id,
            kind=claim.kind,
            state=state,
            outcome=result.outcome,
            duration_seconds=result.duration_seconds,
            waited=now - claim.created_at,
        )
    return {claim.delivery_id for claim, _ in settled}


def settle_result(
    session: Session, claim: Claim, result: SendResult, *, now: datetime, jitter: float
) -> bool:
    """Settle one claim; False means that its lease was lost."""
    settled = settle_results(session, [(claim, result)], now=now, jitter=lambda: jitter)
    return bool(settled)


def sweep_expired_leases(session: Session, *, now: datetime, limit: int = 100) -> int:
    """Give back what was being sent when its process ended; return how many."""
    rows = session.execute(
        select(Delivery, Attempt)
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
    # In one order, because the rows of their subscriptions are locked.
    for delivery, attempt in sorted(rows, key=lambda row: row[0].subscription_id):
        logger.warning(
            "webhook_lease_expired delivery=%s attempt=%d",
            *(delivery.id, delivery.attempt_count),
        )
        was_probe = delivery.next_attempt_at > attempt.started_at
        attempt.outcome, attempt.finished_at = AttemptOutcome.UNKNOWN, now
        session.flush()
        subscription = health.lock(session, delivery.subscription_id)
        settle_unknown(session, delivery, subscription, was_probe=was_probe, now=now)
        note_attempt(
            session,
            subscription_id=subscription.id,
            kind=delivery.kind,
            state=delivery.state,
            outcome=AttemptOutcome.UNKNOWN,
            duration_seconds=None,
            waited=now - delivery.created_at,
        )
    session.flush()
    return len(rows)


def _still_held(session: Session, answered: Sequence[Answered]) -> list[Answered]:
    """Lock the deliveries, and give the results whose claims still hold theirs.

    Claim by claim: a late result may come together with that of the claim after it.
    """
    ids = {claim.delivery_id for claim, _ in answered}
    rows = session.execute(_held_query(), {"ids": sorted(ids)})
    tokens = {row.id: row.lease_token for row in rows}
    held = []
    for claim, result in answered:
        if tokens.get(claim.delivery_id) == claim.lease_token:
            held.append((claim, result))
        else:
            logger.warning(
                "webhook_result_fenced delivery=%s attempt=%d",
                *(claim.delivery_id, claim.attempt),
            )
    return held


def _deliver(session: Session, answered: Sequence[Answered], now: datetime) -> None:
    """Settle all that was acknowledged."""
    if not answered:
        return
    connection = session.connection()
    ids = [claim.delivery_id for claim, _ in answered]
    connection.execute(_deliver_statement(), {"ids": ids, "now": now})
    receipts = [
        {"of_delivery": claim.delivery_id, "receipt": receipt}
        for claim, result in answered
        if (receipt := _find_receipt(claim, result)) is not None
    ]
    if receipts:
        connection.execute(_receipt_statement(), receipts)


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


def _failing_among(session: Session, subscription_ids: Collection[str]) -> set[str]:
    """Return those whose last answer was a failure."""
    return set(session.scalars(_failing_query(), {"ids": sorted(subscription_ids)}))


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


def _finish_attempts(
    session: Session, answered: Iterable[Answered], now: datetime
) -> None:
    session.connection().execute(
        _finish_statement(),
        [_attempt_values(claim, result, now) for claim, result in answered],
    )


# Statements are built once: building one costs more than executing it.
@cache
def _held_query() -> Select[str, str | None]:
    return (
        select(Delivery.id, Delivery.lease_token)
        .where(
            Delivery.id.in_(bindparam("ids", expanding=True)),
            state_in(Delivery.state, DeliveryState.SENDING),
        )
        .order_by(Delivery.id)
        .with_for_update()
    )


@cache
def _deliver_statement() -> Update:
    return (
        update(Delivery)
        .where(Delivery.id.in_(bindparam("ids", expanding=True)))
        .values(
            state=DeliveryState.DELIVERED,
            reason=None,
            lease_token=None,
            lease_until=None,
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
def _failing_query() -> Select[str]:
    return select(Subscription.id).where(
        Subscription.id.in_(bindparam("ids", expanding=True)),
        Subscription.consecutive_failures > 0,
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


def _log(claim: Claim, state: str, result: SendResult) -> None:
    logger.info(
        "webhook_attempt_finished delivery=%s event=%s subscription=%s attempt=%d"
        " outcome=%s status=%s state=%s duration_seconds=%.3f",
        claim.delivery_id,
        claim.event_id,
        claim.subscription_id,
        claim.attempt,
        result.outcome,
        result.status,
        state,
        result.duration_seconds,
    )
    if state in (DeliveryState.BLOCKED, DeliveryState.DEAD):
        logger.error(
            "webhook_delivery_given_up delivery=%s subscription=%s state=%s",
            *(claim.delivery_id, claim.subscription_id, state),
        )
