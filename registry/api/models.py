"""``/models``, ``/models/{name}`` and its aliases."""

from dataclasses import replace
from typing import Any

from flask import Response, jsonify

from registry.api.blueprints import Blueprint
from registry.api.schemas.models import (
    AliasDocument,
    AliasTarget,
    ModelPage,
    ModelPatch,
    ModelsQuery,
    NewModel,
)
from registry.api.schemas.versions import AskedDocument
from registry.auth.permissions import (
    MANY,
    Permission,
    in_body,
    in_path_and_body,
    requires,
)
from registry.auth.sign_in import current_caller
from registry.domain.actors import readable
from registry.domain.commands.aliases import DeleteAlias, SetAlias
from registry.domain.commands.models import (
    ChangeModel,
    CreateModel,
    DeleteModel,
    ModelState,
)
from registry.domain.commands.moves import Moved, MoveVersion
from registry.domain.documents import (
    Document,
    ModelDocument,
    VersionDocument,
    version_document,
)
from registry.persistence import queries
from registry.persistence.database import reading
from registry.services.commands import create, execute
from registry.services.subscriptions import change_model
from registry.services.transaction import Transaction
from registry.web.commands import answer_once, asked_status, commit, parts
from registry.web.paging import decode_cursor, page
from registry.web.verification import commit_alias

blueprint = Blueprint("models", __name__, description="Registered models")


@blueprint.route("/models", methods=["GET"])
@requires(Permission.READ, model=MANY)
@blueprint.arguments(ModelsQuery, location="query")
@blueprint.response(200, ModelPage)
def list_models(query: dict[str, Any]) -> Response:
    """List models by name, or prompts."""
    limit = query["limit"]
    rows = queries.list_models(
        reading(),
        after=decode_cursor(query["cursor"], str),
        limit=limit + 1,
        prompts=query["prompts"],
        readable=list(readable(current_caller().actor)),
    )
    return page(rows, limit, document=_document, key=lambda m: m.row.name)


def _document(model: ModelState) -> ModelDocument:
    return model.document


@blueprint.route("/models", methods=["POST"])
@requires(Permission.WRITE, model=in_body("name"))
@blueprint.arguments(NewModel)
@blueprint.response(201, ModelDocument)
@blueprint.alt_response(409, description="The name is taken")
def create_model(body: dict[str, Any]) -> Response:
    """Register a model."""
    new = CreateModel(model=body.pop("name"), **body)
    return answer_once(lambda: commit(lambda tx: create(tx, new).document, status=201))


@blueprint.route("/models/<name:name>", methods=["GET"])
@requires(Permission.READ)
@blueprint.response(200, ModelDocument)
def get_model(name: str) -> Response:
    """Show a model."""
    return jsonify(queries.get_model(reading(), name).document)


@blueprint.route("/models/<name:name>", methods=["PATCH"])
@requires(Permission.WRITE, model=in_path_and_body("name"))
@blueprint.arguments(ModelPatch)
@blueprint.response(200, ModelDocument)
@blueprint.alt_response(409, description="The new name is taken, or has other rules")
def update_model(body: dict[str, Any], name: str) -> Response:
    """Describe, tag or rename a model."""
    new_name = body.pop("name", None)
    changes = ChangeModel(model=name, name=new_name, **body)
    return commit(lambda tx: change_model(tx, changes).document)


@blueprint.route("/models/<name:name>", methods=["DELETE"])
@requires(Permission.WRITE)
@blueprint.response(204)
@blueprint.alt_response(409, description="A version is in use")
def delete_model(name: str) -> Response:
    """Delete a model; its history and audit log stay."""
    return commit(lambda tx: execute(tx, DeleteModel(model=name)))


@blueprint.route("/models/<name:name>/aliases/<name:alias>", methods=["GET"])
@requires(Permission.READ)
@blueprint.response(200, VersionDocument)
def get_alias(name: str, alias: str) -> Response:
    """Show the version that an alias points at."""
    bound_to = parts().policy.for_model(name).bound_stage(alias)
    version = queries.version_by_alias(reading(), name, alias, bound_to=bound_to)
    return jsonify(version_document(version))


@blueprint.route("/models/<name:name>/aliases/<name:alias>", methods=["PUT"])
@requires(Permission.WRITE)
@blueprint.arguments(AliasTarget)
@blueprint.response(200, AliasDocument)
@blueprint.alt_response(202, AskedDocument, description="Others are to approve it")
@blueprint.alt_response(409, description="Refused by policy")
def set_alias(body: dict[str, Any], name: str, alias: str) -> Response:
    """Point an alias at a version; one that is bound to a stage is the move there."""
    return point_alias(SetAlias(model=name, alias=alias, number=body["version"]))


def point_alias(command: SetAlias) -> Response:
    """Point an alias at a version, or ask for the move that it is.

    Raises:
        RegistryError: as ``SetAlias``.
    """

    def work(tx: Transaction, move: MoveVersion | None) -> Document:
        pointed = execute(tx, replace(command, move=move))
        if isinstance(pointed, Moved) and pointed.request:
            return pointed.document
        return {"alias": command.alias, "version": command.number}

    return commit_alias(command, work, status=asked_status)


@blueprint.route("/models/<name:name>/aliases/<name:alias>", methods=["DELETE"])
@requires(Permission.WRITE)
@blueprint.response(204)
def delete_alias(name: str, alias: str) -> Response:
    """Remove an alias."""
    return commit(lambda tx: execute(tx, DeleteAlias(model=name, alias=alias)))
