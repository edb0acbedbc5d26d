"""``/deliveries``: what was sent to whom, over all receivers, and each of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, request, url_for
from sqlalchemy import Connection
from werkzeug.wrappers import Response as BaseResponse

from registry.api.event_types import TYPES
from registry.auth.permissions import Permission, requires
from registry.domain.names import clean_text
from registry.domain.timestamps import parse_rfc3339
from registry.errors import InvalidInputError, RegistryError
from registry.persistence import queries
from registry.persistence.database import reading, reading_session
from registry.services import deliveries as service
from registry.services.subscriptions import translated
from registry.ui import instants
from registry.ui.pages import done, page, refused, see
from registry.ui.shown import address
from registry.web.commands import commit
from registry.web.paging import decode_cursor, encode_cursor
from webhooks import endpoints, record
from webhooks.formats.writing import MARKED
from webhooks.record import Wanted
from webhooks.sending.sender import MAX_BODY_BYTES
from webhooks.tables import Attempt, Delivery, EventRow, ShownState

blueprint = Blueprint("deliveries", __name__)

_SHOWN = 50
_ATTEMPTS_SHOWN = 10
_OTHERS_SHOWN = 10
_FILTERS = (*("webhook", "state", "type", "model", "transition", "since", "until"),)
_DONE = {
    "tested": "The test was sent. Below is its request, and what was answered.",
    "redelivered": "On its way again, with the same id and the same bytes.",
}
_PARTS = {"name": "Name", "connect": "Connection", "tls": "TLS", "first_byte": "Answer"}


@blueprint.get("/deliveries")
@requires(Permission.ADMIN)
def index() -> Response:
    """List deliveries, newest first."""
    cx = reading()
    chosen = {name: request.args.get(name, "").strip() for name in _FILTERS}
    context: dict[str, Any] = {
        "chosen": chosen,
        "names": _names(cx),
        "states": [(str(each), str(each)) for each in ShownState],
        "event_types": sorted(TYPES),
    }
    try:
        before = decode_cursor(request.args.get("cursor"), str)
        found = record.find(cx, _wanted(cx, chosen), before=before, limit=_SHOWN)
    except RegistryError as error:
        nothing = {"deliveries": (), "looked_back_to": None, "next": None}
        return refused("deliveries.html", error, **context, **nothing)
    return page(
        "deliveries.html",
        **context,
        deliveries=found.items,
        looked_back_to=found.looked_back_to,
        next=found.next_before and _address(chosen, found.next_before),
        first=_address(chosen, None) if before else None,
    )


def _wanted(cx: Connection, chosen: dict[str, str]) -> Wanted:
    """Return what the filters ask for.

    Raises:
        InvalidInputError: one cannot be read, naming it.
    """
    text = {name: clean_text(chosen[name], field=name) or None for name in chosen}
    model, transition = text["model"], text["transition"]
    return Wanted(
        subscription_id=text["webhook"],
        state=_state(text["state"]),
        event_type=text["type"],
        subject=model,
        ordering_key=model and queries.find_model_id(cx, model),
        event_ids=None if transition is None else service.events_of(cx, transition),
        since=_instant("since", chosen),
        until=_instant("until", chosen),
    )


def _instant(name: str, chosen: dict[str, str]) -> datetime | None:
    text = instants.typed(name, chosen)
    return None if text is None else parse_rfc3339(text, field=name)


def _state(text: str | None) -> ShownState | None:
    if text is not None and text not in set(ShownState):
        known = ", ".join(ShownState)
        raise InvalidInputError(f"must be one of {known}", field="state")
    return None if text is None else ShownState(text)


def _address(chosen: dict[str, str], before: str | None) -> str:
    asked = {name: value for name, value in chosen.items() if value}
    if before is not None:
        asked["cursor"] = encode_cursor(before)
    path = url_for("ui.deliveries.index")
    return f"{path}?{urlencode(asked)}" if asked else path


@blueprint.get("/deliveries/<name:delivery_id>")
@requires(Permission.ADMIN)
def show(delivery_id: str) -> Response:
    """Show a delivery: its request, and what came of each attempt."""
    session = reading_session()
    delivery = _find(delivery_id)
    below = decode_cursor(request.args.get("cursor"), int)
    attempts = record.newest_attempts(
        session, delivery_id, below=below, limit=_ATTEMPTS_SHOWN + 1
    )
    shown = attempts[:_ATTEMPTS_SHOWN]
    here = url_for("ui.deliveries.show", delivery_id=delivery_id)
    has_more = len(attempts) > _ATTEMPTS_SHOWN
    return page(
        "delivery.html",
        delivery=delivery,
        event=session.get(EventRow, delivery.event_id),
        names=_names(reading()),
        body=_text_of(delivery.body),
        attempts=[(each, _timings(each), _answer(each)) for each in shown],
        cut_at=MAX_BODY_BYTES,
        others=_others(delivery),
        can_redeliver=_can_redeliver(delivery),
        done=_DONE.get(request.args.get("done", "")),
        next=f"{here}?cursor={encode_cursor(shown[-1].number)}" if has_more else "",
        first=here if below else None,
    )


@blueprint.post("/deliveries/<name:delivery_id>/redeliver")
@requires(Permission.ADMIN)
def redeliver(delivery_id: str) -> BaseResponse:
    """Send a delivery again, and show the one that is sent."""
    sent = done(commit(lambda tx: {"id": service.redeliver(tx, delivery_id).id}))
    done_there = {"delivery_id": sent["id"], "done": "redelivered"}
    return see(url_for("ui.deliveries.show", **done_there))


def _names(cx: Connection) -> dict[str, str]:
    """Return what receivers are called, by their ids."""
    return {of: said or address(url) for of, said, url in endpoints.list_names(cx)}


def _find(delivery_id: str) -> Delivery:
    with translated():
        return record.get(reading_session(), delivery_id)


def _others(delivery: Delivery) -> Sequence[Delivery]:
    """Return the first and the further deliveries of the same event there."""
    of_event = record.list_page(
        reading_session(),
        subscription_id=delivery.subscription_id,
        event_id=delivery.event_id,
        limit=_OTHERS_SHOWN,
    )
    return [each for each in of_event if each.id != delivery.id]


def _can_redeliver(delivery: Delivery) -> bool:
    is_final = delivery.state in {"delivered", "dead"}
    return is_final or delivery.shown_state == ShownState.BLOCKED


def _text_of(body: bytes) -> str:
    """Return a stored body, its placeholders as their owner wrote them."""
    return MARKED.sub(rb"${\1}", body).decode("utf-8", "replace")


def _answer(attempt: Attempt) -> str | None:
    stored = attempt.response_body
    return None if stored is None else stored.decode("utf-8", "replace")


def _timings(attempt: Attempt) -> list[tuple[str, float]]:
    """Return how many milliseconds each part took that ended."""
    found = attempt.timings or {}
    return [
        (label, found[part] * 1000) for part, label in _PARTS.items() if part in found
    ]
