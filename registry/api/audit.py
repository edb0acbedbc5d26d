"""The audit log: read, verified, exported.

Rules:

- What is listed is read from the sealed texts, not from the columns beside them.
- Who is neither auditor nor admin sees no private parts, and entries of the first
  version redacted (``domain.audit_privacy``).
- Who may not read every model sees the chains of those that they may read.
"""

import dataclasses
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from flask import Response, jsonify
from sqlalchemy import Row

from registry.api.blueprints import Blueprint
from registry.api.schemas.admin import (
    AuditPage,
    AuditQuery,
    VerificationDocument,
    VerificationQuery,
)
from registry.auth.permissions import MANY, Permission, in_query, requires
from registry.auth.sign_in import current_caller
from registry.domain import audit_privacy
from registry.domain.actors import may, readable
from registry.domain.audit_chain import VerificationReport, member
from registry.domain.roles import Action
from registry.persistence import audit_entries, queries
from registry.persistence.database import (
    begin_snapshot,
    db,
    end_reading,
    reading,
    session_factory,
)
from registry.services import audit
from registry.web.commands import parts
from registry.web.paging import decode_cursor, page

blueprint = Blueprint("audit", __name__, description="The audit log")


@blueprint.route("/audit", methods=["GET"])
@requires(Permission.READ, model=MANY)
@blueprint.arguments(AuditQuery, location="query")
@blueprint.response(200, AuditPage)
def list_audit_entries(query: dict[str, Any]) -> Response:
    """List audit entries, newest first."""
    limit, name = query["limit"], _name(query["model"])
    rows = audit_entries.list_audit_entries(
        reading(),
        model=name,
        below=decode_cursor(query["cursor"], int),
        limit=limit + 1,
        readable=list(readable(current_caller().actor)),
    )

    def shown(row: Row[Any]) -> dict[str, Any] | None:
        """Its document, where it is asked for; it may be what cannot be read."""
        document = entry_document(row)
        is_meant = name in {None, document["model"]} or document["action"] is None
        return document if is_meant else None

    return page(rows, limit, document=shown, key=lambda e: e.id)


@blueprint.route("/audit/verify", methods=["GET"])
@requires(Permission.READ, model=in_query("model"))
@blueprint.arguments(VerificationQuery, location="query")
@blueprint.response(200, VerificationDocument)
@blueprint.alt_response(404, description="There is no such model")
@blueprint.alt_response(503, description="Two others are reading it")
def verify_audit(query: dict[str, Any]) -> Response:
    """Verify the hash chains: all of them, or one model's."""
    report = verification(_name(query["model"]))
    return jsonify(
        {
            "ok": report.ok,
            "entries": report.entries,
            "chains": report.chains,
            "damage": [dataclasses.asdict(damage) for damage in report.damage],
            "limits": report.limits,
        }
    )


def verification(model: str | None) -> VerificationReport:
    """Verify all chains, or one model's, where there is a place for that.

    Raises:
        ModelNotFoundError: there is no such model.
        BusyError: two others are reading the log.
    """
    chain = None if model is None else f"model:{queries.model_id(reading(), model)}"
    end_reading()
    session = db.session()
    begin_snapshot(session)
    with parts().rooms.audits.place():
        return audit.verify_database(session, chain=chain)


@blueprint.route("/audit/export", methods=["GET"])
@requires(Permission.READ, model=MANY)
@blueprint.response(200, {"type": "string"}, content_type="application/x-ndjson")
@blueprint.alt_response(503, description="Two others are reading it")
def export_audit() -> Response:
    """Export the whole log as JSON lines, to be verified offline.

    Private parts, such as source addresses, are in the export of an admin. Who may not
    read every model is given the chains of those that they may read.
    """
    # The request's own session ends with the request, before a line is sent.
    sessions, with_private = session_factory(db.engine), _sees_all()
    of_models = list(readable(current_caller().actor))
    # A client that reads slowly holds a connection: who comes third is told so.
    holding = ExitStack()
    holding.enter_context(parts().rooms.audits.place())

    def lines() -> Iterator[str]:
        with sessions() as session:
            begin_snapshot(session)
            for line in audit.export(
                session, with_private=with_private, readable=of_models
            ):
                yield line + "\n"

    answer = Response(lines(), mimetype="application/x-ndjson")
    answer.call_on_close(holding.close)
    return answer


def _name(name: str | None) -> str | None:
    """Return a name that the database can be asked for."""
    return None if name is None else name.replace("\0", "\ufffd")


def _sees_all() -> bool:
    return may(current_caller().actor, Action.AUDIT)


def entry_document(row: Row[Any]) -> dict[str, Any]:
    """Return an entry as the present caller may see it.

    What is sealed may have been edited: a member of another type is as none.
    """
    entry = audit.sealed_entry(row)
    if not _sees_all():
        entry = audit_privacy.public(entry)
    text = {name: value for name, value in entry.text.items() if isinstance(value, str)}
    actor, version = member(entry.text, "actor.name"), entry.text.get("version")
    is_number = type(version) is int and version > 0
    return {
        "id": row.id,
        "chain": entry.chain,
        "n": entry.n,
        "at": text.get("at"),
        "action": text.get("action"),
        "actor": actor if isinstance(actor, str) else None,
        "model": text.get("model"),
        "version": version if is_number else None,
        "source_ip": audit_privacy.source_ip(entry),
        "prev_hash": entry.prev_hash,
        "hash": entry.hash,
        "entry": entry.canonical,
        "private": entry.private,
        "is_redacted": entry.is_redacted,
    }
