"""The named SELECTs. Each is one statement, and none loads row by row.

Rules:

- ``lock_model`` is the first statement of every change to what belongs to a
  model; everything else is read after it, so that it is read as it stands.
- Documents come with their tags and aliases in the same statement.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TypeVar

from sqlalchemy import (
    Select,
    String,
    and_,
    func,
    literal,
    or_,
    select,
    union,
)
from sqlalchemy.orm import Session, joinedload, undefer, undefer_group

from registry.domain.policy import VersionStatus
from registry.errors import (
    AliasNotFoundError,
    IntegrityViolationError,
    ModelNotFoundError,
    NotFoundError,
    VersionNotFoundError,
)
from registry.persistence.tables import (
    DOCUMENT,
    Alias,
    AuditEntry,
    ModelVersion,
    RegisteredModel,
    StageChange,
    VersionManifest,
)
from webhooks.portions import read_rows

Row = TypeVar("Row", ModelVersion, StageChange)
Entries = TypeVar("Entries", AuditEntry, int)


def lock_model(session: Session, name: str) -> RegisteredModel:
    """The model's row, locked until the transaction ends.

    Raises:
        NotFoundError: when there is no model of this name.
    """
    model = session.scalar(
        select(RegisteredModel)
        .where(RegisteredModel.name == name, RegisteredModel.deleted_at.is_(None))
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return _found_model(model, name)


def get_model(session: Session, name: str) -> RegisteredModel:
    """The model with its tags, aliases and stages.

    Raises:
        NotFoundError: when there is no model of this name.
    """
    model = session.scalar(
        select(RegisteredModel)
        .where(RegisteredModel.name == name, RegisteredModel.deleted_at.is_(None))
        .options(undefer_group(DOCUMENT))
        .execution_options(populate_existing=True)
    )
    return _found_model(model, name)


def _found_model(model: RegisteredModel | None, name: str) -> RegisteredModel:
    if model is None:
        raise ModelNotFoundError(name)
    return model


def model_id(session: Session, name: str) -> str:
    """The id of a model; raises as ``model_kind``."""
    found, _ = model_kind(session, name)
    return found


def model_kind(session: Session, name: str) -> tuple[str, bool]:
    """The id of a model, and whether it is a prompt.

    Raises:
        NotFoundError: when there is no model of this name.
    """
    found = session.execute(
        select(RegisteredModel.id, RegisteredModel.is_prompt).where(
            RegisteredModel.name == name, RegisteredModel.deleted_at.is_(None)
        )
    ).one_or_none()
    if found is None:
        raise ModelNotFoundError(name)
    return found[0], found[1]


def model_name(session: Session, model_id: str) -> str:
    """The present name of a model.

    Raises:
        NotFoundError: when it was deleted.
    """
    found = session.scalar(
        select(RegisteredModel.name).where(
            RegisteredModel.id == model_id, RegisteredModel.deleted_at.is_(None)
        )
    )
    if found is None:
        raise ModelNotFoundError(model_id)
    return found


def manifest(session: Session, version_id: str) -> str:
    """The canonical manifest of a version that has a digest.

    Raises:
        IntegrityViolationError: when it is missing.
    """
    canonical = session.scalar(
        select(VersionManifest.canonical).where(
            VersionManifest.version_id == version_id
        )
    )
    if canonical is None:
        raise IntegrityViolationError(f"version {version_id} has lost its manifest")
    return canonical


def list_models(
    session: Session, *, after: str | None, limit: int, prompts: bool
) -> Iterator[RegisteredModel]:
    """Models, or prompts, by name, from the one behind ``after`` on."""
    query = (
        select(RegisteredModel)
        .where(
            RegisteredModel.deleted_at.is_(None), RegisteredModel.is_prompt == prompts
        )
        .order_by(RegisteredModel.name)
        .limit(limit)
        .options(undefer_group(DOCUMENT))
    )
    if after is not None:
        query = query.where(RegisteredModel.name > after)
    return (row for (row,) in read_rows(session, query, limit=limit))


def _versions() -> Select[ModelVersion]:
    """Live versions with their documents, joined to their live model."""
    return (
        select(ModelVersion)
        .join(RegisteredModel, RegisteredModel.id == ModelVersion.model_id)
        .where(RegisteredModel.deleted_at.is_(None), ModelVersion.deleted_at.is_(None))
        .options(undefer_group(DOCUMENT))
        .execution_options(populate_existing=True)
    )


def get_version(session: Session, name: str, number: int) -> ModelVersion:
    """One version of a model.

    Raises:
        NotFoundError: when model or version do not exist.
    """
    version = session.scalar(
        _versions().where(RegisteredModel.name == name, ModelVersion.number == number)
    )
    if version is None:
        raise VersionNotFoundError(name, number)
    return version


def version_with_manifest(
    session: Session, name: str, number: int
) -> tuple[ModelVersion, str | None]:
    """One version, and the canonical manifest of its artifact if it has one.

    Raises:
        NotFoundError: when model or version do not exist.
        IntegrityViolationError: when the manifest is missing.
    """
    row = session.execute(
        _versions()
        .where(RegisteredModel.name == name, ModelVersion.number == number)
        .outerjoin(VersionManifest, VersionManifest.version_id == ModelVersion.id)
        .add_columns(VersionManifest.canonical)
    ).one_or_none()
    if row is None:
        raise VersionNotFoundError(name, number)
    version, canonical = row
    if version.artifact_digest and canonical is None:
        raise IntegrityViolationError(f"version {version.id} has lost its manifest")
    return version, canonical


def version_by_id(session: Session, version_id: str) -> tuple[ModelVersion, str] | None:
    """A version by its id and its canonical manifest; None without either."""
    row = session.execute(
        _versions()
        .where(ModelVersion.id == version_id)
        .join(VersionManifest, VersionManifest.version_id == ModelVersion.id)
        .add_columns(VersionManifest.canonical)
    ).one_or_none()
    return None if row is None else (row[0], row[1])


def artifact_standing(session: Session, version_id: str) -> tuple[str, str] | None:
    """Status and artifact state of a version as stored; None when it was deleted."""
    row = session.execute(
        select(ModelVersion.status, ModelVersion.artifact_state)
        .join(RegisteredModel, RegisteredModel.id == ModelVersion.model_id)
        .where(RegisteredModel.deleted_at.is_(None), ModelVersion.deleted_at.is_(None))
        .where(ModelVersion.id == version_id)
    ).one_or_none()
    return None if row is None else (row[0], row[1])


def list_versions(
    session: Session,
    name: str,
    *,
    below: int | None,
    stage: str | None,
    limit: int,
) -> Iterator[ModelVersion]:
    """Versions of a model, newest first, from the one below ``below`` on.

    Raises:
        NotFoundError: when there is no such model, as the first is asked for.
    """
    conditions = [
        ModelVersion.model_id == RegisteredModel.id,
        ModelVersion.deleted_at.is_(None),
    ]
    if below is not None:
        conditions.append(ModelVersion.number < below)
    if stage is not None:
        conditions.append(ModelVersion.stage == stage)
    query = (
        select(RegisteredModel.id, ModelVersion)
        .outerjoin(ModelVersion, and_(*conditions))
        .order_by(ModelVersion.number.desc())
        .limit(limit)
        .options(undefer_group(DOCUMENT))
    )
    return _rows_of_model(session, name, query, limit=limit)


def _rows_of_model(
    session: Session, name: str, query: Select[str, Row | None], *, limit: int
) -> Iterator[Row]:
    """What is joined to a model; its own row alone says that it has nothing."""
    named = query.where(
        RegisteredModel.name == name, RegisteredModel.deleted_at.is_(None)
    )
    is_there = False
    for _, row in read_rows(session, named, limit=limit):
        is_there = True
        if row is not None:
            yield row
    if not is_there:
        raise ModelNotFoundError(name)


def version_by_alias(session: Session, name: str, alias: str) -> ModelVersion:
    """The version that an alias points at.

    Raises:
        NotFoundError: when model or alias do not exist.
    """
    query = (
        select(RegisteredModel.id, ModelVersion)
        .outerjoin(
            Alias, and_(Alias.model_id == RegisteredModel.id, Alias.alias == alias)
        )
        .outerjoin(ModelVersion, ModelVersion.id == Alias.version_id)
        .options(undefer_group(DOCUMENT))
    )
    found = next(_rows_of_model(session, name, query, limit=1), None)
    if found is None:
        raise AliasNotFoundError(name, alias)
    return found


def versions_in_stage(
    session: Session, model_id: str, stage: str, *, limit: int
) -> Sequence[ModelVersion]:
    """The first versions in a stage, by number; who entered last is at the end."""
    entered = (
        select(func.max(StageChange.sequence))
        .where(StageChange.version_id == ModelVersion.id)
        .scalar_subquery()
    )
    rows = session.execute(
        _versions()
        .where(ModelVersion.model_id == model_id, ModelVersion.stage == stage)
        .order_by(ModelVersion.number)
        .limit(limit)
        .add_columns(entered)
    ).all()
    return [version for version, _ in sorted(rows, key=lambda row: row[1] or 0)]


def last_in_stage(session: Session, model_id: str, stage: str) -> int | None:
    """The number of the version in a stage that entered it last."""
    return session.scalar(
        select(StageChange.number)
        .join(ModelVersion, ModelVersion.id == StageChange.version_id)
        .where(
            StageChange.model_id == model_id,
            StageChange.to_stage == stage,
            ModelVersion.stage == stage,
            ModelVersion.deleted_at.is_(None),
        )
        .order_by(StageChange.sequence.desc())
        .limit(1)
    )


def reload_versions(session: Session, ids: Sequence[str]) -> None:
    """Read versions again that the session holds, with their documents."""
    session.scalars(_versions().where(ModelVersion.id.in_(ids))).all()


def stage_holder(
    session: Session, name: str, stage: str, *, at: datetime | None
) -> ModelVersion:
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
        select(ModelVersion)
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
    version = session.scalar(
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
        .options(undefer_group(DOCUMENT))
    )
    if version is None:
        when = "was" if at else "is"
        raise NotFoundError(f"no version of {name!r} {when} in {stage}")
    return version


def stages_before(session: Session, version_id: str) -> frozenset[str]:
    """Every stage that a version has ever been in."""
    return frozenset(
        session.scalars(
            select(StageChange.to_stage)
            .where(StageChange.version_id == version_id)
            .distinct()
        )
    )


def previous_holder(session: Session, model_id: str, stage: str) -> StageChange | None:
    """The last entry into ``stage`` by a version that is not in it now."""
    return session.scalar(
        select(StageChange)
        .join(ModelVersion, ModelVersion.id == StageChange.version_id)
        .where(
            StageChange.model_id == model_id,
            StageChange.to_stage == stage,
            ModelVersion.stage != stage,
        )
        .order_by(StageChange.sequence.desc())
        .limit(1)
    )


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
) -> tuple[str, ModelVersion] | None:
    """A version that still waits for its upload to be finalized, and its model's name.

    Read without a lock: look again under the model's before changing anything.
    """
    row = session.execute(
        select(RegisteredModel.name, ModelVersion)
        .join(RegisteredModel, RegisteredModel.id == ModelVersion.model_id)
        .where(
            ModelVersion.status == VersionStatus.PENDING_REGISTRATION,
            ModelVersion.seal_after.is_(None),
            ModelVersion.created_at < created_before,
            ModelVersion.deleted_at.is_(None),
            RegisteredModel.deleted_at.is_(None),
        )
        .order_by(ModelVersion.created_at)
        .limit(1)
    ).one_or_none()
    return None if row is None else (row[0], row[1])


def due_for_sealing(session: Session, now: datetime) -> ModelVersion | None:
    """A version whose manifest the background should complete, locked."""
    return session.scalar(
        select(ModelVersion)
        .where(ModelVersion.seal_after <= now, ModelVersion.deleted_at.is_(None))
        .order_by(ModelVersion.seal_after)
        .limit(1)
        .options(
            joinedload(ModelVersion.model), undefer(ModelVersion.declared_manifest)
        )
        .with_for_update(skip_locked=True, of=ModelVersion)
    )
