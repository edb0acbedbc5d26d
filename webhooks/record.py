"""The record of deliveries: read, sent again or skipped on request, removed at last.

Rules:

- Lists are newest first and paged by key; they load nothing of what is sent.
- ``redeliver`` sends a final delivery again with the same id and bytes, as a new
  row of kind ``replay`` outside the order. A blocked head goes back to pending
  with a fresh budget instead: it is still its queue's turn. What was never rendered is
  rendered now, as its subscription has it now.
- ``skip`` gives a blocked head up, so that its queue goes on.
- Only final deliveries are removed, with their attempts, and queues that nothing is
  left of: what is live stays, however old.
- An event goes when nothing of it is left and consumers had it in the feed as long.
  How far the feed was cut off stands in its row: who comes back later is told.
- A removal is one batch and is committed by itself, so that no lock is held long;
  rows that somebody else has locked are left for the next time.
- Functions work in the caller's transaction, flush, and never commit.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime

from sqlalchemy import Delete, Select, and_, delete, select, tuple_, update
from sqlalchemy.orm import Session, defer

from webhooks.errors import DeliveryStateError, RenderError, UnknownDeliveryError
from webhooks.events import OPERATIONAL_PREFIX, new_sortable_id
from webhooks.queue.row import advance
from webhooks.rendering import render, stored_event
from webhooks.statements import read_rows
from webhooks.tables import (
    FINAL_STATES,
    LIVE_STATES,
    Attempt,
    Delivery,
    DeliveryKind,
    DeliveryState,
    EventRow,
    Feed,
    Queue,
    ShownState,
    Subscription,
    is_shown_as,
    state_in,
)

REASON_SKIPPED = "skipped on request"
#: Of a delivery that is only told of, what is sent stays in the database.
WITHOUT_CONTENT = (defer(Delivery.body), defer(Delivery.headers))


def list_page(
    session: Session,
    *,
    subscription_id: str | None = None,
    event_id: str | None = None,
    state: ShownState | None = None,
    limit: int,
    before: str | None = None,
) -> Sequence[Delivery]:
    """List deliveries by id, newest first, those before ``before``."""
    query = select(Delivery).options(*WITHOUT_CONTENT)
    if subscription_id is not None:
        query = query.where(Delivery.subscription_id == subscription_id)
    if event_id is not None:
        query = query.where(Delivery.event_id == event_id)
    if state is not None:
        query = query.where(is_shown_as(state))
    if before is not None:
        query = query.where(Delivery.id < before)
    return session.scalars(query.order_by(Delivery.id.desc()).limit(limit)).all()


def get(session: Session, delivery_id: str) -> Delivery:
    """Find a delivery.

    Raises:
        UnknownDeliveryError: there is none.
    """
    delivery = session.get(Delivery, delivery_id)
    if delivery is None:
        raise UnknownDeliveryError
    return delivery


def list_attempts(
    session: Session,
    delivery_id: str,
    *,
    after: int | None = None,
    limit: int = 1000,
) -> Iterator[Attempt]:
    """List the attempts of a delivery, first one first, those after number ``after``.

    Raises:
        UnknownDeliveryError: there is no such delivery.
    """
    get(session, delivery_id)
    query = (
        select(Attempt)
        .where(Attempt.delivery_id == delivery_id, Attempt.number > (after or 0))
        .order_by(Attempt.number)
        .limit(limit)
    )
    return (row for (row,) in read_rows(session, query, limit=limit))


def newest_attempts(
    session: Session, delivery_id: str, *, below: int | None, limit: int
) -> Sequence[Attempt]:
    """List the attempts of a delivery, last one first, those below a number."""
    query = select(Attempt).where(Attempt.delivery_id == delivery_id)
    if below is not None:
        query = query.where(Attempt.number < below)
    return session.scalars(query.order_by(Attempt.number.desc()).limit(limit)).all()


def redeliver(
    session: Session, delivery_id: str, *, now: datetime, due: datetime | None = None
) -> Delivery:
    """Send again, at ``due`` or at once; return the delivery that will be sent.

    Raises:
        UnknownDeliveryError: there is none.
        DeliveryStateError: it is still on its way, its subscription is gone, or its
            format cannot express the event.
    """
    delivery, subscription = _lock(session, delivery_id)
    if subscription.deleted_at is not None:
        raise DeliveryStateError("the subscription was deleted")
    is_blocked = delivery.shown_state == ShownState.BLOCKED
    if delivery.state in LIVE_STATES and not is_blocked:
        raise DeliveryStateError(
            f"the delivery is still on its way: it is {delivery.shown_state}"
        )
    if not delivery.content_type:
        render_now(session, delivery, subscription)
    if is_blocked:
        _retry(delivery, due or now, now)
        chosen = delivery
    else:
        chosen = _replay(delivery, due or now, now)
        session.add(chosen)
        session.add(_queue_of(chosen))
    return _settled(session, chosen)


def skip(session: Session, delivery_id: str, *, now: datetime) -> Delivery:
    """Give a blocked head up and let its key go on.

    Raises:
        UnknownDeliveryError: there is none.
        DeliveryStateError: it is not blocked.
    """
    delivery, _ = _lock(session, delivery_id)
    if delivery.shown_state != ShownState.BLOCKED:
        raise DeliveryStateError(
            "only a blocked delivery can be skipped, this one is"
            f" {delivery.shown_state}"
        )
    delivery.state = DeliveryState.DEAD
    delivery.reason = REASON_SKIPPED
    delivery.updated_at = now
    return _settled(session, delivery)


def _lock(session: Session, delivery_id: str) -> tuple[Delivery, Subscription]:
    """Lock as enqueuing does: whom it goes to, its key, the delivery itself."""
    delivery = get(session, delivery_id)
    subscription = session.get_one(
        Subscription,
        delivery.subscription_id,
        populate_existing=True,
        with_for_update={"read": True, "key_share": True},
    )
    session.execute(_queue(delivery).with_for_update())
    session.refresh(delivery, with_for_update=True)
    return delivery, subscription


def _queue(delivery: Delivery) -> Select[int]:
    return select(Queue.id).where(
        Queue.subscription_id == delivery.subscription_id,
        Queue.ordering_key == delivery.ordering_key,
    )


def _settled(session: Session, delivery: Delivery) -> Delivery:
    """Have its queue know what changed, and return it as it stands then."""
    session.flush()
    advance(session.connection(), session.scalars(_queue(delivery)).all())
    session.refresh(delivery)
    return delivery


def _retry(delivery: Delivery, due: datetime, now: datetime) -> None:
    delivery.attempts_forgiven = delivery.attempt_count
    delivery.reason = None
    delivery.next_attempt_at = due
    delivery.updated_at = now


def render_now(
    session: Session, delivery: Delivery, subscription: Subscription
) -> None:
    """Give the delivery the bytes that it never had: none of them has been sent.

    Raises:
        DeliveryStateError: the subscription's format cannot express the event.
    """
    row = session.get_one(EventRow, delivery.event_id)
    event = stored_event(row, delivery.headers)
    try:
        columns = render(subscription, row.id, event)
    except RenderError as error:
        raise DeliveryStateError(
            f"the delivery still cannot be rendered: {error.message}"
        ) from error
    for name, value in columns.items():
        setattr(delivery, name, value)


def _replay(delivery: Delivery, due: datetime, now: datetime) -> Delivery:
    delivery_id = new_sortable_id("dlv", now)
    return Delivery(
        id=delivery_id,
        subscription_id=delivery.subscription_id,
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        target=delivery.target,
        kind=DeliveryKind.REPLAY,
        replay_of=delivery.id,
        # A queue of its own: a replay waits for nothing and stops nothing.
        ordering_key=delivery_id,
        sequence=1,
        state=DeliveryState.PENDING,
        body=delivery.body,
        content_type=delivery.content_type,
        headers=delivery.headers,
        rendered_as=delivery.rendered_as,
        next_attempt_at=due,
        created_at=now,
        updated_at=now,
    )


def _queue_of(delivery: Delivery) -> Queue:
    return Queue(
        subscription_id=delivery.subscription_id,
        ordering_key=delivery.ordering_key,
        next_sequence=2,
    )


REMOVED_AT_ONCE = 500


def remove_deliveries(
    session: Session, *, before: datetime, limit: int = REMOVED_AT_ONCE
) -> int:
    """Remove deliveries that were settled before then; return how many."""
    rows = session.execute(
        select(Delivery.id, Delivery.subscription_id, Delivery.ordering_key)
        .where(state_in(Delivery.state, *FINAL_STATES), Delivery.updated_at < before)
        .order_by(Delivery.updated_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    if rows:
        ids = [row.id for row in rows]
        _execute(session, delete(Attempt).where(Attempt.delivery_id.in_(ids)))
        _execute(session, delete(Delivery).where(Delivery.id.in_(ids)))
        _remove_queues(session, {(row[1], row[2]) for row in rows})
    return len(rows)


def _remove_queues(session: Session, queues: Collection[tuple[str, str]]) -> None:
    """Remove those of the queues that nothing is left of; what comes begins anew."""
    is_of_queue = and_(
        Delivery.subscription_id == Queue.subscription_id,
        Delivery.ordering_key == Queue.ordering_key,
    )
    empty = session.scalars(
        select(Queue.id)
        .where(
            tuple_(Queue.subscription_id, Queue.ordering_key).in_(sorted(queues)),
            Queue.head_id.is_(None),
        )
        .with_for_update(skip_locked=True)
    ).all()
    # Asked under the lock: who stores a delivery holds its queue.
    has_delivery = select(Delivery.id).where(is_of_queue).exists()
    _execute(session, delete(Queue).where(Queue.id.in_(empty), ~has_delivery))


def remove_events(
    session: Session, *, before: datetime, limit: int = REMOVED_AT_ONCE
) -> int:
    """Remove events from before then that have no delivery; return how many."""
    has_delivery = select(Delivery.id).where(Delivery.event_id == EventRow.id).exists()
    ids = session.scalars(
        select(EventRow.id)
        .where(
            EventRow.created_at < before, EventRow.position.is_not(None), ~has_delivery
        )
        .order_by(EventRow.created_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    if not ids:
        return 0
    # Asked once more under the lock: a copy may have been stored meanwhile.
    removed = session.execute(
        delete(EventRow)
        .where(EventRow.id.in_(ids), ~has_delivery)
        .returning(EventRow.type, EventRow.position)
        .execution_options(synchronize_session=False)
    ).all()
    _note_removed(
        session,
        [
            position
            for event_type, position in removed
            if position and not event_type.startswith(OPERATIONAL_PREFIX)
        ],
    )
    return len(removed)


def _note_removed(session: Session, positions: Sequence[int]) -> None:
    if positions:
        session.execute(
            update(Feed)
            .where(Feed.removed_position < max(positions))
            .values(removed_position=max(positions))
            .execution_options(synchronize_session=False)
        )


def _execute(session: Session, statement: Delete) -> None:
    """Run it without a look at what the session holds."""
    session.execute(statement.execution_options(synchronize_session=False))
