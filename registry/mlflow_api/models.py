"""``/mlflow/registered-models``: registered, shown, described, renamed, deleted."""

from flask import Blueprint, Response, jsonify, request

from registry.auth.permissions import Permission, requires
from registry.mlflow_api.documents import model_document
from registry.mlflow_api.reading import fields_of
from registry.persistence import queries
from registry.persistence.database import db

blueprint = Blueprint("models", __name__, url_prefix="/mlflow/registered-models")


@blueprint.get("/get")
@requires(Permission.READ)
def get_registered_model() -> Response:
    """Show a model with the latest version of each stage."""
    name = fields_of(request).required("name")
    model = queries.get_model(db.session(), name)
    return jsonify({"registered_model": model_document(model, [])})
