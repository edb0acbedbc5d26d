"""Sending again: one delivery by hand, or in portions what a filter chooses.

Rules:

- A final delivery is sent again with the same id and bytes, as a new row of kind
  ``replay`` outside the order of what is new. A blocked head goes back to pending
  with a fresh budget instead: it is still its queue's turn. What was never rendered is
  rendered now, as its subscription has it now.
- ``skip`` gives a blocked head up, so that its queue goes on.
- A filter chooses of one subscription's deliveries. The copies of one ordering key are
  in an order of their own; one that is sent by hand waits for nothing.
- What has a copy that arrived, or is still on its way, is passed over by a filter. So a
  request that is made again, after a crash or without one, sends nothing twice; and a
  copy that was given up may be followed by another.
- Copies are due one after the other, at the rate that the owner allows, so that what
  is new need not wait behind all of them.
- A portion is one transaction under the lock of its subscription's row: of two
  requests at a time the second sees what the first has stored.
- Functions work in the caller's transaction, flush, and never commit.

Locks are taken in one order: feed, subscription, queue, delivery.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Insert,
    Row,
    Select,
    bindparam,
    false,
    func,
    insert,
    select,
    true,
)
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from webhooks import feed, formats
from webhooks.errors import DeliveryStateError, RenderError, UnknownSubscriptionError
from webhooks.events import HOP_HEADER, Event, matches_subject, new_sortable_id
from webhooks.queue.fairness import MINUTE
from webhooks.queue.row import advance
from webhooks.record import get
from webhooks.tables import (
    LIVE_STATES,
    Delivery,
    DeliveryKind,
    DeliveryState,
    EventRow,
    Queue,
    ShownState,
    Subscription,
    is_given_up,
    is_shown_as,
    is_untried_copy,
    state_in,
)

REASON_SKIPPED = "skipped on request"
#: Where the owner allows any number: ten a second.
DEFAULT_RATE_PER_MINUTE = 600
_SETTLED = (ShownState.DELIVERED, ShownState.DEAD, ShownState.SUPERSEDED)
#: What a filter may ask for.
STATES = (*_SETTLED, ShownState.BLOCKED)
LOOKED_AT_ONCE = 500
_COPIED = (
    *("subscription_id", "event_id", "event_type", "target"),
    *("body", "content_type", "headers", "rendered_as"),
)
Original = Row[*tuple[Any, ...]]
#: What is sent again, and when.
_Due = tuple[Original, datetime]


def redeliver(
    session: Session, delivery_id: str, *, now: datetime, due: datetime | None = None
) -> Delivery:
    """Send again, at ``due`` or at once; return the delivery that will be sent.

    Raises:
        UnknownDeliveryError: there is none.
        DeliveryStateError: it is still on its way, its subscription is gone, or its
            format cannot express the event.
    """
    delivery, subscription = _lock_delivery(session, delivery_id)
    if subscription.deleted_at is not None:
        raise DeliveryStateError("the subscription was deleted")
    is_blocked = delivery.shown_state == ShownState.BLOCKED
    if delivery.state in LIVE_STATES and not is_blocked:
        raise DeliveryStateError(
            f"the delivery is still on its way: it is {delivery.shown_state}"
        )
    if not delivery.content_type:
        _render_now(session, delivery, subscription)
    if is_blocked:
        delivery.attempts_forgiven = delivery.attempt_count
        delivery.reason = None
        delivery.next_attempt_at = due or now
        delivery.updated_at = now
        return _settled(session, delivery)
    copy_id = new_sortable_id("dlv", now)
    # A queue of its own: the copy waits for nothing and stops nothing.
    queue = Queue(
        subscription_id=subscription.id, ordering_key=copy_id, next_sequence=1
    )
    own = _own_columns(copy_id, delivery.id, queue, due=due or now, now=now)
    copy = Delivery(**{name: getattr(delivery, name) for name in _COPIED}, **own)
    session.add_all([copy, queue])
    return _settled(session, copy)


def skip(session: Session, delivery_id: str, *, now: datetime) -> Delivery:
    """Give a blocked head up and let its key go on.

    Raises:
        UnknownDeliveryError: there is none.
        DeliveryStateError: it is not blocked.
    """
    delivery, _ = _lock_delivery(session, delivery_id)
    if delivery.shown_state != ShownState.BLOCKED:
        raise DeliveryStateError(
            "only a blocked delivery can be skipped, this one is"
            f" {delivery.shown_state}"
        )
    delivery.state = DeliveryState.DEAD
    delivery.reason = REASON_SKIPPED
    delivery.updated_at = now
    return _settled(session, delivery)


def _lock_delivery(session: Session, delivery_id: str) -> tuple[Delivery, Subscription]:
    """Lock as enqueuing does: whom it goes to, its key, the delivery itself."""
    delivery = get(session, delivery_id)
    subscription = session.get_one(
        Subscription,
        delivery.subscription_id,
        populate_existing=True,
        with_for_update={"read": True, "key_share": True},
    )
    session.execute(_queue_of(delivery).with_for_update())
    session.refresh(delivery, with_for_update=True)
    return delivery, subscription


def _queue_of(delivery: Delivery) -> Select[int]:
    return select(Queue.id).where(
        Queue.subscription_id == delivery.subscription_id,
        Queue.ordering_key == delivery.ordering_key,
    )


def _settled(session: Session, delivery: Delivery) -> Delivery:
    """Have its queue know what changed, and return it as it stands then."""
    session.flush()
    advance(session.connection(), session.scalars(_queue_of(delivery)).all())
    session.refresh(delivery)
    return delivery


def _render_now(
    session: Session, delivery: Delivery, subscription: Subscription
) -> None:
    """Give the delivery the bytes that it never had: none of them has been sent.

    Raises:
        DeliveryStateError: the subscription's format cannot express the event.
    """
    row = session.get_one(EventRow, delivery.event_id)
    event = Event(
        type=row.type,
        ordering_key=row.ordering_key,
        subject=row.subject,
        target=row.target,
        data=row.data,
        occurred_at=row.occurred_at,
        sequence=row.sequence,
        hop=int(delivery.headers.get(HOP_HEADER, "1")),
    )
    try:
        columns = formats.columns_for(subscription, row.id, event)
    except RenderError as error:
        raise DeliveryStateError(
            f"the delivery still cannot be rendered: {error.message}"
        ) from error
    for name, value in columns.items():
        setattr(delivery, name, value)


def _own_columns(
    copy_id: str, original_id: str, queue: Queue, *, due: datetime, now: datetime
) -> dict[str, Any]:
    """Return a copy's own columns, the next number of its queue among them."""
    sequence = queue.next_sequence
    queue.next_sequence += 1
    return {
        "id": copy_id,
        "kind": DeliveryKind.REPLAY,
        "replay_of": original_id,
        "ordering_key": queue.ordering_key,
        "sequence": sequence,
        "state": DeliveryState.PENDING,
        "next_attempt_at": due,
        "created_at": now,
        "updated_at": now,
    }


@dataclass(frozen=True)
class DeliveryFilter:
    """Which deliveries to send again: all that are settled, unless it says less.

    Attributes:
        since: events from then on.
        until: events up to then.
        again_before: also what was sent again already, if that was before then.
    """

    since: datetime | None = None
    until: datetime | None = None
    event_types: Sequence[str] | None = None
    subject_pattern: str | None = None
    states: Sequence[ShownState] | None = None
    again_before: datetime | None = None


@dataclass(frozen=True)
class Portion:
    """How many deliveries are sent again, and behind which position to go on."""

    count: int
    next_position: int | None


def count(session: Session, subscription_id: str, chosen: DeliveryFilter) -> int:
    """Return how many deliveries would be sent again now.

    Raises:
        UnknownSubscriptionError: there is none.
    """
    _lock_subscription(session, subscription_id)
    by_subject = session.execute(
        select(EventRow.subject, EventRow.former_subjects, func.count())
        .select_from(Delivery)
        .join(EventRow, EventRow.id == Delivery.event_id)
        .where(*_conditions(session, subscription_id, chosen))
        .group_by(EventRow.subject, EventRow.former_subjects)
    )
    return sum(
        number
        for subject, former, number in by_subject
        if _is_about(chosen, subject, former)
    )


def send_portion(
    session: Session,
    subscription_id: str,
    chosen: DeliveryFilter,
    *,
    after: int | None,
    now: datetime,
) -> Portion:
    """Send the next ones again, of those behind the position ``after``.

    What its format still cannot express is passed over.

    Raises:
        UnknownSubscriptionError: there is none.
    """
    subscription = _lock_subscription(session, subscription_id)
    rows = session.execute(
        select(
            *(Delivery.id, Delivery.content_type),
            is_given_up(Delivery.state, Delivery.reason).label("is_blocked"),
            *(Delivery.ordering_key, EventRow.position),
            *(EventRow.subject, EventRow.former_subjects),
        )
        .join(EventRow, EventRow.id == Delivery.event_id)
        .where(
            *_conditions(session, subscription_id, chosen),
            EventRow.position > (after or 0),
        )
        .order_by(EventRow.position)
        .limit(LOOKED_AT_ONCE)
    ).all()
    matching: list[Original] = [
        row for row in rows if _is_about(chosen, row.subject, row.former_subjects)
    ]
    is_last = len(rows) < LOOKED_AT_ONCE
    return Portion(
        count=_send(session, subscription, matching, now) if matching else 0,
        next_position=None if is_last else rows[-1].position,
    )


def _lock_subscription(session: Session, subscription_id: str) -> Subscription:
    """Lock it once every event that is committed has its position."""
    while feed.has_unplaced(session):
        feed.place(session)
    subscription = session.get(
        Subscription,
        subscription_id,
        populate_existing=True,
        with_for_update={"key_share": True},
    )
    if subscription is None or subscription.deleted_at is not None:
        raise UnknownSubscriptionError
    return subscription


def _is_about(chosen: DeliveryFilter, subject: str, former: str | None) -> bool:
    return matches_subject(chosen.subject_pattern, subject, *json.loads(former or "[]"))


def _conditions(
    session: Session, subscription_id: str, chosen: DeliveryFilter
) -> Sequence[ColumnElement[bool]]:
    """Return what all that is sent again fulfils, besides the subjects' pattern."""
    conditions = [
        _unindexed(session, Delivery.subscription_id) == subscription_id,
        Delivery.kind == DeliveryKind.EVENT,
        is_shown_as(*(chosen.states or _SETTLED)),
        EventRow.position.is_not(None),
        _was_never_sent_again(session, chosen),
    ]
    if chosen.since is not None:
        conditions.append(EventRow.occurred_at >= chosen.since)
    if chosen.until is not None:
        conditions.append(EventRow.occurred_at <= chosen.until)
    if chosen.event_types is not None:
        conditions.append(feed.is_of_types(chosen.event_types))
    return conditions


def _unindexed(
    session: Session, column: InstrumentedAttribute[str]
) -> ColumnElement[str]:
    """Return the column as SQLite finds no index for it: it goes from event to event.

    By that of the subscription it would read all that was ever sent there, for
    each portion, and for each delivery of it.
    """
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    return column + "" if is_sqlite else column.expression


def _was_never_sent_again(
    session: Session, chosen: DeliveryFilter
) -> ColumnElement[bool]:
    copy = aliased(Delivery)
    counts = has_arrived = state_in(copy.state, DeliveryState.DELIVERED)
    if chosen.again_before is not None:
        counts = has_arrived & (copy.created_at >= chosen.again_before)
    copies = select(true()).where(
        copy.event_id == Delivery.event_id,
        _unindexed(session, copy.subscription_id) == Delivery.subscription_id,
        copy.kind == DeliveryKind.REPLAY,
        state_in(copy.state, *LIVE_STATES) | counts,
    )
    # Not NOT EXISTS: of that PostgreSQL would make a join that, before it has
    # statistics of the copies, reads all of them for each delivery. Not IS NULL: it
    # would think that few pass, and look at all of them for each portion.
    return ~func.coalesce(copies.limit(1).scalar_subquery(), false())


def _send(
    session: Session,
    subscription: Subscription,
    rows: Sequence[Original],
    now: datetime,
) -> int:
    pause = MINUTE / (subscription.rate_per_minute or DEFAULT_RATE_PER_MINUTE)
    first = _first_due(session, subscription, pause, now)
    sent: list[_Due] = []
    for row in rows:
        due = first + pause * len(sent)
        try:
            if row.is_blocked:
                redeliver(session, row.id, now=now, due=due)
            elif not row.content_type:
                _render_now(session, session.get_one(Delivery, row.id), subscription)
        except DeliveryStateError:
            continue
        sent.append((row, due))
    session.flush()  # What was rendered just now is copied, too.
    copied = [(row, due) for row, due in sent if not row.is_blocked]
    if copied:
        _copy(session, subscription, copied, now)
    return len(sent)


def _first_due(
    session: Session, subscription: Subscription, pause: timedelta, now: datetime
) -> datetime:
    """Return when the first one is due: behind the copies of portions before."""
    last = session.scalar(
        select(Delivery.next_attempt_at)
        .where(
            Delivery.subscription_id == subscription.id,
            # Both live states, for SQLite to know its index by.
            state_in(Delivery.state, *LIVE_STATES),
            Delivery.state != DeliveryState.SENDING,
            is_untried_copy(),
        )
        .order_by(Delivery.next_attempt_at.desc())
        .limit(1)
    )
    return now if last is None else max(now, last + pause)


def _copy(
    session: Session,
    subscription: Subscription,
    copied: Sequence[_Due],
    now: datetime,
) -> None:
    queues = _lock_queues(session, subscription, {_key_of(row) for row, _ in copied})
    rows = []
    for row, due in copied:
        copy_id, queue = new_sortable_id("dlv", now), queues[_key_of(row)]
        rows.append(_own_columns(copy_id, row.id, queue, due=due, now=now))
    session.connection().execute(_copy_statement(tuple(rows[0])), rows)
    session.flush()
    advance(session.connection(), [queue.id for queue in queues.values()])


def _key_of(row: Original) -> str:
    return f"{DeliveryKind.REPLAY}:{row.ordering_key}"


def _lock_queues(
    session: Session, subscription: Subscription, keys: set[str]
) -> Mapping[str, Queue]:
    """Return the copies' queues, which only who holds the subscription lengthens."""
    rows = session.scalars(
        select(Queue)
        .where(
            Queue.subscription_id == subscription.id,
            Queue.ordering_key.in_(sorted(keys)),
        )
        .order_by(Queue.ordering_key)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    queues = {row.ordering_key: row for row in rows}
    for key in sorted(keys - queues.keys()):
        queues[key] = Queue(
            subscription_id=subscription.id, ordering_key=key, next_sequence=1
        )
    session.add_all(queues.values())
    session.flush()
    return queues


@cache
def _copy_statement(names: Sequence[str]) -> Insert:
    """Return the copying, by the database itself: a body may have a megabyte.

    ``names`` are of the copies' own columns.
    """
    columns = Delivery.__table__.c
    own = {name: bindparam(name, type_=columns[name].type) for name in names}
    values = own | {name: columns[name] for name in _COPIED}
    original = select(*values.values()).where(columns.id == own["replay_of"])
    return insert(Delivery).from_select(list(values), original)
