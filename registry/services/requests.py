"""Transition requests: approved in one transaction, and shown with all they ask."""

from collections.abc import Sequence
from typing import TypedDict

from sqlalchemy import Connection

from registry.domain.actors import Caller
from registry.domain.commands.moves import MoveVersion
from registry.domain.commands.requests import ApproveRequest
from registry.domain.documents import (
    ApprovalDocument,
    Document,
    GateDocument,
    approval_document,
    gate_document,
    request_document,
)
from registry.domain.policy import StagePolicy
from registry.domain.requests import RequestState, binding, valid
from registry.persistence.requests import FoundRequest, list_approvals
from registry.services.commands import execute
from registry.services.previews import foresee
from registry.services.transaction import Transaction


class Details(TypedDict):
    """What is shown of a request besides its own document."""

    approvals: Sequence[ApprovalDocument]
    gates: Sequence[GateDocument]


def move_of(found: FoundRequest) -> MoveVersion:
    """Return the move that a request asks for."""
    request = found.row
    return MoveVersion(
        model=found.model,
        number=request.number,
        to_stage=request.to_stage,
        reason=request.reason,
        is_rollback=request.is_rollback,
        archives_others=request.archives_others,
    )


def approve(
    tx: Transaction,
    found: FoundRequest,
    move: MoveVersion,
    comment: str,
    *,
    bound_to: str | None = None,
) -> Document:
    """Approve a request, and return it with the transition that it led to.

    Raises:
        RegistryError: as ``ApproveRequest``.
    """
    command = ApproveRequest(
        model=found.model,
        request=found.row.id,
        comment=comment,
        move=move,
        bound_to=bound_to,
    )
    request, moved = execute(tx, command)
    return {
        **request_document(found.model, request),
        "transition": moved.document if moved else None,
    }


def details(
    cx: Connection, policy: StagePolicy, caller: Caller, found: FoundRequest
) -> Details:
    """Return the approvals of a request and, while it is open, every gate.

    Read without a lock.
    """
    if found.there is None or found.row.state != RequestState.OPEN:
        rows = list_approvals(cx, found.row.id)
        approvals = [approval_document(row, is_valid=None) for row in rows]
        return {"approvals": approvals, "gates": []}
    foreseen = foresee(cx, policy, caller, move_of(found), asked=found.row)
    counted = valid(foreseen.seen.approvals, binding(found.row, foreseen.found.gates))
    return {
        "approvals": [
            approval_document(row, is_valid=row in counted)
            for row in foreseen.seen.approvals
        ],
        "gates": [gate_document(gate) for gate in foreseen.found.gates],
    }
