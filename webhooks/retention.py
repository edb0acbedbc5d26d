"""Removing what is old and settled, so that the tables do not grow for ever.

Rules:

- Only final deliveries go, with their attempts: what is live stays, however old.
- An event goes when nothing of it is left and consumers had it in the feed as long.
  How far the feed was cut off stands in its row: who comes back later is told.
- A call removes one batch and is committed by itself, so that no lock is held long;
  rows that somebody else has locked are left for the next time.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Delete, delete, select, update
from sqlalchemy.orm import Session

from webhooks.events import OPERATIONAL_PREFIX
from webhooks.tables import (
    FINAL_STATES,
    Attempt,
    Delivery,
    EventRow,
    Feed,
    state_in,
)

REMOVED_AT_ONCE = 500


def remove_deliveries(
    session: Session, *, before: datetime, limit: int = REMOVED_AT_ONCE
) -> int:
    """Remove deliveries that were settled before then; return how many."""
    ids = session.scalars(
        select(Delivery.id)
        .where(state_in(Delivery.state, *FINAL_STATES), Delivery.updated_at < before)
        .order_by(Delivery.updated_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    if ids:
        _execute(session, delete(Attempt).where(Attempt.delivery_id.in_(ids)))
        _execute(session, delete(Delivery).where(Delivery.id.in_(ids)))
    return len(ids)


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
