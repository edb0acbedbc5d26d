"""Taking deliveries out of the queue.

Rules:

- ``claim_due`` takes heads only: a delivery waits while an earlier one of its key
  is live. A claim is a lease with a token, not a lock held over HTTP.
- An attempt row exists before its request, so no request goes unrecorded.
- A delivery whose subscription was closed meanwhile is held on the way and never
  stops those of others.
- Transactions here are short, and the caller commits them. On SQLite the caller
  begins them IMMEDIATE; on PostgreSQL at READ COMMITTED, where a look for earlier
  ones can only err towards waiting, and the partial unique index is the backstop.
"""

import logging
import uuid
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Protocol

from sqlalchemy import Select, Update, bindparam, insert, or_, select, update
from sqlalchemy.orm import Session

from webhooks import formats
from webhooks.events import PING_EVENT_TYPE, Event, new_sortable_id
from webhooks.heads import Head, lock_due, lock_one, lock_probes
from webhooks.operational import Ping
from webhooks.outbox import store_event
from webhooks.pacing import Pace
from webhooks.roster.specs import Scheme
from webhooks.subscriptions import get
from webhooks.tables import (
    Attempt,
    AttemptOutcome,
    Delivery,
    DeliveryKind,
    DeliveryState,
    SubscriptionSecret,
)

logger = logging.getLogger(__name__)

MAX_ROUNDS = 100


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
    #: When the delivery was stored.
    created_at: datetime
    url: str
    body: bytes
    content_type: str
    #: Sent before its time, to see whether the receiver is well again.
    is_probe: bool
    #: The one before it in its order was given up.
    follows_gap: bool
    #: Whether the receiver's last answers were failures.
    is_endpoint_failing: bool
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


class Allowance(Protocol):
    """How much each subscription may have; asked and told once per claim."""

    @property
    def passed_over(self) -> Collection[str]:
        """The subscriptions that get nothing."""
        ...

    @property
    def is_healthy_only(self) -> bool:
        """Whether failing ones get nothing either."""
        ...

    def take(self, subscription_id: str, *, is_failing: bool) -> bool:
        """Take one for a subscription, if it may have one more."""
        ...


class Unlimited:
    """Lets every subscription have all it wants."""

    passed_over: Collection[str] = ()
    is_healthy_only = False

    def take(self, subscription_id: str, *, is_failing: bool) -> bool:
        """Allow it."""
        del subscription_id, is_failing
        return True


def claim_due(
    session: Session,
    *,
    now: datetime,
    limit: int,
    lease: timedelta,
    allowance: Allowance | None = None,
) -> list[Claim]:
    """Take up to ``limit`` deliveries that are due, the longest due of each receiver.

    ``limit`` is no more than can be sent at once, because a claim that waits eats
    its lease; ``lease`` is longer than a send can take.
    """
    allowed = allowance or Unlimited()
    pace = Pace(session, now)
    taken: list[Claim] = []
    for _ in range(MAX_ROUNDS):
        room = limit - len(taken)
        heads = lock_due(
            session,
            now=now,
            limit=room,
            passed_over={*allowed.passed_over, *pace.passed_over},
            is_healthy_only=allowed.is_healthy_only,
        )
        fit = [head for head in heads if not _hold_if_closed(session, head, now)]
        chosen = [
            head
            for head in fit
            if allowed.take(
                head.subscription.id,
                is_failing=head.subscription.consecutive_failures > 0,
            )
            and pace.take(head.subscription)
        ]
        pace.write()
        taken += _lease(session, chosen, now=now, until=now + lease)
        # What was settled may have opened its key, and what one may not have is
        # another's; a whole page may hide more.
        has_more = len(chosen) < len(heads) or len(heads) == room
        if len(taken) == limit or not has_more:
            break
    return taken


def claim_probes(
    session: Session, *, now: datetime, limit: int, lease: timedelta
) -> list[Claim]:
    """Take one delivery each for up to ``limit`` receivers that may be well again."""
    heads = lock_probes(session, now=now, limit=limit)
    pace = Pace(session, now)
    fit = [
        head
        for head in heads
        if not _hold_if_closed(session, head, now) and pace.take(head.subscription)
    ]
    pace.write()
    return _lease(session, fit, now=now, until=now + lease)


def start_test(
    session: Session,
    subscription_id: str,
    *,
    sample: str | None = None,
    now: datetime,
    lease: timedelta,
) -> Claim:
    """Store a ping and claim it in the same breath; paused ones get it too.

    A format that has words for some types only shows an example of ``sample``, a
    type or a word of its own, or else of the first type that is asked for.

    Raises:
        UnknownSubscriptionError: there is none.
        RenderError: its format cannot express a ping.
    """
    subscription = get(session, subscription_id)
    name, options = subscription.format, subscription.options
    sample = sample or formats.first_type(name, subscription.event_types)
    data: Ping = {"subscription_id": subscription_id}
    if sample is not None:
        data["sample"] = sample
    event = Event(
        type=PING_EVENT_TYPE,
        ordering_key=PING_EVENT_TYPE,
        subject="",
        target=None,
        data=data,
        occurred_at=now,
    )
    row = store_event(session, event, fanout=0, now=now)
    rendered = formats.render(name, row.id, event, options)
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
    (head,) = lock_one(session, delivery_id)
    return _lease(session, [head], now=now, until=now + lease)[0]


def _hold_if_closed(session: Session, head: Head, now: datetime) -> bool:
    """Hold a delivery that must not be sent now; return whether it is one."""
    if head.subscription.is_open:
        return False
    reason = str(head.subscription.state)
    session.execute(
        update(Delivery)
        .where(Delivery.id == head.delivery.id)
        .values(state=DeliveryState.HELD, reason=reason, updated_at=now)
        .execution_options(synchronize_session=False)
    )
    return True


def _lease(
    session: Session, heads: Sequence[Head], *, now: datetime, until: datetime
) -> list[Claim]:
    """Mark the deliveries as being sent and open their attempts."""
    if not heads:
        return []
    token = uuid.uuid4().hex
    connection = session.connection()
    connection.execute(
        _lease_statement(),
        {
            "ids": [head.delivery.id for head in heads],
            "token": token,
            "until": until,
            "now": now,
        },
    )
    attempts = [
        {
            "delivery_id": head.delivery.id,
            "number": head.delivery.attempt_count + 1,
            "started_at": now,
            "outcome": AttemptOutcome.STARTED,
        }
        for head in heads
    ]
    connection.execute(insert(Attempt), attempts)
    sealed = _live_secrets(session, {head.subscription.id for head in heads}, now)
    claims = []
    for head in heads:
        try:
            claims.append(
                _claim(head, token, sealed.get(head.subscription.id, ()), now)
            )
        except Exception:
            # A row that nobody can read must not stop the others: its attempt ends
            # with its lease, and so in the end do all of its attempts.
            logger.exception("webhook_claim_failed delivery=%s", head.delivery.id)
    return claims


# Statements are built once: building one costs more than executing it.
@cache
def _lease_statement() -> Update:
    return (
        update(Delivery)
        .where(Delivery.id.in_(bindparam("ids", expanding=True)))
        .values(
            state=DeliveryState.SENDING,
            reason=None,
            attempt_count=Delivery.attempt_count + 1,
            lease_token=bindparam("token"),
            lease_until=bindparam("until"),
            updated_at=bindparam("now"),
        )
    )


def _claim(
    head: Head, token: str, sealed_secrets: Sequence[str], now: datetime
) -> Claim:
    delivery, subscription = head.delivery, head.subscription
    rendered_as = delivery.rendered_as or {}
    # Options that changed hold for what waits; those of another format do not.
    is_format_kept = rendered_as.get("format", subscription.format) == (
        subscription.format
    )
    return Claim(
        delivery_id=delivery.id,
        subscription_id=subscription.id,
        lease_token=token,
        attempt=delivery.attempt_count + 1,
        kind=DeliveryKind(delivery.kind),
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        created_at=delivery.created_at,
        url=subscription.url,
        body=delivery.body,
        content_type=delivery.content_type,
        is_probe=delivery.next_attempt_at > now,
        follows_gap=delivery.follows_gap,
        is_endpoint_failing=subscription.consecutive_failures > 0,
        sealed_secrets=tuple(sealed_secrets),
        format=rendered_as.get("format", subscription.format),
        options=subscription.options if is_format_kept else rendered_as["options"],
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
    """Return the sealed secrets that sign now, newest first, by subscription."""
    values = {"ids": sorted(subscription_ids), "now": now}
    rows = session.execute(_secrets_query(), values)
    secrets: defaultdict[str, list[str]] = defaultdict(list)
    for subscription_id, sealed in rows:
        secrets[subscription_id].append(sealed)
    return secrets


@cache
def _secrets_query() -> Select[str, str]:
    return (
        select(SubscriptionSecret.subscription_id, SubscriptionSecret.sealed)
        .where(
            SubscriptionSecret.subscription_id.in_(bindparam("ids", expanding=True)),
            or_(
                SubscriptionSecret.not_after.is_(None),
                SubscriptionSecret.not_after > bindparam("now"),
            ),
        )
        .order_by(
            SubscriptionSecret.not_after.is_not(None),
            SubscriptionSecret.created_at.desc(),
            SubscriptionSecret.id.desc(),
        )
    )
