"""The stage policy: which moves are allowed, decided without any I/O.

Rules:

- A move that no rule names is refused; the refusal names the stages allowed
  from here and, for gates, every reason at once.
- A ``rollback`` rule is for the rollback command alone, and every rollback goes
  to a stage the version has been in before.
- Entering an exclusive stage moves its incumbents to the stage the policy names.
- Only a READY version may move, and past its other gates only by breaking the glass.
- An alias that is bound to a stage is that stage: it points at who is in it, and to set
  it is the move. A guarded one asks its own gates.

The policy file is read by ``registry.domain.policy_file``.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import NamedTuple

from registry.domain.freezes import Freeze
from registry.domain.gates import (
    NOTHING,
    Evidence,
    Gate,
    GateKind,
    Requirements,
    failing,
    freeze_gates,
    hold_gates,
)
from registry.domain.roles import Action
from registry.domain.rows import VersionRow
from registry.errors import InvalidInputError, TransitionRefusedError

NONE = "None"
STAGING = "Staging"
PRODUCTION = "Production"
ARCHIVED = "Archived"
BUILT_IN_STAGES = (NONE, STAGING, PRODUCTION, ARCHIVED)
UNUSED_STAGES = frozenset({NONE, ARCHIVED})  #: nobody reads a version by these
ANY = "*"
DEFAULT_APPROVAL_HOURS = 30 * 24  #: as GitHub's deployments wait for their reviewers


class Cause(StrEnum):
    """Why a version changed its stage."""

    REGISTRATION = "registration"  #: it was registered, into None
    PROMOTION = "promotion"
    ARCHIVAL = "archival"
    ROLLBACK = "rollback"
    SUPERSEDED = "superseded"  #: an incumbent moved aside


@dataclass(frozen=True, kw_only=True)
class Move:
    """One allowed move, and what must hold of the version; ``*`` is any stage.

    Attributes:
        approvals: by how many others than who asks for it; 0 for none.
    """

    from_stage: str
    to_stage: str
    via: Cause
    asks: Requirements = NOTHING
    approvals: int = 0

    def matches(self, from_stage: str, to_stage: str) -> bool:
        """Whether this rule speaks of the move."""
        is_from = self.from_stage in {ANY, from_stage}
        return is_from and self.to_stage in {ANY, to_stage}


@dataclass(frozen=True, kw_only=True)
class AliasRule:
    """What holds for aliases whose name matches, in any case.

    Attributes:
        stage: the stage that the alias is bound to; None of one that is guarded.
        action: what must be allowed to who sets or removes a guarded one.
        stages: where the version must be; empty for anywhere.
    """

    pattern: str
    stage: str | None = None
    action: Action = Action.WRITE
    stages: tuple[str, ...] = ()
    asks: Requirements = NOTHING

    def matches(self, alias: str) -> bool:
        """Whether this rule speaks of the alias."""
        return fnmatchcase(alias.lower(), self.pattern.lower())

    def refusals(self, version: VersionRow, seen: Evidence) -> list[str]:
        """Return why the alias may not point at the version, each reason."""
        reasons = failing(list(self.asks.gates(version, seen)))
        if self.stages and version.stage not in self.stages:
            reasons.append(f"it is in {version.stage}, not in {_either(self.stages)}")
        return reasons


class Wants(NamedTuple):
    """What a decision on a move into a stage must see besides the version."""

    checks: bool
    entered_at: bool
    approvals: bool


@dataclass(frozen=True, kw_only=True)
class Decision:
    """An allowed move.

    Attributes:
        incumbent_to: where incumbents go; None in a shared stage.
        approvals: by how many others.
        gates: each as it stands.
        broken: those that it goes past.
    """

    to_stage: str
    cause: Cause
    verify_artifact: bool
    incumbent_to: str | None
    approvals: int = 0
    gates: Sequence[Gate] = ()
    broken: Sequence[Gate] = ()

    @property
    def is_exclusive(self) -> bool:
        """Whether the stage holds one version at a time."""
        return self.incumbent_to is not None


@dataclass(frozen=True, kw_only=True)
class Considered:
    """What is to be said of a move.

    Attributes:
        move: the rule that allows it; None where none does.
        problems: why it is none that could be made, whatever the gates.
        gates: each as it stands.
    """

    move: Move | None
    problems: Sequence[str]
    gates: Sequence[Gate]

    @property
    def reasons(self) -> list[str]:
        """Why it is not to be made, each reason."""
        return [*self.problems, *failing(self.gates)]


@dataclass(frozen=True, kw_only=True)
class StagePolicy:
    """The rules for one set of models.

    Attributes:
        exclusive: exclusive stage to the stage its incumbent moves to.
        automatic_rollback: exclusive stages that a version leaves by rollback when
            its deployment is reported to have failed.
        held_after_rollback: stages that a rollback by a person holds.
        aliases: first match wins.
        freezes: windows in which nothing is promoted.
        approval_hours: how long a request for approval stands.
        overrides: (model name glob, policy), first match wins.
        digest: ``sha256:…`` of the file, recorded with every decision.
    """

    stages: tuple[str, ...]
    moves: tuple[Move, ...]
    exclusive: Mapping[str, str]
    deletable: frozenset[str]
    automatic_rollback: frozenset[str] = frozenset()
    held_after_rollback: frozenset[str] = frozenset()
    aliases: tuple[AliasRule, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    approval_hours: int = DEFAULT_APPROVAL_HOURS
    overrides: tuple[tuple[str, "StagePolicy"], ...] = ()
    digest: str = ""

    def for_model(self, name: str) -> "StagePolicy":
        """Return the rules that hold for a model of this name."""
        for pattern, policy in self.overrides:
            if fnmatchcase(name, pattern):
                return policy
        return self

    @property
    def stages_in_use(self) -> list[str]:
        """Return the stages by which versions are read, the last to be reached last."""
        return [stage for stage in self.stages if stage not in UNUSED_STAGES]

    def stage(self, text: str, *, field: str = "to_stage") -> str:
        """Return the stage that ``text`` names, whatever its case.

        Raises:
            InvalidInputError: when there is no such stage.
        """
        for stage in self.stages:
            if stage.lower() == text.lower():
                return stage
        raise InvalidInputError(
            f"unknown stage {text[:80]!r}; expected one of {', '.join(self.stages)}",
            field=field,
        )

    def allowed_from(self, stage: str) -> tuple[str, ...]:
        """Return the stages a transition may go to from here, in their order."""
        return tuple(
            target
            for target in self.stages
            if target != stage and self.rule_for(stage, target, rollback=False)
        )

    def alias_rule(self, alias: str) -> AliasRule | None:
        """Return the rule for an alias of that name, if there is one."""
        return next((rule for rule in self.aliases if rule.matches(alias)), None)

    def bound_stage(self, alias: str) -> str | None:
        """Return the stage that an alias is bound to, if it is."""
        rule = self.alias_rule(alias)
        return rule.stage if rule else None

    def wants(self, to_stage: str) -> Wants:
        """Return what a decision on a move into the stage must see."""
        moves = [move for move in self.moves if move.to_stage in {ANY, to_stage}]
        return Wants(
            checks=any(move.asks.checks for move in moves),
            entered_at=any(move.asks.min_time_in_stage for move in moves),
            approvals=any(move.approvals for move in moves),
        )

    def consider(
        self,
        version: VersionRow,
        to_stage: str,
        seen: Evidence,
        *,
        stages_before: Collection[str] | None = None,
        breaks_glass: bool = False,
        is_approved: bool = False,
    ) -> Considered:
        """Return what is to be said of a move; on a rollback, where it has been."""
        rollback = stages_before is not None
        move = self.rule_for(version.stage, to_stage, rollback=rollback)
        problems = [] if move else [self._refusal(version.stage, to_stage)]
        if stages_before is not None and to_stage not in stages_before:
            problems.append(f"version {version.number} has never been in {to_stage}")
        gates: list[Gate] = []
        if move is not None:
            freezes = () if rollback else self._freezes(to_stage, move)
            gates += move.asks.gates(version, seen)
            gates += freeze_gates(freezes, seen.now)
            to_be_approved = move.approvals > 0 and not breaks_glass
            gates += hold_gates(
                to_stage, version, seen, is_approved=is_approved or to_be_approved
            )
        return Considered(move=move, problems=problems, gates=gates)

    def _freezes(self, to_stage: str, move: Move) -> list[Freeze]:
        is_promotion = move.via is Cause.PROMOTION
        return [f for f in self.freezes if is_promotion and f.is_of(to_stage)]

    def decide(
        self,
        version: VersionRow,
        to_stage: str,
        seen: Evidence,
        *,
        stages_before: Collection[str] | None = None,
        breaks_glass: bool = False,
        is_approved: bool = False,
    ) -> Decision:
        """Decide on a transition; on a rollback, where it is said where it has been.

        Raises:
            TransitionRefusedError: naming the allowed stages and each reason.
        """
        found = self.consider(
            version,
            to_stage,
            seen,
            stages_before=stages_before,
            breaks_glass=breaks_glass,
            is_approved=is_approved,
        )
        broken = [
            gate
            for gate in found.gates
            if breaks_glass and not gate.passes and gate.kind is not GateKind.STATUS
        ]
        move, reasons = found.move, found.reasons
        reasons = [reason for reason in reasons if reason not in failing(broken)]
        if move is None or reasons:
            raise self.refused(version, to_stage, reasons)
        return Decision(
            to_stage=to_stage,
            cause=move.via if stages_before is None else Cause.ROLLBACK,
            verify_artifact=move.asks.verify_artifact,
            incumbent_to=self.exclusive.get(to_stage),
            approvals=move.approvals,
            gates=found.gates,
            broken=broken,
        )

    def rule_for(
        self, from_stage: str, to_stage: str, *, rollback: bool
    ) -> Move | None:
        """Return the rule that counts for a move, if there is one."""
        if from_stage == to_stage:
            return None
        for move in self.moves:
            if move.matches(from_stage, to_stage) and (
                rollback or move.via is not Cause.ROLLBACK
            ):
                return move
        return None

    def _refusal(self, from_stage: str, to_stage: str) -> str:
        if from_stage == to_stage:
            return f"it is in {to_stage} already"
        if self._is_rollback_only(from_stage, to_stage):
            return f"{from_stage} to {to_stage} is allowed by rollback only"
        return f"{from_stage} to {to_stage} is not an allowed move"

    def _is_rollback_only(self, from_stage: str, to_stage: str) -> bool:
        by_transition = self.rule_for(from_stage, to_stage, rollback=False)
        by_rollback = self.rule_for(from_stage, to_stage, rollback=True)
        return by_rollback is not None and by_transition is None

    def refused(
        self, version: VersionRow, to_stage: str, reasons: list[str]
    ) -> TransitionRefusedError:
        """Return what to raise for a move, each reason named."""
        allowed = self.allowed_from(version.stage)
        return TransitionRefusedError(
            f"version {version.number} may not move from {version.stage} to "
            f"{to_stage}: {'; '.join(reasons)}. Allowed from {version.stage}: "
            f"{', '.join(allowed) or 'none'}",
            from_stage=version.stage,
            to_stage=to_stage,
            allowed=allowed,
            reasons=reasons,
            is_rollback_only=self._is_rollback_only(version.stage, to_stage),
        )


def _either(stages: Sequence[str]) -> str:
    return " or ".join(stages)
