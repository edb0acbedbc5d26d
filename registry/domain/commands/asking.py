"""A move that must be approved: it becomes a request, and what approves it is noted."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from registry.domain import names
from registry.domain.commands.change import (
    Context,
    Outcome,
    Snapshot,
    Told,
    outcome,
    version_event,
)
from registry.domain.documents import request_document
from registry.domain.entries import Change
from registry.domain.events import (
    REQUEST_APPROVED,
    REQUEST_CANCELLED,
    REQUEST_CREATED,
    told_of,
)
from registry.domain.requests import Person, RequestState, standing, what_is_there
from registry.domain.rows import ApprovalRow, ModelRow, RequestRow, VersionRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What somebody asks others to approve."""

    version: VersionRow
    to_stage: str
    reason: str
    needed: int
    is_rollback: bool = False
    archives_others: bool = False

    def outcome(self, seen: Snapshot, context: Context) -> Outcome[RequestRow]:
        """Return the outcome of asking; nothing, where that was asked already.

        An earlier request into the same stage that is another gives way.
        """
        earlier = seen.request
        if earlier and self._is_asked_by(earlier, context):
            return Outcome(answer=earlier)
        model = seen.model.touched(context.now)
        request = self._row(context, model)
        ended = [self._ended(earlier, context, model)] if earlier else []
        details = {"ended": {row.id: row.state for row in ended}} if ended else {}
        cancelled = [row for row in ended if row.closed_by is not None]
        return outcome(
            seen,
            context,
            model,
            Change(
                action=REQUEST_CREATED,
                version=self.version.number,
                after=request_document(model.name, request),
                reason=request.reason,
                details=details,
            ),
            data=self._told(context, model, request),
            also=[
                (REQUEST_CANCELLED, self._told(context, model, row))
                for row in cancelled
            ],
            changed=ended,
            added=[request],
            answer=request,
        )

    def _told(
        self, context: Context, model: ModelRow, request: RequestRow
    ) -> Mapping[str, object]:
        told = told_of(request_document(model.name, request))
        return {**version_event(context, model, self.version), **told}

    def _is_asked_by(self, request: RequestRow, context: Context) -> bool:
        state = self._standing(request, context)
        asked = (request.is_rollback, request.archives_others, request.needed)
        return state is RequestState.OPEN and asked == (
            self.is_rollback,
            self.archives_others,
            self.needed,
        )

    def _standing(self, request: RequestRow, context: Context) -> RequestState:
        there = what_is_there(self.version)
        return standing(request, there, context.policy.digest, context.now)

    def _ended(
        self, request: RequestRow, context: Context, model: ModelRow
    ) -> RequestRow:
        state, by = self._standing(request, context), None
        if state is RequestState.OPEN:  # another way into the same stage is asked for
            state, by = RequestState.CANCELLED, context.caller.actor.name
        return replace(
            request, state=state.value, closed_at=model.updated_at, closed_by=by
        )

    def _row(self, context: Context, model: ModelRow) -> RequestRow:
        actor, rules = context.caller.actor, context.policy.for_model(model.name)
        person = Person.of(actor)
        return RequestRow(
            id=_new_id(model.updated_at),
            model_id=model.id,
            version_id=self.version.id,
            number=self.version.number,
            from_stage=self.version.stage,
            to_stage=self.to_stage,
            is_rollback=self.is_rollback,
            archives_others=self.archives_others,
            reason=names.prose(self.reason, field="reason"),
            state=RequestState.OPEN.value,
            needed=self.needed,
            policy_digest=context.policy.digest,
            artifact_digest=self.version.artifact_digest,
            entered=self.version.entered,
            requested_by=actor.name,
            requester_kind=actor.kind.value,
            requester=person.principal,
            requester_human=person.human,
            requester_made_by=person.made_by,
            created_at=model.updated_at,
            expires_at=model.updated_at + timedelta(hours=rules.approval_hours),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """A request whose last approval is being given.

    Attributes:
        approval: the last one; ``is_new`` unless that person had approved before.
        names: who approved.
    """

    request: RequestRow
    approval: ApprovalRow
    is_new: bool
    names: tuple[str, ...]

    @property
    def details(self) -> Mapping[str, object]:
        """Return what the audit entry of the move says of it."""
        return {
            "request": self.request.id,
            "requested_by": self.request.requested_by,
            "approved_by": list(self.names),
        }

    def used_up(self, transition_id: str) -> RequestRow:
        """Return the request as it is when the move has been made."""
        return replace(
            self.request,
            state=RequestState.APPROVED.value,
            closed_at=self.approval.at,
            closed_by=self.approval.name,
            comment=self.approval.comment,
            transition_id=transition_id,
        )

    def told(self, model: str, used: RequestRow, data: Mapping[str, object]) -> Told:
        """Return the event that says so, of the version's ``data``."""
        return REQUEST_APPROVED, {**data, **told_of(request_document(model, used))}


def _new_id(at: datetime) -> str:
    """Return an id that sorts by its instant, to the microsecond."""
    return f"req_{int(at.timestamp() * 1_000_000):014x}{uuid.uuid4().hex[:16]}"
