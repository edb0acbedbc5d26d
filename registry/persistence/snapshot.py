"""What a command must see: its model locked first, everything else read after that.

Two statements, lock then gather. A joined ``SELECT … FOR UPDATE`` would be wrong on
PostgreSQL: after the wait only the locked row is read again, what is joined is stale.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import (
    Connection,
    Select,
    and_,
    bindparam,
    func,
    or_,
    select,
)

from registry.domain.commands.change import (
    MAX_NAMED,
    DeploymentFacts,
    Reported,
    Snapshot,
    Want,
)
from registry.domain.documents import NO_FACTS, ModelFacts
from registry.domain.requests import RequestState
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
from registry.errors import ModelNotFoundError
from registry.persistence.aggregates import JSONObjectAggregate
from registry.persistence.requests import APPROVALS_OF_REQUEST
from registry.persistence.statements import (
    ALIASES,
    CHANGES,
    CHECKS,
    COMMENTS,
    DEPLOYMENTS,
    IS_HELD,
    MODEL_TAGS,
    MODELS,
    REQUESTS,
    VERSIONS,
    model_facts,
    row_of,
    selected,
)
from webhooks.statements import fetch, fetch_one
from webhooks.tables import Delivery, DeliveryKind

Kind = TypeVar("Kind")

_OF_MODEL = and_(
    VERSIONS.c.model_id == bindparam("model_id"), VERSIONS.c.deleted_at.is_(None)
)

_FIND = select(*selected(ModelRow)).where(
    MODELS.c.name == bindparam("name"), MODELS.c.deleted_at.is_(None)
)
_LOCK = _FIND.with_for_update()
_VERSION = select(*selected(VersionRow)).where(
    _OF_MODEL, VERSIONS.c.number == bindparam("number")
)
_IN_STAGE = (
    select(*selected(VersionRow))
    .where(_OF_MODEL, VERSIONS.c.stage == bindparam("stage"))
    .order_by(VERSIONS.c.number)
    .limit(bindparam("limit"))
)
_ENTRIES = (
    select(CHANGES.c.number)
    .join(VERSIONS, VERSIONS.c.id == CHANGES.c.version_id)
    .where(
        CHANGES.c.model_id == bindparam("model_id"),
        CHANGES.c.to_stage == bindparam("stage"),
    )
    .order_by(CHANGES.c.sequence.desc())
    .limit(1)
)
#: Who entered a stage last and is in it, and who did and is not.
_LAST_IN = _ENTRIES.where(
    VERSIONS.c.stage == bindparam("stage"), VERSIONS.c.deleted_at.is_(None)
)
_HOLDER_BEFORE = _ENTRIES.where(VERSIONS.c.stage != bindparam("stage"))
_STAGES_BEFORE = (
    select(CHANGES.c.to_stage)
    .where(CHANGES.c.version_id == bindparam("version_id"))
    .distinct()
)
_ALIAS = select(*selected(AliasRow)).where(
    ALIASES.c.model_id == bindparam("model_id"), ALIASES.c.alias == bindparam("alias")
)
_COMMENT = (
    select(VERSIONS.c.number, *selected(CommentRow))
    .join(COMMENTS, COMMENTS.c.version_id == VERSIONS.c.id)
    .where(_OF_MODEL, COMMENTS.c.id == bindparam("comment"))
)
_OUTSIDE = (
    select(VERSIONS.c.number, VERSIONS.c.stage)
    .where(_OF_MODEL, VERSIONS.c.stage.not_in(bindparam("stages", expanding=True)))
    .order_by(VERSIONS.c.number)
    .limit(bindparam("limit"))
)
_FORMER_NAMES_TAKEN = select(MODELS.c.name).where(
    MODELS.c.name.in_(bindparam("names", expanding=True)), MODELS.c.deleted_at.is_(None)
)
_COPIED = (
    select(VERSIONS.c.status, VERSIONS.c.artifact_state)
    .join(MODELS, MODELS.c.id == VERSIONS.c.model_id)
    .where(
        MODELS.c.deleted_at.is_(None),
        VERSIONS.c.deleted_at.is_(None),
        VERSIONS.c.id == bindparam("id"),
    )
)
_FACTS = select(
    select(JSONObjectAggregate(MODEL_TAGS.c.key, MODEL_TAGS.c.value))
    .where(MODEL_TAGS.c.model_id == bindparam("model_id"))
    .scalar_subquery(),
    select(JSONObjectAggregate(ALIASES.c.alias, ALIASES.c.number))
    .where(ALIASES.c.model_id == bindparam("model_id"))
    .scalar_subquery(),
    select(JSONObjectAggregate(VERSIONS.c.number, VERSIONS.c.stage))
    .where(_OF_MODEL, IS_HELD)
    .scalar_subquery(),
    select(func.max(VERSIONS.c.number)).where(_OF_MODEL).scalar_subquery(),
)
_CHECKS = select(*selected(CheckRow)).where(
    CHECKS.c.version_id == bindparam("version_id")
)
_ENTERED_AT = (
    select(CHANGES.c.at)
    .where(CHANGES.c.version_id == bindparam("version_id"))
    .order_by(CHANGES.c.sequence.desc())
    .limit(1)
)
_ASKED = select(*selected(RequestRow)).where(
    REQUESTS.c.version_id == bindparam("version_id"),
    REQUESTS.c.to_stage == bindparam("stage"),
    REQUESTS.c.state == RequestState.OPEN.value,
)
_REQUEST = select(*selected(RequestRow)).where(
    REQUESTS.c.model_id == bindparam("model_id"), REQUESTS.c.id == bindparam("id")
)
_MOVES = select(*selected(StageChangeRow)).where(
    CHANGES.c.version_id == bindparam("version_id"), CHANGES.c.from_stage.is_not(None)
)
_PRESENT = _MOVES.order_by(CHANGES.c.sequence.desc()).limit(1)
_ANNOUNCED_AS = CHANGES.c.event_id == bindparam("event_id")
_ANNOUNCED_BY = CHANGES.c.event_id == (
    select(Delivery.event_id)
    .where(Delivery.id == bindparam("delivery_id"))
    .scalar_subquery()
)
#: By what a report names: an event, a delivery, or both.
_ANNOUNCED = {
    frozenset({"event_id"}): _MOVES.where(_ANNOUNCED_AS),
    frozenset({"delivery_id"}): _MOVES.where(_ANNOUNCED_BY),
    frozenset({"event_id", "delivery_id"}): _MOVES.where(_ANNOUNCED_AS, _ANNOUNCED_BY),
}
_DEPLOYMENTS = select(*selected(DeploymentRow)).where(
    DEPLOYMENTS.c.version_id == bindparam("version_id"),
    DEPLOYMENTS.c.environment == bindparam("environment"),
    or_(
        DEPLOYMENTS.c.transition_id.is_(None),
        DEPLOYMENTS.c.transition_id.in_(bindparam("transitions", expanding=True)),
    ),
)
_SENT_AGAIN = (
    select(Delivery.event_id, func.max(Delivery.created_at))
    .where(
        Delivery.event_id.in_(bindparam("events", expanding=True)),
        Delivery.kind == DeliveryKind.REPLAY,
    )
    .group_by(Delivery.event_id)
)


def lock(cx: Connection, name: str) -> ModelRow:
    """The model's row, locked until the transaction ends.

    Raises:
        ModelNotFoundError: when there is no model of this name.
    """
    return _model(cx, _LOCK, name)


def find(cx: Connection, name: str) -> ModelRow:
    """The model's row, to see what a change would see; nothing is locked.

    Raises:
        ModelNotFoundError: when there is no model of this name.
    """
    return _model(cx, _FIND, name)


def _model(cx: Connection, statement: Select[Any], name: str) -> ModelRow:
    found = fetch_one(cx, statement, {"name": name})
    if found is None:
        raise ModelNotFoundError(name)
    return row_of(ModelRow, found)


def gather(cx: Connection, model: ModelRow, want: Want) -> Snapshot:
    """What is wanted of a model that is locked."""
    of = _OfModel(cx, model.id)
    alias = of.row(AliasRow, _ALIAS, alias=want.alias)
    holder = of.number(_HOLDER_BEFORE, stage=want.holder_before)
    comment_of, comment = of.comment(want.comment)
    request = of.row(RequestRow, _REQUEST, id=want.request)
    number = (
        want.number
        or holder
        or comment_of
        or (alias.number if alias else None)
        or (request.number if request else None)
    )
    version = of.row(VersionRow, _VERSION, number=number)
    if want.asked and version and request is None:
        request = of.row(RequestRow, _ASKED, version_id=version.id, stage=want.asked)
    in_stage = of.in_stage(want)
    return Snapshot(
        model=model,
        former_names=_former_names(cx, model),
        version=version,
        in_stage=in_stage,
        last_in=of.last_in(want, in_stage),
        holder_before=holder,
        stages_before=of.stages_before(version if want.stages_before else None),
        alias=alias,
        comment=comment,
        facts=of.facts() if want.facts else NO_FACTS,
        outside=of.outside(want.outside),
        copied=_copied(cx, want.copied),
        deployment=_deployment(cx, version, want.reported),
        checks=of.checks(version if want.checks else None),
        entered_at=of.entered_at(version if want.entered_at else None),
        request=request,
        approvals=of.approvals(request),
    )


@dataclass(frozen=True, slots=True)
class _OfModel:
    """Reads what belongs to a model; nothing for what is None, as it is not wanted."""

    cx: Connection
    id: str

    def rows(self, statement: Select[*tuple[Any, ...]], **values: object) -> list[Any]:
        return fetch(self.cx, statement, {"model_id": self.id, **values})

    def row(
        self, kind: type[Kind], statement: Select[Any], **values: object
    ) -> Kind | None:
        rows = [] if None in values.values() else self.rows(statement, **values)
        return row_of(kind, rows[0]) if rows else None

    def number(self, statement: Select[Any], *, stage: str | None) -> int | None:
        rows = [] if stage is None else self.rows(statement, stage=stage)
        return rows[0][0] if rows else None

    def comment(self, comment: str | None) -> tuple[int | None, CommentRow | None]:
        rows = [] if comment is None else self.rows(_COMMENT, comment=comment)
        return (rows[0][0], row_of(CommentRow, rows[0][1:])) if rows else (None, None)

    def in_stage(self, want: Want) -> list[VersionRow]:
        if want.stage is None:
            return []
        rows = self.rows(_IN_STAGE, stage=want.stage, limit=want.limit)
        return [row_of(VersionRow, row) for row in rows]

    def last_in(self, want: Want, in_stage: Sequence[VersionRow]) -> int | None:
        if want.last_in and want.last_in == want.stage and len(in_stage) < want.limit:
            last = max(in_stage, key=lambda row: row.entered, default=None)
            return None if last is None else last.number
        return self.number(_LAST_IN, stage=want.last_in)

    def stages_before(self, version: VersionRow | None) -> frozenset[str]:
        if version is None:
            return frozenset()
        rows = self.rows(_STAGES_BEFORE, version_id=version.id)
        return frozenset(stage for (stage,) in rows)

    def checks(self, version: VersionRow | None) -> dict[str, CheckRow]:
        if version is None:
            return {}
        rows = self.rows(_CHECKS, version_id=version.id)
        return {row.name: row for row in (row_of(CheckRow, each) for each in rows)}

    def entered_at(self, version: VersionRow | None) -> datetime | None:
        rows = self.rows(_ENTERED_AT, version_id=version.id) if version else []
        return rows[0][0] if rows else None

    def approvals(self, request: RequestRow | None) -> list[ApprovalRow]:
        rows = self.rows(APPROVALS_OF_REQUEST, id=request.id) if request else []
        return [row_of(ApprovalRow, row) for row in rows]

    def facts(self) -> ModelFacts:
        return model_facts(*self.rows(_FACTS)[0])

    def outside(self, stages: frozenset[str] | None) -> Sequence[tuple[int, str]]:
        if stages is None:
            return ()
        rows = self.rows(_OUTSIDE, stages=sorted(stages), limit=MAX_NAMED)
        return [(number, stage) for number, stage in rows]


def _copied(cx: Connection, version_id: str | None) -> tuple[str, str] | None:
    row = version_id and fetch_one(cx, _COPIED, {"id": version_id})
    return (row[0], row[1]) if row else None


def _former_names(cx: Connection, model: ModelRow) -> Sequence[str]:
    """Names that the model had and that no other has taken since."""
    if not model.former_names:
        return ()
    names = {"names": list(model.former_names)}
    taken = set(cx.execute(_FORMER_NAMES_TAKEN, names).scalars())
    return [name for name in model.former_names if name not in taken]


def _deployment(
    cx: Connection, version: VersionRow | None, reported: Reported | None
) -> DeploymentFacts:
    if version is None or reported is None:
        return DeploymentFacts()
    of = _OfModel(cx, version.model_id)
    of_version = {"version_id": version.id}
    present = of.row(StageChangeRow, _PRESENT, **of_version)
    announced = _announced(of, of_version, reported)
    changes = [each for each in (present, announced) if each]
    rows = of.rows(
        _DEPLOYMENTS,
        **of_version,
        environment=reported.environment,
        transitions=[
            *{each.transition_id for each in changes},
            reported.transition_id,
        ],
    )
    deployments = [row_of(DeploymentRow, row) for row in rows]
    events = {each.event_id for each in changes if each.event_id}
    sent = of.rows(_SENT_AGAIN, events=[*events, reported.granted_event_id])
    return DeploymentFacts(
        present=present,
        announced=announced,
        rows={row.transition_id: row for row in deployments},
        sent_again=dict(sent),
    )


def _announced(
    of: _OfModel, of_version: Mapping[str, str], reported: Reported
) -> StageChangeRow | None:
    """The change that the report's event, and its delivery, announced."""
    named = {"event_id": reported.event_id, "delivery_id": reported.delivery_id}
    given = {name: value for name, value in named.items() if value is not None}
    if not given:
        return None
    return of.row(StageChangeRow, _ANNOUNCED[frozenset(given)], **of_version, **given)
