"""Registered models: created, described, tagged, renamed, deleted."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from registry.domain import names, prompts
from registry.domain.audit_chain import GENESIS_HASH
from registry.domain.commands.change import (
    MAX_NAMED,
    Context,
    Outcome,
    Snapshot,
    Told,
    Want,
    authorize_aliases,
    outcome,
    require_promoter,
)
from registry.domain.commands.tags import TagChanges
from registry.domain.commands.versions import new_id
from registry.domain.documents import (
    NO_FACTS,
    ModelDocument,
    ModelFacts,
    model_document,
)
from registry.domain.entries import Change
from registry.domain.events import (
    MODEL_CREATED,
    MODEL_DELETED,
    MODEL_RENAMED,
    MODEL_UPDATED,
    PROMPT_TAG_DELETED,
    PROMPT_TAG_SET,
    Model,
    Renamed,
)
from registry.domain.names import Tags
from registry.domain.policy import UNUSED_STAGES, StagePolicy
from registry.domain.rows import ModelRow, ModelTagRow
from registry.errors import ConflictError, DeletionRefusedError, InvalidInputError

MAX_FORMER_NAMES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelState:
    """A model, and what its document says besides its row."""

    row: ModelRow
    facts: ModelFacts

    @property
    def document(self) -> ModelDocument:
        """Return the model as the API shows it."""
        return model_document(self.row, self.facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateModel:
    """Register a model. There is nothing to lock, and only its name to be taken."""

    model: str
    description: str = ""
    tags: Tags = field(default_factory=dict)
    id: str = field(default_factory=new_id)

    def decide(self, context: Context) -> Outcome[ModelState]:
        """Decide what the model is, if its name is free.

        Raises:
            InvalidInputError: for a name or tag that breaks the rules.
        """
        tags = TagChanges.of({}, self.tags)
        facts = replace(NO_FACTS, tags=tags.after)
        model = ModelRow(
            id=self.id,
            name=names.model_name(self.model),
            is_prompt=prompts.is_prompt(self.tags),
            description=names.prose(self.description, field="description"),
            created_at=context.now,
            created_by=context.caller.actor.name,
            updated_at=context.now,
            mlflow_updated_at=context.now,
            chain_hash=GENESIS_HASH,
        )
        state = ModelState(row=model, facts=facts)
        _, added = tags.rows(partial(ModelTagRow, model_id=model.id))
        return outcome(
            Snapshot(model=model),
            context,
            model,
            Change(action=MODEL_CREATED, after=state.document),
            data=_event_data(state),
            is_new=True,
            added=added,
            answer=state,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeModel:
    """Describe, tag or rename a model; None leaves a member as it is.

    Attributes:
        tags: to set; a value of None removes the tag.
        is_idle_without_tags: whether it is no change to remove tags that are not there.
    """

    model: str
    name: str | None = None
    description: str | None = None
    tags: Tags | None = None
    is_idle_without_tags: bool = False

    def want(self, policy: StagePolicy) -> Want:
        """Ask for its document; for another name, for what other rules may touch."""
        if self.name is None:
            return Want(facts=True)
        old, new = self._rules(policy)
        return Want(facts=True, outside=UNUSED_STAGES & old.deletable & new.deletable)

    def _rules(self, policy: StagePolicy) -> tuple[StagePolicy, StagePolicy]:
        name = self.model if self.name is None else names.model_name(self.name)
        old, new = policy.for_model(self.model), policy.for_model(name)
        return replace(old, overrides=()), replace(new, overrides=())

    def decide(self, seen: Snapshot, context: Context) -> Outcome[ModelState]:
        """Decide what the model is from now on.

        Raises:
            InvalidInputError: for a name or tag that breaks the rules.
            ConflictError: when the policy has other rules for the new name while
                versions are in use, or guards an alias otherwise.
            PermissionDeniedError: for another name while versions are in use, when the
                caller may not move them: it is by the name that they are read.
        """
        before = ModelState(row=seen.model, facts=seen.facts)
        tags = TagChanges.of(seen.facts.tags, self.tags)
        if self.is_idle_without_tags and tags.is_idle:
            return Outcome(answer=before)
        row = self._row(seen, context)
        after = ModelState(row=row, facts=replace(seen.facts, tags=tags.after))
        after = _with_kind(before, after)
        old_name, name = seen.model.name, row.name
        data: Model | Renamed = _event_data(after)
        if name != old_name:  # whoever asks by the name that it had is told, too
            data = {**data, "previous_name": old_name}
            former_names = _former_names(seen.former_names, old_name, name)
            seen = replace(seen, former_names=former_names)
        removed, added = tags.rows(partial(ModelTagRow, model_id=row.id))
        return outcome(
            seen,
            context,
            after.row,
            Change(
                action=MODEL_UPDATED if name == old_name else MODEL_RENAMED,
                before=before.document,
                after=after.document,
            ),
            data=data,
            also=_prompt_events(after, tags),
            removed=removed,
            added=added,
            renamed=self.name is not None,
            answer=after,
        )

    def _row(self, seen: Snapshot, context: Context) -> ModelRow:
        before = seen.model
        changes: dict[str, Any] = {}
        if self.description is not None:
            changes["description"] = names.prose(self.description, field="description")
        if self.name is not None:
            changes.update(self._named(seen, context, names.model_name(self.name)))
        row = before.touched(context.now)
        if self.description is not None or self.name is not None:
            changes["mlflow_updated_at"] = row.updated_at
        return replace(row, **changes)

    def _named(self, seen: Snapshot, context: Context, name: str) -> dict[str, Any]:
        before = seen.model
        self._refuse_other_rules(seen, context.policy)
        self._refuse_other_guards(seen, context.policy)
        if name == before.name:
            return {}
        for either in (before.name, name):  # what serves begins to serve there, too
            require_promoter(context.caller, either, sorted(seen.facts.held_stages))
        return {
            "name": name,
            "former_names": _former_names(before.former_names, before.name, name),
        }

    def _refuse_other_rules(self, seen: Snapshot, policy: StagePolicy) -> None:
        """Let no other name be a way around the rules that a name chooses."""
        old, new = self._rules(policy)
        if old == new or seen.model.is_prompt or not seen.outside:
            return
        in_use = seen.outside[:MAX_NAMED]
        named = ", ".join(f"{number} in {stage}" for number, stage in in_use)
        raise ConflictError(
            "the policy has other rules for models of that name; they were not asked "
            f"about versions {named}"
        )

    def _refuse_other_guards(self, seen: Snapshot, policy: StagePolicy) -> None:
        old, new = self._rules(policy)
        for alias in sorted(seen.facts.aliases):
            rule = new.alias_rule(alias)
            if rule and rule.stage is None and rule != old.alias_rule(alias):
                raise ConflictError(
                    f"the policy guards alias {alias!r} of models of that name, and "
                    "was not asked where it points: remove it first"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteModel:
    """Delete a model with its versions; history and audit log stay."""

    model: str

    def want(self, policy: StagePolicy) -> Want:
        """Ask for its document, and for the versions that the policy protects."""
        return Want(facts=True, outside=policy.for_model(self.model).deletable)

    def decide(self, seen: Snapshot, context: Context) -> Outcome[None]:
        """Decide whether the policy lets all of them go.

        Raises:
            DeletionRefusedError: while a version is in a stage that it protects.
            PermissionDeniedError: when one is in use and the caller may not move it, or
                may not remove an alias of it.
        """
        if not seen.model.is_prompt:
            _refuse_protected(seen, context.policy.for_model(self.model))
            require_promoter(context.caller, self.model, sorted(seen.facts.held_stages))
        authorize_aliases(context, self.model, seen.facts.aliases)
        row = seen.model.touched(context.now)
        row = replace(row, deleted_at=row.updated_at)
        before = model_document(seen.model, seen.facts)
        change = Change(action=MODEL_DELETED, before=before)
        return outcome(seen, context, row, change, data={}, emptied=True, answer=None)


def _former_names(former: Sequence[str], old: str, new: str) -> list[str]:
    """Return the names that it has had, once ``new`` takes the place of ``old``."""
    return [*(name for name in former if name != new), old][-MAX_FORMER_NAMES:]


def _refuse_protected(seen: Snapshot, policy: StagePolicy) -> None:
    if seen.outside:
        numbers = [str(number) for number, _ in seen.outside[:MAX_NAMED]]
        raise DeletionRefusedError(
            f"versions {', '.join(numbers)} are in use; only "
            f"versions in {', '.join(sorted(policy.deletable)) or 'no stage'} "
            "may be deleted"
        )


def _with_kind(before: ModelState, after: ModelState) -> ModelState:
    """Return it as the prompt or model that its tags now make of it."""
    is_prompt = prompts.is_prompt(after.facts.tags)
    if is_prompt == prompts.is_prompt(before.facts.tags):
        return after
    if after.row.last_number:
        raise InvalidInputError(
            "what has had versions stays the prompt or the model that it is: "
            f"tag {prompts.PROMPT_TAG!r} cannot be changed any more",
            field="tags",
        )
    return replace(after, row=replace(after.row, is_prompt=is_prompt))


def _prompt_events(state: ModelState, tags: TagChanges) -> list[Told]:
    """Return a prompt's tag events; of a model's, MLflow tells nobody either."""
    if not state.row.is_prompt:
        return []
    return tags.events({}, (PROMPT_TAG_SET, PROMPT_TAG_DELETED))


def _event_data(state: ModelState) -> Model:
    """Return what events say of a model as it stands."""
    tags = state.facts.tags
    return {
        "description": state.row.description,
        "tags": prompts.own_tags(tags) if state.row.is_prompt else dict(tags),
    }
