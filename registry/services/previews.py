"""What would become of a stage change: every gate with its state, and nothing changed.

It is read without a lock: what is shown may be another by the time it is asked for.
"""

from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import Connection

from registry.domain.actors import Caller, may
from registry.domain.commands.change import Context, Snapshot
from registry.domain.commands.moves import MoveVersion
from registry.domain.documents import (
    Preview,
    RequestDocument,
    gate_document,
    request_document,
)
from registry.domain.policy import Considered, StagePolicy
from registry.domain.requests import (
    RequestState,
    binding,
    standing,
    valid,
    what_is_there,
)
from registry.domain.roles import Action
from registry.domain.rows import VersionRow
from registry.errors import PromptStageError
from registry.persistence import snapshot
from webhooks.events import new_event_id


def preview(
    cx: Connection, policy: StagePolicy, caller: Caller, move: MoveVersion
) -> Preview:
    """Return what is to be said of a move.

    Raises:
        NotFoundError: when there is no such version.
        InvalidInputError: for an unknown stage.
        TransitionRefusedError: for a prompt, which has no stages.
    """
    context = Context(
        caller=caller, policy=policy, now=datetime.now(UTC), new_event_id=new_event_id
    )
    want = replace(move.want(policy), asked=policy.stage(move.to_stage))
    seen = snapshot.gather(cx, snapshot.find(cx, move.model), want)
    rules = policy.for_model(move.model)
    version = seen.require_version(move.number or 0)
    if seen.model.is_prompt:
        raise PromptStageError(rules.stage(move.to_stage))
    found = rules.consider(
        version,
        rules.stage(move.to_stage),
        seen.evidence(context),
        stages_before=seen.stages_before if move.is_rollback else None,
    )
    needed = found.move.approvals if found.move else 0
    request, given = _asked(seen, context, version, found)
    return {
        "model": move.model,
        "version": version.number,
        "from_stage": version.stage,
        "to_stage": rules.stage(move.to_stage),
        "allowed": not found.reasons and given >= needed,
        "cause": found.move.via if found.move else None,
        "reasons": found.reasons,
        "gates": [gate_document(gate) for gate in found.gates],
        "leaving": [row.number for row in seen.in_stage if row != version],
        "approvals_needed": needed,
        "approvals_given": given,
        "request": request,
        "can_break_glass": may(caller.actor, Action.BREAK_GLASS, move.model),
    }


def _asked(
    seen: Snapshot, context: Context, version: VersionRow, found: Considered
) -> tuple[RequestDocument | None, int]:
    """Return the request that stands, and how many approvals it has."""
    request, there = seen.request, what_is_there(version)
    if request is None:
        return None, 0
    state = standing(request, there, context.policy.digest, context.now)
    if state is not RequestState.OPEN:
        return None, 0
    given = valid(seen.approvals, binding(request, found.gates))
    return request_document(seen.model.name, request, state), len(given)
