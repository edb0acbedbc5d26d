"""The feed of events on the wire."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from marshmallow import fields, validate

from registry.api.schemas.base import (
    DEFAULT_PAGE,
    MAX_PAGE,
    RequestSchema,
    text,
)
from registry.domain.names import MAX_NAME_CHARACTERS
from registry.domain.timestamps import Instant
from webhooks.events import EVENT_TYPE_FILTER
from webhooks.roster.specs import MAX_TEXT_LENGTH


def event_type(**options: object) -> fields.String:
    """A type of events, or several by their prefix."""
    rules = [
        validate.Length(max=MAX_TEXT_LENGTH),
        validate.Regexp(
            f"^({EVENT_TYPE_FILTER.pattern})$",
            error="must be an event type, 'prefix.*' or '*'",
        ),
    ]
    return fields.String(validate=rules, **options)  # type: ignore[arg-type]  # marshmallow's own keywords


class EventsQuery(RequestSchema):
    """Which events to answer, and from where on."""

    after = fields.String(
        load_default=None,
        metadata={
            "format": "cursor-by-number",
            "description": "a cursor of this feed; without one it begins with the"
            " oldest event that is kept",
        },
    )
    limit = fields.Integer(
        load_default=DEFAULT_PAGE, validate=validate.Range(min=1, max=MAX_PAGE)
    )
    type = event_type(load_default=None)
    model = text(minimum=1, maximum=MAX_NAME_CHARACTERS, load_default=None)


class EventDocument(TypedDict):
    """An event, and the cursor behind it."""

    id: str
    type: str
    timestamp: Instant
    data: Mapping[str, Any]
    cursor: str


class EventPage(TypedDict):
    """Events in their order; ``next_cursor`` is always given."""

    items: Sequence[EventDocument]
    next_cursor: str
