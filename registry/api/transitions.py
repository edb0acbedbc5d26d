"""Stage changes, rollback, who holds a stage, and a model's history."""

from typing import Any

from flask import Response, jsonify

from registry.api.blueprints import Blueprint
from registry.api.schemas.versions import (
    HistoryPage,
    HolderQuery,
    NewRollback,
    NewTransition,
    TransitionDocument,
    VersionDocument,
    VersionQuery,
)
from registry.auth.permissions import Permission, requires
from registry.domain.timestamps import parse_rfc3339
from registry.persistence import history, queries
from registry.persistence.database import db
from registry.services import transitions
from registry.services.documents import Document, version_document
from registry.services.history import history_document
from registry.services.transaction import Transaction
from registry.services.transitions import MoveRequest
from registry.web.changing import (
    answer_once,
    commit,
    commit_with_room,
    if_match,
    parts,
)
from registry.web.paging import decode_cursor, page
from registry.web.verification import verified_move

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
    verified = verified_move(request)

    def work(tx: Transaction) -> Document:
        return transitions.move_version(tx, verified)

    if request.number is None:  # another one, once those who leave served before
        return commit(work)
    return commit_with_room(work, lambda tx: transitions.make_room(tx, verified))


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
    """List a model's stage changes, newest first, with what became of each."""
    limit, stage = query["limit"], query["stage"]
    rows = history.list_history(
        db.session(),
        name,
        below=decode_cursor(query["cursor"], int),
        stage=None if stage is None else _stage(name, stage),
        limit=limit + 1,
    )
    return page(
        rows, limit, document=history_document, key=lambda row: row.change.sequence
    )


def _stage(name: str, text: str) -> str:
    return parts().policy.for_model(name).stage(text, field="stage")
