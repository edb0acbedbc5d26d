"""Comments, known by their ids alone."""

from sqlalchemy import Connection, bindparam, select

from registry.domain.commands.comments import CreateComment, EditComment, no_comment
from registry.domain.rows import CommentRow
from registry.persistence.statements import COMMENTS, MODELS, VERSIONS
from registry.services.commands import execute
from registry.services.transaction import Transaction
from webhooks.events import new_sortable_id

_MODEL_OF = (
    select(MODELS.c.name)
    .join(VERSIONS, VERSIONS.c.model_id == MODELS.c.id)
    .join(COMMENTS, COMMENTS.c.version_id == VERSIONS.c.id)
    .where(
        COMMENTS.c.id == bindparam("comment"),
        VERSIONS.c.deleted_at.is_(None),
        MODELS.c.deleted_at.is_(None),
    )
)


def model_of_comment(cx: Connection, comment: str) -> str | None:
    """Return the name of the model that a comment is about; None where it is gone."""
    return cx.execute(_MODEL_OF, {"comment": comment}).scalar_one_or_none()


def create_comment(tx: Transaction, model: str, number: int, text: str) -> CommentRow:
    """Comment on a version; raises as ``CreateComment``."""
    return execute(
        tx,
        CreateComment(
            model=model,
            number=number,
            text=text,
            new_id=lambda at: new_sortable_id("cmt", at),
        ),
    )


def edit_comment(tx: Transaction, comment: str, text: str | None) -> CommentRow:
    """Write a comment anew, or remove it by None; raises as ``EditComment``.

    Its model is looked up without a lock; the comment is looked up again under it.
    """
    model = model_of_comment(tx.cx, comment)
    if model is None:
        raise no_comment(comment)
    return execute(tx, EditComment(model=model, comment=comment, text=text))
