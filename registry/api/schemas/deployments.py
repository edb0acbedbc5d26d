"""Deployments on the wire."""

from collections.abc import Sequence
from typing import TypedDict

from marshmallow import fields, validate

from registry.api.schemas.base import (
    MAX_SHORT_TEXT,
    Page,
    PageQuery,
    RequestSchema,
    link,
    text,
)
from registry.domain.documents import DeploymentDocument, DeploymentStatus
from registry.domain.names import MAX_ENVIRONMENT_CHARACTERS

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
    url = link("where more is to be read, such as a pipeline")
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


class AutomaticRollback(TypedDict):
    """What the policy made of a failure: a rollback, or why there was none."""

    transition_id: str | None
    to_version: int | None
    refused: str | None


class ReportedDeployment(DeploymentDocument):
    """A deployment as it stands after a report."""

    automatic_rollback: AutomaticRollback | None


class DeploymentsQuery(PageQuery):
    """Which deployments to list."""

    transition_id = text(
        minimum=1,
        maximum=MAX_SHORT_TEXT,
        load_default=None,
        metadata={"description": "only those of this stage change"},
    )


class DeploymentPage(Page):
    """Deployments, newest first."""

    items: Sequence[DeploymentDocument]
