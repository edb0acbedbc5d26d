"""Webhook subscriptions, deliveries and attempts on the wire."""

from collections.abc import Sequence
from typing import Any, TypedDict

from marshmallow import fields, validate

from registry.api.schemas.base import (
    MAX_PAGE,
    MAX_SHORT_TEXT,
    AnswerSchema,
    Instant,
    PageQuery,
    RequestSchema,
    cursor,
    text,
    whole_number,
)
from registry.api.schemas.rules import Field, answer_field, request_field
from webhooks.roster.specs import FACTS, SHOWN, SeenBy
from webhooks.tables import ShownState

_MAX_OVERLAP_SECONDS = 30 * 24 * 3600


def _choices(*, is_new: bool) -> dict[str, Field]:
    """What an owner chooses, as a request has it."""
    return {
        facts.name: request_field(
            {**facts.rule, "merges": False} if is_new else facts.rule,
            allow_none=facts.is_nullable,
            load_only=facts.seen_by == SeenBy.NOBODY,
            required=is_new and field == "url",
            metadata={"description": facts.told} if facts.told else {},
        )
        for field, facts in FACTS.items()
    }


_WEBHOOK: dict[str, Field] = {
    "id": fields.String(required=True),
    **{
        FACTS[field].name: answer_field(
            FACTS[field].rule, required=True, allow_none=FACTS[field].is_nullable
        )
        for field in SHOWN
    },
    "credential_names": fields.List(fields.String(), required=True),
    "public_keys": fields.List(fields.String(), required=True),
    "state": fields.String(required=True),
    "state_reason": fields.String(required=True, allow_none=True),
    "consecutive_failures": fields.Integer(required=True),
    "failing_since": fields.DateTime(required=True, allow_none=True),
    "held_back_until": fields.DateTime(required=True, allow_none=True),
    "created_at": fields.DateTime(required=True),
    "created_by": fields.String(required=True),
    "updated_at": fields.DateTime(required=True),
}
_STATE = fields.String(validate=validate.OneOf(["active", "paused"]))
_SECRET = fields.String(required=True)  # shown this once

NewWebhook = RequestSchema.from_dict(_choices(is_new=True), name="NewWebhook")
WebhookPatch = RequestSchema.from_dict(
    {**_choices(is_new=False), "state": _STATE}, name="WebhookPatch"
)
WebhookDocument = AnswerSchema.from_dict(_WEBHOOK, name="WebhookDocument")
CreatedWebhook = AnswerSchema.from_dict(
    {**_WEBHOOK, "secret": _SECRET}, name="CreatedWebhook"
)


class WebhookPage(AnswerSchema):
    """Subscriptions, oldest first."""

    items = fields.List(fields.Nested(WebhookDocument), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class Rotation(RequestSchema):
    """How long the old secrets go on signing; 0 revokes them now."""

    overlap_seconds = whole_number(
        minimum=0, maximum=_MAX_OVERLAP_SECONDS, load_default=24 * 3600
    )


class RotatedSecret(TypedDict):
    """A new secret, shown this once."""

    id: str
    key_id: str
    overlap_seconds: int
    public_keys: Sequence[str]
    secret: str


class TestResult(TypedDict):
    """What came of a test."""

    delivery_id: str
    delivered: bool
    status: int | None
    error: str | None
    duration_ms: int


class DeliveriesQuery(PageQuery):
    """Which deliveries to list."""

    state = fields.String(load_default=None, validate=validate.OneOf(list(ShownState)))


class _WholeQuery(PageQuery):
    """A page of what is mostly wanted whole."""

    limit = fields.Integer(
        load_default=MAX_PAGE, validate=validate.Range(min=1, max=MAX_PAGE)
    )


class AttemptsQuery(_WholeQuery):
    """Which attempts to list."""

    cursor = cursor("number")


class TransitionDeliveriesQuery(_WholeQuery):
    """Which stage change is asked about."""

    transition_id = text(required=True, minimum=1, maximum=MAX_SHORT_TEXT)


class DeliveryDocument(AnswerSchema):
    """One event on its way to one subscription."""

    id = fields.String(required=True)
    webhook_id = fields.String(required=True, attribute="subscription_id")
    event_id = fields.String(required=True)
    event_type = fields.String(required=True)
    state = fields.String(required=True, attribute="shown_state")
    reason = fields.String(required=True, allow_none=True, attribute="shown_reason")
    attempts = fields.Integer(required=True, attribute="attempt_count")
    next_attempt_at = Instant(
        required=True,
        metadata={"description": "later while its webhook is held back"},
    )
    replay_of = fields.String(required=True, allow_none=True)
    receipt = fields.String(required=True, allow_none=True)
    created_at = Instant(required=True)
    updated_at = Instant(required=True)


class DeliveryPage(AnswerSchema):
    """Deliveries, newest first."""

    items = fields.List(fields.Nested(DeliveryDocument), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class AttemptDocument(AnswerSchema):
    """One try at one delivery."""

    number = fields.Integer(required=True)
    outcome = fields.String(required=True)
    status = fields.Integer(required=True, allow_none=True)
    error = fields.String(required=True, allow_none=True)
    started_at = Instant(required=True)
    finished_at = Instant(required=True, allow_none=True)
    duration_seconds = fields.Float(required=True, allow_none=True)
    address = fields.String(required=True, allow_none=True)
    timings = fields.Dict(fields.String(), fields.Float(), required=True)
    request_headers = fields.Dict(required=True)
    response_headers = fields.Dict(required=True)
    response_body = fields.String(required=True, allow_none=True)

    def get_attribute(self, obj: Any, attr: str, default: Any) -> Any:  # noqa: ANN401  # as marshmallow has it
        """Bytes as text, and an object where none is stored."""
        value = super().get_attribute(obj, attr, default)
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        is_object = isinstance(self.fields[attr], fields.Dict)
        return {} if is_object and value is None else value


class AttemptPage(AnswerSchema):
    """The attempts of a delivery, first one first."""

    items = fields.List(fields.Nested(AttemptDocument), required=True)
    next_cursor = fields.String(required=True, allow_none=True)
