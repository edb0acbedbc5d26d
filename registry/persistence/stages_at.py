"""Who held which stage at an instant, model by model.

Rules:

- A version is where its last change before the instant put it, unless it had been
  deleted by then; a model is listed that was there then, by the name that it has now.
- A page is so many models. Of a stage that several share the last to enter is named,
  with how many there were.
- None and Archived are no stages that anybody holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    func,
    or_,
    select,
    tuple_,
)

from registry.domain.policy import ARCHIVED, NONE
from registry.persistence.readable import Readable, is_readable, readable_values
from registry.persistence.statements import CHANGES, MODELS, VERSIONS
from webhooks.statements import fetch

_CHANGE = CHANGES.c
_SHOWN = (
    *(_CHANGE.to_stage, _CHANGE.number, _CHANGE.at, _CHANGE.cause, _CHANGE.reason),
    *(_CHANGE.actor_name, _CHANGE.transition_id),
)


class Holder(NamedTuple):
    """Who held a stage, and since when."""

    stage: str
    number: int
    since: datetime
    cause: str
    reason: str
    actor: str
    transition_id: str
    held_by: int  #: how many versions


@dataclass(frozen=True, kw_only=True)
class ModelThen:
    """A model as it stood.

    Attributes:
        is_deleted: whether it is there no more.
        holders: by when they entered, the last first.
    """

    id: str
    name: str
    is_deleted: bool
    holders: list[Holder] = field(default_factory=list)


_AT = bindparam("at", type_=_CHANGE.at.type)
_AFTER = tuple_(bindparam("after_name"), bindparam("after_id"))
_WAS_THERE = (
    MODELS.c.created_at <= _AT,
    or_(MODELS.c.deleted_at.is_(None), MODELS.c.deleted_at > _AT),
    MODELS.c.is_prompt.is_(False),
    tuple_(MODELS.c.name, MODELS.c.id) > _AFTER,
)


def _held(models: CTE) -> CTE:
    """Where versions of the models stood, numbered within each stage."""
    # In words that the index of instants is not found by: the models' are few.
    at = func.coalesce(_CHANGE.at, _CHANGE.at, type_=_CHANGE.at.type)
    last = (
        select(_CHANGE.version_id, func.max(_CHANGE.sequence).label("sequence"))
        .where(_CHANGE.model_id.in_(select(models.c.id)), at <= _AT)
        .group_by(_CHANGE.version_id)
        .cte("last")
    )
    is_last = and_(
        last.c.version_id == _CHANGE.version_id, last.c.sequence == _CHANGE.sequence
    )
    stage = (_CHANGE.model_id, _CHANGE.to_stage)
    newest = _CHANGE.sequence.desc()
    return (
        select(
            *(_CHANGE.model_id, _CHANGE.sequence, *_SHOWN),
            func.count().over(partition_by=stage).label("held_by"),
            func.row_number().over(partition_by=stage, order_by=newest).label("place"),
        )
        .join(last, is_last)
        .join(VERSIONS, VERSIONS.c.id == _CHANGE.version_id)
        .where(
            *(_CHANGE.to_stage != idle for idle in (NONE, ARCHIVED)),
            or_(VERSIONS.c.deleted_at.is_(None), VERSIONS.c.deleted_at > _AT),
        )
        .cte("held")
    )


def _stages(*conditions: ColumnElement[bool]) -> Select[Any]:
    models = (
        select(MODELS.c.id, MODELS.c.name, MODELS.c.deleted_at)
        .where(*_WAS_THERE, *conditions)
        .order_by(MODELS.c.name, MODELS.c.id)
        .limit(bindparam("most"))
        .cte("models")
    )
    held = _held(models)
    return (
        select(models, *(held.c[each.name] for each in _SHOWN), held.c.held_by)
        .outerjoin(held, and_(held.c.model_id == models.c.id, held.c.place == 1))
        .order_by(models.c.name, models.c.id, held.c.sequence.desc())
    )


_IS_NAMED = MODELS.c.name == bindparam("name")
_IS_READABLE = is_readable(MODELS.c.name)
#: By whether one model is asked for, and whether some may not be read.
_STAGES = {
    (False, False): _stages(),
    (False, True): _stages(_IS_READABLE),
    (True, False): _stages(_IS_NAMED),
    (True, True): _stages(_IS_NAMED, _IS_READABLE),
}


def stages_at(
    cx: Connection,
    at: datetime,
    *,
    name: str | None = None,
    after: Sequence[str] = ("", ""),
    limit: int,
    readable: Readable = (),
) -> list[ModelThen]:
    """Return models by name as they stood at an instant.

    Args:
        cx: what is read with.
        at: the instant.
        name: the one that is asked for; None for all.
        after: name and id of the model behind which they go on.
        limit: how many.
        readable: which may be read.
    """
    values: dict[str, Any] = {"at": at, "most": limit}
    values |= {"after_name": after[0], "after_id": after[1]}
    if name is not None:
        values["name"] = name
    if readable:
        values |= readable_values(readable)
    statement = _STAGES[name is not None, bool(readable)]
    models: dict[str, ModelThen] = {}
    rows: list[Any] = fetch(cx, statement, values)
    for model_id, its_name, deleted_at, *holder in rows:
        is_deleted = deleted_at is not None
        model = ModelThen(id=model_id, name=its_name, is_deleted=is_deleted)
        model = models.setdefault(model_id, model)
        if holder[0] is not None:
            model.holders.append(Holder(*holder))
    return list(models.values())
