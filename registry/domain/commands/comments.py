"""Comments on a version: written, edited, removed.

Rules:

- Whoever wrote a comment edits and removes it, and so does an admin. The writer is a
  token: one of the same name is another writer.
- Comments are no part of a version's document and do not change its entity tag.
- They are announced to those who ask for them by type (``events.OPT_IN``).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from registry.domain import names
from registry.domain.actors import Actor, may
from registry.domain.commands.change import (
    Context,
    Outcome,
    Snapshot,
    Want,
    about_version,
    outcome,
)
from registry.domain.documents import comment_document
from registry.domain.entries import Change
from registry.domain.events import (
    COMMENT_DELETED,
    COMMENT_UPDATED,
    COMMENTED,
    Comment,
    CommentText,
)
from registry.domain.policy import StagePolicy
from registry.domain.roles import Action
from registry.domain.rows import CommentRow, VersionRow
from registry.errors import NotFoundError, PermissionDeniedError

MAX_CHARACTERS = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateComment:
    """Comment on a version.

    Attributes:
        new_id: gives an id that sorts by the instant of the change.
    """

    model: str
    number: int
    text: str
    new_id: Callable[[datetime], str]

    def want(self, _: StagePolicy) -> Want:
        """Ask for the version."""
        return Want(number=self.number)

    def decide(self, seen: Snapshot, context: Context) -> Outcome[CommentRow]:
        """Decide what the comment is.

        Raises:
            NotFoundError: when there is no such version.
            InvalidInputError: for a text that is empty or too long.
        """
        version, at = seen.require_version(self.number), seen.at(context)
        actor = context.caller.actor
        comment = CommentRow(
            id=self.new_id(at),
            version_id=version.id,
            author=actor.name,
            author_token=actor.principal,
            text=clean(self.text),
            created_at=at,
            updated_at=at,
        )
        return _outcome(seen, context, version, COMMENTED, before=None, after=comment)


@dataclass(frozen=True, slots=True, kw_only=True)
class EditComment:
    """Write a comment anew, or remove it, by a text of None.

    Attributes:
        model: of its version, as it was looked up without a lock.
    """

    model: str
    comment: str
    text: str | None

    def want(self, _: StagePolicy) -> Want:
        """Ask for the comment, which may have been removed meanwhile."""
        return Want(comment=self.comment)

    def decide(self, seen: Snapshot, context: Context) -> Outcome[CommentRow]:
        """Decide what the comment says from now on.

        Raises:
            NotFoundError: when there is no such comment.
            PermissionDeniedError: when somebody else wrote it.
            InvalidInputError: for a text that is empty or too long.
        """
        before, version = seen.comment, seen.version
        if before is None or version is None:
            raise no_comment(self.comment)
        if not may_edit(context.caller.actor, before):
            raise PermissionDeniedError(
                f"{before.author} wrote this comment; its writer or an admin edits it"
            )
        if self.text is None:
            action, after = COMMENT_DELETED, None
        else:
            action, at = COMMENT_UPDATED, seen.at(context)
            after = replace(before, text=clean(self.text), updated_at=at)
        return _outcome(seen, context, version, action, before=before, after=after)


def no_comment(comment_id: str) -> NotFoundError:
    """Return what to raise when there is no such comment."""
    return NotFoundError(f"there is no comment {comment_id!r}")


def may_edit(actor: Actor, comment: CommentRow) -> bool:
    """Whether this actor may edit and remove the comment."""
    return may(actor, Action.ADMINISTER) or actor.principal == comment.author_token


def clean(text: str) -> str:
    """Return a comment's text as it is stored."""
    return names.filled_text(text, field="comment", most=MAX_CHARACTERS)


def _outcome(
    seen: Snapshot,
    context: Context,
    version: VersionRow,
    action: str,
    *,
    before: CommentRow | None,
    after: CommentRow | None,
) -> Outcome[CommentRow]:
    """Return the outcome of a change of a comment, which is there before or after."""
    comment, model = after or before, seen.model
    assert comment is not None  # noqa: S101  # as said above
    told: Comment | CommentText = {"comment_id": comment.id, "author": comment.author}
    if after is not None:
        told = {**told, "comment": after.text}
    return outcome(
        seen,
        context,
        model.touched(context.now),
        Change(
            action=action,
            version=version.number,
            before=None if before is None else comment_document(before),
            after=None if after is None else comment_document(after),
        ),
        data={**about_version(context, model, version), **told},
        removed=[before] if before and after is None else [],
        changed=[after] if before and after else [],
        added=[after] if after and before is None else [],
        answer=comment,
    )
