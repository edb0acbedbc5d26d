"""Taking deliveries out of the queue.

Rules:

- ``claim_due`` takes heads only: a delivery waits while an earlier one of its key
  is live. A claim is a lease with a token, not a lock held over HTTP.
- An attempt row exists before its request, so no request goes unrecorded.
- A delivery that cannot be sent (subscription gone, too old) is settled on the way
  and never stops the ones behind it.
- Transactions here are short, and the caller commits them. On SQLite the caller
  begins them IMMEDIATE; on PostgreSQL at READ COMMITTED, where NOT EXISTS can only
  err towards waiting, and the partial unique index is the backstop.
"""

import logging
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, insert, or_, select
from sqlalchemy.orm import Session, aliased

from webhooks import formats
from webhooks.events import PING_EVENT_TYPE, Event, new_sortable_id
from webhooks.outbox import store_event
from webhooks.signing import Scheme
from webhooks.subscriptions import REASON_DELETED, get
from webhooks.tables import (
    LIVE_STATES,
    Attempt,
    AttemptOutcome,
    Delivery,
    DeliveryKind,
    DeliveryState,
    Subscription,
    SubscriptionSecret,
    state_in,
)

logger = logging.getLogger(__name__)

MAX_ROUNDS = 100
REASON_TOO_OLD = "older than the subscription accepts"


@dataclass(frozen=True)
class Claim:
    """A delivery that one sender may send until its lease ends."""

    delivery_id: str
    subscription_id: str
    lease_token: str
    attempt: int
    kind: DeliveryKind
    event_id: str
    event_type: str
    url: str
    body: bytes
    content_type: str
    #: Every live signing secret of every scheme, newest first.
    sealed_secrets: tuple[str, ...]
    format: str = "standard"
    options: Mapping[str, Any] = field(default_factory=dict)
    #: The owner's headers, with placeholders.
    headers: Mapping[str, str] = field(default_factory=dict)
    #: The headers that the format rendered.
    delivery_headers: Mapping[str, str] = field(default_factory=dict)
    sealed_credentials: str | None = None
    signatures: tuple[str, ...] = (Scheme.V1,)
    ca_certificate: str | None = None
    client_certificate: str | None = None
    sealed_client_key: str | None = None


def claim_due(
    session: Session, *, now: datetime, limit: int, lease: timedelta
) -> list[Claim]:
    """Take up to ``limit`` deliveries that are due, the longest due first.

    ``limit`` is no more than can be sent at once, because a claim that waits eats
    its lease; ``lease`` is longer than a send can take.
    """
    for _ in range(MAX_ROUNDS):
        rows = _lock_due_heads(session, now, limit)
        if not rows:
            return []
        fit = [
            (row, owner) for row, owner in rows if not _settle_unfit(row, owner, now)
        ]
        if fit:
            return _lease(session, fit, now=now, until=now + lease)
        session.flush()
    return []


def start_test(
    session: Session, subscription_id: str, *, now: datetime, lease: timedelta
) -> Claim:
    """Store a ping and claim it in the same breath; paused ones get it too.

    Raises:
        UnknownSubscriptionError: there is none.
        RenderError: its format cannot express a ping.
    """
    subscription = get(session, subscription_id)
    event = Event(
        type=PING_EVENT_TYPE,
        ordering_key=PING_EVENT_TYPE,
        subject="",
        target=None,
        data={"subscription_id": subscription_id},
        occurred_at=now,
    )
    row = store_event(session, event, fanout=0, now=now)
    rendered = formats.render(subscription.format, row.id, event, subscription.options)
    delivery_id = new_sortable_id("dlv", now)
    delivery = Delivery(
        id=delivery_id,
        subscription_id=subscription_id,
        event_id=row.id,
        event_type=row.type,
        kind=DeliveryKind.TEST,
        # A key of its own: a test waits for nothing and stops nothing.
        ordering_key=delivery_id,
        sequence=1,
        state=DeliveryState.PENDING,
        body=rendered.body,
        content_type=rendered.content_type,
        headers=dict(rendered.headers),
        attempt_count=0,
        next_attempt_at=now,
        created_at=now,
        updated_at=now,
    )
    session.add(delivery)
    session.flush()
    return _lease(session, [(delivery, subscription)], now=now, until=now + lease)[0]


def database_now(session: Session, fallback: datetime) -> datetime:
    """Read PostgreSQL's clock, which all dispatchers share; else the fallback."""
    if session.get_bind().dialect.name != "postgresql":
        return fallback
    instant: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
    return instant


def _lock_due_heads(
    session: Session, now: datetime, limit: int
) -> list[tuple[Delivery, Subscription]]:
    earlier = aliased(Delivery)
    has_earlier = (
        select(earlier.id)
        .where(
            earlier.subscription_id == Delivery.subscription_id,
            earlier.ordering_key == Delivery.ordering_key,
            earlier.sequence < Delivery.sequence,
            state_in(earlier.state, *LIVE_STATES),
        )
        .exists()
    )
    query = (
        select(Delivery, Subscription)
        .join(Subscription, Subscription.id == Delivery.subscription_id)
        .where(
            state_in(Delivery.state, DeliveryState.PENDING),
            Delivery.next_attempt_at <= now,
            or_(
                Subscription.breaker_until.is_(None), Subscription.breaker_until <= now
            ),
            ~has_earlier,
        )
        .order_by(Delivery.next_attempt_at, Delivery.id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=Delivery)
        .execution_options(populate_existing=True)
    )
    return [
        (delivery, subscription) for delivery, subscription in session.execute(query)
    ]


def _settle_unfit(
    delivery: Delivery, subscription: Subscription, now: datetime
) -> bool:
    """Settle a delivery that must not be sent; tell whether it was one."""
    max_age = subscription.max_age_seconds
    if subscription.deleted_at is not None:
        release(delivery, DeliveryState.DEAD, REASON_DELETED, now)
    elif not subscription.is_open:
        release(delivery, DeliveryState.HELD, str(subscription.state), now)
    elif (
        max_age is not None
        and delivery.kind == DeliveryKind.EVENT
        and delivery.created_at + timedelta(seconds=max_age) < now
    ):
        release(delivery, DeliveryState.EXPIRED, REASON_TOO_OLD, now)
    else:
        return False
    return True


def _lease(
    session: Session,
    rows: Sequence[tuple[Delivery, Subscription]],
    *,
    now: datetime,
    until: datetime,
) -> list[Claim]:
    """Mark the deliveries as being sent and open their attempts."""
    token = uuid.uuid4().hex
    for delivery, _ in rows:
        delivery.state = DeliveryState.SENDING
        delivery.reason = None
        delivery.attempt_count += 1
        delivery.lease_token = token
        delivery.lease_until = until
        delivery.updated_at = now
    session.flush()
    session.execute(
        insert(Attempt),
        [
            {
                "delivery_id": delivery.id,
                "number": delivery.attempt_count,
                "started_at": now,
                "outcome": AttemptOutcome.STARTED,
            }
            for delivery, _ in rows
        ],
    )
    sealed = _live_secrets(session, {entry.id for _, entry in rows}, now)
    return [
        _claim(delivery, subscription, token, sealed.get(subscription.id, ()))
        for delivery, subscription in rows
    ]


def _claim(
    delivery: Delivery,
    subscription: Subscription,
    token: str,
    sealed_secrets: Sequence[str],
) -> Claim:
    return Claim(
        delivery_id=delivery.id,
        subscription_id=subscription.id,
        lease_token=token,
        attempt=delivery.attempt_count,
        kind=DeliveryKind(delivery.kind),
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        url=subscription.url,
        body=delivery.body,
        content_type=delivery.content_type,
        sealed_secrets=tuple(sealed_secrets),
        format=subscription.format,
        options=subscription.options,
        headers=subscription.headers,
        delivery_headers=delivery.headers,
        sealed_credentials=subscription.sealed_credentials,
        signatures=tuple(subscription.signatures),
        ca_certificate=subscription.ca_certificate,
        client_certificate=subscription.client_certificate,
        sealed_client_key=subscription.sealed_client_key,
    )


def _live_secrets(
    session: Session, subscription_ids: set[str], now: datetime
) -> Mapping[str, Sequence[str]]:
    """Give the sealed secrets that sign now, newest first, by subscription."""
    rows = session.execute(
        select(SubscriptionSecret.subscription_id, SubscriptionSecret.sealed)
        .where(
            SubscriptionSecret.subscription_id.in_(sorted(subscription_ids)),
            or_(
                SubscriptionSecret.not_after.is_(None),
                SubscriptionSecret.not_after > now,
            ),
        )
        .order_by(
            SubscriptionSecret.not_after.is_not(None),
            SubscriptionSecret.created_at.desc(),
            SubscriptionSecret.id.desc(),
        )
    )
    found: defaultdict[str, list[str]] = defaultdict(list)
    for subscription_id, sealed in rows:
        found[subscription_id].append(sealed)
    return found


def release(
    delivery: Delivery, state: DeliveryState, reason: str | None, now: datetime
) -> None:
    """End the lease, if there is one, and settle the delivery's state."""
    delivery.state = state
    delivery.reason = reason
    delivery.lease_token = None
    delivery.lease_until = None
    delivery.updated_at = now
