"""The named SELECTs. Each is one statement, and none loads row by row.

Rules:

- What a change must see is read under its model's lock (``persistence.snapshot``);
  here is what is read without one.
- Documents come with their tags and aliases in the same statement.
- What is asked for by a name and is not there raises a ``NotFoundError``.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    func,
    or_,
    select,
)

from registry.domain.commands.models import ModelState
from registry.domain.rows import VersionRow, VersionStatus
from registry.errors import (
    AliasNotFoundError,
    ModelNotFoundError,
    NotFoundError,
    VersionNotFoundError,
)
from registry.persistence.readable import Readable, is_readable, readable_values
from registry.persistence.statements import (
    ALIASES,
    CHANGES,
    MODEL_STATE,
    MODELS,
    VERSIONS,
    model_state,
    row_of,
    selected,
)
from webhooks.statements import fetch, fetch_one, is_among, read_rows

_LIVE_MODEL = MODELS.c.deleted_at.is_(None)
_NAMED = (MODELS.c.name == bindparam("name"), _LIVE_MODEL)
_LIVE = and_(_LIVE_MODEL, VERSIONS.c.deleted_at.is_(None))
OF_LIVE = (
    select(*selected(VersionRow))
    .join(MODELS, MODELS.c.id == VERSIONS.c.model_id)
    .where(_LIVE)
)
_CHANGE = CHANGES.c

_KIND = select(MODELS.c.id, MODELS.c.is_prompt).where(*_NAMED)
_NAME = select(MODELS.c.name).where(MODELS.c.id == bindparam("id"), _LIVE_MODEL)
_OF_VERSION = (
    select(MODELS.c.name)
    .join(VERSIONS, VERSIONS.c.model_id == MODELS.c.id)
    .where(VERSIONS.c.id == bindparam("id"))
)
_OF_TRANSITION = (
    select(MODELS.c.name)
    .join(CHANGES, CHANGES.c.model_id == MODELS.c.id)
    .where(CHANGES.c.transition_id == bindparam("id"))
    .limit(1)
)
_MODEL = select(*MODEL_STATE).where(*_NAMED)
_MODELS = (
    select(*MODEL_STATE)
    .where(
        _LIVE_MODEL,
        MODELS.c.is_prompt == bindparam("prompts"),
        MODELS.c.name > bindparam("after"),
    )
    .order_by(MODELS.c.name)
    .limit(bindparam("most"))
)
_READABLE_MODELS = _MODELS.where(is_readable(MODELS.c.name))
VERSION = OF_LIVE.where(
    MODELS.c.name == bindparam("name"), VERSIONS.c.number == bindparam("number")
)
_ABOVE_ALL = 2**63 - 1  #: no version has that number
_BELOW = and_(
    VERSIONS.c.model_id == MODELS.c.id,
    VERSIONS.c.deleted_at.is_(None),
    VERSIONS.c.number < bindparam("below", type_=BigInteger),
)


def _versions_that(condition: ColumnElement[bool]) -> Select[Any]:
    return (
        select(*selected(VersionRow))
        .select_from(MODELS)
        .outerjoin(VERSIONS, condition)
        .where(*_NAMED)
        .order_by(VERSIONS.c.number.desc())
        .limit(bindparam("most"))
    )


_VERSIONS = _versions_that(_BELOW)
_IN_STAGE = _versions_that(and_(_BELOW, VERSIONS.c.stage == bindparam("stage")))
_BY_ALIAS = OF_LIVE.join(ALIASES, ALIASES.c.version_id == VERSIONS.c.id).where(
    MODELS.c.name == bindparam("name"), ALIASES.c.alias == bindparam("alias")
)
_UNFINISHED = (
    select(VERSIONS.c.id, MODELS.c.name, VERSIONS.c.number)
    .join(MODELS, MODELS.c.id == VERSIONS.c.model_id)
    .where(
        _LIVE,
        VERSIONS.c.status == VersionStatus.PENDING_REGISTRATION,
        VERSIONS.c.seal_after.is_(None),
        VERSIONS.c.created_at < bindparam("created_before"),
    )
    .order_by(VERSIONS.c.created_at)
    .limit(1)
)
_DUE = (
    select(
        VERSIONS.c.id,
        VERSIONS.c.model_name,
        VERSIONS.c.number,
        VERSIONS.c.source,
        VERSIONS.c.download_uri,
        VERSIONS.c.declared_manifest,
    )
    .where(VERSIONS.c.seal_after <= bindparam("now"), VERSIONS.c.deleted_at.is_(None))
    .order_by(VERSIONS.c.seal_after)
    .limit(1)
    .with_for_update(skip_locked=True)
)


def _holder(version: ColumnElement[bool], *entered: ColumnElement[bool]) -> Select[Any]:
    """The last to enter a stage, of those who entered nothing after it."""
    standing = (
        select(_CHANGE.version_id, func.max(_CHANGE.sequence).label("sequence"))
        .join(MODELS, MODELS.c.id == _CHANGE.model_id)
        .where(*_NAMED, *entered)
        .group_by(_CHANGE.version_id)
        .subquery()
    )
    return (
        select(*selected(VersionRow))
        .join(MODELS, MODELS.c.id == VERSIONS.c.model_id)
        .join(standing, standing.c.version_id == VERSIONS.c.id)
        .join(
            CHANGES,
            and_(
                _CHANGE.version_id == standing.c.version_id,
                _CHANGE.sequence == standing.c.sequence,
            ),
        )
        .where(*_NAMED, version, _CHANGE.to_stage == bindparam("stage"))
        .order_by(_CHANGE.sequence.desc())
        .limit(1)
    )


_HOLDER = _holder(
    and_(VERSIONS.c.deleted_at.is_(None), VERSIONS.c.stage == bindparam("stage"))
)
_HOLDER_AT = _holder(
    or_(VERSIONS.c.deleted_at.is_(None), VERSIONS.c.deleted_at > bindparam("at")),
    _CHANGE.at <= bindparam("at"),
)


def get_model(cx: Connection, name: str) -> ModelState:
    """The model with its tags, aliases and stages."""
    found = fetch_one(cx, _MODEL, {"name": name})
    if found is None:
        raise ModelNotFoundError(name)
    return model_state(found)


def model_id(cx: Connection, name: str) -> str:
    """The id of a model."""
    found, _ = model_kind(cx, name)
    return found


def model_kind(cx: Connection, name: str) -> tuple[str, bool]:
    """The id of a model, and whether it is a prompt."""
    found = fetch_one(cx, _KIND, {"name": name})
    if found is None:
        raise ModelNotFoundError(name)
    return found[0], found[1]


def model_name(cx: Connection, model_id: str) -> str:
    """The present name of a model."""
    row = fetch_one(cx, _NAME, {"id": model_id})
    if row is None:
        raise ModelNotFoundError(model_id)
    name: str = row[0]
    return name


def model_names(cx: Connection, model_ids: Sequence[str]) -> dict[str, str]:
    """The names of models by their ids, of those too that were deleted."""
    statement = _names(cx.dialect.name)
    return dict(fetch(cx, statement, {"ids": list(model_ids)}))


def find_model_id(cx: Connection, name: str) -> str | None:
    """The id of the model of a name, if there is one."""
    found = fetch_one(cx, _KIND, {"name": name})
    return None if found is None else str(found[0])


@cache
def _names(database: str) -> Select[str, str]:
    return select(MODELS.c.id, MODELS.c.name).where(
        is_among(MODELS.c.id, "ids", database)
    )


def model_of_version(cx: Connection, version_id: str) -> str | None:
    """The name of the model that a version is of, whether or not it was deleted."""
    return _name_of(fetch_one(cx, _OF_VERSION, {"id": version_id}))


def model_of_transition(cx: Connection, transition_id: str) -> str | None:
    """The name of the model that a stage change was of."""
    return _name_of(fetch_one(cx, _OF_TRANSITION, {"id": transition_id}))


def _name_of(found: Sequence[Any] | None) -> str | None:
    return None if found is None else str(found[0])


def list_models(
    cx: Connection,
    *,
    after: str | None,
    limit: int,
    prompts: bool,
    readable: Readable = (),
) -> Iterator[ModelState]:
    """Models, or prompts, by name, from the one behind ``after`` on.

    Where ``readable`` says which may be read, those alone.
    """
    values: dict[str, Any] = {"after": after or "", "most": limit, "prompts": prompts}
    statement = _MODELS
    if readable:
        statement, values = _READABLE_MODELS, values | readable_values(readable)
    found = read_rows(cx, statement, limit=limit, values=values)
    return map(model_state, found)


def get_version(cx: Connection, name: str, number: int) -> VersionRow:
    """One version of a model."""
    values = {"name": name, "number": number}
    found = fetch_one(cx, VERSION, values)
    if found is None:
        raise VersionNotFoundError(name, number)
    return row_of(VersionRow, found)


def list_versions(
    cx: Connection,
    name: str,
    *,
    below: int | None,
    stage: str | None,
    limit: int,
) -> Iterator[VersionRow]:
    """Versions of a model, newest first, from the one below ``below`` on.

    Raises:
        NotFoundError: when there is no such model, as the first is asked for.
    """
    values = {"name": name, "below": below or _ABOVE_ALL, "most": limit}
    if stage is not None:
        values["stage"] = stage
    statement = _VERSIONS if stage is None else _IN_STAGE
    is_there = False
    for found in read_rows(cx, statement, limit=limit, values=values):
        is_there = True
        if found.id is not None:  # the model's own row alone says that it has nothing
            yield row_of(VersionRow, found)
    if not is_there:
        raise ModelNotFoundError(name)


def version_by_alias(
    cx: Connection, name: str, alias: str, *, bound_to: str | None
) -> VersionRow:
    """The version that an alias points at: who is in the stage that it is bound to.

    Raises:
        NotFoundError: when it points at none.
    """
    if bound_to is not None and not model_kind(cx, name)[1]:
        holder = fetch_one(cx, _HOLDER, {"name": name, "stage": bound_to})
        if holder is None:
            raise AliasNotFoundError(name, alias)
        return row_of(VersionRow, holder)
    values = {"name": name, "alias": alias}
    found = fetch_one(cx, _BY_ALIAS, values)
    if found is None:
        model_id(cx, name)
        raise AliasNotFoundError(name, alias)
    return row_of(VersionRow, found)


def stage_holder(
    cx: Connection, name: str, stage: str, *, at: datetime | None
) -> VersionRow:
    """The version that is in a stage, or was at ``at``.

    Of several in a shared stage it is the one that entered last. With ``at`` a
    version counts that was deleted after that; without, only a living one.

    Raises:
        NotFoundError: when there is (was) none.
    """
    values = {"name": name, "stage": stage, **({} if at is None else {"at": at})}
    statement = _HOLDER if at is None else _HOLDER_AT
    found = fetch_one(cx, statement, values)
    if found is None:
        when = "was" if at else "is"
        raise NotFoundError(f"no version of {name!r} {when} in {stage}")
    return row_of(VersionRow, found)


def oldest_unfinished_upload(
    cx: Connection, *, created_before: datetime
) -> Row[Any, Any, Any] | None:
    """Id, model's name and number of a version whose upload was never finalized.

    Read without a lock: look again under the model's before changing anything.
    """
    values = {"created_before": created_before}
    return cx.execute(_UNFINISHED, values).one_or_none()


def due_for_sealing(
    cx: Connection, now: datetime
) -> Row[Any, Any, Any, Any, Any, Any] | None:
    """A version whose manifest the background should complete, locked.

    Its ``declared_manifest`` comes with what says where it is.
    """
    return cx.execute(_DUE, {"now": now}).one_or_none()
