"""What an import changes here, call by call; a trial has hands of its own (``trial``).

Rules:

- Everything goes through ``/api/v1`` as anybody's change does: checked by the
  policy, audited, announced; and each call is safe to repeat (``registry.client``).
- A version that did not get the number it has at the source is deleted at once.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from registry.client import ModelVersion, RegistryClient, VersionFacts
from registry.client.registration import PENDING, wait_for
from registry.client.registry_client import ExpectedIncumbent
from registry.errors import (
    ConflictError,
    RegistryError,
    WaitTimeoutError,
)
from registry.importing.states import (
    PLACEHOLDER_TAG,
    READY,
    SourceModel,
    SourceVersion,
    TargetVersion,
    provenance,
    reason_of,
)

Tags = Mapping[str, str]
#: Where an artifact lies, asked of the source.
AddressOf = Callable[[SourceModel, SourceVersion], str]
#: A version here, by model and number.
Find = Callable[[str, int], TargetVersion]


class NumberTakenError(ConflictError):
    """The number was given to somebody else meanwhile."""


class Writer(Protocol):
    """The changes; each raises a ``RegistryError`` when it is refused."""

    def create_model(self, name: str, model: SourceModel) -> None:
        """Create a model without versions."""

    def describe(
        self, name: str, number: int | None, description: str | None, tags: Tags
    ) -> None:
        """Add to a model or a version; None leaves its description alone."""

    def register(
        self, name: str, model: SourceModel, version: SourceVersion
    ) -> TargetVersion:
        """Register a version under its own number, perhaps still being checked."""

    def leave_empty(self, name: str, number: int) -> None:
        """Give a number to nobody."""

    def remove(self, name: str, number: int) -> None:
        """Delete a version."""

    def wait_until_ready(self, name: str, number: int) -> None:
        """Wait for the check of an artifact."""

    def move(
        self, name: str, number: int, stage: str, incumbent: ExpectedIncumbent
    ) -> None:
        """Move a version, if the incumbent is the expected one."""

    def set_alias(self, name: str, alias: str, number: int) -> None:
        """Point an alias at a version."""


def find_here(client: RegistryClient) -> Find:
    """How a version of the registry is looked up."""

    def find(name: str, number: int) -> TargetVersion:
        found = client.get_version(name, number)
        source = found.source or ""
        return TargetVersion(number=number, source=source, tags=found.tags)

    return find


def facts_of(version: SourceVersion, origin: str, address: str) -> VersionFacts:
    """What a version is registered with, besides its source."""
    provenance_tags = provenance(version, origin, address=address)
    facts = VersionFacts(
        description=version.description, tags={**version.tags, **provenance_tags}
    )
    if version.run_id:
        facts["run_id"] = version.run_id
    if version.run_link:
        facts["run_link"] = version.run_link
    if logged_model := version.logged_model_id:
        facts["logged_model_id"] = logged_model
    return facts


class RegistryWriter:
    """Changes a registry through its client."""

    def __init__(
        self,
        client: RegistryClient,
        origin: str,
        address_of: AddressOf,
        *,
        wait_seconds: float,
    ) -> None:
        self._client = client
        self._origin = origin
        self._address_of = address_of
        self._wait_seconds = wait_seconds

    def create_model(self, name: str, model: SourceModel) -> None:
        """Create a model without versions."""
        tags = {**model.tags, **provenance(model, self._origin)}
        self._client.create_model(name, description=model.description, tags=tags)

    def describe(
        self, name: str, number: int | None, description: str | None, tags: Tags
    ) -> None:
        """Add to a model or a version."""
        changes: dict[str, Any] = {"tags": dict(tags)} if tags else {}
        if description is not None:
            changes["description"] = description
        if number is None:
            self._client.update_model(name, **changes)
        else:
            self._client.update_version(name, number, **changes)

    def register(
        self, name: str, model: SourceModel, version: SourceVersion
    ) -> TargetVersion:
        """Register a version, and look whether it has its number.

        Raises:
            InvalidInputError: when this registry does not take its source.
            NumberTakenError: when somebody else registers at the same time.
        """
        address = self._address_of(model, version)
        facts = facts_of(version, self._origin, address)
        made = self._client.begin_version(name, address, **facts)
        self._numbered(made, version.number)
        return TargetVersion(
            number=made.version,
            source=made.source or address,
            status=made.status,
            tags=made.tags,
        )

    def _numbered(self, made: ModelVersion, number: int) -> ModelVersion:
        if made.version != number:
            self._client.delete_version(made.model, made.version)
            raise NumberTakenError(
                f"number {number} was not to be had: the next one was {made.version}"
            )
        return made

    def leave_empty(self, name: str, number: int) -> None:
        """Give a number to a placeholder, and delete that.

        Raises:
            NumberTakenError: when somebody else registers at the same time.
        """
        made = self._client.begin_version(
            name,
            description=f"No version of this number at {self._origin}",
            tags={PLACEHOLDER_TAG: self._origin},
        )
        self._client.delete_version(name, self._numbered(made, number).version)

    def remove(self, name: str, number: int) -> None:
        """Delete a version."""
        self._client.delete_version(name, number)

    def wait_until_ready(self, name: str, number: int) -> None:
        """Wait for the check of an artifact.

        Raises:
            RegistryError: when it failed, with the reason.
            WaitTimeoutError: when it takes too long.
        """

        def settled() -> ModelVersion | None:
            found = self._client.get_version(name, number)
            return None if found.status == PENDING else found

        try:
            found = wait_for(settled, self._wait_seconds, lambda: "its artifact")
        except WaitTimeoutError as error:
            raise WaitTimeoutError(
                "its artifact is still being checked: run the import again later"
            ) from error
        if found.status != READY:
            raise RegistryError(found.status_message or f"it is {found.status}")

    def move(
        self, name: str, number: int, stage: str, incumbent: ExpectedIncumbent
    ) -> None:
        """Move a version, if the incumbent is the expected one."""
        self._client.transition(
            name,
            number,
            stage,
            reason=reason_of(self._origin),
            expected_incumbent=incumbent,
        )

    def set_alias(self, name: str, alias: str, number: int) -> None:
        """Point an alias at a version."""
        self._client.set_alias(name, alias, number)
