"""The proof, each minute, that nothing was lost between change and delivery.

Both searches must find nothing, since a stage change, its event and the event's
deliveries are one transaction. What they find is a defect: of this program, or of
hands that changed the database.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.persistence.tables import StageChange
from webhooks.deliveries import find_incomplete_events
from webhooks.tables import EventRow

logger = logging.getLogger(__name__)

WINDOW = timedelta(hours=24)
_NAMED = 20


@dataclass(frozen=True)
class Missing:
    """What lacks its other half: transitions their event, events a delivery."""

    transition_ids: Sequence[str]
    event_ids: Sequence[str]


def find_missing(session: Session, *, now: datetime, keep: timedelta) -> Missing:
    """Look at the last day, or at half of what is kept where that is less.

    Finds are logged as errors, by their ids.
    """
    since = now - min(WINDOW, keep / 2)
    event = select(EventRow.id).where(EventRow.id == StageChange.event_id)
    transition_ids = session.scalars(
        select(StageChange.transition_id)
        .where(
            StageChange.at >= since,
            StageChange.from_stage.is_not(None),  # a registration is another event
            ~event.exists(),
        )
        .order_by(StageChange.id)
    ).all()
    found = Missing(transition_ids, find_incomplete_events(session, since=since))
    if found.transition_ids:
        logger.error(
            "stage_changes_without_event count=%d transitions=%s",
            *_named(found.transition_ids),
        )
    if found.event_ids:
        logger.error(
            "events_without_deliveries count=%d events=%s", *_named(found.event_ids)
        )
    return found


def _named(ids: Sequence[str]) -> tuple[int, str]:
    return len(ids), ",".join(ids[:_NAMED])
