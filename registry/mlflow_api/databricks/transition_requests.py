"""``/mlflow/transition-requests``: not there yet, and said so."""

from http import HTTPStatus

from flask import Blueprint, Response

from registry.auth.permissions import NONE, Permission, requires
from registry.mlflow_api.errors import MlflowError

blueprint = Blueprint(
    "transition_requests", __name__, url_prefix="/mlflow/transition-requests"
)


@blueprint.post("/<any(create, approve, reject):action>")
@blueprint.get("/<any(list):action>")
@blueprint.delete("/<any(delete):action>")
@requires(Permission.READ, model=NONE)
def refuse(action: str) -> Response:
    """Say that versions are moved without requests."""
    del action
    raise MlflowError(
        "NOT_IMPLEMENTED",
        "This registry has no transition requests yet. Move the version with "
        "model-versions/transition-stage; the stage policy decides whether it may.",
        status=HTTPStatus.NOT_IMPLEMENTED,
    )
