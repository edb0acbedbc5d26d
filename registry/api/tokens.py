"""Tokens, and who is signed in."""

from typing import Any

from flask import Response, jsonify

from registry.api.blueprints import Blueprint
from registry.api.schemas.admin import (
    CallerDocument,
    CreatedToken,
    NewToken,
    TokenPage,
)
from registry.api.schemas.base import PageQuery
from registry.auth.permissions import NONE, Permission, requires
from registry.auth.sign_in import current_caller
from registry.domain.actors import Actor
from registry.domain.documents import token_document
from registry.domain.roles import Grant, Scope
from registry.persistence.database import reading
from registry.services import tokens
from registry.services.transaction import Transaction
from registry.web.commands import answer_once, commit
from registry.web.paging import decode_cursor, page

blueprint = Blueprint("tokens", __name__, description="Bearer tokens")


@blueprint.route("/whoami", methods=["GET"])
@requires(Permission.READ, model=NONE)
@blueprint.response(200, CallerDocument)
def whoami() -> Response:
    """Show who is signed in, and what they may do."""
    return jsonify(caller_document(current_caller().actor))


def caller_document(actor: Actor) -> CallerDocument:
    """Return an actor as it is told itself."""
    scopes = actor.scopes
    return {
        "name": actor.name,
        "kind": actor.kind,
        "roles": list(map(str, actor.grants)),
        "scopes": None if scopes is None else list(map(str, scopes)),
    }


@blueprint.route("/tokens", methods=["GET"])
@requires(Permission.ADMIN)
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, TokenPage)
def list_tokens(query: dict[str, Any]) -> Response:
    """List tokens, the revoked ones too."""
    limit = query["limit"]
    rows = tokens.list_tokens(
        reading(), after=decode_cursor(query["cursor"], str), limit=limit + 1
    )
    return page(rows, limit, document=token_document, key=lambda t: t.id)


@blueprint.route("/tokens", methods=["POST"])
@requires(Permission.ADMIN)
@blueprint.arguments(NewToken)
@blueprint.response(201, CreatedToken)
def create_token(body: dict[str, Any]) -> Response:
    """Make a token; it is shown this once."""
    scopes = body["scopes"]

    def work(tx: Transaction) -> dict[str, Any]:
        document, secret = tokens.create_token(
            tx,
            body["name"],
            Grant.parse(body["role"], body["models"]),
            scopes=None if scopes is None else list(map(Scope.parse, scopes)),
            expires_in_days=body["expires_in_days"],
        )
        return {**document, "token": secret}

    return answer_once(lambda: commit(work, status=201))


@blueprint.route("/tokens/<name:token_id>", methods=["DELETE"])
@requires(Permission.ADMIN)
@blueprint.response(204)
def revoke_token(token_id: str) -> Response:
    """Revoke a token, from its next request on."""
    return commit(lambda tx: tokens.revoke_token(tx, token_id))
