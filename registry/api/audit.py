"""The audit log: read, verified, exported."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from flask import Response, jsonify, stream_with_context

from registry.api.blueprints import Blueprint
from registry.api.schemas.admin import (
    AuditPage,
    AuditQuery,
    VerificationDocument,
    VerificationQuery,
)
from registry.auth.permissions import Permission, requires
from registry.persistence import queries
from registry.persistence.database import begin_snapshot, db
from registry.persistence.tables import AuditEntry
from registry.services import audit
from registry.web.changing import parts
from registry.web.paging import decode_cursor, page

blueprint = Blueprint("audit", __name__, description="The audit log")


@blueprint.route("/audit", methods=["GET"])
@requires(Permission.READ)
@blueprint.arguments(AuditQuery, location="query")
@blueprint.response(200, AuditPage)
def list_audit_entries(query: dict[str, Any]) -> Response:
    """List audit entries, newest first."""
    limit = query["limit"]
    rows = queries.list_audit_entries(
        db.session(),
        model=_name(query["model"]),
        below=decode_cursor(query["cursor"], int),
        limit=limit + 1,
    )
    return page(rows, limit, document=_document, key=lambda e: e.id)


@blueprint.route("/audit/verify", methods=["GET"])
@requires(Permission.READ)
@blueprint.arguments(VerificationQuery, location="query")
@blueprint.response(200, VerificationDocument)
@blueprint.alt_response(404, description="There is no such model")
@blueprint.alt_response(503, description="Two others are reading it")
def verify_audit(query: dict[str, Any]) -> Response:
    """Verify the hash chains: all of them, or one model's."""
    session, name = db.session(), _name(query["model"])
    chain = f"model:{queries.model_id(session, name)}" if name is not None else None
    begin_snapshot(session)
    with parts().rooms.audits.place():
        report = audit.verify_database(session, chain=chain)
    return jsonify({"ok": report.ok, **dataclasses.asdict(report)})


@blueprint.route("/audit/export", methods=["GET"])
@requires(Permission.READ)
@blueprint.response(200, {"type": "string"}, content_type="application/x-ndjson")
def export_audit() -> Response:
    """Export the whole log as JSON lines, to be verified offline."""
    session = db.session()
    begin_snapshot(session)

    def lines() -> Iterator[str]:
        for line in audit.export(session):
            yield line + "\n"

    return Response(stream_with_context(lines()), mimetype="application/x-ndjson")


def _name(given: str | None) -> str | None:
    """A name that the database can be asked for."""
    return None if given is None else given.replace("\0", "\ufffd")


def _document(entry: AuditEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "chain": entry.chain,
        "n": entry.n,
        "at": entry.at,
        "action": entry.action,
        "actor": entry.actor,
        "model": entry.model,
        "version": entry.version,
        "prev_hash": entry.prev_hash,
        "hash": entry.hash,
        "entry": entry.canonical,
    }
