"""Tags of models and versions: set, deleted; one at a time.

Deleting a tag that is not there is done already, and records nothing.
"""

from flask import Blueprint, Response, request

from registry.auth.permissions import Permission, requires
from registry.domain import names
from registry.mlflow_api.documents import Document
from registry.mlflow_api.reading import fields_of
from registry.mlflow_api.versions import version_ref
from registry.persistence import queries
from registry.services import models, versions
from registry.services.models import ModelChanges
from registry.services.tags import Tags
from registry.services.transaction import Transaction
from registry.services.versions import VersionChanges, VersionRef
from registry.web.changing import commit

blueprint = Blueprint("tags", __name__, url_prefix="/mlflow")


@blueprint.post("/registered-models/set-tag")
@requires(Permission.WRITE)
def set_registered_model_tag() -> Response:
    """Set a tag of a model."""
    fields = fields_of(request)
    tags = {fields.required("key"): fields.text("value")}
    return _tag_model(fields.required("name"), tags)


@blueprint.delete("/registered-models/delete-tag")
@requires(Permission.WRITE)
def delete_registered_model_tag() -> Response:
    """Remove a tag of a model."""
    fields = fields_of(request)
    return _tag_model(fields.required("name"), {fields.required("key"): None})


@blueprint.post("/model-versions/set-tag")
@requires(Permission.WRITE)
def set_model_version_tag() -> Response:
    """Set a tag of a version."""
    fields = fields_of(request)
    tags = {fields.required("key"): fields.text("value")}
    return _tag_version(version_ref(fields), tags)


@blueprint.delete("/model-versions/delete-tag")
@requires(Permission.WRITE)
def delete_model_version_tag() -> Response:
    """Remove a tag of a version."""
    fields = fields_of(request)
    return _tag_version(version_ref(fields), {fields.required("key"): None})


def _tag_model(name: str, tags: Tags) -> Response:
    def work(tx: Transaction) -> Document:
        queries.lock_model(tx.session, name)
        present = queries.get_model(tx.session, name).tags or {}
        if _changes_something(tags, present):
            models.update_model(tx, name, ModelChanges(tags=tags))
        return {}

    return commit(work)


def _tag_version(ref: VersionRef, tags: Tags) -> Response:
    def work(tx: Transaction) -> Document:
        _, version = versions.lock_version(tx, ref)
        if _changes_something(tags, version.tags or {}):
            versions.update_version(tx, ref, VersionChanges(tags=tags))
        return {}

    return commit(work)


def _changes_something(tags: Tags, present: Tags) -> bool:
    """Whether any of these would be set, or is there to be removed."""
    return any(
        value is not None or key in present for key, value in names.tags(tags).items()
    )
