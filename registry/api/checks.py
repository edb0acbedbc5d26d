"""Checks that CI reports on versions, and holds of stages."""

from typing import Any

from flask import Response, jsonify

from registry.api.blueprints import Blueprint
from registry.api.schemas.requests import CheckList, LiftedHold, NewCheck, NewHold
from registry.auth.permissions import Permission, requires
from registry.domain.commands.checks import ReportCheck
from registry.domain.commands.holds import LiftHold, SetHold
from registry.domain.documents import CheckDocument, check_document
from registry.domain.holds import HoldDocument
from registry.domain.rows import CheckStatus
from registry.domain.timestamps import parse_rfc3339
from registry.persistence.database import reading
from registry.persistence.requests import list_checks
from registry.services.commands import execute
from registry.web.commands import answer_once, commit

blueprint = Blueprint("checks", __name__, description="Checks and holds")
_CHECKS = "/models/<name:name>/versions/<number:number>/checks"
_HOLD = "/models/<name:name>/holds/<name:stage>"


@blueprint.route(_CHECKS, methods=["POST"])
@requires(Permission.WRITE)
@blueprint.arguments(NewCheck)
@blueprint.response(200, CheckDocument)
def report_check(body: dict[str, Any], name: str, number: int) -> Response:
    """Report the result of a check; the last one of its name counts."""
    body["status"] = CheckStatus(body["status"])
    check = body.pop("name")
    command = ReportCheck(model=name, number=number, name=check, **body)
    return answer_once(lambda: commit(lambda tx: check_document(execute(tx, command))))


@blueprint.route(_CHECKS, methods=["GET"])
@requires(Permission.READ)
@blueprint.response(200, CheckList)
def get_checks(name: str, number: int) -> Response:
    """List the checks of a version, by name."""
    checks = list_checks(reading(), name, number)
    items = [check_document(check) for check in checks]
    return jsonify({"items": items, "next_cursor": None})


@blueprint.route(_HOLD, methods=["PUT"])
@requires(Permission.PROMOTE)
@blueprint.arguments(NewHold)
@blueprint.response(200, HoldDocument)
def set_hold(body: dict[str, Any], name: str, stage: str) -> Response:
    """Keep every version of a model out of a stage, until an instant or for good."""
    until = body["until"] and parse_rfc3339(body["until"], field="until")
    command = SetHold(model=name, stage=stage, reason=body["reason"], until=until)
    return commit(lambda tx: execute(tx, command).document)


@blueprint.route(_HOLD, methods=["DELETE"])
@requires(Permission.PROMOTE)
@blueprint.arguments(LiftedHold, location="query")
@blueprint.response(204)
def lift_hold(query: dict[str, Any], name: str, stage: str) -> Response:
    """Let versions into a stage again; a person does that, not a CI job."""
    command = LiftHold(model=name, stage=stage, reason=query["reason"])
    return commit(lambda tx: execute(tx, command))
