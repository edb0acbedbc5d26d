"""Stage changes, rollback, who holds a stage, and a model's history."""

from typing import Any

from flask import Response, jsonify

from registry.api.blueprints import Blueprint
from registry.api.schemas.versions import (
    AskedDocument,
    HistoryPage,
    HolderQuery,
    NewRollback,
    NewTransition,
    PreviewQuery,
    TransitionDocument,
    VersionQuery,
)
from registry.auth.permissions import Permission, requires
from registry.auth.sign_in import current_caller
from registry.domain.commands.moves import MoveVersion, rollback
from registry.domain.documents import (
    Document,
    Preview,
    VersionDocument,
    stage_change_document,
    version_document,
)
from registry.domain.timestamps import parse_rfc3339, rfc3339
from registry.persistence import history, queries
from registry.persistence.database import reading
from registry.persistence.history import HistoryLine
from registry.services import previews
from registry.services.commands import execute
from registry.services.transaction import Transaction
from registry.web.commands import answer_once, asked_status, if_match, parts
from registry.web.paging import decode_cursor, page
from registry.web.verification import commit_move

blueprint = Blueprint("transitions", __name__, description="Stage changes")


@blueprint.route(
    "/models/<name:name>/versions/<number:number>/transitions", methods=["POST"]
)
@requires(Permission.PROMOTE)
@blueprint.arguments(NewTransition)
@blueprint.response(200, TransitionDocument)
@blueprint.alt_response(202, AskedDocument, description="Others are to approve it")
@blueprint.alt_response(409, description="Refused by policy, or the artifact changed")
@blueprint.alt_response(412, description="Incumbent or entity tag are not as expected")
@blueprint.alt_response(503, description="The artifact store did not answer")
def create_transition(body: dict[str, Any], name: str, number: int) -> Response:
    """Move a version to another stage, or ask for it where others must approve."""
    move = MoveVersion(
        model=name,
        number=number,
        to_stage=body["to_stage"],
        reason=body["reason"],
        expects_incumbent="expected_incumbent" in body,
        expected_incumbent=body.get("expected_incumbent"),
        if_match=if_match(),
        breaks_glass=body["break_glass"],
    )
    return answer_once(lambda: commit_move(move, _move, status=asked_status))


@blueprint.route("/models/<name:name>/rollback", methods=["POST"])
@requires(Permission.PROMOTE)
@blueprint.arguments(NewRollback)
@blueprint.response(200, TransitionDocument)
@blueprint.alt_response(202, AskedDocument, description="Others are to approve it")
@blueprint.alt_response(409, description="Refused by policy, or nothing to return to")
@blueprint.alt_response(503, description="The artifact store did not answer")
def create_rollback(body: dict[str, Any], name: str) -> Response:
    """Return Production to the version that served before, or to the one named."""
    move = rollback(name, body.get("to_version"), body["reason"])
    return answer_once(lambda: commit_move(move, _move, status=asked_status))


@blueprint.route(
    "/models/<name:name>/versions/<number:number>/transitions/preview",
    methods=["GET"],
)
@requires(Permission.READ)
@blueprint.arguments(PreviewQuery, location="query")
@blueprint.response(200, Preview)
@blueprint.alt_response(409, description="A prompt has no stages")
def preview_transition(query: dict[str, Any], name: str, number: int) -> Response:
    """Show what would become of a stage change: every gate with its state."""
    move = MoveVersion(
        model=name,
        number=number,
        to_stage=query["to_stage"],
        is_rollback=query["rollback"],
    )
    found = previews.preview(reading(), parts().policy, current_caller(), move)
    return jsonify(found)


def _move(tx: Transaction, move: MoveVersion) -> Document:
    return execute(tx, move).document


@blueprint.route("/models/<name:name>/stages/<name:stage>", methods=["GET"])
@requires(Permission.READ)
@blueprint.arguments(HolderQuery, location="query")
@blueprint.response(200, VersionDocument)
def get_stage_holder(query: dict[str, Any], name: str, stage: str) -> Response:
    """Show the version that is in a stage, or was at a time."""
    at = None if query["at"] is None else parse_rfc3339(query["at"], field="at")
    version = queries.stage_holder(reading(), name, _stage(name, stage), at=at)
    return jsonify(version_document(version))


@blueprint.route("/models/<name:name>/history", methods=["GET"])
@requires(Permission.READ)
@blueprint.arguments(VersionQuery, location="query")
@blueprint.response(200, HistoryPage)
def list_history(query: dict[str, Any], name: str) -> Response:
    """List a model's stage changes, newest first, with what became of each."""
    limit, stage = query["limit"], query["stage"]
    rows = history.list_history(
        reading(),
        name,
        below=decode_cursor(query["cursor"], int),
        stage=None if stage is None else _stage(name, stage),
        limit=limit + 1,
    )
    return page(
        rows, limit, document=_history_document, key=lambda row: row.change.sequence
    )


def _history_document(line: HistoryLine) -> Document:
    """Return a stage change and what became of it."""
    is_delivered = 0 < line.requested == line.delivered
    at = line.last_delivered_at
    return {
        **stage_change_document(line.change),
        "deliveries": {
            "requested": line.requested,
            "delivered": line.delivered,
            "delivered_at": rfc3339(at) if at and is_delivered else None,
        },
        "deployments": [
            {
                "environment": deployment.environment,
                "status": deployment.status,
                "url": deployment.url,
                "updated_at": rfc3339(deployment.updated_at),
            }
            for deployment in line.deployments
        ],
    }


def _stage(name: str, text: str) -> str:
    return parts().policy.for_model(name).stage(text, field="stage")
