"""``/webhooks``: receivers, what waits for them, and what may be done about it.

Rules:

- A secret is shown once, by the answer to what made it, which is neither kept nor
  compressed.
- A test is shown where all deliveries are (``registry.ui.deliveries``).
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from flask import Blueprint, Response, request, url_for
from sqlalchemy import Connection
from werkzeug.wrappers import Response as BaseResponse

from registry.auth.permissions import Permission, requires
from registry.domain.documents import Document
from registry.persistence import queries
from registry.persistence.database import end_reading, reading, reading_session
from registry.services import subscriptions as service
from registry.services.subscriptions import subscription_documents, translated
from registry.ui.day_charts import day_chart
from registry.ui.pages import page, see
from registry.web.commands import commit, parts
from registry.web.paging import decode_cursor, encode_cursor
from webhooks import endpoints, metrics, record, subscriptions
from webhooks.endpoints import COUNTED, COUNTED_ALONE
from webhooks.events import OPERATIONAL_PREFIX

blueprint = Blueprint("webhooks", __name__)

_SHOWN = 50
_RECENT = 10
_MODELS_SHOWN = 20
_DONE = {
    "paused": "Paused. Events wait, and are sent in order once it is resumed.",
    "active": "Sending. What waited is sent now, in order.",
    "saved": "Saved.",
    "unchanged": "Nothing was changed.",
    "deleted": "Deleted. What was not delivered yet is not delivered.",
}
_REPLAYS = "replay:"
#: How long an old secret may go on signing, in seconds.
OVERLAPS = {0: "at once", 3600: "in an hour", 86400: "in a day", 604800: "in a week"}


@blueprint.get("/webhooks")
@requires(Permission.ADMIN)
def index() -> Response:
    """List receivers, those in trouble first."""
    cursor = decode_cursor(request.args.get("cursor"), str)
    cx, now = reading(), datetime.now(UTC)
    rows = endpoints.list_endpoints(cx, after=_place(cursor), limit=_SHOWN + 1)
    shown, ids = rows[:_SHOWN], [row.id for row in rows[:_SHOWN]]
    end = shown[-1] if len(rows) > _SHOWN else None
    fared = metrics.read_days(cx, ids, now.date())
    return page(
        "webhooks.html",
        endpoints=shown,
        waiting=endpoints.waiting(cx, ids),
        counted=COUNTED,
        charts={of: day_chart(fared[of], width=112, height=28) for of in ids},
        done=_DONE.get(request.args.get("done", "")),
        next=end
        and url_for("ui.webhooks.index", cursor=encode_cursor(f"{end.rank} {end.id}")),
        first=url_for("ui.webhooks.index") if cursor else None,
    )


@blueprint.get("/webhooks/<name:webhook_id>")
@requires(Permission.ADMIN)
def show(webhook_id: str) -> Response:
    """Show a receiver: how it is, what waits for it, what it was sent lately."""
    document, cx = find_webhook(webhook_id), reading()
    fared = metrics.read_days(cx, [webhook_id], datetime.now(UTC).date())[webhook_id]
    waiting = endpoints.backlog(cx, webhook_id, most=_MODELS_SHOWN)
    recent = record.find(
        cx,
        record.Wanted(subscription_id=webhook_id),
        before=None,
        limit=_RECENT,
    )
    return page(
        "webhook.html",
        webhook=document,
        chart=day_chart(fared, width=560, height=72),
        days=fared,
        waiting=_named(cx, waiting),
        blocked=endpoints.blocked(cx, webhook_id),
        overlaps=OVERLAPS,
        counted=COUNTED_ALONE,
        recent=recent.items,
        names={},
        done=_DONE.get(request.args.get("done", "")),
    )


@blueprint.post("/webhooks/<name:webhook_id>/state")
@requires(Permission.ADMIN)
def change_state(webhook_id: str) -> BaseResponse:
    """Pause a receiver, or go on sending to it."""
    state = "paused" if request.form.get("state") == "paused" else "active"
    wired = parts().webhooks
    commit(
        lambda tx: service.update_subscription(tx, wired, webhook_id, {"state": state})
    )
    return see(url_for("ui.webhooks.show", webhook_id=webhook_id, done=state))


@blueprint.post("/webhooks/<name:webhook_id>/test")
@requires(Permission.ADMIN)
def test(webhook_id: str) -> BaseResponse:
    """Send a ping now, and show its request and what was answered."""
    end_reading()
    with parts().rooms.tests.place(), translated():
        commit(lambda tx: service.log_test(tx, webhook_id), is_answer=False)
        sent = parts().dispatcher.send_test(webhook_id)
    address = url_for("ui.deliveries.show", delivery_id=sent.delivery_id, done="tested")
    return see(address)


@blueprint.get("/webhooks/<name:webhook_id>/delete")
@requires(Permission.ADMIN)
def confirm_deletion(webhook_id: str) -> Response:
    """Say what deleting a receiver gives up, and ask."""
    document = find_webhook(webhook_id)
    waiting = endpoints.waiting(reading(), [webhook_id]).get(webhook_id, 0)
    return page(
        "webhook_delete.html", webhook=document, waiting=waiting, counted=COUNTED
    )


@blueprint.post("/webhooks/<name:webhook_id>/delete")
@requires(Permission.ADMIN)
def delete(webhook_id: str) -> BaseResponse:
    """Delete a receiver."""
    commit(lambda tx: service.delete_subscription(tx, webhook_id))
    return see(url_for("ui.webhooks.index", done="deleted"))


def _place(cursor: str | None) -> tuple[int, str] | None:
    rank, _, last = (cursor or "").partition(" ")
    return (int(rank), last) if rank in set("0123") else None


def _named(
    cx: Connection, waiting: Sequence[tuple[str, int]]
) -> list[tuple[str | None, str, int]]:
    """Return what waits by model, or by what it is of, and how much."""
    ids = [key.removeprefix(_REPLAYS) for key, _ in waiting]
    names = queries.model_names(cx, ids)
    return [
        (names.get(of), _what(key), deliveries)
        for of, (key, deliveries) in zip(ids, waiting, strict=True)
    ]


def _what(ordering_key: str) -> str:
    if ordering_key.startswith(_REPLAYS):
        return "sent again"
    if ordering_key.startswith(OPERATIONAL_PREFIX.replace(".", ":")):
        return "news of a webhook"
    return "sent again" if ordering_key.startswith("dlv_") else ""


def find_webhook(webhook_id: str) -> Document:
    """Return a receiver as the API shows it.

    Raises:
        NotFoundError: when there is none.
    """
    session = reading_session()
    with translated():
        row = subscriptions.get(session, webhook_id)
    (document,) = subscription_documents(session, [row], datetime.now(UTC))
    return document
