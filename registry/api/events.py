"""The feed of events: what a consumer that was away has missed."""

from functools import partial
from typing import Any

from flask import Response, jsonify
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from registry.api.blueprints import Blueprint
from registry.api.schemas.events import EventPage, EventsQuery
from registry.auth.permissions import MANY, Permission, requires
from registry.auth.sign_in import current_caller
from registry.domain.actors import readable
from registry.domain.documents import Document
from registry.domain.timestamps import rfc3339
from registry.errors import CursorExpiredError, InvalidInputError
from registry.persistence.database import (
    change,
    db,
    end_reading,
    is_away,
    reading_session,
)
from registry.persistence.readable import is_readable, readable_values
from registry.web.paging import decode_cursor, encode_cursor
from webhooks import feed
from webhooks.feed import FeedPage
from webhooks.tables import EventRow

_PATIENCE_SECONDS = 0.25
#: By what the model was called then.
_IS_READABLE = is_readable(EventRow.__table__.c.subject)

blueprint = Blueprint("events", __name__, description="Events")


@blueprint.route("/events", methods=["GET"])
@requires(Permission.READ, model=MANY)
@blueprint.arguments(EventsQuery, location="query")
@blueprint.response(200, EventPage)
@blueprint.alt_response(410, description="Events behind the cursor were removed")
def list_events(query: dict[str, Any]) -> Response:
    """List events in the order in which they came about, behind a cursor.

    Nothing is left out between two calls, whatever was committed meanwhile; events
    of one model come in their order. Events are kept as long as deliveries are; a
    cursor from before that is answered with 410 and the oldest one to go on from.
    """
    after = decode_cursor(query["after"], int, field="after")
    page = _read_events(
        after=after,
        limit=query["limit"],
        event_type=query["type"],
        model=query["model"],
    )
    if after is not None and not 0 <= after <= page.last_position:
        # Of another database, or of this one before it was set back: waiting for
        # the positions to catch up would leave events out without a word.
        raise InvalidInputError("is not a cursor of this feed", field="after")
    if after is not None and after < page.removed_position:
        oldest = encode_cursor(page.removed_position)
        raise CursorExpiredError(
            "events behind this cursor were removed; the feed is complete from"
            f" {oldest} on",
            oldest_cursor=oldest,
        )
    items = [
        {**_event_document(event), "cursor": encode_cursor(event.position or 0)}
        for event in page.events
    ]
    return jsonify({"items": items, "next_cursor": encode_cursor(page.next_position)})


def _read_events(
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
    of_models = list(readable(current_caller().actor))
    read = partial(
        feed.read,
        after=after,
        limit=limit,
        event_type=event_type,
        subject=model,
        shown_if=_IS_READABLE if of_models else None,
        values=readable_values(of_models) if of_models else None,
    )
    page = read(reading_session())
    if page.has_unplaced and page.next_position >= page.last_position:
        end_reading()  # nobody holds one connection and waits for another
        try:
            with change(db.engine, patience_seconds=_PATIENCE_SECONDS) as cx:
                feed.place(Session(cx, autoflush=False))
        except DBAPIError as error:
            if not is_away(error):
                raise
        page = read(reading_session())
    return page


def _event_document(event: EventRow) -> Document:
    """An event as the feed shows it: what a webhook's body says, and its id."""
    return {
        "id": event.id,
        "type": event.type,
        "timestamp": rfc3339(event.occurred_at),
        "data": event.data,
    }
