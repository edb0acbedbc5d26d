"""Gates: what must hold of a version before it may move, each with its state.

Rules:

- Every gate is evaluated, so that a refusal names every reason at once.
- What is not known does not pass: a metric or a check that nobody reported.
- What a gate looked at is told with it (``evidence``): an approval that was given
  while it was so holds only while it is so.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from registry.domain.freezes import Freeze
from registry.domain.holds import Hold
from registry.domain.rows import CheckRow, CheckStatus, VersionRow, VersionStatus
from registry.domain.timestamps import rfc3339


class GateKind(StrEnum):
    """What a gate looks at."""

    STATUS = "status"
    ARTIFACT = "artifact"
    TAG = "tag"
    METRIC = "metric"
    CHECK = "check"
    TIME_IN_STAGE = "time_in_stage"
    FREEZE = "freeze"
    HOLD = "hold"


class GateState(StrEnum):
    """Whether a gate lets the version pass; what is pending may do so by itself."""

    PASSED = "passed"
    PENDING = "pending"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One gate as it stands.

    Attributes:
        name: which tag, metric or check; empty where there is one of its kind.
        message: why it does not pass; empty where it does.
        evidence: what it looked at, where an approval depends on that.
    """

    kind: GateKind
    name: str = ""
    state: GateState = GateState.PASSED
    message: str = ""
    evidence: str = ""

    @property
    def passes(self) -> bool:
        """Whether it lets the version pass."""
        return self.state is GateState.PASSED


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What gates look at besides the version.

    Attributes:
        checks: the last result of each check, by name.
        entered_at: when the version entered the stage it is in.
        holds: those of the model.
        is_automation: whether a CI job asks for the move.
    """

    now: datetime
    checks: Mapping[str, CheckRow] = field(default_factory=dict)
    entered_at: datetime | None = None
    holds: Sequence[Hold] = ()
    is_automation: bool = False


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
class Requirements:
    """What a move, or an alias, asks of a version.

    Attributes:
        verify_artifact: whether the artifact is hashed again for it; one that cannot be
            read here passes.
        require_verified: whether one that is not known to be as registered is refused.
        min_time_in_stage: how long the version must have been where it is.
    """

    verify_artifact: bool = False
    require_verified: bool = False
    required_tags: tuple[str, ...] = ()
    metrics: tuple[MetricThreshold, ...] = ()
    checks: tuple[str, ...] = ()
    min_time_in_stage: timedelta = timedelta()

    @property
    def looks_beyond(self) -> bool:
        """Whether more is looked at than the version's row."""
        return bool(self.verify_artifact or self.checks or self.min_time_in_stage)

    def gates(self, version: VersionRow, seen: Evidence) -> Iterator[Gate]:
        """Yield each gate as it stands for the version."""
        yield _status(version)
        if self.require_verified or self.verify_artifact:
            yield self._artifact(version)
        for tag in self.required_tags:
            is_missing = tag not in version.tags
            yield _gate(
                GateKind.TAG,
                tag,
                f"tag {tag!r} is missing" if is_missing else None,
                evidence=version.tags.get(tag, ""),
            )
        for threshold in self.metrics:
            yield _gate(
                GateKind.METRIC,
                threshold.name,
                threshold.refusal(version.metrics),
                evidence=str(version.metrics.get(threshold.name)),
            )
        for name in self.checks:
            yield _check(name, seen.checks.get(name))
        if self.min_time_in_stage:
            yield self._time_in_stage(version, seen)

    def _artifact(self, version: VersionRow) -> Gate:
        is_refused = self.require_verified and not version.is_verified
        return _gate(
            GateKind.ARTIFACT,
            "",
            "its artifact is not verified" if is_refused else None,
            evidence=version.artifact_digest or "",
        )

    def _time_in_stage(self, version: VersionRow, seen: Evidence) -> Gate:
        until = (seen.entered_at or seen.now) + self.min_time_in_stage
        if until <= seen.now:
            return Gate(kind=GateKind.TIME_IN_STAGE)
        return Gate(
            kind=GateKind.TIME_IN_STAGE,
            state=GateState.PENDING,
            message=f"it must stay in {version.stage} until {rfc3339(until)}",
        )


NOTHING = Requirements()


def freeze_gates(freezes: Sequence[Freeze], now: datetime) -> Iterator[Gate]:
    """Yield a gate for each freeze window that is to be kept."""
    for freeze in freezes:
        until = freeze.ends_at(now)
        yield Gate(
            kind=GateKind.FREEZE,
            name=freeze.reason,
            state=GateState.PENDING if until else GateState.PASSED,
            message=f"frozen until {rfc3339(until)}: {freeze.reason}" if until else "",
        )


def hold_gates(
    to_stage: str, version: VersionRow, seen: Evidence, *, is_approved: bool
) -> Iterator[Gate]:
    """Yield a gate for the hold of a stage, if there is one.

    A newer version than was rolled back goes past it with the approval of a person.
    """
    for hold in seen.holds:
        if hold.stage != to_stage or not hold.stands_at(seen.now):
            continue
        is_newer = hold.version is not None and version.number > hold.version
        is_held = hold.version is None or (
            seen.is_automation and not (is_newer and is_approved)
        )
        yield _gate(GateKind.HOLD, "", hold.sentence if is_held else None)


def failing(gates: Sequence[Gate]) -> list[str]:
    """Return why the version may not pass, each reason."""
    return [gate.message for gate in gates if not gate.passes]


def _status(version: VersionRow) -> Gate:
    if version.status == VersionStatus.READY:
        return Gate(kind=GateKind.STATUS)
    is_pending = version.status == VersionStatus.PENDING_REGISTRATION
    return Gate(
        kind=GateKind.STATUS,
        state=GateState.PENDING if is_pending else GateState.FAILED,
        message=f"its status is {version.status}, not READY",
    )


def _check(name: str, check: CheckRow | None) -> Gate:
    if check is None or check.status == CheckStatus.PENDING:
        what = "is missing" if check is None else "is pending"
        state, message = GateState.PENDING, f"check {name!r} {what}"
    elif check.status == CheckStatus.PASSED:
        state, message = GateState.PASSED, ""
    else:
        state, message = GateState.FAILED, f"check {name!r} has failed"
    evidence = f"{check.status} {rfc3339(check.updated_at)}" if check else ""
    return Gate(
        kind=GateKind.CHECK, name=name, state=state, message=message, evidence=evidence
    )


def _gate(kind: GateKind, name: str, refusal: str | None, evidence: str = "") -> Gate:
    return Gate(
        kind=kind,
        name=name,
        state=GateState.FAILED if refusal else GateState.PASSED,
        message=refusal or "",
        evidence=evidence,
    )
