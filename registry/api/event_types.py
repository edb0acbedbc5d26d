"""``/event-types``: what webhooks and the feed say of each kind of event."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypedDict

from flask import Response, jsonify

from registry.api.blueprints import Blueprint
from registry.api.json_schemas import Part, object_schema
from registry.api.schemas.base import Page, PageQuery
from registry.auth.permissions import NONE, Permission, requires
from registry.domain.events import EVENTS, OPT_IN, About
from registry.errors import NotFoundError
from registry.web.paging import decode_cursor, page
from webhooks import events

blueprint = Blueprint("event_types", __name__, description="Types of events")

#: Of what documents each event's data are made.
TYPES: Mapping[str, tuple[Any, ...]] = {
    **{name: (About, *parts) for name, parts in EVENTS.items()},
    **events.EVENTS,
}


class EventType(TypedDict):
    """A type of events."""

    type: str
    opt_in: Annotated[bool, "whether `*` does not ask for it"]


class EventTypePage(Page):
    """Types of events, by name."""

    items: Sequence[EventType]


def schema_of(event_type: str) -> Part:
    """Return the JSON Schema of an event's body in the format ``standard``."""
    properties = {
        "type": {"const": event_type},
        "timestamp": {"type": "string", "format": "date-time"},
        "data": object_schema(TYPES[event_type]),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": event_type,
        "type": "object",
        "properties": properties,
        "required": list(properties),
    }


@blueprint.route("/event-types", methods=["GET"])
@requires(Permission.READ, model=NONE)
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, EventTypePage)
def list_event_types(query: dict[str, Any]) -> Response:
    """List the types of events."""
    after = decode_cursor(query["cursor"], str) or ""
    rows = sorted(name for name in TYPES if name > after)
    return page(rows, query["limit"], document=_document, key=str)


def _document(event_type: str) -> EventType:
    is_opt_in = event_type in OPT_IN or events.is_operational(event_type)
    return {"type": event_type, "opt_in": is_opt_in}


@blueprint.route("/event-types/<name:event_type>", methods=["GET"])
@requires(Permission.READ, model=NONE)
@blueprint.response(200, {"type": "object"})
def get_event_type(event_type: str) -> Response:
    """Show the JSON Schema of an event, as a webhook of the standard format has it."""
    if event_type not in TYPES:
        raise NotFoundError(f"there is no event type {event_type!r}")
    return jsonify(schema_of(event_type))
