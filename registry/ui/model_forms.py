"""What is changed on the page of a model: description, tags, aliases, holds, its end.

Rules:

- A form does what the command of ``/api/v1`` does. What is refused is shown in the page
  again, in that form, with what was typed.
- An alias that is bound to a stage is that stage: to set it leads to the page that
  shows what the move would do.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

from flask import Blueprint, Response, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from registry.api.problems import status_of
from registry.api.schemas.models import AliasTarget, ModelPatch
from registry.api.schemas.requests import LiftedHold, NewHold
from registry.auth.permissions import Permission, requires
from registry.domain import names
from registry.domain.commands.aliases import DeleteAlias, SetAlias
from registry.domain.commands.change import Command
from registry.domain.commands.holds import LiftHold, SetHold
from registry.domain.commands.models import ChangeModel, DeleteModel
from registry.domain.timestamps import parse_rfc3339
from registry.errors import InvalidInputError, RegistryError
from registry.persistence import boards, queries
from registry.persistence.database import reading
from registry.services.commands import execute
from registry.services.transaction import Transaction
from registry.ui import instants
from registry.ui.forms import typed, whole_number
from registry.ui.model_page import model_page
from registry.ui.pages import page, refused, see
from registry.web.commands import commit, parts

blueprint = Blueprint("model_forms", __name__)


@blueprint.post("/models/<name:name>/description")
@requires(Permission.WRITE)
def describe(name: str) -> BaseResponse:
    """Describe a model."""

    def command() -> ChangeModel:
        text = _text("description").replace("\r\n", "\n")
        return ChangeModel(model=name, **typed(ModelPatch(), description=text))

    return _carried_out(name, "description", command, "described")


@blueprint.post("/models/<name:name>/tags")
@requires(Permission.WRITE)
def tag(name: str) -> BaseResponse:
    """Set a tag, or remove one."""
    is_removed = "remove" in request.form

    def command() -> ChangeModel:
        # A key may begin with a space, which nobody types by intention.
        key = request.form.get("key", "") if is_removed else _text("key")
        tags = {key: None if is_removed else _text("value")}
        return ChangeModel(model=name, **typed(ModelPatch(), tags=tags))

    return _carried_out(name, "tags", command, "untagged" if is_removed else "tagged")


@blueprint.post("/models/<name:name>/aliases")
@requires(Permission.WRITE)
def alias(name: str) -> BaseResponse:
    """Point an alias at a version, or remove it."""
    called = _text("alias")
    if "remove" in request.form:
        gone = DeleteAlias(model=name, alias=called)
        return _carried_out(name, "aliases", lambda: gone, "unaliased")
    stage = parts().policy.for_model(name).bound_stage(called)
    number = _text("version")
    if stage and _is_number(number) and not queries.model_kind(reading(), name)[1]:
        return see(url_for("ui.moves.show", name=name, number=number, to=stage))

    def command() -> SetAlias:
        target = int(number) if _is_number(number) else number
        body = typed(AliasTarget(), version=target)
        return SetAlias(model=name, alias=called, number=body["version"])

    return _carried_out(name, "aliases", command, "aliased")


@blueprint.post("/models/<name:name>/holds")
@requires(Permission.PROMOTE)
def hold(name: str) -> BaseResponse:
    """Hold a stage, or lift what holds it."""
    stage = _text("stage")

    def lift() -> LiftHold:
        body = typed(LiftedHold(), reason=_text("reason"))
        return LiftHold(model=name, stage=stage, **body)

    def set_() -> SetHold:
        body = typed(NewHold(), reason=_text("reason"))
        return SetHold(model=name, stage=stage, reason=body["reason"], until=_until())

    if "lift" in request.form:
        return _carried_out(name, "holds", lift, "lifted")
    return _carried_out(name, "holds", set_, "held")


@blueprint.get("/models/<name:name>/delete")
@requires(Permission.WRITE)
def ask_to_delete(name: str) -> Response:
    """Show what would be deleted."""
    return page("model_delete.html", **_to_be_deleted(name))


@blueprint.post("/models/<name:name>/delete")
@requires(Permission.WRITE)
def delete(name: str) -> BaseResponse:
    """Delete a model."""
    try:
        if names.clean_text(request.form.get("confirm", ""), field="confirm") != name:
            raise InvalidInputError("The name: type that of the model", field="confirm")
        _commit(DeleteModel(model=name))
    except RegistryError as error:
        return refused("model_delete.html", error, **_to_be_deleted(name))
    return see(url_for("ui.models.index", done="deleted"))


def _to_be_deleted(name: str) -> dict[str, Any]:
    model = queries.get_model(reading(), name)
    return {
        "model": model.row,
        "facts": model.facts,
        "counts": boards.stage_counts(reading(), model.row.id),
        "deletable": parts().policy.for_model(name).deletable,
        "typed": request.form.get("confirm", ""),
    }


def _carried_out(
    name: str, form: str, command: Callable[[], Command[Any]], done: str
) -> BaseResponse:
    """Carry out what a form asks for, and go on to the page; or show why not."""
    try:
        _commit(command())
    except RegistryError as error:
        return model_page(
            name, status=status_of(error), error=error, at=form, form=request.form
        )
    return see(url_for("ui.models.show", name=name, done=done))


def _commit(command: Command[Any]) -> None:
    def work(tx: Transaction) -> None:
        execute(tx, command)

    commit(work)


def _text(field: str) -> str:
    return request.form.get(field, "").strip()


def _is_number(text: str) -> bool:
    with suppress(InvalidInputError):
        return bool(whole_number(text, "number"))
    return False


def _until() -> datetime | None:
    """Return the end that was typed; None without one."""
    text = instants.typed("until", request.form)
    return parse_rfc3339(text, field="until") if text else None
