"""Role bindings on the wire."""

from collections.abc import Sequence

from marshmallow import fields, validate

from registry.api.schemas.admin import model_pattern
from registry.api.schemas.base import Page, RequestSchema
from registry.domain.documents import RoleBindingDocument
from registry.domain.roles import Role
from registry.services.roles import MAX_SUBJECT_CHARACTERS, SubjectKind


class NewRoleBinding(RequestSchema):
    """A role to give: to a person as ``issuer#subject``, or to a group by its name.

    The roles ``viewer``, ``auditor`` and ``admin`` are for all models.
    """

    subject_kind = fields.String(
        required=True, validate=validate.OneOf(list(SubjectKind))
    )
    subject = fields.String(
        required=True,
        validate=[
            validate.Length(min=1, max=MAX_SUBJECT_CHARACTERS),
            validate.Regexp(r"[^\x00]*\S", error="must not be blank"),
        ],
    )
    role = fields.String(required=True, validate=validate.OneOf(list(Role)))
    models = model_pattern()


class RoleBindingPage(Page):
    """Who has which role."""

    items: Sequence[RoleBindingDocument]
