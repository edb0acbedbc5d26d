"""Registered models: create, describe, rename, delete."""

import uuid
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from registry.domain import names
from registry.domain.policy import ARCHIVED, NONE, StagePolicy
from registry.errors import ConflictError, DeletionRefusedError, NameTakenError
from registry.persistence import queries
from registry.persistence.tables import Alias, ModelVersion, RegisteredModel
from registry.services.audit import Change
from registry.services.changes import move_mlflow_time, record_change, touch
from registry.services.documents import Document, model_document
from registry.services.subscriptions import follow_rename
from registry.services.tags import Tags, write_model_tags
from registry.services.transaction import Transaction

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
    write_model_tags(tx.session, model.id, tags or {})
    document = model_document(queries.get_model(tx.session, model.name))
    record_change(
        tx,
        model,
        Change(action=CREATED, model=model.name, after=document),
        data={"description": model.description, "tags": document["tags"]},
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
    """
    session = tx.session
    model = queries.lock_model(session, name)
    before = model_document(queries.get_model(session, name))
    if changes.description is not None:
        model.description = names.clean_text(changes.description, field="description")
    if changes.name is not None:
        new_name = names.model_name(changes.name)
        _refuse_other_rules(tx, model, new_name)
        _take_name(tx, model, new_name)
    at = touch(model, None, tx.now)
    if changes.description is not None or changes.name is not None:
        move_mlflow_time(at, model)
    _flush_name(session, model.name)  # before the tags, which flush everything
    if changes.name is not None:
        _move_versions(session, model, at)
    write_model_tags(session, model.id, changes.tags or {})
    document = model_document(queries.get_model(session, model.name))
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
            "tags": document["tags"],
            **({"previous_name": name} if is_renamed else {}),
        },
        at=at,
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


def _refuse_other_rules(tx: Transaction, model: RegisteredModel, name: str) -> None:
    """A name chooses its rules: taking another must not be a way around them."""
    old, new = (
        replace(tx.policy.for_model(each), overrides=()) for each in (model.name, name)
    )
    if old == new:
        return
    free = {NONE, ARCHIVED} & old.deletable & new.deletable
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
    """
    session = tx.session
    model = queries.lock_model(session, name)
    _refuse_protected(session, tx.policy.for_model(name), model)
    before = model_document(queries.get_model(session, name))
    at = touch(model, None, tx.now)
    for version in session.scalars(
        select(ModelVersion).where(
            ModelVersion.model_id == model.id, ModelVersion.deleted_at.is_(None)
        )
    ):
        version.deleted_at = at
        version.exclusive_stage = None
    session.execute(delete(Alias).where(Alias.model_id == model.id))
    model.deleted_at = at
    record_change(
        tx,
        model,
        Change(action=DELETED, model=name, before=before),
        data={},
        at=at,
    )


def _refuse_protected(
    session: Session, policy: StagePolicy, model: RegisteredModel
) -> None:
    protected = session.scalars(
        select(ModelVersion.number).where(
            ModelVersion.model_id == model.id,
            ModelVersion.deleted_at.is_(None),
            ModelVersion.stage.not_in(sorted(policy.deletable)),
        )
    ).all()
    if protected:
        raise DeletionRefusedError(
            f"versions {', '.join(map(str, protected[:MAX_NAMED]))} are in use; only "
            f"versions in {', '.join(sorted(policy.deletable)) or 'no stage'} "
            "may be deleted"
        )


def _flush_name(session: Session, name: str) -> None:
    try:
        session.flush()
    except IntegrityError as error:
        raise NameTakenError(name) from error
