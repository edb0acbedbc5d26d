"""What a result does to its subscription: breaker, warnings, disabling.

Rules:

- ``webhooks.queue.schedule`` decides; here it is written, under the subscription's lock
  (FOR NO KEY UPDATE, which lets changes go on enqueuing).
- A healthy subscription's row is neither locked nor written.
- What waits for a receiver that rests is left as it is: whose turn it is says
  ``webhooks.queue.claim``.
- When the breaker closes, everything that waits for a later retry is tried at once.
  That try is free: it does not use the schedule up.
- Disabling holds what waits, by the subscription's state. Nothing is dropped.
- Announcements: ``webhooks.events``.
"""

import logging
from dataclasses import replace
from datetime import datetime

from sqlalchemy.orm import Session

from webhooks.events import (
    Disabled,
    Failing,
    Failures,
    Instant,
    OperationalType,
    format_instant,
    is_operational,
)
from webhooks.outbox import publish
from webhooks.queue import schedule
from webhooks.queue.row import try_now
from webhooks.queue.schedule import Health
from webhooks.sending.sender import SendResult
from webhooks.tables import Subscription, SubscriptionState

logger = logging.getLogger(__name__)

GONE = 410
CONTROL_HEADER = "webhook-delivery"
CONTROL_DISABLE = "disable"
CONTROL_ABORT = "abort-message"
REASON_GONE = "the receiver answered 410"
REASON_ASKED = "the receiver asked for it"
REASON_ONLY_FAILURES = f"nothing but failures for {schedule.DISABLE_AFTER.days} days"


def lock(session: Session, subscription_id: str) -> Subscription:
    """Read a subscription, deleted or not, and keep others from writing it."""
    return session.get_one(
        Subscription,
        subscription_id,
        populate_existing=True,
        with_for_update={"key_share": True},
    )


def control_of(result: SendResult) -> str:
    """Return what the receiver asks for besides its status."""
    return result.response_headers.get(CONTROL_HEADER, "").strip().lower()


def note_success(
    session: Session,
    subscription_id: str,
    result: SendResult,
    *,
    was_failing: bool,
    event_type: str,
    now: datetime,
) -> None:
    """Close the breaker, and obey a receiver that wants no more."""
    if was_failing:
        _recover(session, lock(session, subscription_id), event_type, now)
    if control_of(result) == CONTROL_DISABLE:
        subscription = lock(session, subscription_id)
        _disable(session, subscription, REASON_ASKED, event_type=event_type, now=now)


def note_failure(
    session: Session,
    subscription: Subscription,
    result: SendResult,
    *,
    event_type: str,
    retry_at: datetime | None,
    now: datetime,
) -> None:
    """Count a failure of a locked subscription, and draw the conclusions."""
    before = _health_of(subscription)
    health = schedule.after_failure(
        before,
        now,
        status=result.status,
        retry_after=result.retry_after,
        retry_at=retry_at,
    )
    if is_operational(event_type):
        # The warning is left to the next failure that may announce it.
        health = replace(health, warnings=before.warnings)
    _write(subscription, health)
    if health.trips > before.trips:
        logger.warning(
            "webhook_breaker_opened subscription=%s failures=%d until=%s",
            *(subscription.id, health.consecutive_failures, health.held_back_until),
        )
    if health.warnings > before.warnings:
        _warn(session, subscription, result, now)
    reason = _reason_to_disable(result, health, now)
    if reason is not None:
        _disable(session, subscription, reason, event_type=event_type, now=now)


def _reason_to_disable(result: SendResult, health: Health, now: datetime) -> str | None:
    if result.status == GONE:
        return REASON_GONE
    if control_of(result) == CONTROL_DISABLE:
        return REASON_ASKED
    return REASON_ONLY_FAILURES if health.must_be_disabled(now) else None


def _health_of(subscription: Subscription) -> Health:
    return Health(
        consecutive_failures=subscription.consecutive_failures,
        failing_since=subscription.failing_since,
        held_back_until=subscription.held_back_until,
        trips=subscription.breaker_trips,
        warnings=subscription.warnings,
    )


def _write(subscription: Subscription, health: Health) -> None:
    subscription.consecutive_failures = health.consecutive_failures
    subscription.failing_since = health.failing_since
    subscription.held_back_until = health.held_back_until
    subscription.breaker_trips = health.trips
    subscription.warnings = health.warnings


def _recover(
    session: Session, subscription: Subscription, event_type: str, now: datetime
) -> None:
    before = _health_of(subscription)
    _write(subscription, schedule.after_success(before, now))
    session.flush()
    if before.is_tripped:
        logger.info("webhook_breaker_closed subscription=%s", subscription.id)
        try_now(session.connection(), subscription.id, now=now, is_fresh=False)
    if before.has_been_announced and not is_operational(event_type):
        details: Failures = {
            "failing_since": _instant(before.failing_since),
            "failures": before.consecutive_failures,
        }
        publish(session, OperationalType.RECOVERED, subscription, details, now=now)


def _disable(
    session: Session,
    subscription: Subscription,
    reason: str,
    *,
    event_type: str,
    now: datetime,
) -> None:
    """Hold everything until somebody enables the subscription again."""
    if subscription.deleted_at is not None:
        return
    was_disabled = subscription.state == SubscriptionState.DISABLED
    subscription.state = SubscriptionState.DISABLED
    subscription.state_reason = reason
    subscription.updated_at = now
    session.flush()
    logger.warning(
        "webhook_subscription_disabled subscription=%s reason=%s",
        *(subscription.id, reason),
    )
    if not was_disabled and not is_operational(event_type):
        details: Disabled = {"reason": reason, **_failures(subscription)}
        publish(session, OperationalType.DISABLED, subscription, details, now=now)


def _warn(
    session: Session, subscription: Subscription, result: SendResult, now: datetime
) -> None:
    answered = f"the receiver answered {result.status}"
    details: Failing = {
        "status": result.status,
        # What is said of an answer may have an address in it.
        "error": result.error if result.status is None else answered,
        **_failures(subscription),
    }
    publish(session, OperationalType.FAILING, subscription, details, now=now)


def _failures(subscription: Subscription) -> Failures:
    return {
        "failing_since": _instant(subscription.failing_since),
        "failures": subscription.consecutive_failures,
    }


def _instant(instant: datetime | None) -> Instant | None:
    return None if instant is None else format_instant(instant)
