"""``/models/{name}/versions``: registered, shown, described, deleted."""

from typing import Any

from flask import Response, jsonify, request

from registry.api.blueprints import Blueprint
from registry.api.schemas.versions import (
    NewVersion,
    VersionDocument,
    VersionPage,
    VersionPatch,
    VersionQuery,
)
from registry.auth.permissions import Permission, requires
from registry.persistence import queries
from registry.persistence.database import db
from registry.services import registration, versions
from registry.services.documents import version_document, version_etag
from registry.services.preparing import prepare_version, with_owner
from registry.services.registration import VersionDetails
from registry.services.versions import VersionChanges, VersionRef
from registry.web.changing import answer_once, commit, if_match, parts
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
        db.session(),
        name,
        below=decode_cursor(query["cursor"], int),
        stage=None if stage is None else _stage(name, stage),
        limit=limit + 1,
    )
    return page(
        rows,
        limit,
        document=lambda version: version_document(name, version),
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
        queries.model_id(db.session(), name)
        prepared = prepare_version(
            db.session(), parts().source_readers, details, source=source
        )
        return commit(
            lambda tx: registration.create_version(
                tx,
                name,
                prepared.details,
                link=prepared.link,
                artifact_root=parts().store.root_uri,
            ),
            status=201,
        )

    return answer_once(carry_out)


@blueprint.route("/models/<name:name>/versions/<number:number>", methods=["GET"])
@requires(Permission.READ)
@blueprint.response(200, VersionDocument)
@blueprint.alt_response(304, description="Unchanged since the given entity tag")
def get_version(name: str, number: int) -> Response:
    """Show a version, with its entity tag."""
    version = queries.get_version(db.session(), name, number)
    answer = jsonify(version_document(name, version))
    answer.set_etag(version_etag(version))
    answer.make_conditional(request)
    return answer


@blueprint.route("/models/<name:name>/versions/<number:number>", methods=["PATCH"])
@requires(Permission.WRITE)
@blueprint.arguments(VersionPatch)
@blueprint.response(200, VersionDocument)
@blueprint.alt_response(412, description="Changed since the given entity tag")
def update_version(body: dict[str, Any], name: str, number: int) -> Response:
    """Describe or tag a version."""
    ref = VersionRef(model=name, number=number, if_match=if_match())
    changes = VersionChanges(**body)
    return commit(lambda tx: versions.update_version(tx, ref, changes))


@blueprint.route("/models/<name:name>/versions/<number:number>", methods=["DELETE"])
@requires(Permission.WRITE)
@blueprint.response(204)
@blueprint.alt_response(409, description="The version is in use")
@blueprint.alt_response(412, description="Changed since the given entity tag")
def delete_version(name: str, number: int) -> Response:
    """Delete a version; its number is never used again."""
    ref = VersionRef(model=name, number=number, if_match=if_match())
    return commit(lambda tx: versions.delete_version(tx, ref))
