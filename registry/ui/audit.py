"""``/audit``: who did what, whether the log is whole, and who held what when.

Rules:

- What is asked for stands in the address: it can be shared, and is what an open page
  asks for again. A verification is made when somebody asks for it, and by no page that
  is merely open.
- Instants that are typed are UTC, unless they say another offset.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flask import Blueprint, Response, request, url_for

from registry.api.audit import entry_document, verification
from registry.auth.permissions import MANY, Permission, in_query, requires
from registry.auth.sign_in import current_caller
from registry.domain.actors import may_with_every_model, readable
from registry.domain.names import clean_text
from registry.domain.roles import Action
from registry.domain.timestamps import parse_rfc3339
from registry.errors import InvalidInputError, NotFoundError
from registry.persistence.audit_entries import (
    list_audit_entries,
    models_of_chains,
    place_of_transition,
)
from registry.persistence.database import reading
from registry.persistence.stages_at import stages_at
from registry.ui import instants
from registry.ui.audit_shown import ACTIONS, DAMAGE, ShownEntry, shown_entry
from registry.ui.pages import page, refused
from registry.web.paging import decode_cursor, encode_cursor

blueprint = Blueprint("audit", __name__)

_PAGE = 25
#: What the entries of a page say in all, until it ends early.
_MAX_CHARACTERS = 200_000
_MODELS = 25
_KEY = ("", "")  #: name and id of a model, before those of all
_MOST_DAMAGE = 100
_DIFFERENCES = 8
_ASKED = ("model", "actor", "action", "since", "until", "transition", "chain")


@blueprint.get("/audit")
@requires(Permission.READ, model=MANY)
def index() -> Response:
    """Show entries, newest first, of what is asked for."""
    asked = {name: text for name in _ASKED if (text := _said(name))}
    known: dict[str, Any] = {
        "asked": asked,
        "actions": ACTIONS,
        "may_verify_all": _reads_all(),
    }
    try:
        entries, following = _entries(asked)
    except InvalidInputError as error:
        return refused("audit.html", error, entries=[], **known)
    return page("audit.html", entries=entries, next=following, error=None, **known)


def _entries(asked: Mapping[str, Any]) -> tuple[list[ShownEntry], str | None]:
    """Return a page of entries, and where the next is."""
    equal: dict[str, Any] = {
        name: asked.get(name) for name in ("model", "actor", "action", "chain")
    }
    if "transition" in asked:
        place = place_of_transition(reading(), asked["transition"])
        if place is None:
            return [], None
        equal |= place
    rows = list_audit_entries(
        reading(),
        limit=_PAGE + 1,
        below=decode_cursor(request.args.get("cursor"), int),
        readable=list(readable(current_caller().actor)),
        since=_instant(asked, "since"),
        until=_instant(asked, "until"),
        **equal,
    )
    entries: list[ShownEntry] = []
    size = count = last = 0
    for row in rows:
        if count == _PAGE or size > _MAX_CHARACTERS:
            cursor = encode_cursor(last)
            return entries, url_for("ui.audit.index", **asked, cursor=cursor)
        count, last, document = count + 1, row.id, entry_document(row)
        is_meant = equal["model"] in {None, document["model"]}
        if is_meant or document["action"] is None:  # that one cannot be read
            entries.append(shown_entry(document, most=_DIFFERENCES))
            size += len(row.canonical)
    return entries, None


@blueprint.get("/audit/entries/<name:chain>/<number:n>")
@requires(Permission.READ, model=MANY)
def entry(chain: str, n: int) -> Response:
    """Show one entry, with the text that is sealed."""
    of_models = list(readable(current_caller().actor))
    rows = list_audit_entries(reading(), limit=2, readable=of_models, chain=chain, n=n)
    found = [shown_entry(entry_document(row)) for row in rows]
    if not found:
        raise NotFoundError(f"there is no entry {n} of chain {chain!r}")
    return page("audit_entry.html", entries=found, chain=chain, n=n)


@blueprint.get("/audit/verify")
@requires(Permission.READ, model=in_query("model"))
def verify() -> Response:
    """Verify the log now, or one model's chain, and say what was found."""
    model = request.args.get("model")
    report = verification(model and clean_text(model, field="model"))
    shown = report.damage[:_MOST_DAMAGE]
    return page(
        "audit_verified.html",
        report=report,
        model=model,
        damage=shown,
        kinds=DAMAGE,
        names=models_of_chains(reading(), (each.chain for each in shown)),
    )


@blueprint.get("/audit/as-of")
@requires(Permission.READ, model=MANY)
def as_of() -> Response:
    """Show who held which stage at an instant."""
    asked: dict[str, Any] = {
        name: text for name in ("at", "model") if (text := _said(name))
    }
    try:
        at = _instant(asked, "at")
        after = (decode_cursor(request.args.get("cursor"), str) or "\n").split("\n")
    except InvalidInputError as error:
        return refused("audit_as_of.html", error, asked=asked, at=None, models=[])
    models, following = [], None
    if at is not None:
        models = stages_at(
            reading(),
            at,
            name=asked.get("model"),
            after=after if len(after) == len(_KEY) else _KEY,
            limit=_MODELS + 1,
            readable=list(readable(current_caller().actor)),
        )
    if len(models) > _MODELS:
        last = models[_MODELS - 1]
        cursor = encode_cursor(f"{last.name}\n{last.id}")
        following = url_for("ui.audit.as_of", **asked, cursor=cursor)
    return page(
        "audit_as_of.html",
        asked=asked,
        at=at,
        models=models[:_MODELS],
        next=following,
        error=None,
    )


def _said(name: str) -> str:
    return request.args.get(name, "").replace("\0", "\N{REPLACEMENT CHARACTER}").strip()


def _instant(asked: Mapping[str, str], name: str) -> datetime | None:
    """Return the instant that was typed, in UTC."""
    text = instants.typed(name, asked)
    return parse_rfc3339(text, field=name) if text else None


def _reads_all() -> bool:
    return may_with_every_model(current_caller().actor, Action.READ)
