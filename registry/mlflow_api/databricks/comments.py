"""``/mlflow/comments``: comments on a version, edited by who wrote them."""

from flask import Blueprint, Response, request

from registry.auth.permissions import Permission, known_by, requires
from registry.domain.rows import CommentRow
from registry.mlflow_api.documents import Document, milliseconds
from registry.mlflow_api.reading import fields_anywhere, fields_of, in_field
from registry.mlflow_api.versions import version_ref
from registry.persistence.database import reading
from registry.services.comments import create_comment as commented
from registry.services.comments import edit_comment, model_of_comment
from registry.services.transaction import Transaction
from registry.web.commands import commit

blueprint = Blueprint("comments", __name__, url_prefix="/mlflow/comments")


@blueprint.post("/create")
@requires(Permission.WRITE, model=in_field("name"))
def create_comment() -> Response:
    """Comment on a version."""
    fields = fields_of(request)
    ref, text = version_ref(fields), fields.required("comment")
    return commit(lambda tx: _shown(commented(tx, ref.model, ref.number, text)))


def _model_updated() -> str | None:
    return model_of_comment(reading(), fields_of(request).required("id"))


def _model_left() -> str | None:
    return model_of_comment(reading(), fields_anywhere(request).required("id"))


@blueprint.patch("/update")
@requires(Permission.WRITE, model=known_by(_model_updated))
def update_comment() -> Response:
    """Write a comment anew."""
    fields = fields_of(request)
    comment_id, text = fields.required("id"), fields.required("comment")
    return commit(lambda tx: _shown(edit_comment(tx, comment_id, text)))


@blueprint.delete("/delete")
@requires(Permission.WRITE, model=known_by(_model_left))
def delete_comment() -> Response:
    """Remove a comment."""
    comment_id = fields_anywhere(request).required("id")

    def work(tx: Transaction) -> Document:
        edit_comment(tx, comment_id, None)
        return {}

    return commit(work)


def _shown(comment: CommentRow) -> Document:
    """Return a ``Comment``; only who may edit it is shown one in an answer."""
    return {
        "comment": {
            "id": comment.id,
            "user_id": comment.author,
            "comment": comment.text,
            "creation_timestamp": milliseconds(comment.created_at),
            "last_updated_timestamp": milliseconds(comment.updated_at),
            "available_actions": ["EDIT_COMMENT", "DELETE_COMMENT"],
        }
    }
