"""``/mlflow/model-versions``: registered, shown, described, deleted.

Rules:

- A version's number travels as text. What is no number is refused; a number that
  no version can have is not found, without asking the database.
- A version that is pending is answered as such, and clients poll until its
  manifest is complete.
"""

from typing import NamedTuple

from flask import Blueprint, Response, jsonify, request

from registry.auth.permissions import Permission, requires
from registry.auth.sign_in import current_caller
from registry.domain.commands.registration import VersionDetails
from registry.domain.commands.versions import ChangeVersion, DeleteVersion
from registry.domain.names import MAX_SHORT_TEXT_CHARACTERS
from registry.domain.rows import VersionRow
from registry.domain.sources import MAX_SOURCE_CHARACTERS
from registry.errors import InvalidInputError, VersionNotFoundError
from registry.mlflow_api.documents import Document, full_version_document
from registry.mlflow_api.reading import Fields, fields_of, in_field
from registry.persistence import queries
from registry.persistence.database import reading
from registry.services.commands import execute
from registry.services.preparing import prepare_version
from registry.web.commands import answer_once, commit, parts

blueprint = Blueprint("versions", __name__, url_prefix="/mlflow/model-versions")

MAX_NUMBER = 2**31 - 1


class VersionRef(NamedTuple):
    """A version as a caller names it."""

    model: str
    number: int


def version_ref(fields: Fields) -> VersionRef:
    """Return the version that ``name`` and ``version`` name.

    Raises:
        InvalidInputError: when one is missing or no version number.
        VersionNotFoundError: when no version can have that number.
    """
    name, text = fields.required("name"), fields.required("version")
    return VersionRef(model=name, number=version_number(name, text))


def version_number(name: str, text: str) -> int:
    """Return the number in a version's text; raises as ``version_ref``."""
    try:
        number = int(text)
    except ValueError as error:
        raise InvalidInputError(
            f"Parameter 'version' must be an integer, got '{text[:80]}'."
        ) from error
    if not 1 <= number <= MAX_NUMBER:
        raise VersionNotFoundError(name, number)
    return number


def version_answer(version: VersionRow) -> Document:
    """Return the answer of every call that ends in a version."""
    return {"model_version": full_version_document(version)}


@blueprint.post("/create")
@requires(Permission.WRITE, model=in_field("name"))
def create_model_version() -> Response:
    """Register the next version of a model."""
    fields = fields_of(request)
    name, source = fields.required("name"), fields.required_address("source")
    details = VersionDetails(
        run_id=fields.text("run_id", maximum=MAX_SHORT_TEXT_CHARACTERS) or None,
        run_link=fields.text("run_link", maximum=MAX_SOURCE_CHARACTERS),
        logged_model_id=fields.text("model_id", maximum=MAX_SHORT_TEXT_CHARACTERS)
        or None,
        description=fields.description(),
        tags=fields.tags(),
    )
    return answer_once(lambda: _create(name, source, details))


def _create(name: str, source: str, details: VersionDetails) -> Response:
    queries.model_id(reading(), name)
    command = prepare_version(
        reading(),
        parts().source_readers,
        name,
        details,
        reader=current_caller().actor,
        source=source,
    )
    return commit(lambda tx: version_answer(execute(tx, command)))


@blueprint.get("/get")
@requires(Permission.READ, model=in_field("name"))
def get_model_version() -> Response:
    """Show a version."""
    name, number = version_ref(fields_of(request))
    return jsonify(version_answer(queries.get_version(reading(), name, number)))


@blueprint.patch("/update")
@requires(Permission.WRITE, model=in_field("name"))
def update_model_version() -> Response:
    """Describe a version; without a description it has none."""
    fields = fields_of(request)
    ref = version_ref(fields)
    changes = ChangeVersion(
        model=ref.model, number=ref.number, description=fields.description()
    )
    return commit(lambda tx: version_answer(execute(tx, changes)))


@blueprint.delete("/delete")
@requires(Permission.WRITE, model=in_field("name"))
def delete_model_version() -> Response:
    """Delete a version; its number is never used again."""
    ref = version_ref(fields_of(request))
    command = DeleteVersion(model=ref.model, number=ref.number)
    return commit(lambda tx: execute(tx, command) or {})
