"""Replays on the wire."""

from typing import Any

from marshmallow import fields, validate

from registry.api.schemas.base import AnswerSchema, Number, RequestSchema, text
from registry.api.schemas.events import event_type
from webhooks.replays import DEFAULT_PER_SECOND, MAX_PER_SECOND, MIN_PER_SECOND
from webhooks.specs import MAX_LIST_LENGTH
from webhooks.tables import FINAL_STATES, ReplayState

_STATES = [str(state) for state in FINAL_STATES]


def _instant(description: str) -> fields.String:
    return fields.String(
        allow_none=True,
        metadata={"format": "date-time", "description": f"RFC 3339; {description}"},
    )


class _Flag(fields.Boolean):
    """A boolean as JSON has it: no number, no text."""

    def _deserialize(self, value: object, *_: Any, **__: Any) -> bool:  # noqa: ANN401  # marshmallow's own arguments
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class NewReplay(RequestSchema):
    """What to send again: everything that was settled, unless it says less."""

    since = _instant("events from then on")
    until = _instant("events up to then; now, when it is not given")
    event_types = fields.List(
        event_type(),
        allow_none=True,
        validate=validate.Length(min=1, max=MAX_LIST_LENGTH),
    )
    model_pattern = text(minimum=1, maximum=256, allow_none=True)
    states = fields.List(
        fields.String(validate=validate.OneOf(_STATES)),
        allow_none=True,
        validate=validate.Length(min=1, max=len(_STATES)),
        metadata={"description": "of the deliveries, as they stand now"},
    )
    per_second = Number(
        load_default=DEFAULT_PER_SECOND,
        validate=validate.Range(min=MIN_PER_SECOND, max=MAX_PER_SECOND),
    )
    dry_run = _Flag(load_default=False, metadata={"description": "count only"})


class ReplayDocument(AnswerSchema):
    """A replay: ``done`` of ``total`` deliveries are stored to be sent again."""

    id = fields.String(required=True)
    webhook_id = fields.String(required=True)
    state = fields.String(required=True, validate=validate.OneOf(list(ReplayState)))
    total = fields.Integer(required=True)
    done = fields.Integer(required=True)
    since = fields.DateTime(required=True, allow_none=True)
    until = fields.DateTime(required=True)
    event_types = fields.List(fields.String(), required=True, allow_none=True)
    model_pattern = fields.String(required=True, allow_none=True)
    states = fields.List(fields.String(), required=True, allow_none=True)
    per_second = fields.Float(required=True)
    created_at = fields.DateTime(required=True)
    created_by = fields.String(required=True)
    updated_at = fields.DateTime(required=True)


class ReplayCount(AnswerSchema):
    """How many deliveries a replay would send again."""

    count = fields.Integer(required=True)


class ReplayPage(AnswerSchema):
    """Replays, newest first."""

    items = fields.List(fields.Nested(ReplayDocument), required=True)
    next_cursor = fields.String(required=True, allow_none=True)
