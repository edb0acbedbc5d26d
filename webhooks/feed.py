"""Every event in one line, for consumers that were away.

Rules:

- Neither ids nor instants tell which event was committed last: a reader that goes
  by them skips what commits late. An event therefore gets its position after its
  commit, under the lock of the feed's one row.
- That lock is held until the positions are committed, so whoever sees a position
  sees every position before it, and none can come in between.
- Events of one ordering key are placed in their order, because their instants
  never decrease and ``sequence`` parts those of one instant.
- A reader who comes back after events behind his cursor were removed must be told:
  ``removed_position`` is the last one that is gone. Without a cursor one begins
  behind it.
- A page ends early once its events hold ``MAX_CHARACTERS``, and few are read at a time.
- Events about subscriptions (``webhook.*``) have positions and are not shown: they
  are the operator's, not the consumers'.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, or_, select, true, update
from sqlalchemy.orm import Session

from webhooks.events import OPERATIONAL_PREFIX, compact_json
from webhooks.statements import read_rows
from webhooks.tables import EventRow, Feed

PLACED_AT_ONCE = 1000
MAX_CHARACTERS = 2_000_000
_HAS_UNPLACED = select(EventRow.id).where(EventRow.position.is_(None)).exists()


@dataclass(frozen=True)
class FeedPage:
    """Events in the order of their positions, and where to go on.

    Attributes:
        next_position: the reader's next ``after``, whether or not there was more.
        last_position: the last position given so far.
        removed_position: the last position of an event that was shown and is gone.
        has_unplaced: whether committed events wait for a position.
    """

    events: Sequence[EventRow]
    next_position: int
    last_position: int
    removed_position: int
    has_unplaced: bool


def place(session: Session, *, limit: int = PLACED_AT_ONCE) -> int:
    """Give positions to events that have none; return to how many.

    The caller commits at once: others wait for the feed's lock.
    """
    feed = session.scalars(
        select(Feed).with_for_update().execution_options(populate_existing=True)
    ).one()
    # A statement of its own, after the lock: it sees what was committed meanwhile.
    ids = session.scalars(
        select(EventRow.id)
        .where(EventRow.position.is_(None))
        .order_by(EventRow.occurred_at, EventRow.sequence, EventRow.id)
        .limit(limit)
    ).all()
    if not ids:
        return 0
    first = feed.last_position + 1
    session.execute(
        update(EventRow),
        [
            {"id": event_id, "position": position}
            for position, event_id in enumerate(ids, start=first)
        ],
    )
    feed.last_position += len(ids)
    session.flush()
    return len(ids)


def has_unplaced(session: Session) -> bool:
    """Whether committed events wait for a position."""
    return bool(session.scalar(select(_HAS_UNPLACED)))


def read(
    session: Session,
    *,
    after: int | None,
    limit: int,
    event_type: str | None = None,
    subject: str | None = None,
    shown_if: ColumnElement[bool] | None = None,
    values: Mapping[str, object] | None = None,
) -> FeedPage:
    """Read events behind a position, or from the first that is kept, in one statement.

    There are ``limit`` at most. ``event_type`` is an exact type or ``prefix.*``;
    ``subject`` may be a former one; ``values`` are those of a further condition.
    """
    removed = select(Feed.removed_position).scalar_subquery()
    query = (
        select(EventRow.position)
        .where(
            EventRow.position > (removed if after is None else after),
            ~EventRow.type.startswith(OPERATIONAL_PREFIX),
        )
        .order_by(EventRow.position)
        .limit(limit)
    )
    if event_type is not None:
        query = query.where(is_of_types([event_type]))
    if subject is not None:
        former = EventRow.former_subjects
        # By replacing, since SQLite's LIKE does not tell capitals from small letters.
        is_former = func.replace(former, compact_json(subject), "") != former
        query = query.where(or_(EventRow.subject == subject, is_former))
    if shown_if is not None:
        query = query.where(shown_if)
    shown = query.subquery()
    page = (
        select(*(Feed.last_position, Feed.removed_position, _HAS_UNPLACED), EventRow)
        .select_from(Feed)
        .outerjoin(shown, true())
        .outerjoin(EventRow, EventRow.position == shown.c.position)
    )
    rows = read_rows(
        session, page, limit=limit, joined_in=[shown.c.position], values=values
    )
    events: list[EventRow] = []
    room = MAX_CHARACTERS
    for row in rows:  # one at least: without an event, the feed's own
        *standing, event = row
        if event is not None:
            events.append(event)
            room -= len(json.dumps(event.data))
        if room < 0:
            break
    last_position, removed_position, is_waiting = standing
    is_full = room < 0 or len(events) == limit
    end = events[-1].position if is_full else None
    return FeedPage(
        events=events,
        # A page that is not full has looked at everything that there is.
        next_position=max(after or 0, last_position) if end is None else end,
        last_position=last_position,
        removed_position=removed_position,
        has_unplaced=bool(is_waiting),
    )


def is_of_types(filters: Sequence[str]) -> ColumnElement[bool]:
    """Say in SQL what ``events.matches_event_type`` says."""
    return or_(*(_is_of_type(entry) for entry in filters))


def _is_of_type(entry: str) -> ColumnElement[bool]:
    if entry == "*":
        return true()
    if entry.endswith(".*"):
        return EventRow.type.startswith(entry[:-1], autoescape=True)
    return EventRow.type == entry
