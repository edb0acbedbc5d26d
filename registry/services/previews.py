"""What would become of a stage change: every gate with its state, and nothing changed.

It is read without a lock: what is shown may be another by the time it is asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sqlalchemy import Connection

from registry.domain.actors import Caller, may
from registry.domain.commands.change import Context, Snapshot
from registry.domain.commands.moves import MoveVersion
from registry.domain.documents import Preview, gate_document, request_document
from registry.domain.policy import Considered, StagePolicy
from registry.domain.requests import (
    RequestState,
    binding,
    standing,
    valid,
    what_is_there,
)
from registry.domain.roles import Action
from registry.domain.rows import ApprovalRow, RequestRow, VersionRow
from registry.errors import PromptStageError, RegistryError
from registry.persistence import snapshot
from registry.services.commands import event_of
from webhooks import outbox
from webhooks.events import new_event_id
from webhooks.roster.members import Member


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """What is to be said of a move, and what that was read from.

    Attributes:
        request: what was asked for already and stands.
        valid: the approvals of it that count.
    """

    move: MoveVersion
    seen: Snapshot
    context: Context
    version: VersionRow
    to_stage: str
    found: Considered
    request: RequestRow | None
    valid: Sequence[ApprovalRow]

    @property
    def needed(self) -> int:
        """Return how many approvals the policy asks for."""
        return self.found.move.approvals if self.found.move else 0

    @property
    def is_allowed(self) -> bool:
        """Whether it would be made at once."""
        return not self.found.reasons and len(self.valid) >= self.needed

    @property
    def leaving(self) -> list[VersionRow]:
        """Return the versions that would leave the stage, by their numbers."""
        return [row for row in self.seen.in_stage if row != self.version]

    @property
    def can_break_glass(self) -> bool:
        """Whether the caller may go past the gates."""
        return may(self.context.caller.actor, Action.BREAK_GLASS, self.move.model)


def preview(
    cx: Connection, policy: StagePolicy, caller: Caller, move: MoveVersion
) -> Preview:
    """Return the document of ``foresee``; raises as that."""
    foreseen = foresee(cx, policy, caller, move)
    found, request = foreseen.found, foreseen.request
    return {
        "model": move.model,
        "version": foreseen.version.number,
        "from_stage": foreseen.version.stage,
        "to_stage": foreseen.to_stage,
        "allowed": foreseen.is_allowed,
        "cause": found.move.via if found.move else None,
        "reasons": found.reasons,
        "gates": [gate_document(gate) for gate in found.gates],
        "leaving": [row.number for row in foreseen.leaving],
        "approvals_needed": foreseen.needed,
        "approvals_given": len(foreseen.valid),
        "request": None if request is None else request_document(move.model, request),
        "can_break_glass": foreseen.can_break_glass,
    }


def foresee(
    cx: Connection,
    policy: StagePolicy,
    caller: Caller,
    move: MoveVersion,
    *,
    asked: RequestRow | None = None,
) -> Foreseen:
    """Look at a move; as the one that a request asks for, where one is given.

    Raises:
        NotFoundError: when there is no such version.
        InvalidInputError: for an unknown stage.
        ConflictError: when a rollback that names no version has none to return to.
        TransitionRefusedError: for a prompt, which has no stages.
    """
    context = Context(
        caller=caller, policy=policy, now=datetime.now(UTC), new_event_id=new_event_id
    )
    stage = policy.for_model(move.model).stage(move.to_stage)
    want = replace(move.want(policy), request=asked.id if asked else None, asked=stage)
    seen = snapshot.gather(cx, snapshot.find(cx, move.model), want)
    version = move.version_in(seen, stage)
    if seen.model.is_prompt:
        raise PromptStageError(stage)
    found = move.consider(seen, context, version, asked)
    request = _standing(seen, context, version)
    return Foreseen(
        move=move,
        seen=seen,
        context=context,
        version=version,
        to_stage=stage,
        found=found,
        request=request,
        valid=valid(seen.approvals, binding(request, found.gates)) if request else [],
    )


def _standing(
    seen: Snapshot, context: Context, version: VersionRow
) -> RequestRow | None:
    """Return the request, if it stands."""
    request, there = seen.request, what_is_there(version)
    if request is None:
        return None
    state = standing(request, there, context.policy.digest, context.now)
    return request if state is RequestState.OPEN else None


def listeners(cx: Connection, foreseen: Foreseen, move: MoveVersion) -> list[Member]:
    """Return the webhooks that would be told of a move; none where it is refused."""
    hashed = replace(move, verified_digest=foreseen.version.artifact_digest)
    try:
        effects = hashed.decide(foreseen.seen, foreseen.context).effects
    except RegistryError:
        return []
    if effects is None:  # it was asked for already
        return []
    hop = foreseen.context.caller.hop
    events = [event_of(effects, draft, hop=hop) for draft in effects.events]
    return outbox.listeners(cx, events)
