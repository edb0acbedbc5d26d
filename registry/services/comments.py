"""Comments on a version: written, edited, removed.

Rules:

- Whoever wrote a comment edits and removes it, and so does an admin. The writer is a
  token: one of the same name is another writer.
- Comments are no part of a version's document and do not change its entity tag.
- They are announced to those who ask for them by type (``changes.OPT_IN``).
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.domain import names
from registry.domain.actors import Actor, Role
from registry.domain.timestamps import rfc3339
from registry.errors import InvalidInputError, NotFoundError, PermissionDeniedError
from registry.persistence import queries
from registry.persistence.tables import ModelVersion, RegisteredModel, VersionComment
from registry.services.audit import Change
from registry.services.changes import (
    COMMENT_DELETED,
    COMMENT_UPDATED,
    COMMENTED,
    record_change,
    touch,
    version_links,
)
from registry.services.documents import Document
from registry.services.transaction import Transaction
from webhooks.events import new_sortable_id

MAX_CHARACTERS = 65_535


@dataclass(frozen=True, kw_only=True)
class _Place:
    """A comment, its version and its model, the model locked."""

    model: RegisteredModel
    version: ModelVersion
    comment: VersionComment


def create_comment(
    tx: Transaction, model_name: str, number: int, text: str
) -> VersionComment:
    """Comment on a version.

    Raises:
        NotFoundError: when model or version do not exist.
        InvalidInputError: for a text that is empty or too long.
    """
    written = _clean(text)
    model = queries.lock_model(tx.session, model_name)
    version = queries.get_version(tx.session, model.name, number)
    at = touch(model, None, tx.now)
    comment = VersionComment(
        id=new_sortable_id("cmt", at),
        version_id=version.id,
        author=tx.caller.actor.name,
        author_token=tx.caller.actor.token_id,
        text=written,
        created_at=at,
        updated_at=at,
    )
    tx.session.add(comment)
    tx.session.flush()
    place = _Place(model=model, version=version, comment=comment)
    _record(tx, place, COMMENTED, before=None, after=_document(comment), at=at)
    return comment


def update_comment(tx: Transaction, comment_id: str, text: str) -> VersionComment:
    """Write a comment anew.

    Raises:
        NotFoundError: when there is no such comment.
        PermissionDeniedError: when somebody else wrote it.
        InvalidInputError: for a text that is empty or too long.
    """
    written = _clean(text)
    place = _lock(tx, comment_id)
    comment, before = place.comment, _document(place.comment)
    at = touch(place.model, None, tx.now)
    comment.text, comment.updated_at = written, at
    _record(tx, place, COMMENT_UPDATED, before=before, after=_document(comment), at=at)
    return comment


def delete_comment(tx: Transaction, comment_id: str) -> None:
    """Remove a comment; the audit log keeps its text.

    Raises:
        NotFoundError: when there is no such comment.
        PermissionDeniedError: when somebody else wrote it.
    """
    place = _lock(tx, comment_id)
    before = _document(place.comment)
    at = touch(place.model, None, tx.now)
    tx.session.delete(place.comment)
    _record(tx, place, COMMENT_DELETED, before=before, after=None, at=at)


def may_edit(actor: Actor, comment: VersionComment) -> bool:
    """Whether this actor may edit and remove the comment."""
    return actor.role.includes(Role.ADMIN) or actor.token_id == comment.author_token


def _clean(text: str) -> str:
    cleaned = names.clean_text(text, field="comment")
    if not cleaned.strip() or len(cleaned) > MAX_CHARACTERS:
        raise InvalidInputError(
            f"must have 1 to {MAX_CHARACTERS} characters and not be blank",
            field="comment",
        )
    return cleaned


def _lock(tx: Transaction, comment_id: str) -> _Place:
    """Find a comment that this caller may edit, under its model's lock."""
    name, _, _ = _find(tx.session, comment_id)
    model = queries.lock_model(tx.session, name)
    # Once more: it may have been removed while the lock was waited for.
    _, number, comment = _find(tx.session, comment_id)
    version = queries.get_version(tx.session, model.name, number)
    if not may_edit(tx.caller.actor, comment):
        raise PermissionDeniedError(
            f"{comment.author} wrote this comment; its writer or an admin edits it"
        )
    return _Place(model=model, version=version, comment=comment)


def _find(session: Session, comment_id: str) -> tuple[str, int, VersionComment]:
    found = session.execute(
        select(RegisteredModel.name, ModelVersion.number, VersionComment)
        .join(ModelVersion, ModelVersion.model_id == RegisteredModel.id)
        .join(VersionComment, VersionComment.version_id == ModelVersion.id)
        .where(
            VersionComment.id == comment_id,
            ModelVersion.deleted_at.is_(None),
            RegisteredModel.deleted_at.is_(None),
        )
        .execution_options(populate_existing=True)
    ).one_or_none()
    if found is None:
        raise NotFoundError(f"there is no comment {comment_id!r}")
    return found.name, found.number, found.VersionComment


def _document(comment: VersionComment) -> Document:
    return {
        "id": comment.id,
        "author": comment.author,
        "text": comment.text,
        "created_at": rfc3339(comment.created_at),
        "updated_at": rfc3339(comment.updated_at),
    }


def _record(
    tx: Transaction,
    place: _Place,
    action: str,
    *,
    before: Document | None,
    after: Document | None,
    at: datetime,
) -> None:
    model, version = place.model, place.version
    change = Change(
        action=action,
        model=model.name,
        version=version.number,
        before=before,
        after=after,
    )
    data = {
        "version": version.number,
        "comment_id": place.comment.id,
        "author": place.comment.author,
        **({} if after is None else {"comment": place.comment.text}),
        "links": version_links(tx.caller, model, version),
    }
    record_change(tx, model, change, data=data, at=at)
