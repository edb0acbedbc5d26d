"""Stage changes: the one transaction of design section 5.

Rules:

- The model row is locked first; everything is read after that.
- The policy decides; nothing else may write a stage.
- Incumbents leave before the version enters, in two flushes: the unique index on
  the exclusive stage cannot wait for the end of a statement.
- One audit entry for the whole change; one event for each version that moved,
  the incumbent's first, with one ``transition_id``.
- The artifact was hashed before the lock; under it only the digest is compared.
- At most ``MAX_LEAVING`` move aside with a version. Where more must, the first of them
  go beforehand (``make_room``), in transactions of their own, between which the lock
  is free: it is never held for longer because more are in the stage.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.orm import Session

from registry.domain import names
from registry.domain.policy import (
    ARCHIVED,
    PRODUCTION,
    Cause,
    Decision,
    StagePolicy,
    VersionFacts,
    VersionStatus,
)
from registry.errors import (
    ConflictError,
    CrowdedStageError,
    NotFoundError,
    PromptStageError,
    StaleExpectationError,
)
from registry.persistence import queries
from registry.persistence.tables import ModelVersion, RegisteredModel, StageChange
from registry.services import audit
from registry.services.audit import Change
from registry.services.changes import (
    announce,
    move_mlflow_time,
    record_change,
    touch,
    version_event,
)
from registry.services.documents import Document, version_document
from registry.services.transaction import Transaction
from registry.services.versions import (
    UPDATED,
    VersionRef,
    expect_etag,
    finish_version,
    lock_version,
)

STAGE_CHANGED = "model_version.stage_changed"
ARTIFACT_CHANGED = "model_version.artifact_changed"
MAX_DIFFERENCES = 50
MAX_LEAVING = 100


@dataclass(frozen=True, kw_only=True)
class MoveRequest:
    """A stage change that somebody asks for.

    Attributes:
        number: None leaves the choice to the serving history (rollback).
        expects_incumbent: whether ``expected_incumbent`` is to be compared.
        expected_incumbent: the version expected in the stage; None for none.
        verified_digest: the artifact's digest as hashed for this request; None
            when it was not.
        archives_others: whether who is in a shared stage moves to Archived; who is
            in an exclusive one moves aside in any case.
    """

    model: str
    number: int | None
    to_stage: str
    reason: str = ""
    is_rollback: bool = False
    expects_incumbent: bool = False
    expected_incumbent: int | None = None
    if_match: str | None = None
    verified_digest: str | None = None
    archives_others: bool = False


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What a move does.

    Attributes:
        from_stage: where the version was before it.
        leaving: who moves aside, the last one to enter at the end; of more than
            ``MAX_LEAVING``, one more than that.
        aside: where they go.
        makes_room_only: whether the version itself stays where it is, for now.
    """

    model: RegisteredModel
    version: ModelVersion
    from_stage: str
    decision: Decision
    leaving: Sequence[ModelVersion]
    aside: str
    makes_room_only: bool = False

    @property
    def moves(self) -> list[tuple[ModelVersion, str, Cause]]:
        """Who goes where and why: the order the unique index needs."""
        moves = [(each, self.aside, Cause.SUPERSEDED) for each in self.leaving]
        if not self.makes_room_only:
            moves.append((self.version, self.decision.to_stage, self.decision.cause))
        return moves


def artifact_to_verify(
    session: Session, policy: StagePolicy, request: MoveRequest
) -> ModelVersion | None:
    """The version whose artifact must be hashed before this move, if any.

    A first look without the lock: it refuses what the policy refuses, so that
    nothing is hashed in vain; ``move_version`` decides again under the lock.

    Raises:
        NotFoundError, InvalidInputError, TransitionRefusedError, ConflictError:
            as ``move_version``.
    """
    version, decision = _decide(session, policy, request)
    needs = decision.verify_artifact and version.artifact_digest
    return version if needs else None


def move_version(tx: Transaction, request: MoveRequest) -> Document:
    """Move a version to another stage, with everything that belongs to it.

    Raises:
        NotFoundError: when model or version do not exist.
        InvalidInputError: for an unknown stage.
        TransitionRefusedError: when the policy refuses.
        StaleExpectationError: when incumbent or entity tag are not as expected.
        ConflictError: when the artifact was not verified as it now stands, or
            there is nothing to roll back to.
        CrowdedStageError: when room is to be made first (``make_room``).
    """
    plan = _checked_plan(tx, request)
    _expect_room(plan)
    changes = _carry_out(tx, plan, request)
    return {
        "transition_id": changes[-1].transition_id,
        "cause": plan.decision.cause,
        "superseded": changes[-2].number if plan.leaving else None,
        "verified": plan.version.is_verified,
        "version": version_document(plan.model.name, plan.version),
    }


def check_move(tx: Transaction, request: MoveRequest) -> int:
    """The version that ``move_version`` would move, in this transaction.

    Raises:
        RegistryError: as ``move_version``; nothing was changed.
    """
    plan = _checked_plan(tx, request)
    _expect_room(plan)
    return plan.version.number


def make_room(tx: Transaction, request: MoveRequest) -> None:
    """Move the first aside of those who are too many to leave with a version.

    The move itself is decided and checked as ever: one that is refused moves nobody.
    The last one to enter stays, for whom expectations and rollbacks ask.

    Raises:
        RegistryError: as ``move_version``.
    """
    plan = _checked_plan(tx, request)
    if len(plan.leaving) > MAX_LEAVING:
        first = plan.leaving[:MAX_LEAVING]
        _carry_out(tx, replace(plan, leaving=first, makes_room_only=True), request)


def _expect_room(plan: _Plan) -> None:
    if len(plan.leaving) > MAX_LEAVING:
        raise CrowdedStageError


def _checked_plan(tx: Transaction, request: MoveRequest) -> _Plan:
    """What to do, with what the caller expects held against what is found."""
    model = queries.lock_model(tx.session, request.model)
    plan = _plan(tx, model, request)
    expect_etag(plan.version, request.if_match)
    _expect_incumbent(tx.session, plan, request)
    _expect_verified(plan, request)
    return plan


def _plan(tx: Transaction, model: RegisteredModel, request: MoveRequest) -> _Plan:
    version, decision = _decide(tx.session, tx.policy, request)
    leaving: Sequence[ModelVersion] = ()
    if decision.is_exclusive or request.archives_others:
        leaving = queries.versions_in_stage(
            tx.session, model.id, decision.to_stage, limit=MAX_LEAVING + 1
        )
    if not decision.is_exclusive:
        _allow_archival(tx.policy.for_model(request.model), leaving)
    return _Plan(
        model=model,
        version=version,
        from_stage=version.stage,
        decision=decision,
        leaving=leaving,
        aside=decision.incumbent_to or ARCHIVED,
    )


def _allow_archival(policy: StagePolicy, versions: Sequence[ModelVersion]) -> None:
    """In a shared stage nobody must leave: the policy is asked about each who does."""
    for version in versions:
        decision = policy.decide(_facts(version), ARCHIVED)
        if decision.verify_artifact:
            raise ConflictError(
                f"version {version.number} must be archived by itself: "
                "its artifact is verified for that"
            )


def _decide(
    session: Session, policy: StagePolicy, request: MoveRequest
) -> tuple[ModelVersion, Decision]:
    rules = policy.for_model(request.model)
    to_stage = rules.stage(request.to_stage)
    number = request.number
    if number is None:
        number = _previous_holder(session, request.model, to_stage)
    version = queries.get_version(session, request.model, number)
    if version.is_prompt:
        raise PromptStageError(to_stage)
    facts = _facts(version, _stages_before(session, version, request))
    return version, rules.decide(facts, to_stage, rollback=request.is_rollback)


def _facts(
    version: ModelVersion, stages_before: frozenset[str] = frozenset()
) -> VersionFacts:
    return VersionFacts(
        number=version.number,
        stage=version.stage,
        status=VersionStatus(version.status),
        is_verified=version.is_verified,
        tags=version.tags or {},
        metrics=version.metrics,
        stages_before=stages_before,
    )


def _stages_before(
    session: Session, version: ModelVersion, request: MoveRequest
) -> frozenset[str]:
    """Only a rollback asks where a version has been; nothing else waits for it."""
    if not request.is_rollback:
        return frozenset()
    return queries.stages_before(session, version.id)


def _previous_holder(session: Session, name: str, stage: str) -> int:
    model_id, is_prompt = queries.model_kind(session, name)
    if is_prompt:
        raise PromptStageError(stage)
    entered = queries.previous_holder(session, model_id, stage)
    if entered is None:
        raise ConflictError(
            f"no earlier version of {name!r} has been in {stage}: "
            "there is nothing to roll back to"
        )
    try:
        return queries.get_version(session, name, entered.number).number
    except NotFoundError as error:
        raise ConflictError(
            f"version {entered.number} was in {stage} before, but has been deleted; "
            "name the version to roll back to"
        ) from error


def _expect_incumbent(session: Session, plan: _Plan, request: MoveRequest) -> None:
    if not request.expects_incumbent:
        return
    found = queries.last_in_stage(session, plan.model.id, plan.decision.to_stage)
    if found != request.expected_incumbent:
        raise StaleExpectationError(
            f"expected {_named(request.expected_incumbent)} in "
            f"{plan.decision.to_stage}, found {_named(found)}"
        )


def _named(number: int | None) -> str:
    return "no version" if number is None else f"version {number}"


def _expect_verified(plan: _Plan, request: MoveRequest) -> None:
    digest = plan.version.artifact_digest
    if plan.decision.verify_artifact and digest != request.verified_digest:
        raise ConflictError(
            f"version {plan.version.number} changed while its artifact was being "
            "verified; try again"
        )


def _carry_out(tx: Transaction, plan: _Plan, request: MoveRequest) -> list[StageChange]:
    reason = names.clean_text(request.reason, field="reason")
    changes = _apply(tx, plan, reason)
    _record(tx, plan, changes)
    return changes


def _apply(tx: Transaction, plan: _Plan, reason: str) -> list[StageChange]:
    """Incumbents out, then the version in: the order the unique index needs."""
    at = touch(plan.model, None, tx.now)
    move_mlflow_time(at, plan.model)
    changes = _stage_changes(tx, plan, reason)
    for incumbent in plan.leaving:
        _enter(incumbent, plan.aside, at)
    tx.session.flush()
    if not plan.makes_room_only:
        _enter_decided(plan.version, plan.decision, at)
        tx.session.flush()
    queries.reload_versions(tx.session, [change.version_id for change in changes])
    for change, (each, _, _) in zip(changes, plan.moves, strict=True):
        change.verified = each.is_verified
    return changes


def _stage_changes(tx: Transaction, plan: _Plan, reason: str) -> list[StageChange]:
    """The lines of the history, the incumbents' first; stored with their events."""
    model = plan.model
    transition_id = f"trn_{uuid.uuid4().hex}"
    first = model.last_history + 1
    model.last_history += len(plan.moves)
    return [
        StageChange(
            model_id=model.id,
            version_id=version.id,
            number=version.number,
            sequence=sequence,
            transition_id=transition_id,
            from_stage=version.stage,
            to_stage=stage,
            cause=cause,
            reason=reason,
            actor_kind=tx.caller.actor.kind,
            actor_name=tx.caller.actor.name,
            at=model.updated_at,
        )
        for sequence, (version, stage, cause) in enumerate(plan.moves, start=first)
    ]


def _enter_decided(version: ModelVersion, decision: Decision, at: datetime) -> None:
    _enter(version, decision.to_stage, at)
    if decision.is_exclusive:
        version.exclusive_stage = decision.to_stage
    if decision.verify_artifact and version.artifact_digest:
        version.artifact_state = "verified"


def _enter(version: ModelVersion, stage: str, at: datetime) -> None:
    """Put a version into a stage; the only place that writes one."""
    version.stage = stage
    version.exclusive_stage = None
    version.updated_at = version.mlflow_updated_at = at
    version.row_version += 1


def _record(tx: Transaction, plan: _Plan, changes: Sequence[StageChange]) -> None:
    moved, version = changes[-1], plan.version
    superseded = [each.number for each in changes if each.cause == Cause.SUPERSEDED]
    change = Change(
        action=STAGE_CHANGED,
        model=plan.model.name,
        version=version.number,
        before={"stage": plan.from_stage},
        after={"stage": version.stage, "superseded": superseded},
        reason=moved.reason,
        details={
            "transition_id": moved.transition_id,
            "cause": moved.cause,
            "artifact_digest": version.artifact_digest,
            "verified": version.is_verified,
            "policy": tx.policy.digest,
        },
    )
    audit.record(tx, change, chain=audit.chain_of(plan.model), at=moved.at)
    events = [
        {
            **version_event(tx.caller, plan.model, each),
            **_move_event(stage_change, superseded),
        }
        for stage_change, (each, _, _) in zip(changes, plan.moves, strict=True)
    ]
    ids = announce(
        tx, plan.model, [(STAGE_CHANGED, data) for data in events], at=moved.at
    )
    for stage_change, event_id in zip(changes, ids, strict=True):
        stage_change.event_id = event_id
    tx.session.add_all(changes)
    tx.session.flush()


def _move_event(change: StageChange, superseded: Sequence[int]) -> Document:
    is_main = change.cause != Cause.SUPERSEDED
    return {
        "from_stage": change.from_stage,
        "to_stage": change.to_stage,
        "cause": change.cause,
        "transition_id": change.transition_id,
        "previous_version": superseded[-1] if is_main and superseded else None,
        "reason": change.reason,
    }


def mark_artifact_changed(
    tx: Transaction, ref: VersionRef, differences: Sequence[str]
) -> Document:
    """Record that an artifact is no longer what was registered, once.

    Raises:
        NotFoundError: when model or version do not exist.
    """
    model, version = lock_version(tx, ref)
    before = version_document(model.name, version)
    if version.artifact_state == "changed":
        return before
    at = touch(model, version, tx.now)
    version.artifact_state = "changed"
    tx.session.flush()
    found = list(differences)[:MAX_DIFFERENCES]
    change = Change(
        action=ARTIFACT_CHANGED,
        model=model.name,
        version=version.number,
        before={"verified": before["verified"]},
        after={"verified": False, "differences": found},
    )
    data = {**version_event(tx.caller, model, version), "differences": found}
    record_change(tx, model, change, data=data, at=at)
    return version_document(model.name, version)


def mark_artifact_verified(tx: Transaction, ref: VersionRef, digest: str) -> Document:
    """Record that an artifact was found as it was registered, if it was in doubt.

    Raises:
        NotFoundError: when model or version do not exist.
        ConflictError: when ``digest`` is not what the version has.
    """
    model, version = lock_version(tx, ref)
    before = version_document(model.name, version)
    if version.artifact_digest != digest:
        raise ConflictError(f"version {version.number} has another artifact by now")
    if version.artifact_state == "verified":
        return before
    touch(model, version, tx.now)
    version.artifact_state = "verified"
    tx.session.flush()
    return finish_version(tx, model, version, action=UPDATED, before=before)


def rollback_request(model: str, number: int | None, reason: str) -> MoveRequest:
    """A rollback of Production: to ``number``, or to what served before."""
    return MoveRequest(
        model=model,
        number=number,
        to_stage=PRODUCTION,
        reason=reason,
        is_rollback=True,
    )
