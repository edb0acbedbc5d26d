"""Deployments on the wire."""

from marshmallow import fields, validate

from registry.api.schemas.base import (
    MAX_SHORT_TEXT,
    AnswerSchema,
    PageQuery,
    RequestSchema,
    text,
)
from registry.domain.commands.deployments import DeploymentStatus
from registry.domain.names import MAX_ENVIRONMENT_CHARACTERS

_MAX_URL = 2000
_URL = r"""^[Hh][Tt][Tt][Pp][Ss]?://[!-\[\]-~]+$"""
_VISIBLE = r"[^\x00-\x1f\x7f-\x9f]"
_NAME = rf"^{_VISIBLE}*[^\s\x00-\x1f\x7f-\x9f]{_VISIBLE}*$"


def _statuses() -> validate.OneOf:
    return validate.OneOf(list(DeploymentStatus))


class NewDeployment(RequestSchema):
    """What became of a version in one environment."""

    status = fields.String(required=True, validate=_statuses())
    environment = fields.String(
        required=True,
        validate=[
            validate.Length(min=1, max=MAX_ENVIRONMENT_CHARACTERS),
            validate.Regexp(
                _NAME, error="must not be blank or have control characters"
            ),
        ],
    )
    url = fields.String(
        load_default=None,
        validate=[
            validate.Length(max=_MAX_URL),
            validate.Regexp(_URL, error="must be a plain ASCII http or https URL"),
        ],
        metadata={"description": "where more is to be read, such as a pipeline"},
    )
    description = text(maximum=MAX_SHORT_TEXT, load_default=None)
    delivery_id = text(
        minimum=1,
        maximum=MAX_SHORT_TEXT,
        load_default=None,
        metadata={"description": "the delivery that it is a consequence of"},
    )
    webhook_id = text(
        minimum=1,
        maximum=MAX_SHORT_TEXT,
        load_default=None,
        metadata={"description": "the webhook-id header of that delivery"},
    )


class DeploymentDocument(AnswerSchema):
    """The last word on a version in one environment."""

    id = fields.String(required=True)
    model = fields.String(required=True)
    version = fields.Integer(required=True)
    transition_id = fields.String(required=True, allow_none=True)
    delivery_id = fields.String(required=True, allow_none=True)
    environment = fields.String(required=True)
    status = fields.String(required=True, validate=_statuses())
    url = fields.String(required=True, allow_none=True)
    description = fields.String(required=True)
    reported_by = fields.String(required=True)
    created_at = fields.DateTime(required=True)
    updated_at = fields.DateTime(required=True)


class AutomaticRollback(AnswerSchema):
    """What the policy made of a failure: a rollback, or why there was none."""

    transition_id = fields.String(required=True, allow_none=True)
    to_version = fields.Integer(required=True, allow_none=True)
    refused = fields.String(required=True, allow_none=True)


class ReportedDeployment(DeploymentDocument):
    """A deployment as it stands after a report."""

    automatic_rollback = fields.Nested(
        AutomaticRollback, required=True, allow_none=True
    )


class DeploymentsQuery(PageQuery):
    """Which deployments to list."""

    transition_id = text(
        minimum=1,
        maximum=MAX_SHORT_TEXT,
        load_default=None,
        metadata={"description": "only those of this stage change"},
    )


class DeploymentPage(AnswerSchema):
    """Deployments, newest first."""

    items = fields.List(fields.Nested(DeploymentDocument), required=True)
    next_cursor = fields.String(required=True, allow_none=True)
