"""Where the pages are: one table of modules, and what all their templates know."""

from http import HTTPStatus
from typing import cast

from flask import Blueprint, Flask, Response, g, request
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from registry.api.problems import problem_of
from registry.errors import NotSignedInError, RegistryError
from registry.ui import (
    access,
    account,
    assets,
    audit,
    compare,
    consumers,
    deliveries,
    files,
    model_forms,
    models,
    moves,
    now,
    policy,
    requests,
    shown,
    sign_in,
    versions,
    webhooks,
    webhooks_editing,
    webhooks_redelivery,
)
from registry.ui.pages import i_may, page, see

_MODULES = (
    *(assets, sign_in, account, now),
    *(models, model_forms, versions, files, compare, moves, requests),
    *(consumers, webhooks, webhooks_editing, webhooks_redelivery, deliveries),
    *(audit, policy, access),
)


def mount(app: Flask) -> None:
    """Serve the pages."""
    ui = Blueprint("ui", __name__, template_folder="templates")
    for module in _MODULES:
        ui.register_blueprint(module.blueprint)
    for kind in (RegistryError, HTTPException, DBAPIError, PoolTimeoutError, Exception):
        ui.register_error_handler(kind, _failed)
    ui.context_processor(_known_to_all)
    app.register_blueprint(ui)
    app.jinja_env.globals.update(
        asset_url=assets.asset_url,
        command=shown.command,
        i_may=i_may,
        requests_waiting=requests.count_waiting,
    )
    app.jinja_env.filters.update(shown.FILTERS)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True


def _known_to_all() -> dict[str, object]:
    caller = g.get("caller")
    return {"viewer": caller.actor if caller else None}


def _failed(error: Exception) -> BaseResponse:
    """Show what went wrong, as the API would tell it."""
    if isinstance(error, HTTPException) and error.response is not None:
        return cast("BaseResponse", error.response)
    if isinstance(error, NotSignedInError) and request.method == "GET":
        return see(sign_in.address(error))
    told = problem_of(error)
    document = told.get_json()
    answer = page("problem.html", status=told.status_code, problem=document)
    return _with_headers(answer, told)


def _with_headers(answer: Response, told: Response) -> Response:
    if told.status_code != HTTPStatus.UNAUTHORIZED and "Retry-After" in told.headers:
        answer.headers["Retry-After"] = told.headers["Retry-After"]
    return answer
