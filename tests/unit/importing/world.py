"""A registry in memory: it keeps the rules that an import has to live with.

It counts the changes, can refuse some of them, and can break off at any.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from registry.client.registry_client import ExpectedIncumbent
from registry.errors import (
    ConflictError,
    RegistryError,
    StaleExpectationError,
    TransitionRefusedError,
)
from registry.importing.import_model import ModelImport
from registry.importing.report import Report
from registry.importing.states import (
    PLACEHOLDER_TAG,
    PROMPT_TAG,
    Rules,
    SourceModel,
    SourceVersion,
    TargetModel,
    TargetVersion,
    provenance,
)
from registry.importing.writer import NumberTakenError, Tags

ORIGIN = "http://mlflow.example"
STAGES = ("None", "Staging", "Production", "Archived")
STRICT = Rules(
    transitions={
        "None": ("Staging",),
        "Staging": ("Production", "Archived"),
        "Production": ("Archived",),
        "Archived": (),
    },
    exclusive={"Production": "Archived"},
    deletable=frozenset({"None", "Archived"}),
)
OPEN = Rules(
    transitions={
        stage: tuple(other for other in STAGES if other != stage) for stage in STAGES
    },
    deletable=frozenset(STAGES),
)


class BrokenOffError(BaseException):
    """The process was killed here."""


def no_refusal(_what: str, _number: int | None) -> RegistryError | None:
    """Let everything pass."""
    return None


@dataclass
class World:
    """One model of a registry, or the lack of it."""

    rules: Rules = STRICT
    model: TargetModel | None = None
    breaks_off_after: int | None = None
    refusal: Callable[[str, int | None], RegistryError | None] = no_refusal
    changes: list[tuple[str, int | None]] = field(default_factory=list)
    waited_for: list[int] = field(default_factory=list)

    def run(self, source: SourceModel, *, skip_refused: bool = False) -> Report:
        report = Report(ORIGIN)
        ModelImport(
            writer=self,
            source=source,
            rules=self.rules,
            report=report,
            skip_refused=skip_refused,
        ).run(self.model)
        return report

    @property
    def here(self) -> TargetModel:
        assert self.model is not None
        return self.model

    @property
    def stages(self) -> dict[int, str]:
        return {number: one.stage for number, one in self.here.versions.items()}

    def create_model(self, name: str, model: SourceModel) -> None:
        del name
        self._change("create", None)
        assert self.model is None
        tags = {**model.tags, **provenance(model, ORIGIN)}
        self.model = TargetModel(description=model.description, tags=tags)

    def describe(
        self, name: str, number: int | None, description: str | None, tags: Tags
    ) -> None:
        del name
        self._change("describe", number)
        thing = self.here if number is None else self.here.versions[number]
        assert description is None or not thing.description
        assert not tags.keys() & thing.tags.keys()
        changed = replace(
            thing,
            tags={**thing.tags, **tags},
            description=thing.description if description is None else description,
        )
        if isinstance(changed, TargetModel):
            self.model = changed
        else:
            self._put(changed)

    def register(
        self, name: str, model: SourceModel, version: SourceVersion
    ) -> TargetVersion:
        del name, model
        self._change("register", version.number)
        tags = {**version.tags, **provenance(version, ORIGIN)}
        made = TargetVersion(
            number=self._next_number(),
            source=version.source,
            description=version.description,
            tags=tags,
        )
        self._expect_number(made, version.number)
        self._put(made)
        return made

    def leave_empty(self, name: str, number: int) -> None:
        self._change("placeholder", number)
        made = TargetVersion(
            number=self._next_number(), source="", tags={PLACEHOLDER_TAG: ORIGIN}
        )
        self._expect_number(made, number)
        self._put(made)
        self.remove(name, number)

    def remove(self, name: str, number: int) -> None:
        del name
        self._change("remove", number)
        is_prompt = PROMPT_TAG in self.here.tags
        stage = self.here.versions[number].stage
        if not is_prompt and stage not in self.rules.deletable:
            raise ConflictError("in use")
        versions = {n: one for n, one in self.here.versions.items() if n != number}
        self.model = replace(self.here, versions=versions)

    def wait_until_ready(self, name: str, number: int) -> None:
        del name
        self.waited_for.append(number)

    def move(
        self, name: str, number: int, stage: str, incumbent: ExpectedIncumbent
    ) -> None:
        del name
        version = self.here.versions[number]
        allowed = self.rules.transitions[version.stage]
        if stage not in allowed:
            raise TransitionRefusedError(
                f"{version.stage} to {stage}",
                from_stage=version.stage,
                to_stage=stage,
                allowed=allowed,
            )
        self._change("move", number)
        holders = [n for n, one in self.here.versions.items() if one.stage == stage]
        found = holders[0] if holders else "none"
        if incumbent not in {None, found}:
            raise StaleExpectationError(f"found {holders}")
        if stage in self.rules.exclusive:
            for holder in holders:
                aside = self.here.versions[holder]
                assert aside.is_ours, "somebody here had put it there"
                self._put(replace(aside, stage=self.rules.exclusive[stage]))
        assert version.is_ours, "somebody here has moved it"
        self._put(replace(version, stage=stage))

    def set_alias(self, name: str, alias: str, number: int) -> None:
        del name
        self._change("alias", number)
        assert number in self.here.versions
        assert alias not in self.here.aliases
        self.model = replace(self.here, aliases={**self.here.aliases, alias: number})

    def _change(self, what: str, number: int | None) -> None:
        if len(self.changes) == self.breaks_off_after:
            raise BrokenOffError
        if (error := self.refusal(what, number)) is not None:
            raise error
        self.changes.append((what, number))

    def _next_number(self) -> int:
        self.model = replace(self.here, last_number=self.here.last_number + 1)
        return self.here.last_number

    def _expect_number(self, made: TargetVersion, number: int) -> None:
        if made.number != number:
            raise NumberTakenError(f"{made.number} in place of {number}")

    def _put(self, version: TargetVersion) -> None:
        versions = {**self.here.versions, version.number: version}
        self.model = replace(self.here, versions=versions)


def source_model(
    stages: Mapping[int, str],
    *more: SourceVersion,
    aliases: dict[str, int] | None = None,
    **members: object,
) -> SourceModel:
    """A model at the source with versions in these stages, and more versions."""
    versions = {number: source_version(number, at) for number, at in stages.items()}
    return SourceModel(
        name="fraud",
        aliases=aliases or {},
        versions=versions | {one.number: one for one in more},
        **members,  # type: ignore[arg-type]  # the members of the class
    )


def source_version(
    number: int,
    stage: str = "None",
    **members: Any,  # noqa: ANN401  the members of the class
) -> SourceVersion:
    """A version at the source."""
    return SourceVersion(
        number=number,
        stage=stage,
        **{"source": f"s3://models/fraud/{number}", **members},
    )


def target_version(
    number: int, stage: str = "None", **members: object
) -> TargetVersion:
    """The same version here."""
    return TargetVersion(
        number=number,
        stage=stage,
        **{"source": f"s3://models/fraud/{number}", **members},  # type: ignore[arg-type]  # as above
    )


def target_model(*versions: TargetVersion, **members: object) -> TargetModel:
    """A model here with these versions."""
    return TargetModel(
        versions={one.number: one for one in versions},
        **{  # type: ignore[arg-type]  # as above
            "last_number": max((one.number for one in versions), default=0),
            **members,
        },
    )
