"""Aliases: names that point at a version of a model."""

from dataclasses import dataclass

from registry.domain import names
from registry.domain.commands.change import (
    Context,
    Outcome,
    Snapshot,
    Want,
    outcome,
    version_event,
)
from registry.domain.entries import Change
from registry.domain.events import ALIAS_DELETED, ALIAS_SET, Alias, AliasSet
from registry.domain.policy import StagePolicy
from registry.domain.rows import AliasRow
from registry.errors import AliasNotFoundError


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAlias:
    """Point an alias at a version, wherever it pointed before."""

    model: str
    alias: str
    number: int

    def want(self, _: StagePolicy) -> Want:
        """Ask for the version, and where the alias points."""
        return Want(number=self.number, alias=names.alias_name(self.alias))

    def decide(self, seen: Snapshot, context: Context) -> Outcome[AliasRow]:
        """Decide where it points from now on.

        Raises:
            NotFoundError: when there is no such version.
            InvalidInputError: for an alias that breaks the rules.
        """
        name = names.alias_name(self.alias)
        version = seen.require_version(self.number).touched(seen.at(context))
        previous = seen.alias.number if seen.alias else None
        model = seen.model.touched(context.now)
        alias = AliasRow.of(version, name)
        told: AliasSet = {"alias": name, "previous_version": previous}
        return outcome(
            seen,
            context,
            model,
            Change(
                action=ALIAS_SET,
                version=version.number,
                before={"alias": name, "version": previous},
                after={"alias": name, "version": version.number},
            ),
            data={**version_event(context, model, version), **told},
            changed=[version, *([alias] if seen.alias else [])],
            added=[] if seen.alias else [alias],
            answer=alias,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteAlias:
    """Remove an alias.

    Attributes:
        may_be_gone: whether one that is not there is no refusal.
    """

    model: str
    alias: str
    may_be_gone: bool = False

    def want(self, _: StagePolicy) -> Want:
        """Ask where it points."""
        return Want(alias=names.clean_text(self.alias, field="alias"))

    def decide(self, seen: Snapshot, context: Context) -> Outcome[None]:
        """Decide whether there is one.

        Raises:
            NotFoundError: when the alias does not exist.
        """
        alias = seen.alias
        if alias is None:
            if self.may_be_gone:
                return Outcome(answer=None)
            raise AliasNotFoundError(seen.model.name, self.alias)
        version = seen.require_version(alias.number).touched(seen.at(context))
        model = seen.model.touched(context.now)
        told: Alias = {"alias": alias.alias}
        return outcome(
            seen,
            context,
            model,
            Change(
                action=ALIAS_DELETED,
                version=version.number,
                before={**told, "version": version.number},
            ),
            data={**version_event(context, model, version), **told},
            removed=[alias],
            changed=[version],
            answer=None,
        )
