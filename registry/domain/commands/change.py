"""How a change of a model is told: what it must see, what it decides, what is written.

A command says what it must see (``Want``), is shown it under the model's lock
(``Snapshot``) and decides (``Outcome``). It is pure: nothing here reads or writes.

What every change of a model does besides the change itself is made by ``effects``: the
row of the model, the entry of its audit chain, the events with their numbers. A change
that would forget one of them cannot be written.
"""

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import quote

from registry.domain import prompts
from registry.domain.actors import ActorKind, Caller, authorize, may
from registry.domain.audit_chain import Head
from registry.domain.documents import NO_FACTS, Document, ModelFacts
from registry.domain.entries import Change, EntryRow, appended
from registry.domain.events import (
    OPT_IN,
    AboutVersion,
    Links,
    PromptVersion,
    Version,
)
from registry.domain.gates import Evidence
from registry.domain.holds import Hold
from registry.domain.policy import StagePolicy
from registry.domain.roles import Action
from registry.domain.rows import (
    AliasRow,
    ApprovalRow,
    CheckRow,
    CommentRow,
    DeploymentRow,
    ModelRow,
    RequestRow,
    StageChangeRow,
    VersionRow,
)
from registry.domain.timestamps import rfc3339
from registry.errors import (
    PermissionDeniedError,
    StaleExpectationError,
    VersionNotFoundError,
)

Answer = TypeVar("Answer")
Told = tuple[str, Mapping[str, object]]  #: an event's type, and what it says

MAX_NAMED = 20  #: versions that a refusal names


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """Which stage change of a version a deployment is a consequence of.

    Attributes:
        event_id: the event that announced it, and ``delivery_id`` its delivery.
        transition_id: the change itself, where it is known by that.
    """

    environment: str
    event_id: str | None
    delivery_id: str | None
    transition_id: str | None
    granted_event_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """What a command must see of its model, besides the model's row.

    Attributes:
        number: the version of that number.
        stage: versions in that stage, the first ``limit`` of them by number.
        last_in: who entered that stage last.
        holder_before: the version that was in that stage before.
        stages_before: whether to look where the version has been.
        alias: where that alias points, and the version there.
        comment: the comment of that id, and its version.
        facts: whether the model's document is needed.
        outside: the first versions in other stages than these.
        copied: the version of that id, of whatever model.
        reported: the deployment that is reported on, and its change.
        checks: whether the results of its checks are needed.
        entered_at: whether it is needed when the version entered its stage.
        asked: the transition request of that version into that stage, still open.
        request: the transition request of that id, its version and its approvals.
    """

    number: int | None = None
    stage: str | None = None
    limit: int = 0
    last_in: str | None = None
    holder_before: str | None = None
    stages_before: bool = False
    alias: str | None = None
    comment: str | None = None
    facts: bool = False
    outside: frozenset[str] | None = None
    copied: str | None = None
    reported: Reported | None = None
    checks: bool = False
    entered_at: bool = False
    asked: str | None = None
    request: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentFacts:
    """What is known of a reported deployment.

    Attributes:
        present: what put the version where it is; None when it was never moved.
        announced: the change that the report's event, or delivery, announced.
        rows: the last words on the environment, by the change's transition id.
        sent_again: when each event was last delivered again.
    """

    present: StageChangeRow | None = None
    announced: StageChangeRow | None = None
    rows: Mapping[str | None, DeploymentRow] = field(default_factory=dict)
    sent_again: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What there is under the model's lock; members are as in ``Want``.

    Attributes:
        former_names: names that the model had and that no other has taken since.
        copied: status and artifact state of the version to copy; None if it is gone.
        holder_before: the number of who held the stage, and ``holder`` the version,
            None when it was deleted.
    """

    model: ModelRow
    former_names: Sequence[str] = ()
    version: VersionRow | None = None
    in_stage: Sequence[VersionRow] = ()
    last_in: int | None = None
    holder_before: int | None = None
    stages_before: frozenset[str] = frozenset()
    alias: AliasRow | None = None
    comment: CommentRow | None = None
    facts: ModelFacts = NO_FACTS
    outside: Sequence[tuple[int, str]] = ()
    copied: tuple[str, str] | None = None
    deployment: DeploymentFacts = field(default_factory=DeploymentFacts)
    checks: Mapping[str, CheckRow] = field(default_factory=dict)
    entered_at: datetime | None = None
    request: RequestRow | None = None
    approvals: Sequence[ApprovalRow] = ()

    def evidence(self, context: "Context") -> Evidence:
        """Return what gates look at besides the version."""
        return Evidence(
            now=context.now,
            checks=self.checks,
            entered_at=self.entered_at,
            holds=[Hold.of(hold) for hold in self.model.holds],
            is_automation=context.caller.actor.kind is ActorKind.CI,
        )

    def at(self, context: "Context") -> datetime:
        """Return when it is changed; never before its last change."""
        return self.model.touched(context.now).updated_at

    def require_version(
        self, number: int, *, if_match: str | None = None
    ) -> VersionRow:
        """Return the version, if there is one of that number and entity tag."""
        if self.version is None:
            raise VersionNotFoundError(self.model.name, number)
        if if_match is not None and if_match != self.version.etag:
            raise StaleExpectationError(
                f"version {number} has changed since; its entity tag is "
                f'now "{self.version.etag}"'
            )
        return self.version


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """By whom and when a change is made, and by which rules."""

    caller: Caller
    policy: StagePolicy
    now: datetime
    new_event_id: Callable[[], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDraft:
    """An event of a model, as it is to be published."""

    id: str
    type: str
    data: Document
    sequence: int
    is_opt_in: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """All that will be written of one change, in this order.

    Attributes:
        removed: rows to delete, by their keys.
        changed: rows to update; those that leave a stage before one that enters it.
        added: rows to insert, what others refer to first.
        renamed: whether the model's versions get its name.
        emptied: whether its versions and aliases go with it.
        former_names: by which others may still ask for the events.
    """

    model: ModelRow
    is_new: bool = False
    removed: Sequence[Any] = ()
    changed: Sequence[Any] = ()
    added: Sequence[Any] = ()
    renamed: bool = False
    emptied: bool = False
    entry: EntryRow
    events: Sequence[EventDraft]
    former_names: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[Answer]):
    """What a command decided; without effects there is nothing to change."""

    effects: Effects | None = None
    answer: Answer


class Command(Protocol[Answer]):
    """A change of one model, by name."""

    @property
    def model(self) -> str:
        """Return the name of the model to lock."""

    def want(self, policy: StagePolicy, /) -> Want:
        """Return what it must see; raises as ``decide`` for what no look mends."""

    def decide(self, seen: Snapshot, context: Context) -> Outcome[Answer]:
        """Return what is to be written and answered.

        Raises:
            RegistryError: why nothing may be.
        """


def outcome(
    seen: Snapshot,
    context: Context,
    model: ModelRow,
    change: Change,
    *,
    answer: Answer,
    data: Mapping[str, object],
    also: Sequence[Told] = (),
    **rows: Any,  # noqa: ANN401  # members of Effects
) -> Outcome[Answer]:
    """Return the outcome of a change of ``model``, which is as it is to be.

    ``data`` is what its event says, of the change's own type; ``also`` are further
    events.
    """
    told = [(change.action, data), *also]
    return Outcome(
        effects=effects(seen, context, model, change, told=told, **rows), answer=answer
    )


def effects(
    seen: Snapshot,
    context: Context,
    model: ModelRow,
    change: Change,
    *,
    told: Sequence[Told],
    **rows: Any,  # noqa: ANN401  # members of Effects
) -> Effects:
    """Return the effects of a change of ``model``, which is as it is to be.

    ``told`` are the events to publish, by type and data; the change's action and all
    types are named as those of a model, and a prompt's are renamed here.
    """
    action = change.action
    if model.is_prompt:
        action = prompts.event_type(action)
        told = [(prompts.event_type(name), data) for name, data in told]
    head = Head(chain=model.chain, n=model.chain_n, hash=model.chain_hash)
    entry = appended(
        model.chain,
        head if model.chain_n else None,
        replace(change, action=action, model=model.name),
        caller=context.caller,
        at=model.updated_at,
    )
    events = _drafts(context, model, told)
    model = replace(
        model,
        last_event=model.last_event + len(events),
        chain_n=entry.n,
        chain_hash=entry.hash,
    )
    return Effects(
        model=model,
        entry=entry,
        events=events,
        former_names=seen.former_names,
        **rows,
    )


def _drafts(
    context: Context, model: ModelRow, told: Sequence[Told]
) -> list[EventDraft]:
    actor = context.caller.actor
    return [
        EventDraft(
            id=context.new_event_id(),
            type=name,
            data={
                "model": model.name,
                **data,
                "sequence": sequence,
                "actor": {"kind": actor.kind, "name": actor.name},
            },
            sequence=sequence,
            is_opt_in=name in OPT_IN,
        )
        for sequence, (name, data) in enumerate(told, start=model.last_event + 1)
    ]


def history_line(  # as the line is
    context: Context,
    version: VersionRow,
    *,
    sequence: int,
    transition_id: str,
    cause: str,
    from_stage: str | None = None,
    reason: str = "",
) -> StageChangeRow:
    """Return the line of a version that has entered its stage now."""
    actor = context.caller.actor
    return StageChangeRow(
        model_id=version.model_id,
        version_id=version.id,
        number=version.number,
        sequence=sequence,
        transition_id=transition_id,
        from_stage=from_stage,
        to_stage=version.stage,
        cause=cause,
        reason=reason,
        actor_kind=actor.kind,
        actor_name=actor.name,
        at=version.updated_at,
        verified=version.is_verified,
    )


def new_transition_id() -> str:
    """Return the id of a stage change that has not been made yet."""
    return f"trn_{uuid.uuid4().hex}"


def version_event(
    context: Context, model: ModelRow, version: VersionRow
) -> Version | PromptVersion:
    """Return what events say of a version as it stands."""
    about = about_version(context, model, version)
    if model.is_prompt:
        return {
            **about,
            **prompts.content(version.tags),
            "updated_at": rfc3339(version.updated_at),
        }
    return {
        **about,
        "stage": version.stage,
        "status": version.status,
        "source": version.source,
        "download_uri": version.artifact_uri,
        "artifact_digest": version.artifact_digest,
        "verified": version.is_verified,
        "run_id": version.run_id,
        "tags": dict(version.tags),
        "updated_at": rfc3339(version.updated_at),
    }


def about_version(
    context: Context, model: ModelRow, version: VersionRow
) -> AboutVersion:
    """Return what every event about a version says.

    No links, when it is not known where we are: receivers send their tokens there.
    """
    links: Links = {}
    if context.caller.base_url:
        server = context.caller.base_url
        base = server + version_path(model.name, version.number)
        links = {
            "version": base,
            "deployments": f"{base}/deployments",
            "page": server + version_page(model.name, version.number),
        }
    return {"version": version.number, "links": links}


def version_path(name: str, number: int) -> str:
    """Return the path of a version in the API, below the server's root."""
    return f"/api/v1{version_page(name, number)}"


def version_page(name: str, number: int) -> str:
    """Return the path of a version's page, below the server's root."""
    return f"/models/{quote(name, safe='')}/versions/{number}"


def require_promoter(caller: Caller, model: str, in_use: Sequence[int]) -> None:
    """Let versions in use be deleted or renamed only by who may move them."""
    if in_use and not may(caller.actor, Action.PROMOTE, model):
        raise PermissionDeniedError(
            f"versions {', '.join(map(str, in_use[:MAX_NAMED]))} are in use: only who "
            f"may promote versions of {model!r} may do that"
        )


def authorize_aliases(context: Context, model: str, aliases: Collection[str]) -> None:
    """Let aliases go with their version only by who may remove each."""
    rules = context.policy.for_model(model)
    for rule in filter(None, map(rules.alias_rule, aliases)):
        authorize(context.caller.actor, rule.action, model)
