"""``/rehearsals``: what would become of changes, and no change."""

from dataclasses import replace
from typing import Any, cast

from flask import Response, jsonify

from registry.api.blueprints import Blueprint
from registry.api.schemas.versions import NewRehearsal, RehearsalDocument
from registry.auth.permissions import Permission, in_body, requires
from registry.auth.sign_in import current_caller
from registry.domain.commands.models import ChangeModel
from registry.domain.commands.registration import RegisterVersion, VersionDetails
from registry.domain.commands.versions import ChangeVersion
from registry.domain.documents import version_document
from registry.domain.rows import VersionRow
from registry.errors import VerificationNeededError
from registry.persistence.database import reading
from registry.services import rehearsals
from registry.services.preparing import prepare_version
from registry.services.rehearsals import Rehearsal
from registry.services.sources import with_owner
from registry.web.commands import parts, run_without_commit
from registry.web.verification import verified_digest

blueprint = Blueprint("rehearsals", __name__, description="Changes not made")


@blueprint.route("/rehearsals", methods=["POST"])
@requires(Permission.PROMOTE, model=in_body("name"))
@blueprint.arguments(NewRehearsal)
@blueprint.response(200, RehearsalDocument)
@blueprint.alt_response(409, description="A change would be refused")
@blueprint.alt_response(503, description="The artifact store did not answer")
def rehearse(body: dict[str, Any]) -> Response:
    """Answer as changes would be answered, and make none of them.

    The model is created when it is missing; a version is registered, or one that is
    there is changed; it enters stages and gets aliases.
    """
    changes = _rehearsal(body)
    try:
        return _answer(changes)
    except VerificationNeededError as needed:
        digest = verified_digest(cast("VersionRow", needed.version), records=False)
    return _answer(replace(changes, verified_digest=digest))


def _answer(changes: Rehearsal) -> Response:
    version = run_without_commit(lambda tx: rehearsals.rehearse(tx, changes))
    return jsonify({"version": version and version_document(version)})


def _rehearsal(body: dict[str, Any]) -> Rehearsal:
    name, number = body["name"], body["number"]
    changed = body["changes"]
    return Rehearsal(
        model=ChangeModel(model=name, **body["model"]),
        version=_registration(name, number, body["version"]),
        number=number,
        changes=ChangeVersion(model=name, number=number, **changed)
        if changed
        else None,
        through=body["through"],
        aliases=body["aliases"],
    )


def _registration(
    name: str, number: int | None, version: dict[str, Any] | None
) -> RegisterVersion | None:
    if version is None:
        return None
    source = version.pop("source", None)
    details = with_owner(VersionDetails(**version), source)
    return prepare_version(
        reading(),
        parts().source_readers,
        name,
        details,
        reader=current_caller().actor,
        source=source,
        at_least=number or 1,
    )
