"""Sending again, in portions, what a filter chooses of one subscription's deliveries.

Rules:

- What is settled is copied as one that is sent again by hand is: same id, same bytes,
  outside the order of what is new. The copies of one ordering key are in an order of
  their own. What is blocked goes on where it stands (``record.redeliver``).
- What has a copy that arrived, or is still on its way, is passed over. So a request
  that is made again, after a crash or without one, sends nothing twice; and a copy
  that was given up may be followed by another.
- Copies are due one after the other, at the rate that the owner allows, so that what
  is new need not wait behind all of them.
- A portion is one transaction under the lock of its subscription's row: of two
  requests at a time the second sees what the first has stored.

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
    bindparam,
    false,
    func,
    insert,
    select,
    true,
)
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from webhooks import feed
from webhooks.errors import DeliveryStateError, UnknownSubscriptionError
from webhooks.events import matches_subject, new_sortable_id
from webhooks.queue.fairness import MINUTE
from webhooks.queue.row import advance
from webhooks.record import redeliver, render_now
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

#: Where the owner allows any number: ten a second.
DEFAULT_RATE_PER_MINUTE = 600
#: What a filter may ask for; all but the last are settled.
STATES = (
    *(ShownState.DELIVERED, ShownState.DEAD, ShownState.SUPERSEDED),
    ShownState.BLOCKED,
)
LOOKED_AT_ONCE = 500
_COPIED = (
    *("subscription_id", "event_id", "event_type", "target"),
    *("body", "content_type", "headers", "rendered_as"),
)
_NEW = (
    *("id", "kind", "replay_of", "ordering_key", "sequence", "state"),
    *("next_attempt_at", "created_at", "updated_at"),
)
Original = Row[*tuple[Any, ...]]
#: What is sent again, and when.
_Due = tuple[Original, datetime]


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
    _lock(session, subscription_id)
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
    subscription = _lock(session, subscription_id)
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


def _lock(session: Session, subscription_id: str) -> Subscription:
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
        is_shown_as(*(chosen.states or STATES[:-1])),
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
        if _can_be_sent(session, subscription, row, now=now, due=due):
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


def _can_be_sent(
    session: Session,
    subscription: Subscription,
    row: Original,
    *,
    now: datetime,
    due: datetime,
) -> bool:
    """Whether it can be sent: a blocked one goes on, one without a body is rendered."""
    try:
        if row.is_blocked:
            redeliver(session, row.id, now=now, due=due)
        elif not row.content_type:
            render_now(session, session.get_one(Delivery, row.id), subscription)
    except DeliveryStateError:
        return False
    return True


def _copy(
    session: Session,
    subscription: Subscription,
    copied: Sequence[_Due],
    now: datetime,
) -> None:
    common = {
        "new_kind": DeliveryKind.REPLAY,
        "new_state": DeliveryState.PENDING,
        "new_created_at": now,
        "new_updated_at": now,
    }
    queues = _lock_queues(session, subscription, {_key_of(row) for row, _ in copied})
    values = []
    for row, due in copied:
        queue = queues[_key_of(row)]
        values.append(
            common
            | {
                "new_id": new_sortable_id("dlv", now),
                "new_replay_of": row.id,
                "new_ordering_key": queue.ordering_key,
                "new_sequence": queue.next_sequence,
                "new_next_attempt_at": due,
            }
        )
        queue.next_sequence += 1
    session.connection().execute(_copy_statement(), values)
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
def _copy_statement() -> Insert:
    """Return the copying, by the database itself: a body may have a megabyte."""
    columns = Delivery.__table__.c
    new = {name: bindparam(f"new_{name}", type_=columns[name].type) for name in _NEW}
    values = new | {name: columns[name] for name in _COPIED}
    original = select(*values.values()).where(columns.id == new["replay_of"])
    return insert(Delivery).from_select(list(values), original)
