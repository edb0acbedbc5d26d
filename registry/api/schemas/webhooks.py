"""Webhook subscriptions, deliveries and attempts on the wire."""

from marshmallow import fields, validate

from registry.api.schemas.base import (
    MAX_PAGE,
    MAX_SHORT_TEXT,
    AnswerSchema,
    PageQuery,
    RequestSchema,
    cursor,
    text,
    whole_number,
)
from webhooks.certificates import MAX_PEM_LENGTH
from webhooks.events import EVENT_TYPE_FILTER
from webhooks.formats import FORMATS
from webhooks.placeholders import CREDENTIAL_NAME
from webhooks.request_headers import MAX_VALUE_LENGTH
from webhooks.retry import MAX_SCHEDULE, MAX_SCHEDULE_LENGTH
from webhooks.signing import Scheme
from webhooks.specs import (
    MAX_CREDENTIAL_LENGTH,
    MAX_LIST_LENGTH,
    MAX_RATE_PER_MINUTE,
    MAX_TEXT_LENGTH,
    MIN_CREDENTIAL_LENGTH,
)
from webhooks.tables import DeliveryState, OnPoison

_MAX_URL = 2000
_MAX_NAME = 100
_MAX_SCHEDULE_SECONDS = int(MAX_SCHEDULE.total_seconds())
_URL = r"""^[Hh][Tt][Tt][Pp][Ss]?://[!"$-\[\]-~]+$"""
_EVENT_TYPE = f"^({EVENT_TYPE_FILTER.pattern})$"
_MAX_OVERLAP_SECONDS = 30 * 24 * 3600
_ONE_TO_MANY = validate.Length(min=1, max=MAX_LIST_LENGTH)


def _url(**options: object) -> fields.String:
    """An address; whether it may be reached, the address guard knows."""
    rules = [
        validate.Length(max=_MAX_URL),
        validate.Regexp(_URL, error="must be a plain ASCII http or https URL"),
    ]
    return fields.String(validate=rules, **options)  # type: ignore[arg-type]  # marshmallow's own keywords


def _event_types() -> fields.List[str]:
    rules = [
        validate.Length(max=MAX_TEXT_LENGTH),
        validate.Regexp(_EVENT_TYPE, error="must be an event type, 'prefix.*' or '*'"),
    ]
    return fields.List(fields.String(validate=rules), validate=_ONE_TO_MANY)


def _short_texts(**options: object) -> fields.List[str]:
    entry = text(minimum=1, maximum=200)
    return fields.List(entry, validate=_ONE_TO_MANY, **options)  # type: ignore[arg-type]  # marshmallow's own keywords


def _credentials(*, allow_none: bool = False) -> fields.Dict:
    """What placeholders stand for; never shown again."""
    value = fields.String(
        validate=validate.Length(min=MIN_CREDENTIAL_LENGTH, max=MAX_CREDENTIAL_LENGTH),
        allow_none=allow_none,
    )
    return fields.Dict(
        keys=fields.String(validate=validate.Regexp(f"^{CREDENTIAL_NAME.pattern}$")),
        values=value,
        load_only=True,
        metadata={"description": "By name; never shown. Null removes one."},
    )


def _pem(**options: object) -> fields.String:
    return text(minimum=1, maximum=MAX_PEM_LENGTH, **options)


class WebhookPatch(RequestSchema):
    """What to change of a subscription."""

    url = _url()
    description = text(maximum=MAX_SHORT_TEXT)
    event_types = _event_types()
    model_pattern = text(minimum=1, maximum=256, allow_none=True)
    to_stages = _short_texts(allow_none=True)
    format = fields.String(validate=validate.OneOf(list(FORMATS)))
    options = fields.Dict(
        keys=text(minimum=1, maximum=_MAX_NAME),
        metadata={
            "description": "What the format needs to know; values name parts of the"
            " event by path (data.model) or are constants ({value: text})"
        },
    )
    headers = fields.Dict(
        keys=text(minimum=1, maximum=_MAX_NAME),
        values=text(minimum=1, maximum=MAX_VALUE_LENGTH),
        metadata={"description": "Sent besides; secrets as ${NAME}"},
    )
    credentials = _credentials(allow_none=True)
    signatures = fields.List(
        fields.String(validate=validate.OneOf(list(Scheme))),
        validate=validate.Length(min=1, max=len(Scheme)),
    )
    ca_certificate = _pem(allow_none=True)
    client_certificate = _pem(allow_none=True)
    client_key = _pem(allow_none=True, load_only=True)
    schedule_seconds = fields.List(
        whole_number(minimum=0, maximum=_MAX_SCHEDULE_SECONDS),
        validate=validate.Length(min=1, max=MAX_SCHEDULE_LENGTH),
        allow_none=True,
    )
    rate_per_minute = whole_number(
        maximum=MAX_RATE_PER_MINUTE,
        allow_none=True,
        metadata={"description": "The most requests in a minute; null for no limit"},
    )
    on_poison = fields.String(validate=validate.OneOf(list(OnPoison)))
    state = fields.String(validate=validate.OneOf(["active", "paused"]))


class NewWebhook(WebhookPatch):
    """A subscription to make."""

    class Meta(WebhookPatch.Meta):
        """A new subscription is active."""

        exclude = ("state",)

    url = _url(required=True)
    credentials = _credentials()


class WebhookDocument(AnswerSchema):
    """A subscription, without its secrets."""

    id = fields.String(required=True)
    url = fields.String(required=True)
    description = fields.String(required=True)
    event_types = fields.List(fields.String(), required=True)
    model_pattern = fields.String(required=True, allow_none=True)
    to_stages = fields.List(fields.String(), required=True, allow_none=True)
    format = fields.String(required=True)
    options = fields.Dict(required=True)
    headers = fields.Dict(fields.String(), fields.String(), required=True)
    credential_names = fields.List(fields.String(), required=True)
    signatures = fields.List(fields.String(), required=True)
    public_keys = fields.List(fields.String(), required=True)
    ca_certificate = fields.String(required=True, allow_none=True)
    client_certificate = fields.String(required=True, allow_none=True)
    schedule_seconds = fields.List(fields.Integer(), required=True, allow_none=True)
    rate_per_minute = fields.Integer(required=True, allow_none=True)
    on_poison = fields.String(required=True)
    state = fields.String(required=True)
    state_reason = fields.String(required=True, allow_none=True)
    consecutive_failures = fields.Integer(required=True)
    failing_since = fields.DateTime(required=True, allow_none=True)
    held_back_until = fields.DateTime(required=True, allow_none=True)
    created_at = fields.DateTime(required=True)
    created_by = fields.String(required=True)
    updated_at = fields.DateTime(required=True)


class CreatedWebhook(WebhookDocument):
    """A new subscription; ``secret`` is shown this once."""

    secret = fields.String(required=True)


class WebhookPage(AnswerSchema):
    """Subscriptions, oldest first."""

    items = fields.List(fields.Nested(WebhookDocument), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class Rotation(RequestSchema):
    """How long the old secrets go on signing; 0 revokes them now."""

    overlap_seconds = whole_number(
        minimum=0, maximum=_MAX_OVERLAP_SECONDS, load_default=24 * 3600
    )


class RotatedSecret(AnswerSchema):
    """A new secret, shown this once."""

    id = fields.String(required=True)
    key_id = fields.String(required=True)
    overlap_seconds = fields.Integer(required=True)
    public_keys = fields.List(fields.String(), required=True)
    secret = fields.String(required=True)


class TestResult(AnswerSchema):
    """What came of a test."""

    delivery_id = fields.String(required=True)
    delivered = fields.Boolean(required=True)
    status = fields.Integer(required=True, allow_none=True)
    error = fields.String(required=True, allow_none=True)
    duration_ms = fields.Integer(required=True)


class DeliveriesQuery(PageQuery):
    """Which deliveries to list."""

    state = fields.String(
        load_default=None, validate=validate.OneOf(list(DeliveryState))
    )


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
    webhook_id = fields.String(required=True)
    event_id = fields.String(required=True)
    event_type = fields.String(required=True)
    state = fields.String(required=True)
    reason = fields.String(required=True, allow_none=True)
    attempts = fields.Integer(required=True)
    next_attempt_at = fields.DateTime(
        required=True,
        metadata={"description": "later while its webhook is held back"},
    )
    replay_of = fields.String(required=True, allow_none=True)
    receipt = fields.String(required=True, allow_none=True)
    created_at = fields.DateTime(required=True)
    updated_at = fields.DateTime(required=True)


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
    started_at = fields.DateTime(required=True)
    finished_at = fields.DateTime(required=True, allow_none=True)
    duration_seconds = fields.Float(required=True, allow_none=True)
    address = fields.String(required=True, allow_none=True)
    timings = fields.Dict(fields.String(), fields.Float(), required=True)
    request_headers = fields.Dict(required=True)
    response_headers = fields.Dict(required=True)
    response_body = fields.String(required=True, allow_none=True)


class AttemptPage(AnswerSchema):
    """The attempts of a delivery, first one first."""

    items = fields.List(fields.Nested(AttemptDocument), required=True)
    next_cursor = fields.String(required=True, allow_none=True)
