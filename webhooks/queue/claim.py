"""Taking deliveries out of their queues.

Rules:

- A queue's first live delivery is sent, and no other, under a lease that is the
  queue's: a token, not a lock held over HTTP.
- Which receivers may be sent to is asked of their rows before anything that waits for
  them is looked at: one that is paused, rests, or is sent to as fast as it may be costs
  a claim the reading of its own row, however much it has waiting.
- What is free is shared out among the receivers that have something due, and each gives
  what is due longest. So none is read past for the sake of another.
- A receiver whose breaker is open gets a single probe at a time, over all dispatchers:
  its row is the mutex. A probe is what is due first, whether it is due yet or not.
- Queues are locked as they are found; what another dispatcher has locked is passed
  over, never waited for. Deliveries are read under the lock, by a statement of its own.
- An attempt row exists before its request, so no request goes unrecorded.
- Transactions here are short, and the caller commits them. On SQLite the caller begins
  them IMMEDIATE; on PostgreSQL at READ COMMITTED.
"""

import logging
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    Integer,
    Select,
    Update,
    and_,
    bindparam,
    exists,
    false,
    func,
    insert,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.orm import Session, aliased

from webhooks import formats
from webhooks.errors import UnknownSubscriptionError
from webhooks.events import PING_EVENT_TYPE, Event, Ping, new_sortable_id
from webhooks.outbox import store_event
from webhooks.queue.fairness import Pace, Quota
from webhooks.queue.schedule import OPEN_AFTER
from webhooks.roster.members import Member, read_members
from webhooks.sending.prepare import Claim
from webhooks.statements import fetch, is_among, pipelined, write
from webhooks.tables import (
    REASON_SUPERSEDED,
    Attempt,
    AttemptOutcome,
    Delivery,
    DeliveryKind,
    DeliveryState,
    Queue,
    QueueState,
    Subscription,
    SubscriptionState,
    state_in,
)

logger = logging.getLogger(__name__)

MAX_ROUNDS = 100


class _Locked(NamedTuple):
    """A queue that is locked, and whether its receiver's last answer was a failure."""

    id: int
    subscription_id: str
    head_id: str
    next_at: datetime
    next_sequence: int
    failures: int

    @property
    def is_failing(self) -> bool:
        return self.failures > 0


_OF_QUEUE = _Locked._fields[:-1]


class _Due(NamedTuple):
    """A delivery whose turn it is, as far as sending it needs it."""

    id: str
    subscription_id: str
    event_id: str
    event_type: str
    kind: str
    body: bytes
    content_type: str
    headers: Mapping[str, str]
    rendered_as: Mapping[str, Any] | None
    attempt_count: int
    next_attempt_at: datetime
    created_at: datetime
    sequence: int
    state: str
    follows_gap: bool


def claim_due(
    session: Session,
    *,
    now: datetime,
    limit: int,
    lease: timedelta,
    quota: Quota | None = None,
) -> list[Claim]:
    """Take up to ``limit`` deliveries that are due, the longest due of each receiver.

    ``limit`` is no more than can be sent at once, because a claim that waits eats
    its lease; ``lease`` is longer than a send can take. ``quota`` is what each receiver
    may have, which without one is all that it wants.
    """
    cx = session.connection()
    passed_over = set() if quota is None else quota.passed_over
    is_healthy_only = quota is not None and quota.is_healthy_only
    pace = Pace(cx, now)
    taken: list[Claim] = []
    for _ in range(MAX_ROUNDS):
        room = limit - len(taken)
        locked = _lock_due(
            cx,
            now=now,
            limit=room,
            passed_over={*passed_over, *pace.passed_over},
            failures=1 if is_healthy_only else OPEN_AFTER,
        )
        if not locked:
            break
        members = read_members(cx)
        chosen = [
            queue
            for queue in locked
            if (member := members.get(queue.subscription_id))
            and (not quota or quota.take(member.id, is_failing=queue.is_failing))
            and pace.take(member)
        ]
        pace.write()
        taken += _lease(cx, members, chosen, now=now, until=now + lease)
        # What one may not have is another's; a whole page may hide more.
        has_more = len(chosen) < len(locked) or len(locked) == room
        if len(taken) >= limit or not has_more:
            break
    return taken


def claim_probes(
    session: Session, *, now: datetime, limit: int, lease: timedelta
) -> list[Claim]:
    """Take one delivery each for up to ``limit`` receivers that may be well again."""
    cx = session.connection()
    half_open = fetch(cx, _half_open(), {"now": now, "limit": limit})
    if not half_open:
        return []
    members = read_members(cx)
    pace = Pace(cx, now)
    locked = [
        _Locked(*(*row, failures))
        for subscription_id, failures in half_open
        for row in fetch(cx, _first_of(), {"subscription": subscription_id})
    ]
    chosen = [
        queue
        for queue in locked
        if (member := members.get(queue.subscription_id)) and pace.take(member)
    ]
    pace.write()
    return _lease(cx, members, chosen, now=now, until=now + lease)


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
    cx = session.connection()
    members = read_members(cx)
    if subscription_id not in members:
        raise UnknownSubscriptionError
    member = members[subscription_id]
    name, options = member.format, member.options
    sample = sample or formats.first_type(name, member.event_types)
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
        # A queue of its own: a test waits for nothing and stops nothing.
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
    queue = Queue(
        subscription_id=subscription_id,
        ordering_key=delivery_id,
        next_sequence=2,
        head_id=delivery_id,
        next_at=now,
    )
    session.add_all([delivery, queue])
    session.flush()
    locked = _Locked(queue.id, subscription_id, delivery_id, now, 2, failures=0)
    return _lease(cx, members, [locked], now=now, until=now + lease)[0]


def _lock_due(
    cx: Connection,
    *,
    now: datetime,
    limit: int,
    passed_over: Collection[str],
    failures: int,
) -> Sequence[_Locked]:
    """Lock up to ``limit`` queues that are due, an equal share of each receiver.

    They are given the longest due first. More may be due: a receiver gives no more
    than its share, even if others leave some of theirs.
    """
    values = {"now": now, "failures": failures}
    rows = fetch(
        cx, _ready(cx.dialect.name), {**values, "passed_over": sorted(passed_over)}
    )
    ready = [subscription_id for (subscription_id,) in rows]
    locked: list[_Locked] = []
    # Once, unless another dispatcher has locked what the first ones have.
    while ready and (free := limit - len(locked)):
        owners, ready = ready[:free], ready[free:]
        shared = {**values, "ready": owners, "share": free // len(owners)}
        locked += [_Locked(*row) for row in fetch(cx, _due(cx.dialect.name), shared)]
    return sorted(locked, key=lambda queue: (queue.next_at, queue.head_id))


def _lease(
    cx: Connection,
    members: Mapping[str, Member],
    locked: Sequence[_Locked],
    *,
    now: datetime,
    until: datetime,
) -> list[Claim]:
    """Mark the deliveries as being sent and open their attempts."""
    if not locked:
        return []
    token, database = uuid.uuid4().hex, cx.dialect.name
    rows = fetch(cx, _heads(database), {"ids": [queue.head_id for queue in locked]})
    # Not asked for: by the statistics of an idle time, PostgreSQL would then look for
    # them among all that is live.
    heads = {
        head.id: head
        for head in (_Due(*row) for row in rows)
        if head.state == DeliveryState.PENDING
    }
    locked = [queue for queue in locked if queue.head_id in heads]
    ids = [queue.id for queue in locked]
    attempts = [
        {"delivery_id": head.id, "number": head.attempt_count + 1, "started_at": now}
        for head in heads.values()
    ]
    with pipelined(cx):
        write(cx, _leasing(database), [{"ids": ids, "token": token, "until": until}])
        write(cx, _sending(database), [{"ids": list(heads), "now": now}])
        write(cx, _OPEN_ATTEMPT, attempts)
    claims = []
    for queue in locked:
        head, member = heads[queue.head_id], members[queue.subscription_id]
        try:
            claims.append(_claim(queue, head, member, token=token, now=now))
        except Exception:
            # A row that nobody can read must not stop the others: its attempt ends
            # with its lease, and so in the end do all of its attempts.
            logger.exception("webhook_claim_failed delivery=%s", queue.head_id)
    return claims


def _claim(
    queue: _Locked, head: _Due, member: Member, *, token: str, now: datetime
) -> Claim:
    rendered_as = head.rendered_as or {}
    # Options that changed hold for what waits; those of another format do not.
    is_format_kept = rendered_as.get("format", member.format) == member.format
    return Claim(
        delivery_id=head.id,
        subscription_id=member.id,
        queue_id=queue.id,
        lease_token=token,
        attempt=head.attempt_count + 1,
        kind=DeliveryKind(head.kind),
        event_id=head.event_id,
        event_type=head.event_type,
        created_at=head.created_at,
        url=member.url,
        body=head.body,
        content_type=head.content_type,
        is_probe=head.next_attempt_at > now,
        follows_gap=head.follows_gap,
        is_followed=queue.next_sequence > head.sequence + 1,
        is_endpoint_failing=queue.is_failing,
        sealed_secrets=member.sealed_secrets(now),
        format=rendered_as.get("format", member.format),
        options=member.options if is_format_kept else rendered_as["options"],
        headers=member.headers,
        delivery_headers=head.headers,
        sealed_credentials=member.sealed_credentials,
        signatures=tuple(member.signatures),
        ca_certificate=member.ca_certificate,
        client_certificate=member.client_certificate,
        sealed_client_key=member.sealed_client_key,
    )


# Statements are built once: building one costs several times what executing it does.
def _may_be_sent_to() -> Iterator[ColumnElement[bool]]:
    """Whether a subscription is active and rests for no reason."""
    yield Subscription.deleted_at.is_(None)
    yield Subscription.state == SubscriptionState.ACTIVE
    for until in (Subscription.held_back_until, Subscription.open_from):
        yield or_(until.is_(None), until <= bindparam("now"))


def _is_due(*, at_all: bool = False) -> Iterator[ColumnElement[bool]]:
    """Whether a queue of the subscription has something to send, now or ``at_all``."""
    yield Queue.subscription_id == Subscription.id
    yield state_in(Queue.state, QueueState.OPEN)
    yield Queue.lease_token.is_(None)
    yield Queue.next_at.is_not(None) if at_all else Queue.next_at <= bindparam("now")


@cache
def _ready(database: str) -> Select[str]:
    """Return the receivers that have something due, the longest due first."""
    due_since = (
        select(Queue.next_at)
        .where(*_is_due())
        # Not the least of them, for which PostgreSQL might read all.
        .order_by(Queue.next_at)
        .limit(1)
        .correlate(Subscription)
        .scalar_subquery()
    )
    receivers = (
        select(Subscription.id, due_since.label("due_since"))
        .where(
            *_may_be_sent_to(),
            Subscription.consecutive_failures < bindparam("failures", type_=Integer),
            ~is_among(Subscription.id, "passed_over", database),
        )
        # For PostgreSQL, which would else look twice, to choose and to sort.
        .offset(0)
        .subquery()
    )
    return (
        select(receivers.c.id)
        .where(receivers.c.due_since.is_not(None))
        .order_by(receivers.c.due_since, receivers.c.id)
    )


@cache
def _due(database: str) -> Select[*tuple[Any, ...]]:
    """Lock the first ``share`` due queues of each ``ready`` receiver."""
    first = (
        select(*(getattr(Queue, name) for name in _OF_QUEUE))
        .where(*_is_due())
        .order_by(Queue.next_at, Queue.id)
        .limit(bindparam("share", type_=Integer))
        .correlate(Subscription)
    )
    # Asked once more: a result that came meanwhile may have sent the receiver to rest.
    receivers = (
        *_may_be_sent_to(),
        Subscription.consecutive_failures < bindparam("failures", type_=Integer),
        is_among(Subscription.id, "ready", database),
    )
    failures = Subscription.consecutive_failures
    if database != "postgresql":
        # SQLite has no LATERAL, and with its one writer no locks to pass over.
        queue = aliased(Queue)
        return (
            select(*(getattr(queue, name) for name in _OF_QUEUE), failures)
            .select_from(Subscription)
            .join(queue, queue.id.in_(first.with_only_columns(Queue.id)))
            .where(*receivers)
        )
    of_each = first.with_for_update(skip_locked=True, of=Queue).lateral()
    return (
        select(*of_each.c, failures)
        .select_from(Subscription)
        .join(of_each, true())
        .where(*receivers)
    )


@cache
def _half_open() -> Select[str, int]:
    """Lock receivers that may get a probe, the longest rested first."""
    has_waiting = exists().where(*_is_due(at_all=True)).correlate(Subscription)
    return (
        select(Subscription.id, Subscription.consecutive_failures)
        .where(
            *_may_be_sent_to(),
            Subscription.consecutive_failures >= OPEN_AFTER,
            has_waiting,
            ~_is_sent_to(),
        )
        .order_by(Subscription.held_back_until, Subscription.id)
        .limit(bindparam("limit", type_=Integer))
        .with_for_update(skip_locked=True, key_share=True)
    )


@cache
def _first_of() -> Select[*tuple[Any, ...]]:
    """Lock what is due first of a receiver that nothing is being sent to."""
    # Asked once more, now under the receiver's lock: another dispatcher may have
    # been quicker.
    return (
        select(*(getattr(Queue, name) for name in _OF_QUEUE))
        .join(Subscription, Subscription.id == bindparam("subscription"))
        .where(*_is_due(at_all=True), ~_is_sent_to())
        .order_by(Queue.next_at, Queue.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=Queue)
    )


def _is_sent_to() -> ColumnElement[bool]:
    """Whether something is being sent to a subscription, tests apart."""
    leased = aliased(Queue)
    return (
        exists()
        .where(
            leased.subscription_id == Subscription.id,
            leased.lease_token.is_not(None),
            Delivery.id == leased.head_id,
            Delivery.kind != DeliveryKind.TEST,
        )
        .correlate(Subscription)
    )


@cache
def _heads(database: str) -> Select[*tuple[Any, ...]]:
    before = aliased(Delivery)
    was_given_up = (
        select(
            and_(
                before.state == DeliveryState.DEAD,
                before.reason.is_distinct_from(REASON_SUPERSEDED),
            )
        )
        .where(
            before.subscription_id == Delivery.subscription_id,
            before.ordering_key == Delivery.ordering_key,
            before.sequence < Delivery.sequence,
        )
        .order_by(before.sequence.desc())
        .limit(1)
        .correlate(Delivery)
        .scalar_subquery()
    )
    columns = [getattr(Delivery, name) for name in _Due._fields[:-1]]
    return select(*columns, func.coalesce(was_given_up, false())).where(
        is_among(Delivery.id, "ids", database)
    )


@cache
def _leasing(database: str) -> Update:
    return (
        update(Queue)
        .where(is_among(Queue.id, "ids", database))
        .values(lease_token=bindparam("token"), lease_until=bindparam("until"))
    )


@cache
def _sending(database: str) -> Update:
    return (
        update(Delivery)
        .where(is_among(Delivery.id, "ids", database))
        .values(
            state=DeliveryState.SENDING,
            attempt_count=Delivery.attempt_count + 1,
            updated_at=bindparam("now"),
        )
    )


_OPEN_ATTEMPT: Insert = insert(Attempt).values(
    delivery_id=bindparam("delivery_id"),
    number=bindparam("number"),
    started_at=bindparam("started_at"),
    outcome=AttemptOutcome.STARTED,
)
