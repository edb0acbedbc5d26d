"""Webhook subscriptions, their deliveries and attempts."""

from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any

from flask import Response, jsonify, request

from registry.api.blueprints import Blueprint
from registry.api.schemas.base import PageQuery
from registry.api.schemas.redelivery import Redelivery, RedeliveryPortion
from registry.api.schemas.webhooks import (
    AttemptDocument,
    AttemptPage,
    AttemptsQuery,
    CreatedWebhook,
    DeliveriesQuery,
    DeliveryDocument,
    DeliveryPage,
    NewWebhook,
    RotatedSecret,
    Rotation,
    TestResult,
    TransitionDeliveriesQuery,
    WebhookDocument,
    WebhookPage,
    WebhookPatch,
)
from registry.auth.permissions import Permission, known_by, requires
from registry.domain.names import clean_text
from registry.persistence import queries
from registry.persistence.database import reading, reading_session
from registry.services import deliveries as delivery_service
from registry.services import subscriptions as service
from registry.services.subscriptions import subscription_documents, translated
from registry.services.transaction import Transaction
from registry.web.commands import answer_once, commit, parts
from registry.web.paging import decode_cursor, encode_cursor, page
from webhooks import record, subscriptions
from webhooks.tables import AttemptOutcome, ShownState

blueprint = Blueprint("webhooks", __name__, description="Webhooks")

_delivery_document = DeliveryDocument().dump
_attempt_document = AttemptDocument().dump


@blueprint.route("/webhooks", methods=["GET"])
@requires(Permission.ADMIN)
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, WebhookPage)
def list_webhooks(query: dict[str, Any]) -> Response:
    """List subscriptions, oldest first."""
    limit = query["limit"]
    rows = subscriptions.list_page(
        reading_session(), limit=limit + 1, after=decode_cursor(query["cursor"], str)
    )
    shown = subscription_documents(reading_session(), rows, datetime.now(UTC))
    return page(shown, limit, document=dict, key=itemgetter("id"))


@blueprint.route("/webhooks", methods=["POST"])
@requires(Permission.ADMIN)
@blueprint.arguments(NewWebhook)
@blueprint.response(201, CreatedWebhook)
def create_webhook(body: dict[str, Any]) -> Response:
    """Subscribe an endpoint; its signing secret is shown this once."""
    return answer_once(
        lambda: commit(
            lambda tx: service.create_subscription(tx, parts().webhooks, body),
            status=201,
        )
    )


@blueprint.route("/webhooks/<name:webhook_id>", methods=["GET"])
@requires(Permission.ADMIN)
@blueprint.response(200, WebhookDocument)
def get_webhook(webhook_id: str) -> Response:
    """Show a subscription."""
    with translated():
        row = subscriptions.get(reading_session(), webhook_id)
    (shown,) = subscription_documents(reading_session(), [row], datetime.now(UTC))
    return jsonify(shown)


@blueprint.route("/webhooks/<name:webhook_id>", methods=["PATCH"])
@requires(Permission.ADMIN)
@blueprint.arguments(WebhookPatch)
@blueprint.response(200, WebhookDocument)
def update_webhook(body: dict[str, Any], webhook_id: str) -> Response:
    """Change, pause or resume a subscription; paused, it holds its events."""
    return commit(
        lambda tx: service.update_subscription(tx, parts().webhooks, webhook_id, body)
    )


@blueprint.route("/webhooks/<name:webhook_id>", methods=["DELETE"])
@requires(Permission.ADMIN)
@blueprint.response(204)
def delete_webhook(webhook_id: str) -> Response:
    """Delete a subscription; what it still waited for is given up."""
    return commit(lambda tx: service.delete_subscription(tx, webhook_id))


@blueprint.route("/webhooks/<name:webhook_id>/test", methods=["POST"])
@requires(Permission.ADMIN)
@blueprint.response(200, TestResult)
@blueprint.alt_response(409, description="The format cannot express a ping")
@blueprint.alt_response(503, description="Two others are being sent")
def test_webhook(webhook_id: str) -> Response:
    """Send a signed ``webhook.ping`` now and answer what came of it.

    It is sent as an event is: a format that starts a pipeline starts it.
    """
    with parts().rooms.tests.place(), translated():
        commit(lambda tx: service.log_test(tx, webhook_id), is_answer=False)
        sent = parts().dispatcher.send_test(webhook_id)
    result = sent.result
    return jsonify(
        {
            "delivery_id": sent.delivery_id,
            "delivered": result.outcome == AttemptOutcome.DELIVERED,
            "status": result.status,
            "error": result.error,
            "duration_ms": round((result.duration_seconds or 0) * 1000),
        }
    )


@blueprint.route("/webhooks/<name:webhook_id>/rotate-secret", methods=["POST"])
@requires(Permission.ADMIN)
@blueprint.arguments(Rotation)
@blueprint.response(200, RotatedSecret)
def rotate_secret(body: dict[str, Any], webhook_id: str) -> Response:
    """Make a new signing secret; the old ones sign along for the overlap."""
    overlap = timedelta(seconds=body["overlap_seconds"])
    return answer_once(
        lambda: commit(
            lambda tx: service.rotate_secret(
                tx, parts().webhooks.box, webhook_id, overlap=overlap
            )
        )
    )


@blueprint.route("/webhooks/<name:webhook_id>/deliveries", methods=["GET"])
@requires(Permission.ADMIN)
@blueprint.arguments(DeliveriesQuery, location="query")
@blueprint.response(200, DeliveryPage)
def list_deliveries(query: dict[str, Any], webhook_id: str) -> Response:
    """List a subscription's deliveries, newest first."""
    session, limit, state = reading_session(), query["limit"], query["state"]
    with translated():
        subscriptions.get(session, webhook_id)
    rows = record.list_page(
        session,
        subscription_id=webhook_id,
        state=ShownState(state) if state else None,
        limit=limit + 1,
        before=decode_cursor(query["cursor"], str),
    )
    return page(rows, limit, document=_delivery_document, key=lambda d: d.id)


@blueprint.route("/webhooks/<name:webhook_id>/deliveries/redeliver", methods=["POST"])
@requires(Permission.ADMIN)
@blueprint.arguments(Redelivery)
@blueprint.response(200, RedeliveryPortion)
def redeliver_chosen(body: dict[str, Any], webhook_id: str) -> Response:
    """Send settled or blocked deliveries again, a portion at a time, or count them.

    They keep their ids and bytes and are due at the endpoint's rate. What was sent
    again and arrived, or is on its way, is not sent once more.
    """
    after = decode_cursor(body.pop("cursor"), int)
    is_count = body.pop("dry_run")

    def work(tx: Transaction) -> dict[str, Any]:
        if is_count:
            count, last = delivery_service.count(tx, webhook_id, body), None
        else:
            count, last = delivery_service.send(tx, webhook_id, body, after=after)
        next_cursor = None if last is None else encode_cursor(last)
        return {"count": count, "next_cursor": next_cursor}

    return answer_once(lambda: commit(work))


def _model_of_transition() -> str | None:
    transition_id = clean_text(
        request.args.get("transition_id", ""), field="transition_id"
    )
    return queries.model_of_transition(reading(), transition_id)


@blueprint.route("/deliveries", methods=["GET"])
@requires(Permission.READ, model=known_by(_model_of_transition))
@blueprint.arguments(TransitionDeliveriesQuery, location="query")
@blueprint.response(200, DeliveryPage)
def list_transition_deliveries(query: dict[str, Any]) -> Response:
    """List what a stage change sends, so that a job can wait for it."""
    limit = query["limit"]
    rows = delivery_service.deliveries_of_transition(
        reading_session(),
        query["transition_id"],
        after=decode_cursor(query["cursor"], str),
        limit=limit + 1,
    )
    return page(rows, limit, document=_delivery_document, key=lambda d: d.id)


@blueprint.route("/deliveries/<name:delivery_id>", methods=["GET"])
@requires(Permission.ADMIN)
@blueprint.response(200, DeliveryDocument)
def get_delivery(delivery_id: str) -> Response:
    """Show a delivery."""
    with translated():
        delivery = record.get(reading_session(), delivery_id)
    return jsonify(_delivery_document(delivery))


@blueprint.route("/deliveries/<name:delivery_id>/attempts", methods=["GET"])
@requires(Permission.ADMIN)
@blueprint.arguments(AttemptsQuery, location="query")
@blueprint.response(200, AttemptPage)
def list_attempts(query: dict[str, Any], delivery_id: str) -> Response:
    """List the attempts of a delivery, first one first."""
    limit, after = query["limit"], decode_cursor(query["cursor"], int)
    with translated():
        rows = record.list_attempts(
            reading_session(), delivery_id, after=after, limit=limit + 1
        )
    return page(rows, limit, document=_attempt_document, key=lambda a: a.number)


@blueprint.route("/deliveries/<name:delivery_id>/redeliver", methods=["POST"])
@requires(Permission.ADMIN)
@blueprint.response(200, DeliveryDocument)
@blueprint.alt_response(409, description="It is still on its way")
def redeliver(delivery_id: str) -> Response:
    """Send a delivery again, with the same id and the same bytes."""
    return answer_once(
        lambda: commit(
            lambda tx: _delivery_document(delivery_service.redeliver(tx, delivery_id))
        )
    )
