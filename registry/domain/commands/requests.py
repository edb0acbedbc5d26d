"""Transition requests: asked for by themselves, approved, rejected, cancelled.

Rules, besides those of ``domain.requests``:

- Who approves sees every other gate pass: they approve what is there.
- The last approval that is needed carries the move out, in its own transaction: the
  request is used up by that.
- Who asked may cancel, and so may an admin; who may approve may reject.
"""

from dataclasses import dataclass, replace
from typing import Any

from registry.domain import names
from registry.domain.actors import ActorKind, authorize
from registry.domain.commands.asking import Approved, Asked
from registry.domain.commands.change import (
    Context,
    Outcome,
    Snapshot,
    Want,
    outcome,
    version_event,
)
from registry.domain.commands.moves import Moved, MoveVersion
from registry.domain.documents import request_document
from registry.domain.entries import Change
from registry.domain.events import (
    REQUEST_CANCELLED,
    REQUEST_REJECTED,
    REQUEST_UPDATED,
    told_of,
)
from registry.domain.policy import Considered, StagePolicy
from registry.domain.requests import (
    Person,
    RequestState,
    binding,
    standing,
    valid,
    what_is_there,
)
from registry.domain.roles import Action
from registry.domain.rows import ApprovalRow, RequestRow, VersionRow
from registry.errors import (
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    PromptStageError,
    SelfApprovalError,
    StaleExpectationError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestMove:
    """Ask others to approve a move, whether or not the policy wants that."""

    model: str
    number: int
    to_stage: str
    reason: str = ""
    if_match: str | None = None

    def want(self, policy: StagePolicy) -> Want:
        """Ask for the version, and for what was asked of it before."""
        stage = policy.for_model(self.model).stage(self.to_stage)
        return Want(number=self.number, asked=stage)

    def decide(self, seen: Snapshot, context: Context) -> Outcome[RequestRow]:
        """Decide whether there is such a move at all; gates may pass later.

        Raises:
            VersionNotFoundError: when there is no such version.
            TransitionRefusedError: when no rule allows the move.
            StaleExpectationError: when its entity tag is another.
        """
        version = seen.require_version(self.number, if_match=self.if_match)
        rules = context.policy.for_model(self.model)
        stage = rules.stage(self.to_stage)
        if seen.model.is_prompt:
            raise PromptStageError(stage)
        found = rules.consider(version, stage, seen.evidence(context))
        if found.move is None:
            raise rules.refused(version, stage, list(found.problems))
        asked = Asked(
            version=version,
            to_stage=stage,
            reason=self.reason,
            needed=max(1, found.move.approvals),
        )
        return asked.outcome(seen, context)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproveRequest:
    """Approve a transition request, and carry it out where that is enough.

    Attributes:
        model: of its version, as it was looked up without a lock.
        bound_to: what the approval is for, as who approves was shown it; None where
            they were not.
    """

    model: str
    request: str
    comment: str = ""
    move: MoveVersion
    bound_to: str | None = None

    def want(self, policy: StagePolicy) -> Want:
        """Ask for all that the move wants to see, and for the approvals."""
        return replace(self.move.want(policy), request=self.request)

    def decide(
        self, seen: Snapshot, context: Context
    ) -> Outcome[tuple[RequestRow, Moved | None]]:
        """Decide whether that is one approval more, and whether it is the last.

        Raises:
            NotFoundError: when there is no such request.
            PermissionDeniedError: when the caller may not approve, or is a CI job.
            SelfApprovalError: when they asked for it themselves.
            ConflictError: when the request does not stand any more.
            TransitionRefusedError: when another gate does not pass.
            StaleExpectationError: when it is for something else than was shown.
        """
        request, version = _open(seen, context, self.request)
        actor = context.caller.actor
        authorize(actor, Action.APPROVE, seen.model.name)
        if actor.kind is ActorKind.CI:
            raise PermissionDeniedError("a person approves, not a CI job")
        person = Person.of(actor)
        if person.is_also(Person.asking(request)):
            raise SelfApprovalError(request.requested_by)
        found = self._consider(seen, context, version, request)
        bound_to = binding(request, found.gates)
        if self.bound_to not in {None, bound_to}:
            raise StaleExpectationError("what is to be approved has changed since")
        approval = ApprovalRow(
            request_id=request.id,
            approver=person.principal,
            human=person.human,
            made_by=person.made_by,
            name=actor.name,
            comment=names.prose(self.comment, field="comment"),
            at=seen.at(context),
            binding=bound_to,
        )
        others = [row for row in seen.approvals if row.approver != person.principal]
        is_new = len(others) == len(seen.approvals)
        given = valid([approval, *others], bound_to)
        # The model may have a name since for which the policy asks for more.
        if len(given) < max(request.needed, found.move.approvals if found.move else 0):
            change = Change(
                action=REQUEST_UPDATED,
                version=version.number,
                reason=approval.comment,
                details={"request": request.id, "approvals": len(given)},
            )
            rows = {"added" if is_new else "changed": [approval]}
            noted = _outcome(seen, context, (version, request), change, **rows)
            return Outcome(effects=noted.effects, answer=(request, None))
        approved = Approved(
            request=request,
            approval=approval,
            is_new=is_new,
            names=tuple(row.name for row in given),
        )
        # To make room uses nothing up: the move itself is still to come.
        makes_room, transition_id = self.move.makes_room, self.move.transition_id
        moved = replace(
            self.move,
            approved=None if makes_room else approved,
            expected_gates=None,  # all pass, and look at what was shown
        ).decide(seen, context)
        used = request if makes_room else approved.used_up(transition_id)
        return Outcome(effects=moved.effects, answer=(used, moved.answer))

    def _consider(
        self,
        seen: Snapshot,
        context: Context,
        version: VersionRow,
        request: RequestRow,
    ) -> Considered:
        found = self.move.consider(seen, context, version, request)
        if found.reasons:
            rules = context.policy.for_model(self.model)
            raise rules.refused(version, request.to_stage, found.reasons)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseRequest:
    """Reject a transition request, or cancel it.

    Attributes:
        model: of its version, as it was looked up without a lock.
    """

    model: str
    request: str
    state: RequestState
    comment: str = ""

    def want(self, _: StagePolicy) -> Want:
        """Ask for the request and its version."""
        return Want(request=self.request)

    def decide(self, seen: Snapshot, context: Context) -> Outcome[RequestRow]:
        """Decide whether it may be closed.

        Raises:
            NotFoundError: when there is no such request.
            PermissionDeniedError: when the caller may not close it so.
            ConflictError: when the request does not stand any more.
        """
        request, version = _open(seen, context, self.request)
        is_rejected = self.state is RequestState.REJECTED
        self._authorize(seen, context, request)
        closed = replace(
            request,
            state=self.state.value,
            closed_at=seen.at(context),
            closed_by=context.caller.actor.name,
            comment=names.prose(self.comment, field="comment"),
        )
        change = Change(
            action=REQUEST_REJECTED if is_rejected else REQUEST_CANCELLED,
            version=version.number,
            before=request_document(seen.model.name, request),
            after=request_document(seen.model.name, closed),
            reason=closed.comment,
        )
        return _outcome(seen, context, (version, closed), change, changed=[closed])

    def _authorize(self, seen: Snapshot, context: Context, request: RequestRow) -> None:
        actor = context.caller.actor
        if self.state is RequestState.REJECTED:
            authorize(actor, Action.APPROVE, seen.model.name)
        elif not Person.of(actor).is_also(Person.asking(request)):
            authorize(actor, Action.ADMINISTER)


def _open(
    seen: Snapshot, context: Context, request_id: str
) -> tuple[RequestRow, VersionRow]:
    """Return a request that stands, and its version."""
    request, version = seen.request, seen.version
    if request is None:
        raise no_request(request_id)
    there = what_is_there(version) if version else None
    state = standing(request, there, context.policy.digest, context.now)
    if state is not RequestState.OPEN or version is None:
        why = {
            RequestState.VOID: "version, artifact or policy are not what it was for",
            RequestState.EXPIRED: "nobody approved it in time",
        }.get(state, f"by {request.closed_by}")
        raise ConflictError(f"request {request_id} is {state} ({why}): ask again")
    return request, version


def no_request(request_id: str) -> NotFoundError:
    """Return what to raise when there is no such request."""
    return NotFoundError(f"there is no transition request {request_id!r}")


def _outcome(
    seen: Snapshot,
    context: Context,
    about: tuple[VersionRow, RequestRow],
    change: Change,
    **rows: list[Any],
) -> Outcome[RequestRow]:
    (version, request), model = about, seen.model.touched(context.now)
    told = told_of(request_document(model.name, request))
    return outcome(
        seen,
        context,
        model,
        change,
        data={**version_event(context, model, version), **told},
        answer=request,
        **rows,
    )
