"""``/mlflow/registered-models``: registered, shown, described, renamed, deleted."""

from flask import Blueprint, Response, jsonify, request
from sqlalchemy import Connection

from registry.auth.permissions import Permission, requires
from registry.domain.commands.models import ChangeModel, CreateModel, DeleteModel
from registry.mlflow_api.documents import Document, model_document
from registry.mlflow_api.reading import fields_of, in_field
from registry.persistence.database import reading
from registry.persistence.latest import model_with_latest
from registry.services.commands import create, execute
from registry.services.subscriptions import change_model
from registry.services.transaction import Transaction
from registry.web.commands import commit, parts

blueprint = Blueprint("models", __name__, url_prefix="/mlflow/registered-models")


@blueprint.post("/create")
@requires(Permission.WRITE, model=in_field("name"))
def create_registered_model() -> Response:
    """Register a model."""
    fields = fields_of(request)
    name, description = fields.required("name"), fields.description()
    tags = fields.tags()

    def work(tx: Transaction) -> Document:
        create(tx, CreateModel(model=name, description=description, tags=tags))
        return _answer(tx.cx, name)

    return commit(work)


@blueprint.get("/get")
@requires(Permission.READ, model=in_field("name"))
def get_registered_model() -> Response:
    """Show a model with its latest version of each stage."""
    return jsonify(_answer(reading(), fields_of(request).required("name")))


@blueprint.patch("/update")
@requires(Permission.WRITE, model=in_field("name"))
def update_registered_model() -> Response:
    """Describe a model; without a description it has none."""
    fields = fields_of(request)
    name, description = fields.required("name"), fields.description()
    return _change(ChangeModel(model=name, description=description))


@blueprint.post("/rename")
@requires(Permission.WRITE, model=in_field("name", "new_name"))
def rename_registered_model() -> Response:
    """Rename a model with all that belongs to it."""
    fields = fields_of(request)
    name, new_name = fields.required("name"), fields.required("new_name")
    return _change(ChangeModel(model=name, name=new_name))


@blueprint.delete("/delete")
@requires(Permission.WRITE, model=in_field("name"))
def delete_registered_model() -> Response:
    """Delete a model; its history and audit log stay."""
    command = DeleteModel(model=fields_of(request).required("name"))
    return commit(lambda tx: execute(tx, command) or {})


def _change(changes: ChangeModel) -> Response:
    return commit(lambda tx: _answer(tx.cx, change_model(tx, changes).row.name))


def _answer(cx: Connection, name: str) -> Document:
    stages = parts().policy.for_model(name).stages
    model, latest = model_with_latest(cx, name, stages)
    return {"registered_model": model_document(model, latest)}
