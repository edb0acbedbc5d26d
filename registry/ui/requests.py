"""Transition requests: those that wait for whoever looks, those open, those past."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from flask import Blueprint, Response, g, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from registry.api.requests import close, model_asked
from registry.auth.permissions import MANY, Permission, known_by, requires
from registry.auth.sign_in import current_caller
from registry.domain.actors import ActorKind, may, patterns_for
from registry.domain.commands.moves import MoveVersion
from registry.domain.documents import Document
from registry.domain.names import clean_text
from registry.domain.requests import Person, RequestState
from registry.domain.roles import Action
from registry.domain.rows import ApprovalRow, RequestRow
from registry.errors import RegistryError, StaleExpectationError
from registry.persistence.database import end_reading, reading
from registry.persistence.requests import (
    FoundRequest,
    approved_by,
    get_request,
    list_approvals,
    list_requests,
)
from registry.services import requests as service
from registry.services.transaction import Transaction
from registry.ui.pages import done, i_may, page, refused, see
from registry.ui.prospects import Prospect, look
from registry.web.commands import parts
from registry.web.paging import decode_cursor, encode_cursor
from registry.web.verification import commit_move

blueprint = Blueprint("requests", __name__)

ON_A_PAGE = 25
#: Requests that are looked through for a page; an empty one may go on, too.
_WINDOW = 200
_SHOWN = ("waiting", "open", "past")
_DONE = {
    "asked": "Requested: others decide on it now.",
    "approved": "Approved. It takes more approvals before the version moves.",
    "moved": "Approved, and carried out: the version has moved.",
    "rejected": "Rejected.",
    "cancelled": "Cancelled.",
}


@dataclass(frozen=True)
class Listed:
    """A request in a list, with how it stands."""

    found: FoundRequest
    state: RequestState

    @property
    def row(self) -> RequestRow:
        """Return its row."""
        return self.found.row


@blueprint.get("/requests")
@requires(Permission.READ, model=MANY)
def index() -> Response:
    """List requests: those that wait for the caller, those open, those past."""
    usual = "waiting" if i_may(Action.APPROVE) else "open"
    show = request.args.get("show", usual)
    show = show if show in _SHOWN else usual
    model = request.args.get("model", "").strip()
    rows, cursor = _listed(show, clean_text(model, field="model") or None)
    following = cursor and url_for(
        "ui.requests.index", show=show, model=model or None, cursor=cursor
    )
    return page("requests.html", rows=rows, show=show, model=model, following=following)


def _listed(show: str, model: str | None) -> tuple[Sequence[Listed], str | None]:
    """Return what a page shows, and the cursor behind it where there may be more."""
    before = decode_cursor(request.args.get("cursor"), str)
    looked_at = _window(show, model=model, before=before)
    rows = _of(show, looked_at)
    if len(rows) > ON_A_PAGE:
        rows = rows[:ON_A_PAGE]
        return rows, encode_cursor(rows[-1].row.id)
    is_over = len(looked_at) < _WINDOW
    return rows, None if is_over else encode_cursor(looked_at[-1].row.id)


def waiting() -> Sequence[Listed]:
    """Return the newest requests that wait for the caller; read once a page."""
    if "waiting" not in g:
        g.waiting = _of("waiting", _window("waiting"))
    found: Sequence[Listed] = g.waiting
    return found


def count_waiting() -> int:
    """Return how many of the newest requests wait for the caller."""
    return len(waiting()) if i_may(Action.APPROVE) else 0


def _window(
    show: str, *, model: str | None = None, before: str | None = None
) -> Sequence[Listed]:
    actor, policy, now = current_caller().actor, parts().policy, datetime.now(UTC)
    action = Action.APPROVE if show == "waiting" else Action.READ
    if actor.kind is ActorKind.CI and action is Action.APPROVE:
        return []
    found = list_requests(
        reading(),
        model=model,
        is_open=show != "past",
        before=before,
        limit=_WINDOW,
        readable=list(patterns_for(actor, action)),
        stand=None if show == "past" else (policy.digest, now),
    )
    return [Listed(each, each.state(policy.digest, now)) for each in found]


def _of(show: str, rows: Sequence[Listed]) -> Sequence[Listed]:
    if show == "past":
        return [each for each in rows if each.state is not RequestState.OPEN]
    rows = [each for each in rows if each.state is RequestState.OPEN]
    if show == "open":
        return rows
    person = Person.of(current_caller().actor)
    rows = [each for each in rows if not person.is_also(Person.asking(each.row))]
    several = [each.row.id for each in rows if each.row.needed > 1]
    given = approved_by(reading(), person.principal, several) if several else set()
    return [each for each in rows if each.row.id not in given]


@dataclass(frozen=True)
class Standing:
    """One request as its page shows it.

    Attributes:
        prospect: what it would do; None once it does not stand.
        approvals: each, and whether it counts.
        refusal: why whoever looks may not approve it; None where they may.
    """

    listed: Listed
    prospect: Prospect | None
    approvals: Sequence[tuple[ApprovalRow, bool]]
    refusal: str | None
    is_mine: bool

    @property
    def was_approved(self) -> bool:
        """Whether whoever looks has approved it, and that counts."""
        me = current_caller().actor.principal
        return any(row.approver == me and counts for row, counts in self.approvals)


@blueprint.get("/requests/<name:request_id>")
@requires(Permission.READ, model=known_by(model_asked))
def show(request_id: str) -> Response:
    """Show a request: what an approval is for, and what it would do."""
    said = _DONE.get(request.args.get("done", ""))
    return page("request.html", standing=_standing(request_id), said=said)


def _standing(request_id: str) -> Standing:
    found = get_request(reading(), request_id)
    listed = Listed(found, found.state(parts().policy.digest, datetime.now(UTC)))
    prospect = None
    if listed.state is RequestState.OPEN:
        prospect = look(service.move_of(found), asked=found.row)
    counted = prospect.foreseen.valid if prospect else ()
    rows = list_approvals(reading(), request_id)
    person = Person.of(current_caller().actor)
    return Standing(
        listed,
        prospect,
        [(row, row in counted) for row in rows],
        _refusal(found),
        is_mine=person.is_also(Person.asking(found.row)),
    )


def _refusal(found: FoundRequest) -> str | None:
    actor = current_caller().actor
    if not may(actor, Action.APPROVE, found.model):
        return "You may not approve moves of this model."
    if actor.kind is ActorKind.CI:
        return "A person approves, not a CI job."
    if found.row.requester == actor.principal:
        return "You asked for this yourself: somebody else must approve it."
    if Person.of(actor).is_also(Person.asking(found.row)):
        return (
            "You and who asked are one person to the registry, or one made the "
            "other's token: somebody else must approve this."
        )
    return None


@blueprint.post("/requests/<name:request_id>/approve")
@requires(Permission.APPROVE, model=known_by(model_asked))
def approve(request_id: str) -> BaseResponse:
    """Approve what was shown; the last approval that is needed makes the move."""
    return _decided(request_id, lambda: _approve(request_id))


def _approve(request_id: str) -> str:
    found = get_request(reading(), request_id)
    prospect = look(service.move_of(found), asked=found.row)
    if prospect.changes_since(request.form.get("shown", "")):
        raise StaleExpectationError(
            "Nothing was approved: something has changed since this page was shown. "
            "Look again, then decide."
        )
    end_reading()

    def work(tx: Transaction, move: MoveVersion) -> Document:
        bound_to = prospect.binding
        return service.approve(tx, found, move, _comment(), bound_to=bound_to)

    made = done(commit_move(prospect.bound(service.move_of(found)), work))
    return "moved" if made["transition"] else "approved"


@blueprint.post("/requests/<name:request_id>/reject")
@requires(Permission.APPROVE, model=known_by(model_asked))
def reject(request_id: str) -> BaseResponse:
    """Reject a request."""
    return _decided(request_id, lambda: _closed(request_id, RequestState.REJECTED))


@blueprint.post("/requests/<name:request_id>/cancel")
@requires(Permission.READ, model=known_by(model_asked))
def cancel(request_id: str) -> BaseResponse:
    """Cancel a request, as who asked for it or as an admin."""
    return _decided(request_id, lambda: _closed(request_id, RequestState.CANCELLED))


def _closed(request_id: str, state: RequestState) -> str:
    close(request_id, state, _comment())
    return state.value


def _decided(request_id: str, decide: Callable[[], str]) -> BaseResponse:
    try:
        what = decide()
    except RegistryError as error:
        standing = _standing(request_id)
        shown = request.form.get("shown")
        prospect = standing.prospect
        changes = prospect.changes_since(shown) if prospect and shown else []
        return refused("request.html", error, standing=standing, changes=changes)
    address = url_for("ui.requests.show", request_id=request_id)
    return see(f"{address}?done={what}")


def _comment() -> str:
    return request.form.get("comment", "")
