"""The named SELECTs. Each is one statement, and none loads row by row.

Rules:

- What a change must see is read under its model's lock (``persistence.snapshot``);
  here is what is read without one.
- Documents come with their tags and aliases in the same statement.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    String,
    and_,
    bindparam,
    func,
    literal,
    or_,
    select,
    union,
)
from sqlalchemy.orm import Session

from registry.domain.commands.models import ModelState
from registry.domain.policy import VersionStatus
from registry.domain.rows import VersionRow
from registry.errors import (
    AliasNotFoundError,
    ModelNotFoundError,
    NotFoundError,
    VersionNotFoundError,
)
from registry.persistence.statements import (
    ALIASES,
    MODEL_STATE,
    MODELS,
    VERSIONS,
    model_state,
    row_of,
    selected,
)
from registry.persistence.tables import (
    AuditEntry,
    ModelVersion,
    RegisteredModel,
    StageChange,
)
from webhooks.portions import read_rows

Entries = TypeVar("Entries", AuditEntry, int)


_LIVE_MODEL = MODELS.c.deleted_at.is_(None)
_NAMED = (MODELS.c.name == bindparam("name"), _LIVE_MODEL)
_LIVE = and_(_LIVE_MODEL, VERSIONS.c.deleted_at.is_(None))
_OF_LIVE = (
    select(*selected(VersionRow))
    .join(MODELS, MODELS.c.id == VERSIONS.c.model_id)
    .where(_LIVE)
)

_KIND = select(MODELS.c.id, MODELS.c.is_prompt).where(*_NAMED)
_NAME = select(MODELS.c.name).where(MODELS.c.id == bindparam("id"), _LIVE_MODEL)
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
_VERSION = _OF_LIVE.where(
    MODELS.c.name == bindparam("name"), VERSIONS.c.number == bindparam("number")
)
_ABOVE_ALL = 2**31 - 1  #: no version has that number
_BELOW = and_(
    VERSIONS.c.model_id == MODELS.c.id,
    VERSIONS.c.deleted_at.is_(None),
    VERSIONS.c.number < bindparam("below"),
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
_BY_ALIAS = _OF_LIVE.join(ALIASES, ALIASES.c.version_id == VERSIONS.c.id).where(
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


def get_model(session: Session, name: str) -> ModelState:
    """The model with its tags, aliases and stages.

    Raises:
        NotFoundError: when there is no model of this name.
    """
    found = session.connection().execute(_MODEL, {"name": name}).one_or_none()
    if found is None:
        raise ModelNotFoundError(name)
    return model_state(found)


def model_id(session: Session, name: str) -> str:
    """The id of a model; raises as ``model_kind``."""
    found, _ = model_kind(session, name)
    return found


def model_kind(session: Session, name: str) -> tuple[str, bool]:
    """The id of a model, and whether it is a prompt.

    Raises:
        NotFoundError: when there is no model of this name.
    """
    found = session.connection().execute(_KIND, {"name": name}).one_or_none()
    if found is None:
        raise ModelNotFoundError(name)
    return found[0], found[1]


def model_name(session: Session, model_id: str) -> str:
    """The present name of a model.

    Raises:
        NotFoundError: when it was deleted.
    """
    found: str | None = session.connection().execute(_NAME, {"id": model_id}).scalar()
    if found is None:
        raise ModelNotFoundError(model_id)
    return found


def list_models(
    session: Session, *, after: str | None, limit: int, prompts: bool
) -> Iterator[ModelState]:
    """Models, or prompts, by name, from the one behind ``after`` on."""
    values = {"after": after or "", "most": limit, "prompts": prompts}
    found = read_rows(session, _MODELS, limit=limit, values=values)
    return map(model_state, found)


def get_version(session: Session, name: str, number: int) -> VersionRow:
    """One version of a model.

    Raises:
        NotFoundError: when model or version do not exist.
    """
    values = {"name": name, "number": number}
    found = session.connection().execute(_VERSION, values).one_or_none()
    if found is None:
        raise VersionNotFoundError(name, number)
    return row_of(VersionRow, found)


def list_versions(
    session: Session,
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
    for found in read_rows(session, statement, limit=limit, values=values):
        is_there = True
        if found.id is not None:  # the model's own row alone says that it has nothing
            yield row_of(VersionRow, found)
    if not is_there:
        raise ModelNotFoundError(name)


def version_by_alias(session: Session, name: str, alias: str) -> VersionRow:
    """The version that an alias points at.

    Raises:
        NotFoundError: when model or alias do not exist.
    """
    values = {"name": name, "alias": alias}
    found = session.connection().execute(_BY_ALIAS, values).one_or_none()
    if found is None:
        model_id(session, name)
        raise AliasNotFoundError(name, alias)
    return row_of(VersionRow, found)


def stage_holder(
    session: Session, name: str, stage: str, *, at: datetime | None
) -> VersionRow:
    """The version that is in a stage, or was at ``at``.

    Of several in a shared stage it is the one that entered last. With ``at`` a
    version counts that was deleted after that; without, only a living one.

    Raises:
        NotFoundError: when there is (was) none.
    """
    latest = select(
        StageChange.version_id, func.max(StageChange.sequence).label("sequence")
    ).group_by(StageChange.version_id)
    query = (
        select(*selected(VersionRow))
        .join(RegisteredModel, RegisteredModel.id == ModelVersion.model_id)
        .where(RegisteredModel.name == name, RegisteredModel.deleted_at.is_(None))
    )
    latest = latest.join(
        RegisteredModel, RegisteredModel.id == StageChange.model_id
    ).where(RegisteredModel.name == name, RegisteredModel.deleted_at.is_(None))
    if at is None:
        query = query.where(ModelVersion.stage == stage).where(
            ModelVersion.deleted_at.is_(None)
        )
    else:
        latest = latest.where(StageChange.at <= at)
        query = query.where(
            or_(ModelVersion.deleted_at.is_(None), ModelVersion.deleted_at > at)
        )
    standing = latest.subquery()
    found = session.execute(
        query.join(standing, standing.c.version_id == ModelVersion.id)
        .join(
            StageChange,
            and_(
                StageChange.version_id == standing.c.version_id,
                StageChange.sequence == standing.c.sequence,
            ),
        )
        .where(StageChange.to_stage == stage)
        .order_by(StageChange.sequence.desc())
        .limit(1)
    ).one_or_none()
    if found is None:
        when = "was" if at else "is"
        raise NotFoundError(f"no version of {name!r} {when} in {stage}")
    return row_of(VersionRow, found)


def list_audit_entries(
    session: Session, *, model: str | None, below: int | None, limit: int
) -> Iterator[AuditEntry]:
    """Audit entries, newest first; with ``model`` those that may be about it.

    The column says so, or the sealed text may: a column can be edited. Whoever asks
    for a model looks at the texts.
    """
    query = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(limit)
    if model is not None:
        said_beside = select(AuditEntry.id).where(AuditEntry.model == model)
        arms = [said_beside.order_by(AuditEntry.id.desc()), *_hidden(model)]
        pages = [_below(arm, below).limit(limit).subquery() for arm in arms]
        query = query.where(
            AuditEntry.id.in_(union(*(select(page.c.id) for page in pages)))
        )
    found = read_rows(session, _below(query, below), limit=limit)
    return (row for (row,) in found)


def _below(query: Select[Entries], below: int | None) -> Select[Entries]:
    return query if below is None else query.where(AuditEntry.id < below)


def _hidden(model: str) -> list[Select[int]]:
    """Entries of the model's chain that name it in their text and not beside it.

    One query for each range of the index of chains and models, which has no step for
    what is not equal. They are few, if any, and sorted by themselves: by an index in
    this order all entries without a model would be walked.
    """
    chains = select(
        (literal("model:", String) + RegisteredModel.id).label("chain")
    ).where(RegisteredModel.name == model)
    is_of_its_chain = AuditEntry.chain.in_(select(chains.cte("chains").c.chain))
    names_it = AuditEntry.canonical.contains(
        f'"model":{json.dumps(model, ensure_ascii=False)}', autoescape=True
    )
    others = (
        AuditEntry.model < model,
        AuditEntry.model > model,
        AuditEntry.model.is_(None),
    )
    return [
        select(AuditEntry.id)
        .where(is_of_its_chain, is_other, names_it)
        .order_by((AuditEntry.id + 0).desc())
        for is_other in others
    ]


def oldest_unfinished_upload(
    session: Session, *, created_before: datetime
) -> Row[Any, Any, Any] | None:
    """Id, model's name and number of a version whose upload was never finalized.

    Read without a lock: look again under the model's before changing anything.
    """
    values = {"created_before": created_before}
    return session.connection().execute(_UNFINISHED, values).one_or_none()


def due_for_sealing(
    session: Session, now: datetime
) -> Row[Any, Any, Any, Any, Any, Any] | None:
    """A version whose manifest the background should complete, locked.

    Its ``declared_manifest`` comes with what says where it is.
    """
    return session.connection().execute(_DUE, {"now": now}).one_or_none()
