"""Removing what is old and settled, so that the tables do not grow for ever.

Rules:

- Only final deliveries go, with their attempts, and queues that nothing is left of:
  what is live stays, however old.
- An event goes when nothing of it is left and consumers had it in the feed as long.
  How far the feed was cut off stands in its row: who comes back later is told.
- A call removes one batch and is committed by itself, so that no lock is held long;
  rows that somebody else has locked are left for the next time.
"""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Delete, and_, delete, select, tuple_, update
from sqlalchemy.orm import Session

from webhooks.events import OPERATIONAL_PREFIX
from webhooks.tables import (
    FINAL_STATES,
    Attempt,
    Delivery,
    EventRow,
    Feed,
    Queue,
    state_in,
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
