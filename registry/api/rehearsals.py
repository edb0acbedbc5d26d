"""``/rehearsals``: what would become of changes, and no change."""

from typing import Any

from flask import Response, jsonify

from registry.api.blueprints import Blueprint
from registry.api.schemas.versions import NewRehearsal, RehearsalDocument
from registry.auth.permissions import Permission, requires
from registry.persistence.database import db
from registry.services import rehearsals
from registry.services.models import ModelChanges
from registry.services.preparing import PreparedVersion, prepare_version, with_owner
from registry.services.registration import VersionDetails
from registry.services.rehearsals import Rehearsal
from registry.services.transitions import MoveRequest
from registry.services.versions import VersionChanges
from registry.web.changing import carried_out_and_undone, parts
from registry.web.verification import verified_move

blueprint = Blueprint("rehearsals", __name__, description="Changes not made")


@blueprint.route("/rehearsals", methods=["POST"])
@requires(Permission.PROMOTE)
@blueprint.arguments(NewRehearsal)
@blueprint.response(200, RehearsalDocument)
@blueprint.alt_response(409, description="A change would be refused")
@blueprint.alt_response(503, description="The artifact store did not answer")
def rehearse(body: dict[str, Any]) -> Response:
    """Answer as changes would be answered, and make none of them.

    The model is created when it is missing; a version is registered, or one that is
    there is changed; it enters stages and gets aliases.
    """
    name = body["name"]
    changes = Rehearsal(
        model=ModelChanges(**body["model"]),
        version=_prepared(body["version"]),
        number=body["number"],
        changes=VersionChanges(**body["changes"]) if body["changes"] else None,
        through=body["through"],
        verified_digest=_verified_digest(name, body),
        aliases=body["aliases"],
    )
    version = carried_out_and_undone(
        lambda tx: rehearsals.rehearse(
            tx, name, changes, artifact_root=parts().store.root_uri
        )
    )
    return jsonify({"version": version})


def _prepared(version: dict[str, Any] | None) -> PreparedVersion | None:
    if version is None:
        return None
    source = version.pop("source", None)
    details = with_owner(VersionDetails(**version), source)
    return prepare_version(db.session(), parts().source_readers, details, source=source)


def _verified_digest(name: str, body: dict[str, Any]) -> str | None:
    """The digest of a version that is there, hashed if its first move asks for it."""
    if body["version"] or body["number"] is None or not body["through"]:
        return None
    move = MoveRequest(model=name, number=body["number"], to_stage=body["through"][0])
    return verified_move(move, records=False).verified_digest
