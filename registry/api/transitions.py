"""Stage changes, rollback, who holds a stage, and a model's history."""

import dataclasses
from typing import Any

from flask import Response, jsonify

from registry.api.blueprints import Blueprint
from registry.api.changing import answer_once, commit, if_match, parts
from registry.api.paging import decode_cursor, page
from registry.api.schemas.versions import (
    HistoryPage,
    HolderQuery,
    NewRollback,
    NewTransition,
    TransitionDocument,
    VersionDocument,
    VersionQuery,
)
from registry.artifacts import hashing
from registry.auth.permissions import Permission, requires
from registry.domain.manifests import Manifest
from registry.domain.timestamps import parse_rfc3339
from registry.errors import ArtifactChangedError
from registry.persistence import queries
from registry.persistence.database import db, end_read
from registry.services import transitions
from registry.services.documents import stage_change_document, version_document
from registry.services.transitions import MoveRequest
from registry.services.versions import VersionRef

blueprint = Blueprint("transitions", __name__, description="Stage changes")


@blueprint.route(
    "/models/<name:name>/versions/<number:number>/transitions", methods=["POST"]
)
@requires(Permission.PROMOTE)
@blueprint.arguments(NewTransition)
@blueprint.response(200, TransitionDocument)
@blueprint.alt_response(409, description="Refused by policy, or the artifact changed")
@blueprint.alt_response(412, description="Incumbent or entity tag are not as expected")
@blueprint.alt_response(503, description="The artifact store did not answer")
def create_transition(body: dict[str, Any], name: str, number: int) -> Response:
    """Move a version to another stage."""
    request = MoveRequest(
        model=name,
        number=number,
        to_stage=body["to_stage"],
        reason=body["reason"],
        expects_incumbent="expected_incumbent" in body,
        expected_incumbent=body.get("expected_incumbent"),
        if_match=if_match(),
    )
    return answer_once(lambda: _move(request))


@blueprint.route("/models/<name:name>/rollback", methods=["POST"])
@requires(Permission.PROMOTE)
@blueprint.arguments(NewRollback)
@blueprint.response(200, TransitionDocument)
@blueprint.alt_response(409, description="Refused by policy, or nothing to return to")
@blueprint.alt_response(503, description="The artifact store did not answer")
def create_rollback(body: dict[str, Any], name: str) -> Response:
    """Return Production to the version that served before, or to the one named."""
    request = transitions.rollback_request(name, body.get("to_version"), body["reason"])
    return answer_once(lambda: _move(request))


def _move(request: MoveRequest) -> Response:
    """Verify the artifact with no transaction open, then move the version."""
    session, policy = db.session(), parts().policy
    version = transitions.artifact_to_verify(session, policy, request)
    if version is not None:
        manifest = Manifest.from_canonical(queries.manifest(session, version.id))
        end_read(session)
        _verify(request.model, version.number, version.source, manifest)
        request = dataclasses.replace(
            request, number=version.number, verified_digest=manifest.digest
        )
    return commit(lambda tx: transitions.move_version(tx, request))


def _verify(model: str, number: int, source: str, manifest: Manifest) -> None:
    differences = hashing.verify_manifest(parts().store, source, manifest)
    if not differences:
        return
    ref = VersionRef(model=model, number=number)
    commit(
        lambda tx: transitions.mark_artifact_changed(tx, ref, differences),
        is_answer=False,
    )
    raise ArtifactChangedError(
        f"the artifact of version {number} is not what was registered: "
        f"{'; '.join(differences[:5])}",
        differences,
    )


@blueprint.route("/models/<name:name>/stages/<name:stage>", methods=["GET"])
@requires(Permission.READ)
@blueprint.arguments(HolderQuery, location="query")
@blueprint.response(200, VersionDocument)
def get_stage_holder(query: dict[str, Any], name: str, stage: str) -> Response:
    """Show the version that is in a stage, or was at a time."""
    at = None if query["at"] is None else parse_rfc3339(query["at"], field="at")
    version = queries.stage_holder(db.session(), name, _stage(name, stage), at=at)
    return jsonify(version_document(name, version))


@blueprint.route("/models/<name:name>/history", methods=["GET"])
@requires(Permission.READ)
@blueprint.arguments(VersionQuery, location="query")
@blueprint.response(200, HistoryPage)
def list_history(query: dict[str, Any], name: str) -> Response:
    """List a model's stage changes, newest first."""
    limit, stage = query["limit"], query["stage"]
    rows = queries.list_history(
        db.session(),
        name,
        below=decode_cursor(query["cursor"], int),
        stage=None if stage is None else _stage(name, stage),
        limit=limit + 1,
    )
    return jsonify(
        page(rows, limit, document=stage_change_document, key=lambda c: c.sequence)
    )


def _stage(name: str, text: str) -> str:
    return parts().policy.for_model(name).stage(text, field="stage")
