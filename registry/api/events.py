"""The feed of events: what a consumer that was away has missed."""

from typing import Any

from flask import Response, jsonify

from registry.api.blueprints import Blueprint
from registry.api.schemas.events import EventPage, EventsQuery
from registry.auth.permissions import Permission, requires
from registry.errors import CursorExpiredError, InvalidInputError
from registry.persistence.database import reading_session
from registry.services.events import event_document, read_events
from registry.web.paging import decode_cursor, encode_cursor

blueprint = Blueprint("events", __name__, description="Events")


@blueprint.route("/events", methods=["GET"])
@requires(Permission.READ)
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
    page = read_events(
        reading_session(),
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
        {**event_document(event), "cursor": encode_cursor(event.position or 0)}
        for event in page.events
    ]
    return jsonify({"items": items, "next_cursor": encode_cursor(page.next_position)})
