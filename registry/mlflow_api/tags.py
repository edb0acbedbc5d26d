"""Tags of models and versions: set, deleted; one at a time.

Deleting a tag that is not there is done already, and records nothing.
"""

from flask import Blueprint, Response, request

from registry.auth.permissions import Permission, requires
from registry.domain.commands.models import ChangeModel
from registry.domain.commands.versions import ChangeVersion
from registry.domain.names import Tags
from registry.mlflow_api.documents import Document
from registry.mlflow_api.reading import fields_of, in_field
from registry.mlflow_api.versions import VersionRef, version_ref
from registry.services.commands import execute
from registry.web.commands import commit

blueprint = Blueprint("tags", __name__, url_prefix="/mlflow")


@blueprint.post("/registered-models/set-tag")
@requires(Permission.WRITE, model=in_field("name"))
def set_registered_model_tag() -> Response:
    """Set a tag of a model."""
    fields = fields_of(request)
    tags = {fields.required("key"): fields.text("value")}
    return _tag_model(fields.required("name"), tags)


@blueprint.delete("/registered-models/delete-tag")
@requires(Permission.WRITE, model=in_field("name"))
def delete_registered_model_tag() -> Response:
    """Remove a tag of a model."""
    fields = fields_of(request)
    return _tag_model(fields.required("name"), {fields.required("key"): None})


@blueprint.post("/model-versions/set-tag")
@requires(Permission.WRITE, model=in_field("name"))
def set_model_version_tag() -> Response:
    """Set a tag of a version."""
    fields = fields_of(request)
    tags = {fields.required("key"): fields.text("value")}
    return _tag_version(version_ref(fields), tags)


@blueprint.delete("/model-versions/delete-tag")
@requires(Permission.WRITE, model=in_field("name"))
def delete_model_version_tag() -> Response:
    """Remove a tag of a version."""
    fields = fields_of(request)
    return _tag_version(version_ref(fields), {fields.required("key"): None})


def _tag_model(name: str, tags: Tags) -> Response:
    command = ChangeModel(model=name, tags=tags, is_idle_without_tags=True)
    return commit(lambda tx: _done(execute(tx, command)))


def _tag_version(ref: VersionRef, tags: Tags) -> Response:
    command = ChangeVersion(
        model=ref.model, number=ref.number, tags=tags, is_idle_without_tags=True
    )
    return commit(lambda tx: _done(execute(tx, command)))


def _done(_: object) -> Document:
    return {}
