"""Comments on a version: written, edited, removed.

Rules:

- Whoever wrote a comment edits and removes it, and so does an admin. The writer is a
  token: one of the same name is another writer.
- Comments are no part of a version's document and do not change its entity tag.
- They are announced to those who ask for them by type (``change.OPT_IN``).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from registry.domain import names
from registry.domain.actors import Actor, Role
from registry.domain.commands.change import (
    COMMENT_DELETED,
    COMMENT_UPDATED,
    COMMENTED,
    Context,
    Outcome,
    Snapshot,
    Want,
    effects,
    version_links,
)
from registry.domain.documents import comment_document
from registry.domain.entries import Change
from registry.domain.policy import StagePolicy
from registry.domain.rows import CommentRow, ModelRow, VersionRow
from registry.errors import InvalidInputError, NotFoundError, PermissionDeniedError

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
        """The version."""
        return Want(number=self.number)

    def decide(self, seen: Snapshot, context: Context) -> Outcome[CommentRow]:
        """The comment.

        Raises:
            NotFoundError: when there is no such version.
            InvalidInputError: for a text that is empty or too long.
        """
        version, model = seen.found(self.number), seen.model.touched(context.now)
        comment = CommentRow(
            id=self.new_id(model.updated_at),
            version_id=version.id,
            author=context.caller.actor.name,
            author_token=context.caller.actor.token_id,
            text=clean(self.text),
            created_at=model.updated_at,
            updated_at=model.updated_at,
        )
        return _Told(seen, context, model, version).outcome(
            COMMENTED, before=None, after=comment
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EditComment:
    """Write a comment anew, or remove it, by a text of None.

    Attributes:
        model: of its version, as it was found without a lock.
    """

    model: str
    comment: str
    text: str | None

    def want(self, _: StagePolicy) -> Want:
        """The comment, which may have been removed while the lock was waited for."""
        return Want(comment=self.comment)

    def decide(self, seen: Snapshot, context: Context) -> Outcome[CommentRow]:
        """The comment as it is from now on, or as it was.

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
        model = seen.model.touched(context.now)
        told = _Told(seen, context, model, version)
        if self.text is None:
            return told.outcome(COMMENT_DELETED, before=before, after=None)
        after = replace(before, text=clean(self.text), updated_at=model.updated_at)
        return told.outcome(COMMENT_UPDATED, before=before, after=after)


def no_comment(comment_id: str) -> NotFoundError:
    """What to raise when there is no such comment."""
    return NotFoundError(f"there is no comment {comment_id!r}")


def may_edit(actor: Actor, comment: CommentRow) -> bool:
    """Whether this actor may edit and remove the comment."""
    return actor.role.includes(Role.ADMIN) or actor.token_id == comment.author_token


def clean(text: str) -> str:
    """A comment's text in NFC.

    Raises:
        InvalidInputError: when it is empty or too long.
    """
    cleaned = names.clean_text(text, field="comment")
    if not cleaned.strip() or len(cleaned) > MAX_CHARACTERS:
        raise InvalidInputError(
            f"must have 1 to {MAX_CHARACTERS} characters and not be blank",
            field="comment",
        )
    return cleaned


@dataclass(frozen=True, slots=True)
class _Told:
    """Where a comment belongs."""

    seen: Snapshot
    context: Context
    model: ModelRow
    version: VersionRow

    def outcome(
        self, action: str, *, before: CommentRow | None, after: CommentRow | None
    ) -> Outcome[CommentRow]:
        """The outcome of a change of a comment, of which one at least is given."""
        comment = after or before
        assert comment is not None  # noqa: S101  # as said above
        change = Change(
            action=action,
            model=self.model.name,
            version=self.version.number,
            before=None if before is None else comment_document(before),
            after=None if after is None else comment_document(after),
        )
        data = {
            "version": self.version.number,
            "comment_id": comment.id,
            "author": comment.author,
            **({} if after is None else {"comment": after.text}),
            "links": version_links(
                self.context.caller, self.model.name, self.version.number
            ),
        }
        written = effects(
            self.seen,
            self.context,
            self.model,
            change,
            told=[(action, data)],
            removed=[before] if before and after is None else [],
            changed=[after] if before and after else [],
            added=[after] if after and before is None else [],
        )
        return Outcome(effects=written, answer=comment)
