"""Aliases: names that point at a version of a model.

An alias that the policy binds to a stage is that stage: to set it is the move, with all
that belongs to one. Prompts have no stages, and their aliases are bound to none.
"""

from dataclasses import dataclass, replace

from registry.domain import names
from registry.domain.actors import authorize
from registry.domain.commands.change import (
    Context,
    Outcome,
    Snapshot,
    Want,
    outcome,
    version_event,
)
from registry.domain.commands.moves import Moved, MoveVersion
from registry.domain.entries import Change
from registry.domain.events import ALIAS_DELETED, ALIAS_SET, Alias, AliasSet
from registry.domain.policy import AliasRule, StagePolicy
from registry.domain.roles import Action
from registry.domain.rows import AliasRow
from registry.errors import AliasNotFoundError, AliasRefusedError, ConflictError


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAlias:
    """Point an alias at a version, wherever it pointed before.

    Attributes:
        move: the move that it is, where the alias is bound to a stage (``bound``).
    """

    model: str
    alias: str
    number: int
    move: MoveVersion | None = None

    def want(self, policy: StagePolicy) -> Want:
        """Ask for the version, where the alias points, and what its rule looks at."""
        name = names.alias_name(self.alias)
        move = self.move or self.bound(policy)
        if move:
            return replace(move.want(policy), alias=name, last_in=move.to_stage)
        rule = policy.for_model(self.model).alias_rule(name)
        return Want(
            number=self.number,
            alias=name,
            checks=bool(rule and rule.asks.checks),
            entered_at=bool(rule and rule.asks.min_time_in_stage),
        )

    def decide(self, seen: Snapshot, context: Context) -> Outcome[AliasRow | Moved]:
        """Decide where it points from now on.

        Raises:
            NotFoundError: when there is no such version.
            InvalidInputError: for an alias that breaks the rules.
            PermissionDeniedError: when its rule takes another action.
            AliasRefusedError: when its rule refuses the version.
            ConflictError: when it is bound to a stage that the version is in, and
                another entered that last.
            RegistryError: for an alias that is bound, as ``MoveVersion``.
        """
        name = names.alias_name(self.alias)
        rule = _rule(seen, context, name)
        if rule and rule.stage:
            authorize(context.caller.actor, Action.PROMOTE, self.model)
            return _moved(seen, context, self.move or self._bound(rule.stage))
        if rule:
            authorize(context.caller.actor, rule.action, self.model)
            reasons = rule.refusals(
                seen.require_version(self.number), seen.evidence(context)
            )
            if reasons:
                raise AliasRefusedError(
                    f"alias {name!r} may not point at version {self.number}: "
                    f"{'; '.join(reasons)}",
                    reasons,
                )
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

    def bound(self, policy: StagePolicy) -> MoveVersion | None:
        """Return the move that it is, if the alias is bound to a stage."""
        stage = policy.for_model(self.model).bound_stage(self.alias)
        return self._bound(stage) if stage else None

    def _bound(self, stage: str) -> MoveVersion:
        return MoveVersion(
            model=self.model,
            number=self.number,
            to_stage=stage,
            reason=f"alias {self.alias} was set",
            may_be_there=True,
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
            PermissionDeniedError: when its rule takes another action.
            ConflictError: when it is bound to a stage.
        """
        alias, rule = seen.alias, _rule(seen, context, self.alias)
        if rule:
            authorize(context.caller.actor, rule.action, self.model)
        if alias is None:
            if rule and rule.stage:
                raise ConflictError(
                    f"alias {self.alias!r} is bound to {rule.stage}: move the version "
                    "out of it instead"
                )
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


def _rule(seen: Snapshot, context: Context, alias: str) -> AliasRule | None:
    """Return the rule for an alias; a prompt's is bound to no stage."""
    rule = context.policy.for_model(seen.model.name).alias_rule(alias)
    return None if rule and rule.stage and seen.model.is_prompt else rule


def _moved(
    seen: Snapshot, context: Context, move: MoveVersion
) -> Outcome[AliasRow | Moved]:
    moved = move.decide(seen, context)
    version, last = moved.answer.version, seen.last_in
    if not moved.effects and version.stage == move.to_stage and last != version.number:
        raise ConflictError(
            f"version {version.number} is in {version.stage} already, but version "
            f"{last} entered it last: the alias points at that"
        )
    return Outcome(effects=moved.effects, answer=moved.answer)
