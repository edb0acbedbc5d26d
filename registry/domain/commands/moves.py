"""Stage changes.

Rules:

- The policy decides, under the model's lock, and nothing else writes a stage.
- Incumbents leave before the version enters: the unique index on the exclusive stage
  cannot wait.
- One audit entry for the whole change; one event for each version that moved, the
  incumbent's first, with one ``transition_id``.
- An artifact is not hashed under the lock: a move that needs it says so, and is asked
  again with the digest, which is compared then.
- Of those who leave a stage at most ``MAX_LEAVING`` leave with a version. Where there
  are more, room is made first, by changes of their own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

from registry.domain import names
from registry.domain.actors import ActorKind, authorize
from registry.domain.commands.asking import Approved, Asked
from registry.domain.commands.change import (
    Context,
    Outcome,
    Snapshot,
    Told,
    Want,
    effects,
    history_line,
    new_transition_id,
    version_event,
)
from registry.domain.documents import Document, request_document, version_document
from registry.domain.entries import Change
from registry.domain.events import (
    BROKE_GLASS,
    STAGE_CHANGED,
    BrokenGlass,
    StageChange,
)
from registry.domain.gates import Evidence, Gate, failing
from registry.domain.holds import Hold, with_hold
from registry.domain.policy import (
    ARCHIVED,
    NONE,
    PRODUCTION,
    Cause,
    Considered,
    Decision,
    StagePolicy,
)
from registry.domain.roles import Action
from registry.domain.rows import ModelRow, RequestRow, StageChangeRow, VersionRow
from registry.errors import (
    ConflictError,
    CrowdedStageError,
    InvalidInputError,
    PromptStageError,
    StaleExpectationError,
    VerificationNeededError,
)

MAX_LEAVING = 100
#: Who sets a hold by a rollback, and ends one by putting a version there.
_PEOPLE = frozenset({ActorKind.USER, ActorKind.TOKEN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What a move did.

    Attributes:
        transition_id: None when the version was there already.
        superseded: the incumbent that moved aside last.
        beside: others in the stage, where the version was there already and they are
            to leave it; of more than ``MAX_LEAVING``, at least one more than that.
        request: what was asked for instead, where others must approve.
    """

    version: VersionRow
    transition_id: str | None = None
    cause: str | None = None
    superseded: int | None = None
    beside: Sequence[int] = ()
    request: RequestRow | None = None

    @property
    def document(self) -> Document:
        """Return the move as the API shows it, or the request that it became."""
        if self.request is not None:
            name = self.version.model_name
            return {"request": request_document(name, self.request)}
        return {
            "transition_id": self.transition_id,
            "cause": self.cause,
            "superseded": self.superseded,
            "verified": self.version.is_verified,
            "version": version_document(self.version),
        }


class _Step(NamedTuple):
    """Where a version goes, and why."""

    version: VersionRow
    to_stage: str
    cause: Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveVersion:
    """Move a version to another stage, with everything that belongs to it.

    Attributes:
        number: None leaves the choice to the serving history (rollback).
        expects_incumbent: whether ``expected_incumbent`` is to be compared.
        expected_incumbent: the version expected in the stage; None for none.
        expected_gates: each as it was shown, whatever glass is broken; None where
            they were not.
        verified_digest: the artifact's digest as hashed for this move; None when it
            was not.
        archives_others: whether who is in a shared stage moves to Archived; who is
            in an exclusive one moves aside in any case.
        may_be_there: whether a version that is in the stage already is no refusal.
        makes_room: whether only the first of those who must leave do, as long as they
            are too many; the last one to enter stays, for whom expectations ask.
    """

    model: str
    number: int | None
    to_stage: str
    reason: str = ""
    is_rollback: bool = False
    expects_incumbent: bool = False
    expected_incumbent: int | None = None
    if_match: str | None = None
    expected_gates: Sequence[Gate] | None = None
    verified_digest: str | None = None
    archives_others: bool = False
    may_be_there: bool = False
    makes_room: bool = False
    breaks_glass: bool = False
    approved: Approved | None = None
    transition_id: str = field(default_factory=new_transition_id)

    def want(self, policy: StagePolicy) -> Want:
        """Ask for the version, for who may have to leave, and what was expected."""
        rules = policy.for_model(self.model)
        stage = rules.stage(self.to_stage)
        empties = stage in rules.exclusive or self.archives_others
        wants = rules.wants(stage)
        return Want(
            number=self.number,
            holder_before=stage if self.number is None else None,
            stage=stage if empties else None,
            limit=MAX_LEAVING + 2,
            last_in=stage if self.expects_incumbent else None,
            stages_before=self.is_rollback,
            checks=wants.checks,
            entered_at=wants.entered_at,
            asked=stage if wants.approvals else None,
        )

    def decide(self, seen: Snapshot, context: Context) -> Outcome[Moved]:
        """Hold policy and expectations against what is there.

        Raises:
            InvalidInputError: for an unknown stage.
            VersionNotFoundError: when there is no such version.
            TransitionRefusedError: when the policy refuses.
            StaleExpectationError: when incumbent, entity tag or gates are not as
                expected.
            VerificationNeededError: when the artifact is to be hashed first.
            CrowdedStageError: when room is to be made first.
            ConflictError: when there is nothing to roll back to, or the artifact is
                not the one that was hashed.
        """
        rules = context.policy.for_model(self.model)
        stage = rules.stage(self.to_stage)
        version = self.version_in(seen, stage)
        if seen.model.is_prompt:
            raise PromptStageError(stage)
        if self.may_be_there and version.stage == stage:
            beside = [row.number for row in seen.in_stage if row != version]
            return Outcome(answer=Moved(version=version, beside=beside))
        self._allow_glass(context)
        decision = rules.decide(
            version,
            stage,
            _evidence(seen, context, self._asked),
            stages_before=seen.stages_before if self.is_rollback else None,
            breaks_glass=self.breaks_glass,
            is_approved=self.approved is not None,
        )
        seen.require_version(version.number, if_match=self.if_match)
        self._expect_incumbent(seen, stage)
        self._expect_gates(seen, context, version)
        is_exempt = self.approved or self.breaks_glass or self.makes_room
        if decision.approvals and not is_exempt:
            return self._ask(seen, context, version=version, decision=decision)
        self._expect_verified(version, decision)
        steps = self._leaving(seen, context, decision)
        if not self.makes_room:
            steps.append(_Step(version, stage, decision.cause))
        elif not steps:
            return Outcome(answer=Moved(version=version))
        return self._outcome(
            seen, context, version=version, steps=steps, decision=decision
        )

    def _allow_glass(self, context: Context) -> None:
        if not self.breaks_glass:
            return
        authorize(context.caller.actor, Action.BREAK_GLASS, self.model)
        if not self.reason.strip():
            raise InvalidInputError("say why the glass is broken", field="reason")

    def consider(
        self,
        seen: Snapshot,
        context: Context,
        version: VersionRow,
        asked: RequestRow | None,
    ) -> Considered:
        """Return what is to be said of it; of what a request asked for, if approved."""
        rules = context.policy.for_model(self.model)
        return rules.consider(
            version,
            rules.stage(self.to_stage),
            _evidence(seen, context, asked),
            stages_before=seen.stages_before if self.is_rollback else None,
            is_approved=asked is not None,
        )

    @property
    def _asked(self) -> RequestRow | None:
        return self.approved.request if self.approved else None

    def _ask(
        self,
        seen: Snapshot,
        context: Context,
        *,
        version: VersionRow,
        decision: Decision,
    ) -> Outcome[Moved]:
        asked = Asked(
            version=version,
            to_stage=decision.to_stage,
            reason=self.reason,
            needed=decision.approvals,
            is_rollback=self.is_rollback,
            archives_others=self.archives_others,
        ).outcome(seen, context)
        moved = Moved(version=version, request=asked.answer)
        return Outcome(effects=asked.effects, answer=moved)

    def version_in(self, seen: Snapshot, stage: str) -> VersionRow:
        """Return the version to move: the one named, or who was in the stage before.

        Raises:
            VersionNotFoundError: when there is no such version.
            ConflictError: when there is nothing to roll back to.
        """
        if self.number is not None:
            return seen.require_version(self.number)
        if seen.model.is_prompt:
            raise PromptStageError(stage)
        if seen.holder_before is None:
            raise ConflictError(
                f"no earlier version of {self.model!r} has been in {stage}: "
                "there is nothing to roll back to"
            )
        if seen.version is None:
            raise ConflictError(
                f"version {seen.holder_before} was in {stage} before, but has been "
                "deleted; name the version to roll back to"
            )
        return seen.version

    def _expect_incumbent(self, seen: Snapshot, stage: str) -> None:
        if self.expects_incumbent and seen.last_in != self.expected_incumbent:
            raise StaleExpectationError(
                f"expected {_named(self.expected_incumbent)} in {stage}, "
                f"found {_named(seen.last_in)}"
            )

    def _expect_gates(
        self, seen: Snapshot, context: Context, version: VersionRow
    ) -> None:
        if self.expected_gates is None:
            return
        gates = self.consider(seen, context, version, self._asked).gates
        if list(gates) != list(self.expected_gates):
            raise StaleExpectationError("what the gates say has changed since")

    def _expect_verified(self, version: VersionRow, decision: Decision) -> None:
        digest = version.artifact_digest
        if not decision.verify_artifact or digest == self.verified_digest:
            return
        if digest and self.verified_digest is None:
            raise VerificationNeededError(version)
        raise ConflictError(
            f"version {version.number} changed while its artifact was being "
            "verified; try again"
        )

    def _leaving(
        self, seen: Snapshot, context: Context, decision: Decision
    ) -> list[_Step]:
        """Return who moves aside, the last one to enter at the end."""
        leaving = sorted(seen.in_stage, key=lambda row: row.entered)
        if not decision.is_exclusive:
            rules = context.policy.for_model(self.model)
            _allow_archival(rules, leaving, seen.evidence(context))
        if len(leaving) > MAX_LEAVING and not self.makes_room:
            raise CrowdedStageError
        if self.makes_room and len(leaving) <= MAX_LEAVING:
            return []
        aside = decision.incumbent_to or ARCHIVED
        return [_Step(row, aside, Cause.SUPERSEDED) for row in leaving[:MAX_LEAVING]]

    def _outcome(
        self,
        seen: Snapshot,
        context: Context,
        *,
        version: VersionRow,
        steps: Sequence[_Step],
        decision: Decision,
    ) -> Outcome[Moved]:
        model = seen.model.touched(context.now)
        rows = [_entered(step, decision, model.updated_at) for step in steps]
        history = self._history(context, model, steps, rows)
        broken = _broken(decision) if self.breaks_glass else []
        hold = self._hold(context, history)
        history[-1] = replace(
            history[-1],
            request_id=self._asked.id if self._asked else None,
            broke_glass=bool(broken),
            held=hold is not None,
        )
        after = version if self.makes_room else rows[-1]
        told = _told(context, model, rows, history)
        written = effects(
            seen,
            context,
            replace(
                model,
                mlflow_updated_at=model.updated_at,
                last_history=history[-1].sequence,
                holds=self._holds(context, model, after, hold),
            ),
            self._change(context, (version, after), history, broken),
            told=[*told, *self._told_besides(context, model, after, broken)],
            changed=[*rows, *self._approving(is_new=False)],
        )
        announced = [
            replace(line, event_id=event.id)
            for line, event in zip(history, written.events, strict=False)
        ]
        added = [*announced, *self._approving(is_new=True)]
        return Outcome(
            effects=replace(written, added=added),
            answer=Moved(
                version=after,
                transition_id=self.transition_id,
                cause=history[-1].cause,
                superseded=_last_superseded(history),
            ),
        )

    def _history(
        self,
        context: Context,
        model: ModelRow,
        steps: Sequence[_Step],
        rows: Sequence[VersionRow],
    ) -> list[StageChangeRow]:
        reason = names.prose(self.reason, field="reason")
        moved = enumerate(zip(steps, rows, strict=True), start=model.last_history + 1)
        return [
            history_line(
                context,
                row,
                sequence=sequence,
                transition_id=self.transition_id,
                from_stage=step.version.stage,
                cause=step.cause,
                reason=reason,
            )
            for sequence, (step, row) in moved
        ]

    def _hold(self, context: Context, history: Sequence[StageChangeRow]) -> Hold | None:
        """Return the hold that a rollback by a person sets."""
        rules, line = context.policy.for_model(self.model), history[-1]
        rolled_back = _last_superseded(history)
        if (
            rolled_back is None
            or line.cause != Cause.ROLLBACK
            or line.to_stage not in rules.held_after_rollback
            or context.caller.actor.kind not in _PEOPLE
        ):
            return None
        return Hold(
            stage=line.to_stage,
            version=rolled_back,
            reason=line.reason,
            by=line.actor_name,
            at=line.at,
        )

    def _holds(
        self, context: Context, model: ModelRow, after: VersionRow, hold: Hold | None
    ) -> Sequence[Mapping[str, Any]]:
        """Return the model's holds; a person's move there ends that of a rollback."""
        if hold is not None:
            return with_hold(model.holds, hold)
        if self.makes_room or context.caller.actor.kind not in _PEOPLE:
            return model.holds
        return [
            each
            for each in model.holds
            if each["version"] is None or each["stage"] != after.stage
        ]

    def _approving(self, *, is_new: bool) -> list[Any]:
        """Return the rows that are changed, or new, by the approval of the move."""
        approved = self.approved
        if approved is None:
            return []
        given = [approved.approval] if approved.is_new is is_new else []
        used_up = approved.used_up(self.transition_id)
        return given if is_new else [*given, used_up]

    def _told_besides(
        self,
        context: Context,
        model: ModelRow,
        after: VersionRow,
        broken: Sequence[str],
    ) -> Iterator[Told]:
        """Yield the events of an approval, and of broken glass."""
        about = version_event(context, model, after)
        if self.approved:
            used_up = self.approved.used_up(self.transition_id)
            yield self.approved.told(model.name, used_up, about)
        if broken:
            glass: BrokenGlass = {
                "transition_id": self.transition_id,
                "gates": broken,
                "reason": self.reason,
            }
            yield BROKE_GLASS, {**about, **glass}

    def _change(
        self,
        context: Context,
        versions: tuple[VersionRow, VersionRow],
        history: Sequence[StageChangeRow],
        broken: Sequence[str],
    ) -> Change:
        before, after = versions
        aside = [line for line in history if line.cause == Cause.SUPERSEDED]
        return Change(
            action=STAGE_CHANGED,
            version=after.number,
            before={"stage": before.stage},
            after={
                "stage": after.stage,
                "superseded": [line.number for line in aside],
                **({"superseded_to": aside[0].to_stage} if aside else {}),
            },
            reason=history[-1].reason,
            details={
                "transition_id": self.transition_id,
                "cause": history[-1].cause,
                "artifact_digest": after.artifact_digest,
                "verified": after.is_verified,
                "policy": context.policy.digest,
                **({"broke_glass": list(broken)} if broken else {}),
                **(self.approved.details if self.approved else {}),
            },
        )


def rollback(model: str, number: int | None, reason: str) -> MoveVersion:
    """Return a rollback of Production: to ``number``, or to what served before."""
    return MoveVersion(
        model=model,
        number=number,
        to_stage=PRODUCTION,
        reason=reason,
        is_rollback=True,
    )


def _entered(step: _Step, decision: Decision, at: datetime) -> VersionRow:
    """Return the version in its new stage; nothing else writes one."""
    row = replace(
        step.version.touched(at),
        stage=step.to_stage,
        exclusive_stage=None,
        mlflow_updated_at=at,
    )
    if step.cause is Cause.SUPERSEDED:
        return row
    is_pinned = decision.verify_artifact and row.artifact_digest
    return replace(
        row,
        exclusive_stage=step.to_stage if decision.is_exclusive else None,
        artifact_state="verified" if is_pinned else row.artifact_state,
    )


def _last_superseded(history: Sequence[StageChangeRow]) -> int | None:
    numbers = [line.number for line in history if line.cause == Cause.SUPERSEDED]
    return numbers[-1] if numbers else None


def _told(
    context: Context,
    model: ModelRow,
    rows: Sequence[VersionRow],
    history: Sequence[StageChangeRow],
) -> list[Told]:
    """Return an event for each version that moved."""
    return [
        (
            STAGE_CHANGED,
            {**version_event(context, model, row), **_stage_change(line, history)},
        )
        for row, line in zip(rows, history, strict=True)
    ]


def _stage_change(
    line: StageChangeRow, history: Sequence[StageChangeRow]
) -> StageChange:
    is_aside = line.cause == Cause.SUPERSEDED
    return {
        "from_stage": line.from_stage or NONE,
        "to_stage": line.to_stage,
        "cause": line.cause,
        "transition_id": line.transition_id,
        "previous_version": None if is_aside else _last_superseded(history),
        "reason": line.reason,
        "request_id": line.request_id,
        "held": line.held,
    }


def _evidence(seen: Snapshot, context: Context, asked: RequestRow | None) -> Evidence:
    """Return what gates look at; who asked is who moves it."""
    evidence = seen.evidence(context)
    if asked is None:
        return evidence
    return replace(evidence, is_automation=asked.requester_kind == ActorKind.CI)


def _broken(decision: Decision) -> list[str]:
    """Return why each gate would have refused that is gone past."""
    needed = decision.approvals
    return [
        *failing(decision.broken),
        *([f"it takes {needed} approvals"] if needed else []),
    ]


def _allow_archival(
    policy: StagePolicy, versions: Sequence[VersionRow], seen: Evidence
) -> None:
    """Ask the policy about each who leaves a shared stage, where nobody must.

    What was seen besides, such as checks, is of the version that enters.
    """
    for version in versions:
        found = policy.consider(version, ARCHIVED, seen)
        if found.move and (found.move.asks.looks_beyond or found.move.approvals):
            raise must_be_archived_alone(version.number)
        if found.reasons:
            raise policy.refused(version, ARCHIVED, found.reasons)


def must_be_archived_alone(number: int) -> ConflictError:
    """Return what to raise for a version that another's move cannot archive."""
    return ConflictError(
        f"version {number} must be archived by itself: its artifact is verified for "
        "that, its checks or its time in the stage are looked at, or others approve it"
    )


def _named(number: int | None) -> str:
    return "no version" if number is None else f"version {number}"
