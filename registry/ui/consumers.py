"""``/consumers``: what runs where, beside what should run there."""

import json
from contextlib import suppress
from urllib.parse import urlencode

from flask import Blueprint, Response, request, url_for

from registry.auth.permissions import MANY, Permission, requires
from registry.auth.sign_in import current_caller
from registry.domain.actors import readable
from registry.domain.documents import DeploymentStatus
from registry.domain.names import clean_text
from registry.errors import InvalidInputError
from registry.persistence.consumers import Consumer, Place, Wanted, list_consumers
from registry.persistence.database import reading
from registry.ui.pages import page
from registry.web.paging import decode_cursor, encode_cursor

blueprint = Blueprint("consumers", __name__)

_SHOWN = 50
_UNFINISHED = {DeploymentStatus.PENDING, DeploymentStatus.IN_PROGRESS}


@blueprint.get("/consumers")
@requires(Permission.READ, model=MANY)
def index() -> Response:
    """Show what each environment reported last, drift first."""
    chosen = {
        name: clean_text(request.args.get(name, "").strip(), field=name)
        for name in ("model", "environment")
    }
    consumers, place = list_consumers(
        reading(),
        Wanted(**chosen),
        place=_place(),
        limit=_SHOWN,
        readable=list(readable(current_caller().actor)),
    )
    return page(
        "consumers.html",
        chosen=chosen,
        consumers=[(each, *verdict(each)) for each in consumers],
        next=place and _address(chosen, place),
        first=_address(chosen, None) if "cursor" in request.args else None,
    )


def verdict(consumer: Consumer) -> tuple[str, str]:
    """Return in a word whether an environment is in step, and the tone of it."""
    if consumer.is_in_step:
        return "in step", "good"
    if consumer.status in _UNFINISHED:
        return "deploying", "waiting"
    is_failed = consumer.status == DeploymentStatus.FAILED
    return ("failed", "bad") if is_failed else ("drift", "warn")


def _place() -> Place:
    cursor = decode_cursor(request.args.get("cursor"), str)
    if cursor is None:
        return Place()
    with suppress(ValueError):
        match json.loads(cursor):
            case [[str(of), str(name)], [-1 | 0 | 1 as rank, str(model), str(there)]]:
                of, name, model, there = map(_storable, (of, name, model, there))
                return Place(window=(of, name), last=(rank, model, there))
    raise InvalidInputError("is not of this list", field="cursor")


def _storable(text: str) -> str:
    return clean_text(text, field="cursor")


def _address(chosen: dict[str, str], place: Place | None) -> str:
    asked = {name: value for name, value in chosen.items() if value}
    if place is not None:
        asked["cursor"] = encode_cursor(json.dumps([place.window, place.last]))
    path = url_for("ui.consumers.index")
    return f"{path}?{urlencode(asked)}" if asked else path
