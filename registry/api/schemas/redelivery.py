"""Redelivery by filter on the wire."""

from typing import Any

from marshmallow import fields, validate

from registry.api.schemas.base import Page, RequestSchema, cursor, text
from registry.api.schemas.events import event_type
from webhooks.redelivery import STATES
from webhooks.roster.specs import MAX_LIST_LENGTH

_STATES = [str(state) for state in STATES]


def _instant(description: str) -> fields.String:
    return fields.String(
        load_default=None,
        allow_none=True,
        metadata={"format": "date-time", "description": f"RFC 3339; {description}"},
    )


class _Flag(fields.Boolean):
    """A boolean as JSON has it: no number, no text."""

    def _deserialize(self, value: object, *_: Any, **__: Any) -> bool:  # noqa: ANN401  # marshmallow's own arguments
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class Redelivery(RequestSchema):
    """What to send again: everything that was settled, unless it says less."""

    since = _instant("events from then on")
    until = _instant("events up to then")
    event_types = fields.List(
        event_type(),
        load_default=None,
        allow_none=True,
        validate=validate.Length(min=1, max=MAX_LIST_LENGTH),
    )
    model_pattern = text(minimum=1, maximum=256, load_default=None, allow_none=True)
    states = fields.List(
        fields.String(validate=validate.OneOf(_STATES)),
        load_default=None,
        allow_none=True,
        validate=validate.Length(min=1, max=len(_STATES)),
        metadata={"description": "of the deliveries now; all but blocked by default"},
    )
    again_before = _instant("also what was sent again already, before then")
    dry_run = _Flag(load_default=False, metadata={"description": "count only"})
    cursor = cursor("number")


class RedeliveryPortion(Page):
    """How many deliveries are sent again, or would be; more with ``next_cursor``."""

    count: int
