"""The proof, each minute, that nothing was lost between change and delivery.

Both searches must find nothing, since a stage change, its event and the event's
deliveries are one transaction. What they find is a defect: of this program, or of
hands that changed the database.

The whole day is looked at once an hour and what is recent each time, because a day
may hold a million events; what was found is remembered until the next whole look.
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

DAY = timedelta(hours=24)
RECENT = timedelta(minutes=10)
WHOLE_LOOK_EVERY = timedelta(hours=1)
SLICE = timedelta(hours=1)
_NAMED = 20


@dataclass(frozen=True)
class Missing:
    """What lacks its other half: transitions their event, events a delivery."""

    transition_ids: Sequence[str]
    event_ids: Sequence[str]

    def joined(self, other: "Missing") -> "Missing":
        """What is missing here or there, each once."""
        return Missing(
            tuple(dict.fromkeys([*self.transition_ids, *other.transition_ids])),
            tuple(dict.fromkeys([*self.event_ids, *other.event_ids])),
        )


class Reconciler:
    """Looks, again and again, at the database of one process.

    Args:
        keep: how long events are kept; older ones may be gone rightly.
    """

    def __init__(self, *, keep: timedelta) -> None:
        self._day = min(DAY, keep / 2)
        self._whole_look_at: datetime | None = None
        self._known = Missing((), ())

    def look(self, session: Session, *, now: datetime) -> Missing:
        """Give what is missing; finds are logged as errors, by their ids."""
        is_whole = (
            self._whole_look_at is None or now >= self._whole_look_at + WHOLE_LOOK_EVERY
        )
        window = self._day if is_whole else min(RECENT, self._day)
        found = find_missing(session, since=now - window, now=now)
        if is_whole:
            self._whole_look_at = now
            self._known = found
        else:
            self._known = self._known.joined(found)
        _log(self._known)
        return self._known


def find_missing(session: Session, *, since: datetime, now: datetime) -> Missing:
    """Name what was changed or announced since then and lacks its other half."""
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
    return Missing(transition_ids, _incomplete_events(session, since=since, now=now))


def _incomplete_events(
    session: Session, *, since: datetime, now: datetime
) -> Sequence[str]:
    """Look hour by hour: a statement over a busy day could run out of its time."""
    found: list[str] = []
    while since + SLICE < now:
        found += find_incomplete_events(session, since=since, until=since + SLICE)
        since += SLICE
    return [*found, *find_incomplete_events(session, since=since)]


def _log(found: Missing) -> None:
    if found.transition_ids:
        logger.error(
            "stage_changes_without_event count=%d transitions=%s",
            *_named(found.transition_ids),
        )
    if found.event_ids:
        logger.error(
            "events_without_deliveries count=%d events=%s", *_named(found.event_ids)
        )


def _named(ids: Sequence[str]) -> tuple[int, str]:
    return len(ids), ",".join(ids[:_NAMED])
