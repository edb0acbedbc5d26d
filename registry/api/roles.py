"""``/role-bindings``: which people and groups have which role."""

from typing import Any

from flask import Response

from registry.api.blueprints import Blueprint
from registry.api.schemas.base import PageQuery
from registry.api.schemas.roles import NewRoleBinding, RoleBindingPage
from registry.auth.permissions import Permission, requires
from registry.domain.documents import RoleBindingDocument, role_binding_document
from registry.domain.roles import Grant
from registry.persistence.database import reading
from registry.services import roles
from registry.services.roles import SubjectKind
from registry.web.commands import answer_once, commit
from registry.web.paging import decode_cursor, page

blueprint = Blueprint("roles", __name__, description="Who has which role")


@blueprint.route("/role-bindings", methods=["GET"])
@requires(Permission.ADMIN)
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, RoleBindingPage)
def list_role_bindings(query: dict[str, Any]) -> Response:
    """List who has which role."""
    limit = query["limit"]
    rows = roles.list_bindings(
        reading(), after=decode_cursor(query["cursor"], str), limit=limit + 1
    )
    return page(rows, limit, document=role_binding_document, key=lambda b: b.id)


@blueprint.route("/role-bindings", methods=["POST"])
@requires(Permission.ADMIN)
@blueprint.arguments(NewRoleBinding)
@blueprint.response(200, RoleBindingDocument)
def grant_role(body: dict[str, Any]) -> Response:
    """Give a person or a group a role; one that they have already stays as it is."""
    kind, subject = SubjectKind(body["subject_kind"]), body["subject"]
    granted = Grant.parse(body["role"], body["models"])
    return answer_once(
        lambda: commit(lambda tx: roles.grant(tx, kind, subject, granted))
    )


@blueprint.route("/role-bindings/<name:binding_id>", methods=["DELETE"])
@requires(Permission.ADMIN)
@blueprint.response(204)
def revoke_role(binding_id: str) -> Response:
    """Take a role away, from the next request on."""
    return commit(lambda tx: roles.revoke(tx, binding_id))
