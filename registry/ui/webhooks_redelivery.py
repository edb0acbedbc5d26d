"""``/webhooks/<id>/redeliver``: many deliveries again, by a filter, counted first."""

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as BaseResponse

from registry.api.event_types import TYPES
from registry.auth.permissions import Permission, requires
from registry.errors import InvalidInputError, RegistryError, StaleExpectationError
from registry.services import deliveries
from registry.services.transaction import Transaction
from registry.ui import instants
from registry.ui.pages import done, page, refused
from registry.ui.webhooks import find_webhook
from registry.web.commands import commit
from webhooks.redelivery import STATES

blueprint = Blueprint("webhooks_redelivery", __name__)

#: Each has 500 deliveries at most, and is a transaction of its own.
_PORTIONS = 10
_STATES = tuple(map(str, STATES))


@blueprint.get("/webhooks/<name:webhook_id>/redeliver")
@requires(Permission.ADMIN)
def choose(webhook_id: str) -> Response:
    """Show the filter."""
    return page("webhook_redeliver.html", **_context(webhook_id, request.args))


@blueprint.post("/webhooks/<name:webhook_id>/redeliver")
@requires(Permission.ADMIN)
def redeliver(webhook_id: str) -> BaseResponse:
    """Count what the filter chooses, or send it again."""
    context, typed = _context(webhook_id, request.form), request.form
    try:
        members, position = _members(typed), _number("position") or None
        is_sent = typed.get("do") == "send"
        if position is None:
            context["count"] = _count(webhook_id, members)
            if is_sent and context["count"] != _number("counted"):
                raise StaleExpectationError(
                    "what would be sent is no longer what was counted; look again"
                )
        if is_sent:
            sent, context["position"] = _send(webhook_id, members, position)
            context["sent"] = sent + _number("sent")
    except RegistryError as error:
        return refused("webhook_redeliver.html", error, **context)
    return page("webhook_redeliver.html", **context)


def _count(webhook_id: str, members: Mapping[str, Any]) -> int:
    counted = commit(lambda tx: {"count": deliveries.count(tx, webhook_id, members)})
    return int(done(counted)["count"])


def _send(
    webhook_id: str, members: Mapping[str, Any], position: int | None
) -> tuple[int, int | None]:
    """Send portions again; return how many deliveries, and where to go on."""
    total = 0

    def work(tx: Transaction) -> dict[str, Any]:
        count, following = deliveries.send(tx, webhook_id, members, after=position)
        return {"count": count, "position": following}

    for _ in range(_PORTIONS):
        portion = done(commit(work))
        total, position = total + portion["count"], portion["position"]
        if position is None:
            break
    return total, position


_MAX_DIGITS = 19


def _number(name: str) -> int:
    text = request.form.get(name) or "0"
    if not (text.isascii() and text.isdigit() and len(text) < _MAX_DIGITS):
        raise InvalidInputError("is not a number of this form", field=name)
    return int(text)


def _members(typed: Any) -> dict[str, Any]:  # noqa: ANN401  # a form
    states, types = typed.getlist("states"), typed.get("event_type", "").strip()
    if not set(states) <= set(_STATES):
        raise InvalidInputError(f"must be of {', '.join(_STATES)}", field="states")
    return {
        "since": instants.typed("since", typed),
        "until": instants.typed("until", typed),
        "event_types": [types] if types else None,
        "model_pattern": typed.get("model_pattern", "").strip() or None,
        "states": states or None,
        "again_before": None,
    }


def _context(webhook_id: str, typed: Any) -> dict[str, Any]:  # noqa: ANN401  # as above
    return {
        "webhook": find_webhook(webhook_id),
        "typed": typed,
        "states": _STATES,
        "chosen": typed.getlist("states"),
        "event_types": sorted(TYPES),
    }
