"""``/mlflow/registered-models/alias``: set, read, deleted.

Rules, as MLflow's server and clients have them:

- ``latest``, in any case, is read as the highest version number and cannot be set.
- Reading an alias that is not set is a bad parameter, not a missing resource;
  deleting one that is not set is done already.
"""

from flask import Blueprint, Response, jsonify, request

from registry.auth.permissions import Permission, requires
from registry.domain.commands.aliases import DeleteAlias, SetAlias
from registry.domain.rows import VersionRow
from registry.errors import NotFoundError
from registry.mlflow_api.documents import Document, full_version_document
from registry.mlflow_api.reading import fields_of, in_field
from registry.mlflow_api.versions import version_number
from registry.persistence import queries
from registry.persistence.database import reading
from registry.persistence.latest import newest_version
from registry.services.commands import execute
from registry.web.commands import commit

blueprint = Blueprint("aliases", __name__, url_prefix="/mlflow/registered-models/alias")

_LATEST = "latest"


@blueprint.post("")
@requires(Permission.WRITE, model=in_field("name"))
def set_registered_model_alias() -> Response:
    """Point an alias at a version, wherever it pointed before."""
    fields = fields_of(request)
    name, alias = fields.required("name"), fields.required("alias")
    number = version_number(name, fields.required("version"))

    command = SetAlias(model=name, alias=alias, number=number)
    return commit(lambda tx: _done(execute(tx, command)))


@blueprint.get("")
@requires(Permission.READ, model=in_field("name"))
def get_model_version_by_alias() -> Response:
    """Show the version that an alias points at."""
    fields = fields_of(request)
    name, alias = fields.required("name"), fields.required("alias")
    version = _newest(name) if alias.lower() == _LATEST else _pointed_at(name, alias)
    return jsonify({"model_version": full_version_document(version)})


def _newest(name: str) -> VersionRow:
    version = newest_version(reading(), name)
    if version is None:
        raise NotFoundError(f"Latest version of Registered Model {name} not found")
    return version


def _pointed_at(name: str, alias: str) -> VersionRow:
    return queries.version_by_alias(reading(), name, alias)


@blueprint.delete("")
@requires(Permission.WRITE, model=in_field("name"))
def delete_registered_model_alias() -> Response:
    """Remove an alias."""
    fields = fields_of(request)
    name, alias = fields.required("name"), fields.required("alias")
    command = DeleteAlias(model=name, alias=alias, may_be_gone=True)
    return commit(lambda tx: _done(execute(tx, command)))


def _done(_: object) -> Document:
    return {}
