"""Transition requests: approved in one transaction, and shown with all they ask."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypedDict

from sqlalchemy import Connection

from registry.domain.actors import ActorKind, Caller
from registry.domain.commands.change import Context
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
from registry.persistence import snapshot
from registry.persistence.requests import FoundRequest
from registry.services.commands import execute
from registry.services.transaction import Transaction
from webhooks.events import new_event_id


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
    tx: Transaction, found: FoundRequest, move: MoveVersion, comment: str
) -> Document:
    """Approve a request, and return it with the transition that it led to.

    Raises:
        RegistryError: as ``ApproveRequest``.
    """
    command = ApproveRequest(
        model=found.model, request=found.row.id, comment=comment, move=move
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
    context = Context(
        caller=caller, policy=policy, now=datetime.now(UTC), new_event_id=new_event_id
    )
    want = replace(move_of(found).want(policy), request=found.row.id)
    seen = snapshot.gather(cx, snapshot.find(cx, found.model), want)
    if seen.version is None or found.row.state != RequestState.OPEN:
        approvals = [approval_document(row, is_valid=None) for row in seen.approvals]
        return {"approvals": approvals, "gates": []}
    is_automation = found.row.requester_kind == ActorKind.CI
    considered = policy.for_model(found.model).consider(
        seen.version,
        found.row.to_stage,
        replace(seen.evidence(context), is_automation=is_automation),
        stages_before=seen.stages_before if found.row.is_rollback else None,
        is_approved=True,
    )
    counted = valid(seen.approvals, binding(found.row, considered.gates))
    return {
        "approvals": [
            approval_document(row, is_valid=row in counted) for row in seen.approvals
        ],
        "gates": [gate_document(gate) for gate in considered.gates],
    }
