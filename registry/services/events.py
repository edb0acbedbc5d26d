"""The feed of events, for consumers that were away."""

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from registry.domain.documents import Document
from registry.domain.timestamps import rfc3339
from registry.persistence.database import change, is_away
from webhooks import feed
from webhooks.feed import FeedPage
from webhooks.tables import EventRow

_PATIENCE_SECONDS = 0.25


def read_events(
    session: Session,
    *,
    after: int | None,
    limit: int,
    event_type: str | None = None,
    model: str | None = None,
) -> FeedPage:
    """Events behind a position or from the first on, the newest among them.

    Usually one statement. Where events wait for their position and would belong to
    this page, they get it first, in a transaction of its own; where that
    would have to wait, they come with a later page.
    """
    chosen = {"event_type": event_type, "subject": model}
    page = feed.read(session, after=after, limit=limit, **chosen)
    if page.has_unplaced and page.next_position >= page.last_position:
        session.rollback()  # what it sees from here on is new
        engine = session.get_bind().engine
        try:
            with change(engine, patience_seconds=_PATIENCE_SECONDS) as cx:
                feed.place(Session(cx, autoflush=False))
        except DBAPIError as error:
            if not is_away(error):
                raise
        page = feed.read(session, after=after, limit=limit, **chosen)
    return page


def event_document(event: EventRow) -> Document:
    """An event as the feed shows it: what a webhook's body says, and its id."""
    return {
        "id": event.id,
        "type": event.type,
        "timestamp": rfc3339(event.occurred_at),
        "data": event.data,
    }
