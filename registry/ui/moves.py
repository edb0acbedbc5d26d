"""Changes of stage and rollbacks: what one would do, shown before it is done."""

from flask import Blueprint, Response, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from registry.auth.permissions import Permission, requires
from registry.domain.commands.moves import MoveVersion, rollback
from registry.domain.commands.requests import RequestMove
from registry.domain.documents import Document, RequestDocument, request_document
from registry.domain.policy import PRODUCTION, StagePolicy
from registry.errors import RegistryError, StaleExpectationError
from registry.persistence import queries
from registry.persistence.database import end_reading, reading
from registry.persistence.history import Spell, spells
from registry.services.commands import execute
from registry.services.transaction import Transaction
from registry.ui.forms import whole_number
from registry.ui.pages import done, page, refused, see
from registry.ui.prospects import Prospect, look
from registry.web.commands import asked_status, commit, parts
from registry.web.verification import commit_move

blueprint = Blueprint("moves", __name__)

_MOVE = "/models/<name:name>/versions/<number:number>/move"
_ROLLBACK = "/models/<name:name>/rollback"
_MOST_SPELLS = 50


@blueprint.get(_MOVE)
@requires(Permission.READ)
def show(name: str, number: int) -> Response:
    """Show what would become of a change of stage, or which there are."""
    if not request.args.get("to"):
        version = queries.get_version(reading(), name, number)
        return page("move_choice.html", version=version, rules=_rules(name))
    move = MoveVersion(model=name, number=number, to_stage=request.args["to"])
    return page("move.html", prospect=look(move), rules=_rules(name))


@blueprint.post(_MOVE)
@requires(Permission.PROMOTE)
def make(name: str, number: int) -> BaseResponse:
    """Move the version, or ask for that where others must approve."""
    move = MoveVersion(
        model=name,
        number=number,
        to_stage=request.form.get("to", ""),
        reason=request.form.get("reason", ""),
        breaks_glass="break_glass" in request.form,
    )
    return _carry_out(move, "move.html", rules=_rules(name))


@blueprint.post(f"{_MOVE}/request")
@requires(Permission.WRITE)
def ask(name: str, number: int) -> BaseResponse:
    """Ask others to approve the move, as who may not make it."""
    to_stage = request.form.get("to", "")
    move = MoveVersion(model=name, number=number, to_stage=to_stage)
    reason = request.form.get("reason", "")

    def work(tx: Transaction) -> RequestDocument:
        command = RequestMove(
            model=name,
            number=number,
            to_stage=to_stage,
            reason=reason,
            if_match=prospect.version.etag,
        )
        return request_document(name, execute(tx, command))

    try:
        prospect = look(move)
        _require_unchanged(prospect)
        end_reading()
        asked = done(commit(work))
    except RegistryError as error:
        return _refused("move.html", error, move, rules=_rules(name))
    return _to_request(asked["id"])


@blueprint.get(_ROLLBACK)
@requires(Permission.READ)
def show_rollback(name: str) -> Response:
    """Show what served before, and what putting one of them back would do."""
    served = _served(name)
    number = _number(request.args.get("to", "")) or served.default
    prospect = None if number is None else look(rollback(name, number, ""))
    return page("rollback.html", prospect=prospect, served=served, model=name)


@blueprint.post(_ROLLBACK)
@requires(Permission.PROMOTE)
def roll_back(name: str) -> BaseResponse:
    """Put a version back that served before, or ask for that."""
    number = _number(request.form.get("number", ""))
    move = rollback(name, number, request.form.get("reason", ""))
    return _carry_out(move, "rollback.html", served=_served(name), model=name)


def _number(text: str) -> int | None:
    """Return the number of a version that could be; None for nothing.

    Raises:
        InvalidInputError: for any other text.
    """
    return whole_number(text, "to") if text else None


class _Served:
    """Which versions were in Production, and which of them may be put back."""

    def __init__(self, rows: list[Spell]) -> None:
        self.rows = rows
        self.present = {row.change.number for row in rows if row.left_at is None}

    @property
    def default(self) -> int | None:
        """Return the last one that is not there; nobody else where it was deleted."""
        before = (row for row in self.rows if row.change.number not in self.present)
        last = next(before, None)
        return None if last is None or last.is_deleted else last.change.number

    def may_return(self, row: Spell) -> bool:
        """Whether it is for this line to offer its version: its last one."""
        number = row.change.number
        last = next(each for each in self.rows if each.change.number == number)
        return row is last and number not in self.present and not row.is_deleted


def _served(name: str) -> _Served:
    return _Served(spells(reading(), name, PRODUCTION, limit=_MOST_SPELLS))


def _rules(name: str) -> StagePolicy:
    return parts().policy.for_model(name)


def _carry_out(move: MoveVersion, template: str, **context: object) -> BaseResponse:
    """Make a move of what the form was shown with; show it anew where it is refused."""
    try:
        prospect = look(move)
        _require_unchanged(prospect)
        end_reading()
        bound = prospect.bound(move)
        moved = done(commit_move(bound, _move, status=asked_status))
    except RegistryError as error:
        return _refused(template, error, move, **context)
    if "request" in moved:
        return _to_request(moved["request"]["id"])
    version = moved["version"]["version"]
    address = url_for("ui.versions.show", name=move.model, number=version)
    return see(f"{address}?done=moved")


def _move(tx: Transaction, move: MoveVersion) -> Document:
    return execute(tx, move).document


def _require_unchanged(prospect: Prospect) -> None:
    if prospect.changes_since(request.form.get("shown", "")):
        raise StaleExpectationError(
            "Nothing was done: something has changed since this page was shown. "
            "Look again, then decide."
        )


def _refused(
    template: str, error: RegistryError, move: MoveVersion, **context: object
) -> Response:
    prospect = look(move)
    changes = prospect.changes_since(request.form.get("shown", ""))
    return refused(template, error, prospect=prospect, changes=changes, **context)


def _to_request(request_id: str) -> BaseResponse:
    address = url_for("ui.requests.show", request_id=request_id)
    return see(f"{address}?done=asked")
