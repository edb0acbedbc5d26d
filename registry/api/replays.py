"""Replays of a subscription: asked for, watched, cancelled."""

from typing import Any

from flask import Response, jsonify

from registry.api.blueprints import Blueprint
from registry.api.schemas.base import PageQuery
from registry.api.schemas.replays import (
    NewReplay,
    ReplayCount,
    ReplayDocument,
    ReplayPage,
)
from registry.auth.permissions import Permission, requires
from registry.persistence.database import reading_session
from registry.services import replays as service
from registry.services.replays import replay_document
from registry.web.commands import answer_once, commit
from registry.web.paging import decode_cursor, page

blueprint = Blueprint("replays", __name__, description="Replays of webhooks")


@blueprint.route("/webhooks/<name:webhook_id>/replay", methods=["POST"])
@requires(Permission.ADMIN)
@blueprint.arguments(NewReplay)
@blueprint.response(202, ReplayDocument)
@blueprint.alt_response(
    200, schema=ReplayCount, description="The count that a dry run asked for"
)
def create_replay(body: dict[str, Any], webhook_id: str) -> Response:
    """Send a range of settled deliveries again, or count them first.

    They keep their ids and bytes and are marked ``webhook-replay: true``. The answer
    comes at once; the worker sends at the pace that was asked for.
    """
    if body["dry_run"]:
        return answer_once(
            lambda: commit(lambda tx: service.count_replay(tx, webhook_id, body))
        )
    return answer_once(
        lambda: commit(
            lambda tx: service.create_replay(tx, webhook_id, body), status=202
        )
    )


@blueprint.route("/webhooks/<name:webhook_id>/replays", methods=["GET"])
@requires(Permission.ADMIN)
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, ReplayPage)
def list_replays(query: dict[str, Any], webhook_id: str) -> Response:
    """List a subscription's replays, newest first."""
    limit = query["limit"]
    rows = service.list_replays(
        reading_session(),
        webhook_id,
        limit=limit + 1,
        before=decode_cursor(query["cursor"], str),
    )
    return page(rows, limit, document=replay_document, key=lambda r: r.id)


@blueprint.route(
    "/webhooks/<name:webhook_id>/replays/<name:replay_id>", methods=["GET"]
)
@requires(Permission.ADMIN)
@blueprint.response(200, ReplayDocument)
def get_replay(webhook_id: str, replay_id: str) -> Response:
    """Show a replay and how far it has come."""
    found = service.get_replay(reading_session(), webhook_id, replay_id)
    return jsonify(replay_document(found))


@blueprint.route(
    "/webhooks/<name:webhook_id>/replays/<name:replay_id>", methods=["DELETE"]
)
@requires(Permission.ADMIN)
@blueprint.response(200, ReplayDocument)
@blueprint.alt_response(409, description="It has ended already")
def cancel_replay(webhook_id: str, replay_id: str) -> Response:
    """Cancel a replay; what it has stored already is still delivered."""
    return commit(lambda tx: service.cancel_replay(tx, webhook_id, replay_id))
