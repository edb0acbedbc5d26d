"""What to do for one model so that it is here as it is at the source.

Pure: no I/O. Rules:

- What is here is never overwritten. What is missing is added: tags, aliases, an
  empty description. What differs is a conflict and stays as it is here.
- A version keeps its number, or is not copied. A number that is missing at the
  source is left empty here too, before the next one is registered.
- A number that was given here before is taken: it cannot be had again.

Stage changes are planned afterwards (``moves``), when it is known which versions
are here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from registry.importing.states import (
    READY,
    SOURCE_TAG,
    SourceModel,
    SourceVersion,
    TargetModel,
    TargetVersion,
    is_prompt,
)


@dataclass(frozen=True)
class Describe:
    """Add to a model, or to a version, what it lacks; None for no description."""

    number: int | None
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Register:
    """Register a version; ``problem`` says why that cannot be, when it is known."""

    version: SourceVersion
    problem: str = ""


@dataclass(frozen=True)
class LeaveEmpty:
    """No version has this number at the source."""

    number: int


@dataclass(frozen=True)
class RemovePlaceholder:
    """An import that broke off has left it."""

    number: int


@dataclass(frozen=True)
class Difference:
    """A conflict: what is here differs, and stays; ``number`` None for the model."""

    number: int | None
    reason: str
    is_other_version: bool = False


Step = Describe | Register | LeaveEmpty | RemovePlaceholder | Difference


@dataclass(frozen=True)
class AliasPlan:
    """Aliases to set, and why others are not."""

    to_set: Mapping[str, int]
    conflicts: Mapping[str, str]
    refused: Mapping[str, str]


def plan_versions(source: SourceModel, here: TargetModel) -> list[Step]:
    """The steps for a model that is here, the numbers in their order."""
    steps: list[Step] = list(_describe(None, source, here))
    for number in range(1, max(source.versions, default=0) + 1):
        steps += _number(number, source.versions.get(number), here)
    return steps


def plan_aliases(
    source: SourceModel, here: TargetModel, copied: Mapping[int, object]
) -> AliasPlan:
    """The aliases to set; ``copied`` are the versions that are here as there."""
    to_set: dict[str, int] = {}
    conflicts: dict[str, str] = {}
    refused: dict[str, str] = {}
    for alias, number in sorted(source.aliases.items()):
        found = here.aliases.get(alias)
        if found == number:
            continue
        if found is not None:
            conflicts[alias] = (
                f"alias {alias} points at version {found} here, at {number} there"
            )
        elif number not in copied:
            refused[alias] = f"alias {alias}: version {number} was not copied"
        else:
            to_set[alias] = number
    return AliasPlan(to_set, conflicts, refused)


def is_same(there: SourceVersion, here: TargetVersion) -> bool:
    """Whether a version here is the one of this number at the source."""
    return there.source in {here.source, here.tags.get(SOURCE_TAG)}


def _number(
    number: int, there: SourceVersion | None, here: TargetModel
) -> Iterator[Step]:
    found = here.versions.get(number)
    if found is not None and found.is_placeholder:
        yield RemovePlaceholder(number)
    if there is None:
        if number > here.last_number:
            yield LeaveEmpty(number)
    elif found is not None and not found.is_placeholder:
        yield from _existing(there, found)
    elif number <= here.last_number:
        reason = f"number {number} was given here before and is free no more"
        yield Difference(number, reason, is_other_version=True)
    else:
        yield Register(there, _problem(there))


def _existing(there: SourceVersion, here: TargetVersion) -> Iterator[Step]:
    if is_same(there, here):
        yield from _describe(here.number, there, here)
        return
    reason = f"lies at {here.source} here, at {there.source} there"
    yield Difference(here.number, reason, is_other_version=True)


def _describe(
    number: int | None,
    there: SourceModel | SourceVersion,
    here: TargetModel | TargetVersion,
) -> Iterator[Step]:
    missing = {key: text for key, text in there.tags.items() if key not in here.tags}
    is_undescribed = bool(there.description) and not here.description
    if missing or is_undescribed:
        yield Describe(number, there.description if is_undescribed else None, missing)
    if there.description and here.description not in {"", there.description}:
        yield Difference(number, "is described otherwise here")
    for key, text in sorted(there.tags.items()):
        if here.tags.get(key, text) != text:
            yield Difference(number, f"tag {key} has another value here")


def _problem(there: SourceVersion) -> str:
    if there.status != READY:
        return f"it is {there.status} at the source"
    if not is_address(there.source) and not is_prompt(there.tags):
        return (
            f"its source {there.source!r} is a local path of the other server:"
            " put the artifact into a store and register it from there"
        )
    return ""


def is_address(source: str) -> bool:
    """Whether a source means the same on every machine; one letter is a drive."""
    scheme = scheme_of(source)
    return len(scheme) > 1 and scheme != "file"


def scheme_of(source: str) -> str:
    """The scheme of an address in lower case; empty for a path."""
    scheme, colon, _rest = source.partition(":")
    return scheme.lower() if colon and "/" not in scheme else ""
