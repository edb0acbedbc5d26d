"""An import from its first model to its last."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import chain

from registry.client import RegistryClient
from registry.errors import (
    NotSignedInError,
    PermissionDeniedError,
    RegistryError,
    ServerUnreachableError,
)
from registry.importing.import_model import ModelImport, name_here
from registry.importing.mlflow_source import MlflowServer
from registry.importing.reading import read_model, read_rules
from registry.importing.report import Kind, Report
from registry.importing.states import SourceModel
from registry.importing.writer import Writer

#: Told how many models are done, how many there are, and which one is next.
OnModel = Callable[[int, int, str], None]


@dataclass(frozen=True, kw_only=True)
class Import:
    """Copies models of an MLflow server into this registry.

    Attributes:
        writer: makes the changes, or does not.
        patterns: globs of model names; none for all models.
        skip_refused: leave the number of a version empty that is refused.
        report: everything is taken down in it, also when the run ends early.
    """

    server: MlflowServer
    client: RegistryClient
    writer: Writer
    report: Report
    patterns: Sequence[str] = ()
    skip_refused: bool = False

    def run(self, on_model: OnModel) -> None:
        """Copy one model after the other.

        Raises:
            NotSignedInError, PermissionDeniedError, ServerUnreachableError: nothing
                more can be done.
            RegistryError: when the source cannot be read.
        """
        models = list(self._chosen())
        for done, model in enumerate(models):
            on_model(done, len(models), name_here(model))
            self._copy(model)
        on_model(len(models), len(models), "")

    def _chosen(self) -> Iterator[SourceModel]:
        """The models and prompts to copy, one of each name."""
        seen: set[str] = set()
        for model in chain(self.server.models(), self.server.prompts()):
            name = name_here(model)
            if self.patterns and not any(
                fnmatchcase(name, one) for one in self.patterns
            ):
                continue
            if name in seen:
                reason = (
                    "another model there has this name, in other Unicode characters"
                )
                self.report.add(Kind.CONFLICT, name, None, reason)
                continue
            seen.add(name)
            yield model

    def _copy(self, model: SourceModel) -> None:
        name = name_here(model)
        try:
            source = self.server.with_versions(model)
            here = read_model(self.client, name, source)
            rules = read_rules(self.client, name)
        except (NotSignedInError, PermissionDeniedError, ServerUnreachableError):
            raise
        except RegistryError as error:
            self.report.add(Kind.REFUSED, name, None, str(error))
            return
        ModelImport(
            writer=self.writer,
            source=source,
            rules=rules,
            report=self.report,
            skip_refused=self.skip_refused,
        ).run(here)
