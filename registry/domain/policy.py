"""The stage policy: which moves are allowed, decided without any I/O.

Rules:

- A move that no rule names is refused; the refusal names the stages allowed
  from here and, for gates, every reason at once.
- A ``rollback`` rule is for the rollback command alone, and every rollback goes
  to a stage the version has been in before.
- Entering an exclusive stage moves its incumbents to the stage the policy names.
- Only a READY version may move, other than into the stage of last resort.

The policy file is read by ``registry.domain.policy_file``.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from registry.domain.rows import VersionRow
from registry.errors import InvalidInputError, TransitionRefusedError

NONE = "None"
STAGING = "Staging"
PRODUCTION = "Production"
ARCHIVED = "Archived"
BUILT_IN_STAGES = (NONE, STAGING, PRODUCTION, ARCHIVED)
ANY = "*"


class Cause(StrEnum):
    """Why a version changed its stage."""

    REGISTRATION = "registration"  #: it was registered, into None
    PROMOTION = "promotion"
    ARCHIVAL = "archival"
    ROLLBACK = "rollback"
    SUPERSEDED = "superseded"  #: an incumbent moved aside


class VersionStatus(StrEnum):
    """How far the registration of a version has come (MLflow's terms)."""

    PENDING_REGISTRATION = "PENDING_REGISTRATION"
    READY = "READY"
    FAILED_REGISTRATION = "FAILED_REGISTRATION"


@dataclass(frozen=True, kw_only=True)
class MetricThreshold:
    """A bound on one metric of the version; both ends are inclusive."""

    name: str
    minimum: float | None = None
    maximum: float | None = None

    def refusal(self, metrics: Mapping[str, float]) -> str | None:
        """Return why ``metrics`` do not pass."""
        value = metrics.get(self.name)
        if value is None:
            return f"metric {self.name!r} is missing"
        if self.minimum is not None and not value >= self.minimum:
            return f"metric {self.name!r} is {value}, below {self.minimum}"
        if self.maximum is not None and not value <= self.maximum:
            return f"metric {self.name!r} is {value}, above {self.maximum}"
        return None


@dataclass(frozen=True, kw_only=True)
class Move:
    """One allowed move, and what must hold of the version; ``*`` is any stage."""

    from_stage: str
    to_stage: str
    via: Cause
    verify_artifact: bool = False
    require_verified: bool = False
    required_tags: tuple[str, ...] = ()
    metrics: tuple[MetricThreshold, ...] = ()

    def matches(self, from_stage: str, to_stage: str) -> bool:
        """Whether this rule speaks of the move."""
        is_from = self.from_stage in {ANY, from_stage}
        return is_from and self.to_stage in {ANY, to_stage}

    def refusals(self, version: VersionRow) -> list[str]:
        """Return why the version may not move so, each reason."""
        reasons = []
        if version.status != VersionStatus.READY:
            reasons.append(f"its status is {version.status}, not READY")
        if self.require_verified and not version.is_verified:
            reasons.append("its artifact is not verified")
        reasons += [
            f"tag {tag!r} is missing"
            for tag in self.required_tags
            if tag not in version.tags
        ]
        refusals = (threshold.refusal(version.metrics) for threshold in self.metrics)
        return reasons + [refusal for refusal in refusals if refusal]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """An allowed move."""

    cause: Cause
    verify_artifact: bool
    incumbent_to: str | None  #: where incumbents go; None in a shared stage

    @property
    def is_exclusive(self) -> bool:
        """Whether the stage holds one version at a time."""
        return self.incumbent_to is not None


@dataclass(frozen=True, kw_only=True)
class StagePolicy:
    """The rules for one set of models.

    Attributes:
        exclusive: exclusive stage to the stage its incumbent moves to.
        automatic_rollback: exclusive stages that a version leaves by rollback when
            its deployment is reported to have failed.
        overrides: (model name glob, policy), first match wins.
        digest: ``sha256:…`` of the file, recorded with every decision.
    """

    stages: tuple[str, ...]
    moves: tuple[Move, ...]
    exclusive: Mapping[str, str]
    deletable: frozenset[str]
    automatic_rollback: frozenset[str] = frozenset()
    overrides: tuple[tuple[str, "StagePolicy"], ...] = ()
    digest: str = ""

    def for_model(self, name: str) -> "StagePolicy":
        """Return the rules that hold for a model of this name."""
        for pattern, policy in self.overrides:
            if fnmatchcase(name, pattern):
                return policy
        return self

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
            if target != stage and self._move(stage, target, rollback=False)
        )

    def decide(
        self,
        version: VersionRow,
        to_stage: str,
        *,
        stages_before: Collection[str] | None = None,
    ) -> Decision:
        """Decide on a transition; on a rollback, where it is said where it has been.

        Raises:
            TransitionRefusedError: naming the allowed stages and each reason.
        """
        rollback = stages_before is not None
        move = self._move(version.stage, to_stage, rollback=rollback)
        reasons = (
            move.refusals(version) if move else [self._refusal(version.stage, to_stage)]
        )
        if stages_before is not None and to_stage not in stages_before:
            reasons.append(f"version {version.number} has never been in {to_stage}")
        if not move or reasons:
            raise self._refused(version, to_stage, reasons)
        return Decision(
            cause=Cause.ROLLBACK if rollback else move.via,
            verify_artifact=move.verify_artifact,
            incumbent_to=self.exclusive.get(to_stage),
        )

    def _move(self, from_stage: str, to_stage: str, *, rollback: bool) -> Move | None:
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
        by_transition = self._move(from_stage, to_stage, rollback=False)
        by_rollback = self._move(from_stage, to_stage, rollback=True)
        return by_rollback is not None and by_transition is None

    def _refused(
        self, version: VersionRow, to_stage: str, reasons: list[str]
    ) -> TransitionRefusedError:
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
