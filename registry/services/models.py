"""Registered models: create, describe, rename, delete."""

import uuid
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from registry.domain import names, prompts
from registry.domain.policy import StagePolicy
from registry.errors import (
    ConflictError,
    DeletionRefusedError,
    InvalidInputError,
    NameTakenError,
)
from registry.persistence import queries
from registry.persistence.tables import Alias, ModelVersion, RegisteredModel
from registry.services.audit import Change
from registry.services.changes import (
    PROMPT_TAG_DELETED,
    PROMPT_TAG_SET,
    move_mlflow_time,
    record_change,
    touch,
)
from registry.services.documents import Document, model_document
from registry.services.subscriptions import follow_rename
from registry.services.tags import Tags, tag_events, write_model_tags
from registry.services.transaction import Transaction
from registry.services.versions import UNUSED_STAGES, require_promoter

CREATED = "registered_model.created"
UPDATED = "registered_model.updated"
RENAMED = "registered_model.renamed"
DELETED = "registered_model.deleted"
MAX_NAMED = 20  #: versions that a refusal names
MAX_FORMER_NAMES = 20


@dataclass(frozen=True, kw_only=True)
class ModelChanges:
    """What to change of a model; None leaves a member as it is.

    Attributes:
        tags: to set; a value of None removes the tag.
    """

    name: str | None = None
    description: str | None = None
    tags: Tags | None = None


def create_model(
    tx: Transaction, name: str, *, description: str = "", tags: Tags | None = None
) -> Document:
    """Register a model.

    Raises:
        InvalidInputError: for a name or tag that breaks the rules.
        ConflictError: when the name is taken.
    """
    model = RegisteredModel(
        id=uuid.uuid4().hex,
        name=names.model_name(name),
        is_prompt=prompts.is_prompt(tags or {}),
        description=names.clean_text(description, field="description"),
        created_at=tx.now,
        created_by=tx.caller.actor.name,
        updated_at=tx.now,
        mlflow_updated_at=tx.now,
        row_version=1,
        last_number=0,
        last_event=0,
        last_history=0,
    )
    tx.session.add(model)
    _flush_name(tx.session, model.name)
    write_model_tags(tx.session, model.id, tags or {}, present={})
    document = model_document(queries.get_model(tx.session, model.name))
    record_change(
        tx,
        model,
        Change(action=CREATED, model=model.name, after=document),
        data={"description": model.description, "tags": _told_tags(model, document)},
        at=tx.now,
    )
    return document


def update_model(tx: Transaction, name: str, changes: ModelChanges) -> Document:
    """Describe, tag or rename a model.

    Raises:
        NotFoundError: when there is no such model.
        InvalidInputError: for a name or tag that breaks the rules.
        ConflictError: when the new name is taken, or the policy has other rules
            for it while versions are in use.
        PermissionDeniedError: for another name while versions are in use, when the
            caller may not move them: it is by the name that they are read.
    """
    session = tx.session
    model = queries.lock_model(session, name)
    before = model_document(queries.get_model(session, name))
    if changes.description is not None:
        model.description = names.clean_text(changes.description, field="description")
    if changes.name is not None:
        new_name = names.model_name(changes.name)
        _refuse_other_rules(tx, model, new_name)
        if new_name != model.name:
            require_promoter(tx, _in_use(tx.session, model))
        _take_name(tx, model, new_name)
    at = touch(model, None, tx.now)
    if changes.description is not None or changes.name is not None:
        move_mlflow_time(at, model)
    _flush_name(session, model.name)  # before the tags, which flush everything
    if changes.name is not None:
        _move_versions(session, model, at)
    write_model_tags(session, model.id, changes.tags or {}, present=before["tags"])
    document = model_document(queries.get_model(session, model.name))
    _settle_kind(model, before, document)
    is_renamed = model.name != name
    record_change(
        tx,
        model,
        Change(
            action=RENAMED if is_renamed else UPDATED,
            model=model.name,
            before=before,
            after=document,
        ),
        data={
            "description": model.description,
            "tags": _told_tags(model, document),
            **({"previous_name": name} if is_renamed else {}),
        },
        at=at,
        in_detail=_told_of_prompt(model, before, changes),
    )
    return document


def _take_name(tx: Transaction, model: RegisteredModel, name: str) -> None:
    """Rename a model, and let those follow who asked for it by its name."""
    if name == model.name:
        return
    former = [each for each in model.former_names if each != name]
    model.former_names = [*former, model.name][-MAX_FORMER_NAMES:]
    follow_rename(tx, model.name, name)
    model.name = name


def _settle_kind(model: RegisteredModel, before: Document, after: Document) -> None:
    """What has had no version may still become a prompt, or a model."""
    is_prompt = prompts.is_prompt(after["tags"])
    if is_prompt == prompts.is_prompt(before["tags"]):
        return
    if model.last_number:
        raise InvalidInputError(
            "what has had versions stays the prompt or the model that it is: "
            f"tag {prompts.PROMPT_TAG!r} cannot be changed any more",
            field="tags",
        )
    model.is_prompt = is_prompt


def _told_tags(model: RegisteredModel, document: Document) -> Tags:
    tags: dict[str, str] = document["tags"]
    return prompts.own_tags(tags) if model.is_prompt else tags


def _told_of_prompt(
    model: RegisteredModel, before: Document, changes: ModelChanges
) -> list[tuple[str, Document]]:
    """The events of a prompt's tags; of a model's, MLflow tells nobody either."""
    return tag_events(
        {},
        before=before["tags"],
        tags=(changes.tags or {}) if model.is_prompt else {},
        types=(PROMPT_TAG_SET, PROMPT_TAG_DELETED),
    )


def _refuse_other_rules(tx: Transaction, model: RegisteredModel, name: str) -> None:
    """A name chooses its rules: taking another must not be a way around them."""
    old, new = (
        replace(tx.policy.for_model(each), overrides=()) for each in (model.name, name)
    )
    if old == new or model.is_prompt:
        return
    free = UNUSED_STAGES & old.deletable & new.deletable
    in_use = tx.session.execute(
        select(ModelVersion.number, ModelVersion.stage)
        .where(
            ModelVersion.model_id == model.id,
            ModelVersion.deleted_at.is_(None),
            ModelVersion.stage.not_in(sorted(free)),
        )
        .order_by(ModelVersion.number)
        .limit(MAX_NAMED)
    ).all()
    if in_use:
        named = ", ".join(f"{number} in {stage}" for number, stage in in_use)
        raise ConflictError(
            "the policy has other rules for models of that name; they were not asked "
            f"about versions {named}"
        )


def _move_versions(session: Session, model: RegisteredModel, at: datetime) -> None:
    """A rename is an update of each version too, in MLflow's terms."""
    session.execute(
        update(ModelVersion)
        .where(ModelVersion.model_id == model.id, ModelVersion.deleted_at.is_(None))
        .values(mlflow_updated_at=at, model_name=model.name)
        .execution_options(synchronize_session=False)
    )


def delete_model(tx: Transaction, name: str) -> None:
    """Delete a model with its versions; history and audit log stay.

    Raises:
        NotFoundError: when there is no such model.
        ConflictError: while a version is in a stage that the policy protects.
        PermissionDeniedError: when one is in use and the caller may not move it.
    """
    session = tx.session
    model = queries.lock_model(session, name)
    if not model.is_prompt:
        _refuse_protected(session, tx.policy.for_model(name), model)
        require_promoter(tx, _in_use(session, model))
    before = model_document(queries.get_model(session, name))
    at = touch(model, None, tx.now)
    session.execute(
        update(ModelVersion)
        .where(ModelVersion.model_id == model.id, ModelVersion.deleted_at.is_(None))
        .values(deleted_at=at, exclusive_stage=None)
        .execution_options(synchronize_session=False)
    )
    session.execute(delete(Alias).where(Alias.model_id == model.id))
    model.deleted_at = at
    record_change(
        tx,
        model,
        Change(action=DELETED, model=name, before=before),
        data={},
        at=at,
    )


def _in_use(session: Session, model: RegisteredModel) -> Sequence[int]:
    return _outside(session, model, UNUSED_STAGES)


def _outside(
    session: Session, model: RegisteredModel, stages: AbstractSet[str]
) -> Sequence[int]:
    """The first of a model's versions that are in other stages than these."""
    return session.scalars(
        select(ModelVersion.number)
        .where(
            ModelVersion.model_id == model.id,
            ModelVersion.deleted_at.is_(None),
            ModelVersion.stage.not_in(sorted(stages)),
        )
        .order_by(ModelVersion.number)
        .limit(MAX_NAMED)
    ).all()


def _refuse_protected(
    session: Session, policy: StagePolicy, model: RegisteredModel
) -> None:
    protected = _outside(session, model, policy.deletable)
    if protected:
        raise DeletionRefusedError(
            f"versions {', '.join(map(str, protected))} are in use; only versions in "
            f"{', '.join(sorted(policy.deletable)) or 'no stage'} may be deleted"
        )


def _flush_name(session: Session, name: str) -> None:
    try:
        session.flush()
    except IntegrityError as error:
        session.rollback()  # nothing is kept; who has the name is read to be told
        holder = select(RegisteredModel.is_prompt).where(
            RegisteredModel.name == name, RegisteredModel.deleted_at.is_(None)
        )
        is_prompt = bool(session.scalar(holder))
        raise NameTakenError(name, is_prompt=is_prompt) from error
