"""``/models/{name}/versions``: registered, shown, described, deleted."""

from typing import Any

from flask import Response, jsonify, request

from registry.api.blueprints import Blueprint
from registry.api.schemas.versions import (
    NewVersion,
    VersionPage,
    VersionPatch,
    VersionQuery,
)
from registry.auth.permissions import Permission, requires
from registry.auth.sign_in import current_caller
from registry.domain.commands.registration import VersionDetails
from registry.domain.commands.versions import ChangeVersion, DeleteVersion
from registry.domain.documents import VersionDocument, version_document
from registry.persistence import queries
from registry.persistence.database import reading
from registry.services.commands import execute
from registry.services.preparing import prepare_version
from registry.services.sources import with_owner
from registry.web.commands import answer_once, commit, if_match, parts
from registry.web.paging import decode_cursor, page

blueprint = Blueprint("versions", __name__, description="Model versions")


@blueprint.route("/models/<name:name>/versions", methods=["GET"])
@requires(Permission.READ)
@blueprint.arguments(VersionQuery, location="query")
@blueprint.response(200, VersionPage)
def list_versions(query: dict[str, Any], name: str) -> Response:
    """List the versions of a model, newest first."""
    limit, stage = query["limit"], query["stage"]
    rows = queries.list_versions(
        reading(),
        name,
        below=decode_cursor(query["cursor"], int),
        stage=None if stage is None else _stage(name, stage),
        limit=limit + 1,
    )
    return page(
        rows,
        limit,
        document=version_document,
        key=lambda version: version.number,
    )


def _stage(name: str, text: str) -> str:
    return parts().policy.for_model(name).stage(text, field="stage")


@blueprint.route("/models/<name:name>/versions", methods=["POST"])
@requires(Permission.WRITE)
@blueprint.arguments(NewVersion)
@blueprint.response(201, VersionDocument)
@blueprint.alt_response(503, description="The artifact store did not answer")
def create_version(body: dict[str, Any], name: str) -> Response:
    """Register the next version of a model."""
    source = body.pop("source", None)
    details = with_owner(VersionDetails(**body), source)

    def carry_out() -> Response:
        queries.model_id(reading(), name)
        command = prepare_version(
            reading(),
            parts().source_readers,
            name,
            details,
            reader=current_caller().actor,
            source=source,
        )
        return commit(
            lambda tx: version_document(execute(tx, command)),
            status=201,
        )

    return answer_once(carry_out)


@blueprint.route("/models/<name:name>/versions/<number:number>", methods=["GET"])
@requires(Permission.READ)
@blueprint.response(200, VersionDocument)
@blueprint.alt_response(304, description="Unchanged since the given entity tag")
def get_version(name: str, number: int) -> Response:
    """Show a version, with its entity tag."""
    version = queries.get_version(reading(), name, number)
    answer = jsonify(version_document(version))
    answer.set_etag(version.etag)
    answer.make_conditional(request)
    return answer


@blueprint.route("/models/<name:name>/versions/<number:number>", methods=["PATCH"])
@requires(Permission.WRITE)
@blueprint.arguments(VersionPatch)
@blueprint.response(200, VersionDocument)
@blueprint.alt_response(412, description="Changed since the given entity tag")
def update_version(body: dict[str, Any], name: str, number: int) -> Response:
    """Describe or tag a version."""
    changes = ChangeVersion(model=name, number=number, if_match=if_match(), **body)
    return commit(lambda tx: version_document(execute(tx, changes)))


@blueprint.route("/models/<name:name>/versions/<number:number>", methods=["DELETE"])
@requires(Permission.WRITE)
@blueprint.response(204)
@blueprint.alt_response(409, description="The version is in use")
@blueprint.alt_response(412, description="Changed since the given entity tag")
def delete_version(name: str, number: int) -> Response:
    """Delete a version; its number is never used again."""
    command = DeleteVersion(model=name, number=number, if_match=if_match())
    return commit(lambda tx: execute(tx, command))
