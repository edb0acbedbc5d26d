"""``/models``, ``/models/{name}`` and its aliases."""

from typing import Any

from flask import Response, jsonify

from registry.api.blueprints import Blueprint
from registry.api.schemas.models import (
    AliasDocument,
    AliasTarget,
    ModelDocument,
    ModelPage,
    ModelPatch,
    ModelsQuery,
    NewModel,
)
from registry.api.schemas.versions import VersionDocument
from registry.auth.permissions import Permission, requires
from registry.persistence import queries
from registry.persistence.database import db
from registry.services import aliases, models
from registry.services.documents import model_document, version_document
from registry.services.models import ModelChanges
from registry.web.changing import answer_once, commit
from registry.web.paging import decode_cursor, page

blueprint = Blueprint("models", __name__, description="Registered models")


@blueprint.route("/models", methods=["GET"])
@requires(Permission.READ)
@blueprint.arguments(ModelsQuery, location="query")
@blueprint.response(200, ModelPage)
def list_models(query: dict[str, Any]) -> Response:
    """List models by name, or prompts."""
    limit = query["limit"]
    rows = queries.list_models(
        db.session(),
        after=decode_cursor(query["cursor"], str),
        limit=limit + 1,
        prompts=query["prompts"],
    )
    return page(rows, limit, document=model_document, key=lambda m: m.name)


@blueprint.route("/models", methods=["POST"])
@requires(Permission.WRITE)
@blueprint.arguments(NewModel)
@blueprint.response(201, ModelDocument)
@blueprint.alt_response(409, description="The name is taken")
def create_model(body: dict[str, Any]) -> Response:
    """Register a model."""
    return answer_once(
        lambda: commit(lambda tx: models.create_model(tx, **body), status=201)
    )


@blueprint.route("/models/<name:name>", methods=["GET"])
@requires(Permission.READ)
@blueprint.response(200, ModelDocument)
def get_model(name: str) -> Response:
    """Show a model."""
    return jsonify(model_document(queries.get_model(db.session(), name)))


@blueprint.route("/models/<name:name>", methods=["PATCH"])
@requires(Permission.WRITE)
@blueprint.arguments(ModelPatch)
@blueprint.response(200, ModelDocument)
@blueprint.alt_response(409, description="The new name is taken, or has other rules")
def update_model(body: dict[str, Any], name: str) -> Response:
    """Describe, tag or rename a model."""
    changes = ModelChanges(**body)
    return commit(lambda tx: models.update_model(tx, name, changes))


@blueprint.route("/models/<name:name>", methods=["DELETE"])
@requires(Permission.WRITE)
@blueprint.response(204)
@blueprint.alt_response(409, description="A version is in use")
def delete_model(name: str) -> Response:
    """Delete a model; its history and audit log stay."""
    return commit(lambda tx: models.delete_model(tx, name))


@blueprint.route("/models/<name:name>/aliases/<name:alias>", methods=["GET"])
@requires(Permission.READ)
@blueprint.response(200, VersionDocument)
def get_alias(name: str, alias: str) -> Response:
    """Show the version that an alias points at."""
    version = queries.version_by_alias(db.session(), name, alias)
    return jsonify(version_document(name, version))


@blueprint.route("/models/<name:name>/aliases/<name:alias>", methods=["PUT"])
@requires(Permission.WRITE)
@blueprint.arguments(AliasTarget)
@blueprint.response(200, AliasDocument)
def set_alias(body: dict[str, Any], name: str, alias: str) -> Response:
    """Point an alias at a version, wherever it pointed before."""
    return commit(lambda tx: aliases.set_alias(tx, name, alias, body["version"]))


@blueprint.route("/models/<name:name>/aliases/<name:alias>", methods=["DELETE"])
@requires(Permission.WRITE)
@blueprint.response(204)
def delete_alias(name: str, alias: str) -> Response:
    """Remove an alias."""
    return commit(lambda tx: aliases.delete_alias(tx, name, alias))
