"""Transition requests, checks and holds on the wire."""

from collections.abc import Sequence

from marshmallow import fields, validate

from registry.api.schemas.base import (
    MAX_SHORT_TEXT,
    Page,
    PageQuery,
    RequestSchema,
    link,
    name,
    text,
    whole_number,
)
from registry.api.schemas.versions import TransitionDocument
from registry.domain.commands.checks import MAX_NAME_CHARACTERS
from registry.domain.documents import (
    ApprovalDocument,
    CheckDocument,
    GateDocument,
    RequestDocument,
)
from registry.domain.rows import CheckStatus


class NewRequest(RequestSchema):
    """A stage change that others are to approve."""

    model = name(required=True)
    version = whole_number(required=True)
    to_stage = text(required=True, minimum=1, maximum=MAX_SHORT_TEXT)
    reason = text(load_default="")


class RequestsQuery(PageQuery):
    """Which requests to list: those left open, unless all are asked for."""

    model = text(maximum=MAX_SHORT_TEXT, load_default=None)
    state = fields.String(load_default="open", validate=validate.OneOf(["open", "all"]))


class Decision(RequestSchema):
    """What who decides says."""

    comment = text(load_default="")


class RequestDetails(RequestDocument):
    """A transition request with its approvals and every gate as it stands."""

    approvals: Sequence[ApprovalDocument]
    gates: Sequence[GateDocument]


class ApprovedRequest(RequestDocument):
    """A request after an approval; the transition where that was the last."""

    transition: TransitionDocument | None


class RequestPage(Page):
    """Transition requests, newest first."""

    items: Sequence[RequestDocument]


class NewCheck(RequestSchema):
    """The result of a check."""

    name = text(required=True, minimum=1, maximum=MAX_NAME_CHARACTERS)
    status = fields.String(
        required=True, validate=validate.OneOf([status.value for status in CheckStatus])
    )
    url = link("where more is to be read, such as a pipeline")
    description = text(load_default="")


class CheckList(Page):
    """The checks of a version, by name."""

    items: Sequence[CheckDocument]


class LiftedHold(RequestSchema):
    """Why a stage is not held any more."""

    reason = text(load_default="")


class NewHold(RequestSchema):
    """Why a stage is held, and until when."""

    reason = text(required=True, minimum=1)
    until = fields.String(
        load_default=None,
        allow_none=True,
        metadata={"format": "date-time", "description": "RFC 3339; null for no end"},
    )
