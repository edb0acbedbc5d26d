"""``/permissions/registered-models/{id}``: the role bindings that are for a model.

Rules:

- A level stands for a role: CAN_READ for reader, CAN_EDIT for writer,
  CAN_MANAGE_PRODUCTION_VERSIONS for promoter. Whoever has another role reads, too, but
  for admins, who CAN_MANAGE.
- CAN_MANAGE is not given here: admins are admins of every model. Nor is
  CAN_MANAGE_STAGING_VERSIONS: no role is for some stages alone.
- A binding for the model's very name is its own; one by a pattern is inherited, and not
  changed here. What was replaced are levels: approvers stay.
- A person, or a service account, is known as ``issuer#subject``.
"""

from collections.abc import Iterator, Mapping

from flask import Blueprint, Response, jsonify, request
from sqlalchemy import Connection

from registry.auth.permissions import Permission, known_by, requires
from registry.domain.names import clean_text
from registry.domain.roles import Role
from registry.domain.rows import RoleBindingRow
from registry.errors import InvalidInputError, ModelNotFoundError
from registry.mlflow_api.documents import Document
from registry.mlflow_api.reading import Fields, fields_of
from registry.persistence import queries
from registry.persistence.database import reading
from registry.services import roles
from registry.services.roles import Subject, SubjectKind
from registry.services.transaction import Transaction
from registry.web.commands import commit

blueprint = Blueprint(
    "permissions", __name__, url_prefix="/permissions/registered-models"
)

MAX_ENTRIES = 200
CAN_READ, CAN_MANAGE = "CAN_READ", "CAN_MANAGE"
_ROLES: Mapping[str, Role] = {
    CAN_READ: Role.READER,
    "CAN_EDIT": Role.WRITER,
    "CAN_MANAGE_PRODUCTION_VERSIONS": Role.PROMOTER,
}
_LEVELS = {role.value: level for level, role in _ROLES.items()}
_LEVELS[Role.ADMIN] = CAN_MANAGE
_DESCRIPTIONS = {
    CAN_READ: "Reads the model and its versions",
    "CAN_EDIT": "Registers and describes versions",
    "CAN_MANAGE_PRODUCTION_VERSIONS": "Moves versions to any stage",
    CAN_MANAGE: "Administers the registry; given by its role bindings",
}
_SUBJECTS = {
    "group_name": SubjectKind.GROUP,
    "user_name": SubjectKind.USER,
    "service_principal_name": SubjectKind.USER,
}


def _model_of_request() -> str | None:
    try:
        return _name(reading(), (request.view_args or {})["model_id"])
    except ModelNotFoundError:
        return None


@blueprint.get("/<model_id>/permissionLevels")
@requires(Permission.READ, model=known_by(_model_of_request))
def get_permission_levels(model_id: str) -> Response:
    """Say which levels there are."""
    _name(reading(), model_id)
    levels = [
        {"permission_level": level, "description": text}
        for level, text in _DESCRIPTIONS.items()
    ]
    return jsonify({"permission_levels": levels})


@blueprint.get("/<model_id>")
@requires(Permission.ADMIN)
def get_permissions(model_id: str) -> Response:
    """Show who may do what to a model."""
    return jsonify(_document(reading(), model_id))


@blueprint.put("/<model_id>")
@requires(Permission.ADMIN)
def set_permissions(model_id: str) -> Response:
    """Give levels in place of all that the model's own bindings give."""
    return _change(model_id, replaces=True)


@blueprint.patch("/<model_id>")
@requires(Permission.ADMIN)
def update_permissions(model_id: str) -> Response:
    """Give those who are named their levels, and leave the others theirs."""
    return _change(model_id, replaces=False)


def _change(model_id: str, *, replaces: bool) -> Response:
    entries = fields_of(request).documents("access_control_list")
    if len(entries) > MAX_ENTRIES:
        raise InvalidInputError(f"at most {MAX_ENTRIES}", field="access_control_list")
    wanted = dict(map(_wanted, entries))

    def work(tx: Transaction) -> Document:
        name = _name(tx.cx, model_id)
        roles.set_roles(
            tx, name, wanted, among=frozenset(_ROLES.values()), replaces=replaces
        )
        return _document(tx.cx, model_id)

    return commit(work)


def _wanted(entry: Fields) -> tuple[Subject, Role]:
    """Return who is to have which role."""
    level = entry.required("permission_level")
    if level not in _ROLES:
        raise InvalidInputError(
            f"{level[:80]!r} cannot be given for one model; expected one of "
            f"{', '.join(_ROLES)}",
            field="permission_level",
        )
    named = [(kind, entry.text(field)) for field, kind in _SUBJECTS.items()]
    subjects = [Subject(kind, name) for kind, name in named if name]
    if len(subjects) != 1:
        raise InvalidInputError(
            f"expected one of {', '.join(_SUBJECTS)}", field="access_control_list"
        )
    return subjects[0], _ROLES[level]


def _name(cx: Connection, model_id: str) -> str:
    return queries.model_name(cx, clean_text(model_id, field="registered_model_id"))


def _document(cx: Connection, model_id: str) -> Document:
    """Return ``RegisteredModelPermissions``."""
    name = _name(cx, model_id)
    given: dict[Subject, list[Document]] = {}
    for row in roles.bindings_of(cx, name):
        subject = Subject(SubjectKind(row.subject_kind), row.subject)
        given.setdefault(subject, []).append(dict(_permission(row, name)))
    fields = {SubjectKind.GROUP: "group_name", SubjectKind.USER: "user_name"}
    entries = [
        {fields[subject.kind]: subject.name, "all_permissions": permissions}
        for subject, permissions in given.items()
    ]
    return {
        "object_id": f"/registered-models/{model_id}",
        "object_type": "registered-model",
        "access_control_list": entries,
    }


def _permission(row: RoleBindingRow, name: str) -> Iterator[tuple[str, object]]:
    is_own = row.models == name
    yield "permission_level", _LEVELS.get(row.role, CAN_READ)
    yield "inherited", not is_own
    if not is_own:
        yield "inherited_from_object", [f"/registered-models/{row.models}"]
