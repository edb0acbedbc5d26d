"""The hands of a dry run: they change nothing, and ask what would be said.

Rules:

- The registry rehearses each change (``/rehearsals``): the code that
  would refuse it refuses it now. So the token needs the role of the real run, and a
  trial reads as much of the artifacts as that.
- A rehearsal leaves nothing behind. What the trial registered before is told again
  with each; a copy of it goes by the address of what it copies.
- An artifact that takes long to hash is taken for sound.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from registry.client import RegistryClient
from registry.client.registry_client import ExpectedIncumbent
from registry.importing.states import (
    PROMPT_TAG,
    SourceModel,
    SourceVersion,
    TargetVersion,
    provenance,
    registered_version,
)
from registry.importing.writer import AddressOf, Find, Tags, facts_of, find_here

#: A model's name, and a number.
Key = tuple[str, int]


class TrialWriter:
    """Asks a registry what it would say, through its client."""

    def __init__(
        self, client: RegistryClient, origin: str, looking: Callable[[Find], AddressOf]
    ) -> None:
        """Prepare; ``looking`` gives the addresses for what is found here."""
        self._client = client
        self._origin = origin
        self._address_of = looking(self._find)
        self._find_here = find_here(client)
        #: What was registered on trial: as it would be here, and as it is told of.
        self._registered: dict[Key, TargetVersion] = {}
        self._told: dict[Key, dict[str, Any]] = {}
        self._stages: defaultdict[Key, list[str]] = defaultdict(list)

    def create_model(self, name: str, model: SourceModel) -> None:
        """Ask about a model without versions."""
        tags = {**model.tags, **provenance(model, self._origin)}
        details = {"description": model.description, "tags": tags}
        self._client.rehearse(name, model=details)

    def describe(
        self, name: str, number: int | None, description: str | None, tags: Tags
    ) -> None:
        """Ask about what is added to a model or a version."""
        changes: dict[str, Any] = {"tags": dict(tags)} if tags else {}
        if description is not None:
            changes["description"] = description
        if number is None:
            self._client.rehearse(name, model=changes)
        else:
            self._client.rehearse(name, number=number, changes=changes)

    def register(
        self, name: str, model: SourceModel, version: SourceVersion
    ) -> TargetVersion:
        """Ask about a version, and take it for registered."""
        address = self._address_of(model, version)
        facts = facts_of(version, self._origin, address)
        version_told = {**facts, "source": address, **self._copied(address)}
        told = {"version": version_told, "number": version.number}
        if model.is_prompt:  # what has no version yet is made for one of a prompt
            told["model"] = {"tags": {PROMPT_TAG: model.tags[PROMPT_TAG]}}
        self._client.rehearse(name, **told)
        self._told[name, version.number] = told
        made = TargetVersion(
            number=version.number, source=address, tags=facts.get("tags", {})
        )
        self._registered[name, version.number] = made
        return made

    def leave_empty(self, name: str, number: int) -> None:
        """Leave it."""

    def remove(self, name: str, number: int) -> None:
        """Leave it."""

    def wait_until_ready(self, name: str, number: int) -> None:
        """Take it for ready."""

    def move(
        self, name: str, number: int, stage: str, incumbent: ExpectedIncumbent
    ) -> None:
        """Ask about the way of a version, up to this stage."""
        del incumbent  # who would be there is not
        stages = self._stages[name, number]
        stages.append(stage)
        self._client.rehearse(name, **self._told_of(name, number), through=stages)

    def set_alias(self, name: str, alias: str, number: int) -> None:
        """Ask about an alias."""
        self._client.rehearse(name, **self._told_of(name, number), aliases=[alias])

    def _told_of(self, name: str, number: int) -> dict[str, Any]:
        return self._told.get((name, number), {"number": number})

    def _find(self, name: str, number: int) -> TargetVersion:
        found = self._registered.get((name, number))
        return found or self._find_here(name, number)

    def _copied(self, address: str) -> dict[str, Any]:
        """Where a copy of a version on trial lies, and of which run it is."""
        named = registered_version(address)
        told = self._told.get(named) if named else None
        if told is None:
            return {}
        members = ("source", "run_id", "logged_model_id")
        return {one: value for one, value in told["version"].items() if one in members}
