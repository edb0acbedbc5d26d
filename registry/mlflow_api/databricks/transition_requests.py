"""``/mlflow/transition-requests``: moves that others approve, by version and stage.

Rules, as Databricks' API has them:

- A request is named by version and stage, of which one is open at a time; to cancel it,
  by its creator besides.
- Who approves says whether the versions in a shared stage are archived. Where it takes
  several to approve, all approve the same: what was asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from flask import Blueprint, Response, jsonify, request

from registry.auth.permissions import Permission, requires
from registry.auth.sign_in import current_caller
from registry.domain.actors import may
from registry.domain.commands.moves import MoveVersion
from registry.domain.commands.requests import (
    ApproveRequest,
    CloseRequest,
    RequestMove,
)
from registry.domain.names import MAX_TEXT_CHARACTERS
from registry.domain.requests import Person, RequestState
from registry.domain.roles import Action
from registry.domain.rows import RequestRow
from registry.errors import InvalidInputError, NotFoundError
from registry.mlflow_api.documents import Document, milliseconds
from registry.mlflow_api.reading import (
    Fields,
    fields_anywhere,
    fields_of,
    in_field,
)
from registry.mlflow_api.stages import archives_others, stage_named
from registry.mlflow_api.versions import VersionRef, version_ref
from registry.persistence.database import end_reading, reading
from registry.persistence.requests import FoundRequest, open_requests
from registry.services.commands import execute
from registry.services.requests import move_of
from registry.services.transaction import Transaction
from registry.web.commands import answer_once, commit, parts
from registry.web.verification import commit_move

blueprint = Blueprint(
    "transition_requests", __name__, url_prefix="/mlflow/transition-requests"
)

#: What was done to a request, by the state that it has then.
_DONE: Mapping[str, str] = {
    RequestState.OPEN: "REQUESTED_TRANSITION",
    RequestState.REJECTED: "REJECTED_REQUEST",
    RequestState.CANCELLED: "CANCELLED_REQUEST",
}


@blueprint.post("/create")
@requires(Permission.WRITE, model=in_field("name"))
def create_transition_request() -> Response:
    """Ask others to approve a move."""
    fields = fields_of(request)
    ref, stage = _move(fields)
    command = RequestMove(
        model=ref.model, number=ref.number, to_stage=stage, reason=_comment(fields)
    )

    def work(tx: Transaction) -> Document:
        asked = execute(tx, command)
        document = {
            "user_id": asked.requested_by,
            "to_stage": asked.to_stage,
            "comment": asked.reason,
            "creation_timestamp": milliseconds(asked.created_at),
            "available_actions": _available_actions(ref.model, asked),
        }
        return {"request": document}

    return answer_once(lambda: commit(work))


@blueprint.get("/list")
@requires(Permission.READ, model=in_field("name", read=fields_anywhere))
def list_transition_requests() -> Response:
    """List the requests for a version that can be approved still."""
    ref = version_ref(fields_anywhere(request))
    documents = [
        {
            **_activity(found.row),
            "available_actions": _available_actions(ref.model, found.row),
        }
        for found in _open(ref)
    ]
    return jsonify({"requests": documents} if documents else {})


@blueprint.post("/approve")
@requires(Permission.APPROVE, model=in_field("name"))
def approve_transition_request() -> Response:
    """Approve a request; the last approval that is needed carries the move out."""
    return answer_once(lambda: _approve(fields_of(request)))


def _approve(fields: Fields) -> Response:
    ref, stage = _move(fields)
    found = _named(ref, stage)
    comment = _comment(fields)
    first = _move_approved(fields, found)
    end_reading()

    def work(tx: Transaction, move: MoveVersion) -> Document:
        command = ApproveRequest(
            model=found.model, request=found.row.id, comment=comment, move=move
        )
        _, moved = execute(tx, command)
        approved = {
            **_activity(found.row),
            "activity_type": "APPROVED_REQUEST",
            "user_id": current_caller().actor.name,
            "last_updated_timestamp": milliseconds(tx.now),
            "comment": comment,
            "system_comment": (
                f"Version {ref.number} is in {stage} now."
                if moved
                else f"It takes {found.row.needed} approvals in all."
            ),
        }
        return {"activity": approved}

    return commit_move(first, work)


def _move_approved(fields: Fields, found: FoundRequest) -> MoveVersion:
    policy = parts().policy.for_model(found.model)
    move = move_of(found)
    archives = archives_others(fields, policy, move.to_stage)
    if found.row.needed == 1:
        return replace(move, archives_others=archives)
    is_shared = move.to_stage not in policy.exclusive
    if archives and is_shared and not move.archives_others:
        raise InvalidInputError(
            "others approve this, too: they were not asked to archive versions",
            field="archive_existing_versions",
        )
    return move


@blueprint.post("/reject")
@requires(Permission.APPROVE, model=in_field("name"))
def reject_transition_request() -> Response:
    """Reject a request."""
    return answer_once(lambda: _close(fields_of(request), RequestState.REJECTED))


@blueprint.delete("/delete")
@requires(Permission.READ, model=in_field("name", read=fields_anywhere))
def delete_transition_request() -> Response:
    """Cancel a request, as who made it or as an admin."""
    fields = fields_anywhere(request)
    return _close(fields, RequestState.CANCELLED, by=fields.required("creator"))


def _close(fields: Fields, state: RequestState, by: str | None = None) -> Response:
    ref, stage = _move(fields)
    found = _named(ref, stage, by=by)
    end_reading()
    command = CloseRequest(
        model=found.model, request=found.row.id, state=state, comment=_comment(fields)
    )

    def work(tx: Transaction) -> Document:
        closed = execute(tx, command)
        document = {**_activity(closed), "comment": closed.comment}
        return {"activity": {**document, "user_id": closed.closed_by}}

    return commit(work)


def _move(fields: Fields) -> tuple[VersionRef, str]:
    ref = version_ref(fields)
    policy = parts().policy.for_model(ref.model)
    return ref, stage_named(policy, fields.required("stage"))


def _comment(fields: Fields) -> str:
    return fields.text("comment", maximum=MAX_TEXT_CHARACTERS)


def _open(ref: VersionRef) -> Sequence[FoundRequest]:
    digest, now = parts().policy.digest, datetime.now(UTC)
    found = open_requests(reading(), ref.model, ref.number)
    return [each for each in found if each.state(digest, now) is RequestState.OPEN]


def _named(ref: VersionRef, stage: str, *, by: str | None = None) -> FoundRequest:
    for found in open_requests(reading(), ref.model, ref.number):
        is_by = by is None or found.row.requested_by == by
        if found.row.to_stage == stage and is_by:
            return found
    raise NotFoundError(
        f"no transition request of version {ref.number} to {stage} is open"
        + (f" by {by!r}" if by is not None else "")
    )


def _activity(asked: RequestRow) -> Document:
    """Return an ``Activity``: what was done last to a request."""
    return {
        "id": asked.id,
        "activity_type": _DONE.get(asked.state, "REQUESTED_TRANSITION"),
        "user_id": asked.requested_by,
        "creation_timestamp": milliseconds(asked.created_at),
        "last_updated_timestamp": milliseconds(asked.closed_at or asked.created_at),
        "from_stage": asked.from_stage,
        "to_stage": asked.to_stage,
        "comment": asked.reason,
    }


def _available_actions(model: str, asked: RequestRow) -> Sequence[str]:
    """Return what whoever makes the present request may do to a transition request."""
    actor = current_caller().actor
    is_own = Person.of(actor).is_also(Person.asking(asked))
    may_approve = may(actor, Action.APPROVE, model)
    may_cancel = is_own or may(actor, Action.ADMINISTER)
    actions = {
        "APPROVE_TRANSITION_REQUEST": may_approve and not is_own,
        "REJECT_TRANSITION_REQUEST": may_approve,
        "CANCEL_TRANSITION_REQUEST": may_cancel,
    }
    return [action for action, is_allowed in actions.items() if is_allowed]
