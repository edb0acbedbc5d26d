"""Where the artifact of a version lies, in words that mean the same here.

Rules:

- ``models:/base/3`` is a version of the registry that reads it: here it could be
  another artifact of the same name. Where no store is known behind it, it is sent
  only if version 3 of base is here, and is the source's.
- It is the source's by what an import goes by everywhere, its own source. If that
  names a registered version in turn, an import from there must have made it.
"""

from dataclasses import dataclass

from registry.errors import InvalidInputError, NotFoundError, RegistryError
from registry.importing.mlflow_source import MlflowServer, NotToldError
from registry.importing.plan import is_address, is_same
from registry.importing.states import (
    FROM_TAG,
    SourceModel,
    SourceVersion,
    TargetVersion,
    names_registered,
    registered_version,
)
from registry.importing.writer import Find


@dataclass(frozen=True)
class Addresses:
    """The addresses to register versions of ``server`` with; ``find`` knows ours."""

    server: MlflowServer
    find: Find

    def address_of(self, model: SourceModel, version: SourceVersion) -> str:
        """Where the artifact lies.

        Raises:
            InvalidInputError: when the source would be another version here.
            RegistryError: when that is not known yet.
        """
        address = self.server.address_of(model, version)
        if names_registered(address):
            self._confirm(address)
        return address

    def _confirm(self, address: str) -> None:
        named = registered_version(address)
        if named is None:
            raise InvalidInputError(
                f"its source {address!r} names no version by its number, and"
                f" {self.server.origin} knows no store behind it"
            )
        try:
            there = self.server.version(*named)
        except NotToldError as error:
            raise InvalidInputError(
                f"it is a copy of {address}, which is not at {self.server.origin} any"
                " more, so that nobody knows whether the one here is the same"
            ) from error
        try:
            here = self.find(*named)
        except NotFoundError as error:
            raise RegistryError(
                f"it is a copy of {address}, which is not here yet: run the import"
                " again when it is"
            ) from error
        if not self._is_copied(there, here):
            raise InvalidInputError(
                f"it is a copy of {address}, but the version of this name here is not"
                f" the one at {self.server.origin}"
            )

    def _is_copied(self, there: SourceVersion, here: TargetVersion) -> bool:
        if not is_address(there.source) or not is_same(there, here):
            return False
        is_imported = here.tags.get(FROM_TAG) == self.server.origin
        return is_imported or not names_registered(there.source)
