"""Where the pages are: one table of modules, and what all their templates know."""

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
    plot,
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
from registry.web.commands import parts
from registry.web.own_address import own_address

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
        may_remove_alias=versions.may_remove_alias,
        plot_marks=plot.drawn,
        requests_waiting=requests.count_waiting,
        server_address=_server_address,
    )
    app.jinja_env.filters.update(shown.FILTERS)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True


def show_problems(app: Flask) -> None:
    """Show browsers a page where there is none; everybody else hears it as before."""
    app.register_error_handler(HTTPException, _failed_elsewhere)


def _failed_elsewhere(error: HTTPException) -> BaseResponse:
    kinds = request.accept_mimetypes.best_match(["application/json", "text/html"])
    is_nowhere = request.url_rule is None
    return _failed(error) if is_nowhere and kinds == "text/html" else problem_of(error)


def _server_address() -> str:
    return own_address(parts().settings) or request.url_root.rstrip("/")


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
    if isinstance(error, NotSignedInError):
        document["detail"] = (
            "Nobody is signed in here any more, so nothing was done. Sign in, then go"
            " back to the form: browsers keep what was typed."
        )
    answer = page("problem.html", status=told.status_code, problem=document)
    return _with_headers(answer, told)


def _with_headers(answer: Response, told: Response) -> Response:
    for name in ("Retry-After", "Allow"):
        if name in told.headers:
            answer.headers[name] = told.headers[name]
    return answer
