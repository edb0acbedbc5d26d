"""One model, brought here step by step.

Rules:

- A refusal of one version or move is taken down, and the rest goes on; only what
  would refuse everything (no sign-in, no server) ends the run.
- Numbers are given in their order. Behind a version that was refused the model's
  later ones wait, because its number could not be had any more once one of them is
  registered; ``skip_refused`` gives the number up. A fault that may pass, such as a
  store that does not answer, always makes them wait.
"""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field

from registry.client.registry_client import ExpectedIncumbent
from registry.errors import (
    ArtifactChangedError,
    ConflictError,
    InvalidInputError,
    NotSignedInError,
    PermissionDeniedError,
    RegistryError,
    ServerUnreachableError,
    StaleExpectationError,
    TransitionRefusedError,
)
from registry.importing.moves import Route, plan_moves
from registry.importing.plan import (
    Describe,
    Difference,
    LeaveEmpty,
    Register,
    RemovePlaceholder,
    Step,
    plan_aliases,
    plan_versions,
)
from registry.importing.report import Count, Kind, Report
from registry.importing.states import (
    NONE,
    READY,
    Rules,
    SourceModel,
    TargetModel,
    TargetVersion,
    is_prompt,
    nobodys_prompt,
)
from registry.importing.writer import Writer

_ENDING = (NotSignedInError, PermissionDeniedError, ServerUnreachableError)


def name_here(model: SourceModel) -> str:
    """The name of a model as this registry spells it."""
    return unicodedata.normalize("NFC", model.name)


@dataclass
class ModelImport:
    """The import of one model."""

    writer: Writer
    source: SourceModel
    rules: Rules
    report: Report
    skip_refused: bool = False
    #: The versions that are here as they are at the source.
    copied: dict[int, TargetVersion] = field(default_factory=dict)
    _touched: set[int] = field(default_factory=set)
    _empty: list[int] = field(default_factory=list)
    _waits_for: str = ""

    @property
    def name(self) -> str:
        """The model's name here."""
        return name_here(self.source)

    def run(self, here: TargetModel | None) -> None:
        """Do what is to be done, and take down what cannot be.

        Raises:
            NotSignedInError, PermissionDeniedError, ServerUnreachableError: nothing
                more can be done for any model.
        """
        before = self.report.changes
        self.report.counts[Count.MODELS] += 1
        if here is None:
            if not self._try(
                None, lambda: self.writer.create_model(self.name, self.source)
            ):
                return
            self.report.counts[Count.MODELS_CREATED] += 1
            here = _as_created(self.source)
        elif is_prompt(here.tags) != self.source.is_prompt:
            kind = "prompt" if self.source.is_prompt else "model"
            self._add(Kind.CONFLICT, None, f"is a {kind} there, and is none here")
            return
        self._bring_versions(here)
        self._move(here)
        self._point_aliases(here)
        self._count_unchanged(before)

    def _bring_versions(self, here: TargetModel) -> None:
        self.report.counts[Count.VERSIONS] += len(self.source.versions)
        steps = plan_versions(self.source, here)
        differing = {
            one.number
            for one in steps
            if isinstance(one, Difference) and one.is_other_version
        }
        self.copied = {
            number: here.versions[number]
            for number in self.source.versions.keys() & here.versions.keys()
            if number not in differing
        }
        for step in steps:
            self._take(step)

    def _take(self, step: Step) -> None:
        match step:
            case Register():
                self._register(step)
            case LeaveEmpty():
                self._empty.append(step.number)
            case Describe():
                self._describe(step)
            case RemovePlaceholder():
                self._remove(step.number)
            case _:
                self._add(Kind.CONFLICT, step.number, step.reason)

    def _remove(self, number: int) -> None:
        if self._try(number, lambda: self.writer.remove(self.name, number)):
            self.report.counts[Count.NUMBERS_LEFT_EMPTY] += 1

    def _describe(self, step: Describe) -> None:
        done = self._try(
            step.number,
            lambda: self.writer.describe(
                self.name, step.number, step.description, step.tags
            ),
        )
        if done:
            self.report.counts[Count.DESCRIBED] += 1
            if step.number is not None:
                self._touched.add(step.number)

    def _register(self, step: Register) -> None:
        number = step.version.number
        if self._waits_for:
            self._add(Kind.REFUSED, number, f"waits for {self._waits_for}")
            return
        if step.problem:
            self._add(Kind.REFUSED, number, step.problem)
            self._give_up(number, is_lasting=True)
            return
        try:
            self._fill_empty_numbers()
            made = self.writer.register(self.name, self.source, step.version)
        except _ENDING:
            raise
        except RegistryError as error:
            self._fail(number, error)
            self._give_up(number, is_lasting=isinstance(error, InvalidInputError))
            return
        self.copied[number] = made
        self._touched.add(number)
        self.report.counts[Count.VERSIONS_REGISTERED] += 1

    def _give_up(self, number: int, *, is_lasting: bool) -> None:
        """Go on without a version, or stop giving numbers."""
        if self.skip_refused and is_lasting:
            self._empty.append(number)
        else:
            self._waits_for = f"version {number}"

    def _fill_empty_numbers(self) -> None:
        """Give the numbers that nobody has, before one behind them is given.

        Raises:
            RegistryError: when this registry lets nobody delete a placeholder.
        """
        while self._empty:
            number = self._empty[0]
            if NONE not in self.rules.deletable and not self.source.is_prompt:
                raise RegistryError(
                    f"number {number} would have to be left empty, but the policy lets"
                    f" no version in {NONE} be deleted"
                )
            self._leave_empty(number)
            self.report.counts[Count.NUMBERS_LEFT_EMPTY] += 1
            del self._empty[0]

    def _leave_empty(self, number: int) -> None:
        if not self.source.is_prompt:
            self.writer.leave_empty(self.name, number)
            return
        self.writer.register(self.name, self.source, nobodys_prompt(number))
        self.writer.remove(self.name, number)

    def _move(self, here: TargetModel) -> None:
        if self.source.is_prompt:
            return  # it has no stages here, whatever its server says
        versions = {**here.versions, **self.copied}
        wanted = {number: self.source.versions[number].stage for number in self.copied}
        plan = plan_moves(wanted, versions, self.rules)
        stages = {number: one.stage for number, one in versions.items()}
        for obstacle in plan.obstacles:
            kind = Kind.CONFLICT if obstacle.is_conflict else Kind.REFUSED
            self._add(kind, obstacle.number, obstacle.reason)
        for number, stage in plan.ceding.items():
            higher = max(other for other, at in wanted.items() if at == stage)
            reason = f"{stage} holds one version here: {higher} stays in it"
            self._add(Kind.NOTE, number, reason)
        for route in plan.routes:
            self._follow(route, stages)

    def _follow(self, route: Route, stages: dict[int, str]) -> None:
        number = route.number

        def follow() -> None:
            if self.copied[number].status != READY:
                self.writer.wait_until_ready(self.name, number)
            for stage in route.stages:
                self._enter(number, stage, stages)

        self._try(number, follow)

    def _enter(self, number: int, stage: str, stages: dict[int, str]) -> None:
        holders = [other for other, at in stages.items() if at == stage]
        expected: ExpectedIncumbent = None
        if stage in self.rules.exclusive:
            expected = holders[0] if holders else "none"
        self.writer.move(self.name, number, stage, expected)
        for holder in holders if expected is not None else ():
            stages[holder] = self.rules.exclusive[stage]
            self._touched.add(holder)
        stages[number] = stage
        self._touched.add(number)
        self.report.counts[Count.STAGE_CHANGES] += 1

    def _point_aliases(self, here: TargetModel) -> None:
        plan = plan_aliases(self.source, here, self.copied)
        for alias, reason in plan.conflicts.items():
            self._add(Kind.CONFLICT, self.source.aliases[alias], reason)
        for alias, reason in plan.refused.items():
            self._add(Kind.REFUSED, self.source.aliases[alias], reason)
        for alias, number in plan.to_set.items():
            if self._try(number, self._pointing(alias, number)):
                self.report.counts[Count.ALIASES_SET] += 1
                self._touched.add(number)

    def _pointing(self, alias: str, number: int) -> Callable[[], None]:
        return lambda: self.writer.set_alias(self.name, alias, number)

    def _count_unchanged(self, changes_before: int) -> None:
        self.report.counts[Count.VERSIONS_UNCHANGED] += len(
            self.copied.keys() - self._touched
        )
        if self.report.changes == changes_before:
            self.report.counts[Count.MODELS_UNCHANGED] += 1

    def _try(self, number: int | None, change: Callable[[], None]) -> bool:
        """Make a change; a refusal is taken down and the run goes on."""
        try:
            change()
        except _ENDING:
            raise
        except RegistryError as error:
            self._fail(number, error)
            return False
        return True

    def _fail(self, number: int | None, error: RegistryError) -> None:
        is_refusal = isinstance(error, TransitionRefusedError | ArtifactChangedError)
        is_conflict = isinstance(error, ConflictError | StaleExpectationError)
        kind = Kind.CONFLICT if is_conflict and not is_refusal else Kind.REFUSED
        self._add(kind, number, str(error))

    def _add(self, kind: Kind, number: int | None, reason: str) -> None:
        self.report.add(kind, self.name, number, reason)


def _as_created(source: SourceModel) -> TargetModel:
    return TargetModel(description=source.description, tags=source.tags)
