"""``/mlflow/databricks/…``: a model with what one may do; moves with a comment."""

from collections.abc import Mapping

from flask import Blueprint, Response, jsonify, request

from registry.auth.permissions import Permission, requires
from registry.auth.sign_in import current_caller
from registry.domain.actors import may
from registry.domain.names import MAX_TEXT_CHARACTERS
from registry.domain.roles import Action
from registry.domain.rows import VersionRow
from registry.mlflow_api.documents import (
    Document,
    full_version_document,
    model_document,
)
from registry.mlflow_api.reading import fields_anywhere, fields_of, in_field
from registry.mlflow_api.stages import move_version
from registry.persistence.database import reading
from registry.persistence.latest import model_with_latest
from registry.web.commands import parts

blueprint = Blueprint("databricks", __name__, url_prefix="/mlflow/databricks")


#: From the highest on.
_LEVELS: Mapping[Action, str] = {
    Action.ADMINISTER: "CAN_MANAGE",
    Action.PROMOTE: "CAN_MANAGE_PRODUCTION_VERSIONS",
    Action.WRITE: "CAN_EDIT",
}


@blueprint.get("/registered-models/get")
@requires(Permission.READ, model=in_field("name", read=fields_anywhere))
def get_registered_model() -> Response:
    """Show a model with its id and what the caller may do with it."""
    name = fields_anywhere(request).required("name")
    stages = parts().policy.for_model(name).stages
    model, latest = model_with_latest(reading(), name, stages)
    document = {
        **model_document(model, latest),
        "id": model.id,
        "user_id": model.created_by,
        "permission_level": permission_level(name),
    }
    return jsonify({"registered_model_databricks": document})


@blueprint.post("/model-versions/transition-stage")
@requires(Permission.PROMOTE, model=in_field("name"))
def transition_model_version_stage() -> Response:
    """Move a version to another stage; the comment is the reason."""
    fields = fields_of(request)
    reason = fields.text("comment", maximum=MAX_TEXT_CHARACTERS)
    return move_version(fields, reason=reason, answer=_version_answer)


def _version_answer(version: VersionRow) -> Document:
    document = full_version_document(version)
    level = permission_level(version.model_name)
    return {"model_version_databricks": {**document, "permission_level": level}}


def permission_level(model: str) -> str:
    """Return the level of whoever makes the present request."""
    actor = current_caller().actor
    allowed = (level for action, level in _LEVELS.items() if may(actor, action, model))
    return next(allowed, "CAN_READ")
