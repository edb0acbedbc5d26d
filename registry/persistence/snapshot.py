"""What a command must see: its model locked first, everything else read after that.

Two statements, lock then gather. A joined ``SELECT … FOR UPDATE`` would be wrong on
PostgreSQL: after the wait only the locked row is read again, what is joined is stale.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import (
    Connection,
    Executable,
    and_,
    bindparam,
    func,
    or_,
    select,
)

from registry.domain.commands.change import Reported, Snapshot, Standing, Want
from registry.domain.documents import NO_FACTS, ModelFacts
from registry.domain.policy import ARCHIVED, NONE
from registry.domain.rows import (
    AliasRow,
    CommentRow,
    DeploymentRow,
    ModelRow,
    StageChangeRow,
    VersionRow,
)
from registry.errors import ModelNotFoundError
from registry.persistence.aggregates import JSONObjectAggregate
from registry.persistence.statements import (
    ALIASES,
    CHANGES,
    COMMENTS,
    DEPLOYMENTS,
    MODEL_TAGS,
    MODELS,
    VERSIONS,
    model_facts,
    row_of,
    selected,
)
from webhooks.tables import Delivery, DeliveryKind

Kind = TypeVar("Kind")

_OF_MODEL = and_(
    VERSIONS.c.model_id == bindparam("model_id"), VERSIONS.c.deleted_at.is_(None)
)

_LOCK = (
    select(*selected(ModelRow))
    .where(MODELS.c.name == bindparam("name"), MODELS.c.deleted_at.is_(None))
    .with_for_update()
)
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
    .where(_OF_MODEL, VERSIONS.c.stage.not_in([NONE, ARCHIVED]))
    .scalar_subquery(),
    select(func.max(VERSIONS.c.number)).where(_OF_MODEL).scalar_subquery(),
)
_MOVES = select(*selected(StageChangeRow)).where(
    CHANGES.c.version_id == bindparam("version_id"), CHANGES.c.from_stage.is_not(None)
)
_PRESENT = _MOVES.order_by(CHANGES.c.sequence.desc()).limit(1)
_ANNOUNCED_AS = _MOVES.where(CHANGES.c.event_id == bindparam("event_id"))
_ANNOUNCED_BY = _MOVES.join(
    Delivery.__table__, Delivery.__table__.c.event_id == CHANGES.c.event_id
).where(Delivery.__table__.c.id == bindparam("delivery_id"))
_ANNOUNCED_SO = _ANNOUNCED_BY.where(CHANGES.c.event_id == bindparam("event_id"))
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
    found = cx.execute(_LOCK, {"name": name}).one_or_none()
    if found is None:
        raise ModelNotFoundError(name)
    return row_of(ModelRow, found)


def gather(cx: Connection, model: ModelRow, want: Want) -> Snapshot:
    """What is wanted of a model that is locked."""
    of_model = {"model_id": model.id}
    pointed = {**of_model, "alias": want.alias}
    alias = _one(cx, AliasRow, _ALIAS, pointed, is_wanted=want.alias is not None)
    holder = _number(cx, _HOLDER_BEFORE, {**of_model, "stage": want.holder_before})
    comment_of, comment = _comment(cx, of_model, want.comment)
    number = want.number or holder or comment_of or (alias.number if alias else None)
    numbered = {**of_model, "number": number}
    version = _one(cx, VersionRow, _VERSION, numbered, is_wanted=number is not None)
    in_stage = _in_stage(cx, of_model, want)
    return Snapshot(
        model=model,
        former_names=_former_names(cx, model),
        version=version,
        in_stage=in_stage,
        last_in=_last_in(cx, of_model, want, in_stage),
        holder_before=holder,
        stages_before=_stages_before(cx, version, want),
        alias=alias,
        comment=comment,
        facts=_facts(cx, of_model) if want.facts else NO_FACTS,
        outside=_outside(cx, of_model, want.outside),
        copied=_copied(cx, want.copied),
        standing=_standing(cx, version, want.reported),
    )


def _one(
    cx: Connection,
    kind: type[Kind],
    statement: Executable,
    values: Mapping[str, Any],
    *,
    is_wanted: bool = True,
) -> Kind | None:
    if not is_wanted:
        return None
    found = cx.execute(statement, values).first()
    return None if found is None else row_of(kind, found)


def _number(
    cx: Connection, statement: Executable, values: Mapping[str, Any]
) -> int | None:
    if values["stage"] is None:
        return None
    found: int | None = cx.execute(statement, values).scalar()
    return found


def _comment(
    cx: Connection, of_model: Mapping[str, Any], comment: str | None
) -> tuple[int | None, CommentRow | None]:
    if comment is None:
        return None, None
    found = cx.execute(_COMMENT, {**of_model, "comment": comment}).one_or_none()
    if found is None:
        return None, None
    number, *columns = found
    return number, row_of(CommentRow, columns)


def _in_stage(
    cx: Connection, of_model: Mapping[str, Any], want: Want
) -> list[VersionRow]:
    if want.stage is None:
        return []
    values = {**of_model, "stage": want.stage, "limit": want.limit}
    return [row_of(VersionRow, found) for found in cx.execute(_IN_STAGE, values)]


def _last_in(
    cx: Connection,
    of_model: Mapping[str, Any],
    want: Want,
    in_stage: Sequence[VersionRow],
) -> int | None:
    if want.last_in is None:
        return None
    if want.last_in == want.stage and len(in_stage) < want.limit:
        last = max(in_stage, key=lambda row: row.entered, default=None)
        return None if last is None else last.number
    return _number(cx, _LAST_IN, {**of_model, "stage": want.last_in})


def _stages_before(
    cx: Connection, version: VersionRow | None, want: Want
) -> frozenset[str]:
    """Only a rollback asks where a version has been; nothing else waits for it."""
    if version is None or not want.stages_before:
        return frozenset()
    found = cx.execute(_STAGES_BEFORE, {"version_id": version.id}).scalars()
    return frozenset(found)


def _facts(cx: Connection, of_model: Mapping[str, Any]) -> ModelFacts:
    return model_facts(*cx.execute(_FACTS, of_model).one())


def _outside(
    cx: Connection, of_model: Mapping[str, Any], stages: frozenset[str] | None
) -> Sequence[tuple[int, str]]:
    if stages is None:
        return ()
    values = {**of_model, "stages": sorted(stages), "limit": 20}
    return [(number, stage) for number, stage in cx.execute(_OUTSIDE, values)]


def _copied(cx: Connection, version_id: str | None) -> tuple[str, str] | None:
    if version_id is None:
        return None
    found = cx.execute(_COPIED, {"id": version_id}).one_or_none()
    return None if found is None else (found[0], found[1])


def _former_names(cx: Connection, model: ModelRow) -> Sequence[str]:
    """Names that the model had and that no other has taken since."""
    if not model.former_names:
        return ()
    names = {"names": list(model.former_names)}
    taken = set(cx.execute(_FORMER_NAMES_TAKEN, names).scalars())
    return [name for name in model.former_names if name not in taken]


def _standing(
    cx: Connection, version: VersionRow | None, reported: Reported | None
) -> Standing:
    if version is None or reported is None:
        return Standing()
    of_version = {"version_id": version.id}
    present = _one(cx, StageChangeRow, _PRESENT, of_version)
    announced = _announced(cx, of_version, reported)
    changes = [each for each in (present, announced) if each]
    transitions = {each.transition_id for each in changes}
    events = {each.event_id for each in changes if each.event_id}
    rows = cx.execute(
        _DEPLOYMENTS,
        {
            **of_version,
            "environment": reported.environment,
            "transitions": [*transitions, reported.transition_id],
        },
    )
    deployments = [row_of(DeploymentRow, each) for each in rows]
    sent = cx.execute(_SENT_AGAIN, {"events": [*events, reported.granted_event_id]})
    return Standing(
        present=present,
        announced=announced,
        rows={row.transition_id: row for row in deployments},
        sent_again={found.event_id: found[1] for found in sent},
    )


def _announced(
    cx: Connection, of_version: Mapping[str, Any], reported: Reported
) -> StageChangeRow | None:
    """The change that the report's event, and its delivery, announced."""
    event, delivery = reported.event_id, reported.delivery_id
    values = {**of_version, "event_id": event, "delivery_id": delivery}
    if event is not None and delivery is not None:
        return _one(cx, StageChangeRow, _ANNOUNCED_SO, values)
    if event is not None:
        return _one(cx, StageChangeRow, _ANNOUNCED_AS, values)
    return _one(
        cx, StageChangeRow, _ANNOUNCED_BY, values, is_wanted=delivery is not None
    )
