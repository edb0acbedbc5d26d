"""``/transition-requests``: moves that others are to approve."""

from datetime import UTC, datetime
from typing import Any

from flask import Response, jsonify, request

from registry.api.blueprints import Blueprint
from registry.api.schemas.requests import (
    ApprovedRequest,
    Decision,
    NewRequest,
    RequestDetails,
    RequestPage,
    RequestsQuery,
)
from registry.auth.permissions import MANY, Permission, in_body, known_by, requires
from registry.auth.sign_in import current_caller
from registry.domain.actors import readable
from registry.domain.commands.moves import MoveVersion
from registry.domain.commands.requests import CloseRequest, RequestMove
from registry.domain.documents import Document, RequestDocument, request_document
from registry.domain.requests import RequestState
from registry.persistence.database import end_reading, reading
from registry.persistence.requests import (
    FoundRequest,
    get_request,
    list_requests,
    model_of_request,
)
from registry.services import requests
from registry.services.commands import execute
from registry.services.transaction import Transaction
from registry.web.commands import answer_once, commit, parts
from registry.web.paging import decode_cursor, page
from registry.web.verification import commit_move

blueprint = Blueprint("requests", __name__, description="Moves that others approve")


def model_asked() -> str | None:
    """Return the model of the request that the path names, if there is one."""
    return model_of_request(reading(), (request.view_args or {})["request_id"])


@blueprint.route("/transition-requests", methods=["GET"])
@requires(Permission.READ, model=MANY)
@blueprint.arguments(RequestsQuery, location="query")
@blueprint.response(200, RequestPage)
def list_transition_requests(query: dict[str, Any]) -> Response:
    """List transition requests, newest first."""
    limit = query["limit"]
    rows = list_requests(
        reading(),
        model=query["model"],
        is_open=query["state"] == RequestState.OPEN,
        before=decode_cursor(query["cursor"], str),
        limit=limit + 1,
        readable=list(readable(current_caller().actor)),
    )
    return page(rows, limit, document=_document, key=lambda found: found.row.id)


@blueprint.route("/transition-requests", methods=["POST"])
@requires(Permission.WRITE, model=in_body("model"))
@blueprint.arguments(NewRequest)
@blueprint.response(201, RequestDocument)
@blueprint.alt_response(404, description="There is no such version")
@blueprint.alt_response(409, description="No rule of the policy allows the move")
def create_transition_request(body: dict[str, Any]) -> Response:
    """Ask others to approve a move; to ask again while that stands changes nothing."""
    command = RequestMove(
        model=body["model"],
        number=body["version"],
        to_stage=body["to_stage"],
        reason=body["reason"],
    )

    def work(tx: Transaction) -> RequestDocument:
        return request_document(command.model, execute(tx, command))

    return answer_once(lambda: commit(work, status=201))


@blueprint.route("/transition-requests/<name:request_id>", methods=["GET"])
@requires(Permission.READ, model=known_by(model_asked))
@blueprint.response(200, RequestDetails)
def get_transition_request(request_id: str) -> Response:
    """Show a transition request, its approvals, and every gate as it stands."""
    found = get_request(reading(), request_id)
    policy, caller = parts().policy, current_caller()
    details = requests.details(reading(), policy, caller, found)
    return jsonify({**_document(found), **details})


@blueprint.route("/transition-requests/<name:request_id>/approve", methods=["POST"])
@requires(Permission.APPROVE, model=known_by(model_asked))
@blueprint.arguments(Decision)
@blueprint.response(200, ApprovedRequest)
@blueprint.alt_response(409, description="It does not stand, or a gate does not pass")
def approve_transition_request(body: dict[str, Any], request_id: str) -> Response:
    """Approve a request; the last approval that is needed carries the move out."""
    return answer_once(lambda: approve(request_id, body["comment"]))


def approve(request_id: str, comment: str) -> Response:
    """Approve a request, its artifact verified first where the policy wants that.

    Raises:
        RegistryError: as ``ApproveRequest``.
    """
    found = get_request(reading(), request_id)
    end_reading()

    def work(tx: Transaction, move: MoveVersion) -> Document:
        return requests.approve(tx, found, move, comment)

    return commit_move(requests.move_of(found), work)


@blueprint.route("/transition-requests/<name:request_id>/reject", methods=["POST"])
@requires(Permission.APPROVE, model=known_by(model_asked))
@blueprint.arguments(Decision)
@blueprint.response(200, RequestDocument)
@blueprint.alt_response(409, description="It does not stand any more")
def reject_transition_request(body: dict[str, Any], request_id: str) -> Response:
    """Reject a request."""
    return answer_once(
        lambda: close(request_id, RequestState.REJECTED, body["comment"])
    )


@blueprint.route("/transition-requests/<name:request_id>/cancel", methods=["POST"])
@requires(Permission.READ, model=known_by(model_asked))
@blueprint.arguments(Decision)
@blueprint.response(200, RequestDocument)
@blueprint.alt_response(409, description="It does not stand any more")
def cancel_transition_request(body: dict[str, Any], request_id: str) -> Response:
    """Cancel a request, as who asked for it or as an admin."""
    return answer_once(
        lambda: close(request_id, RequestState.CANCELLED, body["comment"])
    )


def close(request_id: str, state: RequestState, comment: str) -> Response:
    """Reject or cancel a request.

    Raises:
        RegistryError: as ``CloseRequest``.
    """
    model = get_request(reading(), request_id).model
    end_reading()
    command = CloseRequest(
        model=model, request=request_id, state=state, comment=comment
    )
    return commit(lambda tx: request_document(model, execute(tx, command)))


def _document(found: FoundRequest) -> RequestDocument:
    state = found.state(parts().policy.digest, datetime.now(UTC))
    return request_document(found.model, found.row, state)
