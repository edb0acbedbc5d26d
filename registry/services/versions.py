"""Versions as they stand: described, tagged, deleted; and what all changes share."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete

from registry.domain import names, prompts
from registry.domain.actors import Role
from registry.domain.policy import ARCHIVED, NONE, VersionStatus
from registry.errors import (
    ConflictError,
    DeletionRefusedError,
    PermissionDeniedError,
    StaleExpectationError,
)
from registry.persistence import queries
from registry.persistence.tables import Alias, ModelVersion, RegisteredModel
from registry.services.audit import Change
from registry.services.changes import (
    TAG_DELETED,
    TAG_SET,
    move_mlflow_time,
    record_change,
    touch,
    version_event,
    version_links,
)
from registry.services.documents import Document, version_document, version_etag
from registry.services.tags import Tags, tag_events, write_version_tags
from registry.services.transaction import Transaction

UPDATED = "model_version.updated"
DELETED = "model_version.deleted"
UNUSED_STAGES = frozenset({NONE, ARCHIVED})  #: nobody reads a version by these


@dataclass(frozen=True, kw_only=True)
class VersionRef:
    """A version as a caller names it.

    Attributes:
        if_match: the entity tag the caller last saw; None accepts any.
    """

    model: str
    number: int
    if_match: str | None = None


@dataclass(frozen=True, kw_only=True)
class VersionChanges:
    """What to change of a version; None leaves a member as it is."""

    description: str | None = None
    tags: Tags | None = None


def update_version(
    tx: Transaction, ref: VersionRef, changes: VersionChanges
) -> Document:
    """Describe or tag a version.

    Raises:
        NotFoundError: when model or version do not exist.
        InvalidInputError: for a text or tag that breaks the rules.
        StaleExpectationError: when the entity tag is not the present one.
    """
    model, version = lock_version(tx, ref)
    before = version_document(model.name, version)
    if model.is_prompt:
        prompts.check_version_tags(before["tags"], changes.tags or {})
    at = touch(model, version, tx.now)
    if changes.description is not None:
        move_mlflow_time(at, version)
        version.description = names.clean_text(changes.description, field="description")
    tx.session.flush()
    write_version_tags(
        tx.session, version.id, changes.tags or {}, present=before["tags"]
    )
    links = version_links(tx.caller, model, version)
    told = tag_events(
        {"version": version.number, "links": links},
        before=before["tags"],
        tags=changes.tags or {},
        types=(TAG_SET, TAG_DELETED),
    )
    return finish_version(
        tx, model, version, action=UPDATED, before=before, in_detail=told
    )


def delete_version(tx: Transaction, ref: VersionRef) -> None:
    """Delete a version; its number, history and audit entries stay.

    Raises:
        NotFoundError: when model or version do not exist.
        ConflictError: when the policy protects versions in its stage.
        PermissionDeniedError: when it is in use and the caller may not move it.
        StaleExpectationError: when the entity tag is not the present one.
    """
    model, version = lock_version(tx, ref)
    deletable = tx.policy.for_model(model.name).deletable
    if not model.is_prompt and version.stage not in deletable:
        raise DeletionRefusedError(
            f"version {version.number} is in {version.stage}; only versions in "
            f"{', '.join(sorted(deletable)) or 'no stage'} may be deleted"
        )
    if version.stage not in UNUSED_STAGES:
        require_promoter(tx, [version.number])
    before = version_document(model.name, version)
    at = touch(model, version, tx.now)
    move_mlflow_time(at, model)
    tx.session.execute(delete(Alias).where(Alias.version_id == version.id))
    version.deleted_at = at
    version.exclusive_stage = None
    version.seal_after = None
    tx.session.flush()
    change = Change(
        action=DELETED, model=model.name, version=version.number, before=before
    )
    data = version_event(tx.caller, model, version)
    record_change(tx, model, change, data=data, at=at)


def require_promoter(tx: Transaction, in_use: Sequence[int]) -> None:
    """Versions in use are taken from where they are read by who may move them.

    Raises:
        PermissionDeniedError: when the caller may not, and there are any.
    """
    role = tx.caller.actor.role
    if in_use and not role.includes(Role.PROMOTER):
        raise PermissionDeniedError(
            f"versions {', '.join(map(str, in_use))} are in use: role {role} may not "
            f"take them away; it takes {Role.PROMOTER}"
        )


def lock_version(
    tx: Transaction, ref: VersionRef
) -> tuple[RegisteredModel, ModelVersion]:
    """The version as it stands, its model locked.

    Raises:
        NotFoundError: when model or version do not exist.
        StaleExpectationError: when the entity tag is not the present one.
    """
    model = queries.lock_model(tx.session, ref.model)
    version = queries.get_version(tx.session, model.name, ref.number)
    expect_etag(version, ref.if_match)
    return model, version


def expect_etag(version: ModelVersion, if_match: str | None) -> None:
    """Hold a caller's ``If-Match`` against the version.

    Raises:
        StaleExpectationError: when the version has changed since.
    """
    if if_match is not None and if_match != version_etag(version):
        raise StaleExpectationError(
            f"version {version.number} has changed since; its entity tag is "
            f'now "{version_etag(version)}"'
        )


def require_pending(version: ModelVersion) -> None:
    """An artifact may change only while its registration is pending.

    Raises:
        ConflictError: when it is complete or has failed.
    """
    if version.status != VersionStatus.PENDING_REGISTRATION:
        raise ConflictError(
            f"version {version.number} is {version.status}: its artifact is settled"
        )


def finish_version(
    tx: Transaction,
    model: RegisteredModel,
    version: ModelVersion,
    *,
    action: str,
    before: Document | None,
    in_detail: Sequence[tuple[str, Document]] = (),
) -> Document:
    """Record the change of a version and answer the version as it now stands."""
    version = queries.get_version(tx.session, model.name, version.number)
    document = version_document(model.name, version)
    change = Change(
        action=action,
        model=model.name,
        version=version.number,
        before=before,
        after=document,
    )
    data = {
        **version_event(tx.caller, model, version),
        "description": version.description,
    }
    record_change(
        tx, model, change, data=data, at=version.updated_at, in_detail=in_detail
    )
    return document
