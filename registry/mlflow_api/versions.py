"""``/mlflow/model-versions``: registered, shown, described, deleted.

Rules (protocol reference, section 4):

- A version's number travels as text. What is no number is refused; a number that
  no version can have is not found, without asking the database.
- A version that is pending is answered as such, and clients poll until its
  manifest is complete.
"""

from flask import Blueprint, Response, jsonify, request
from sqlalchemy.orm import Session

from registry.auth.permissions import Permission, requires
from registry.domain.names import MAX_SHORT_TEXT_CHARACTERS
from registry.domain.sources import MAX_SOURCE_CHARACTERS
from registry.errors import InvalidInputError, VersionNotFoundError
from registry.mlflow_api.documents import Document, full_version_document
from registry.mlflow_api.reading import Fields, fields_of
from registry.persistence import queries
from registry.persistence.database import db
from registry.services import registration, versions
from registry.services.preparing import prepare_version
from registry.services.registration import VersionDetails
from registry.services.transaction import Transaction
from registry.services.versions import VersionChanges, VersionRef
from registry.web.changing import answer_once, commit, parts

blueprint = Blueprint("versions", __name__, url_prefix="/mlflow/model-versions")

MAX_NUMBER = 2**31 - 1


def version_ref(fields: Fields) -> VersionRef:
    """The version that ``name`` and ``version`` name.

    Raises:
        InvalidInputError: when one is missing or no version number.
        VersionNotFoundError: when no version can have that number.
    """
    name, text = fields.required("name"), fields.required("version")
    return VersionRef(model=name, number=version_number(name, text))


def version_number(name: str, text: str) -> int:
    """The number in a version's text; raises as ``version_ref``."""
    try:
        number = int(text)
    except ValueError as error:
        raise InvalidInputError(
            f"Parameter 'version' must be an integer, got '{text[:80]}'."
        ) from error
    if not 1 <= number <= MAX_NUMBER:
        raise VersionNotFoundError(name, number)
    return number


def version_answer(session: Session, ref: VersionRef) -> Document:
    """The answer of every call that ends in a version."""
    version = queries.get_version(session, ref.model, ref.number)
    return {"model_version": full_version_document(ref.model, version)}


@blueprint.post("/create")
@requires(Permission.WRITE)
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
    return answer_once(lambda: _created(name, source, details))


def _created(name: str, source: str, details: VersionDetails) -> Response:
    queries.model_id(db.session(), name)
    prepared = prepare_version(
        db.session(), parts().source_readers, details, source=source
    )

    def work(tx: Transaction) -> Document:
        document = registration.create_version(
            tx,
            name,
            prepared.details,
            link=prepared.link,
            artifact_root=parts().store.root_uri,
        )
        ref = VersionRef(model=name, number=document["version"])
        return version_answer(tx.session, ref)

    return commit(work)


@blueprint.get("/get")
@requires(Permission.READ)
def get_model_version() -> Response:
    """Show a version."""
    return jsonify(version_answer(db.session(), version_ref(fields_of(request))))


@blueprint.patch("/update")
@requires(Permission.WRITE)
def update_model_version() -> Response:
    """Describe a version; without a description it has none."""
    fields = fields_of(request)
    ref = version_ref(fields)
    changes = VersionChanges(description=fields.description())

    def work(tx: Transaction) -> Document:
        versions.update_version(tx, ref, changes)
        return version_answer(tx.session, ref)

    return commit(work)


@blueprint.delete("/delete")
@requires(Permission.WRITE)
def delete_model_version() -> Response:
    """Delete a version; its number is never used again."""
    ref = version_ref(fields_of(request))

    def work(tx: Transaction) -> Document:
        versions.delete_version(tx, ref)
        return {}

    return commit(work)
