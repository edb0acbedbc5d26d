"""``/signin``: the page that people sign in on, and how they leave.

Rules:

- An API token that is typed here becomes a session; it is kept nowhere else.
- After it a browser goes on to a path here, never to an address (``is_local_path``).
- How often one may try is held to what ``Authorization`` is held to.
- The link of ``stagegate serve`` signs in once (``domain.sign_in_links``), by the
  bootstrap token. Its ticket is in the query, which nothing here logs.
"""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from flask import Blueprint, Response, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from registry.api import sign_in as browser_sessions
from registry.auth import cookies
from registry.auth.cross_origin import refuse_cross_origin
from registry.auth.permissions import Permission, requires
from registry.auth.sign_in import counting_failures, is_person_signed_in
from registry.domain.people import is_local_path
from registry.domain.sign_in_links import SignInLinks
from registry.errors import (
    NoCredentialError,
    NotFoundError,
    NotSignedInError,
    RegistryError,
)
from registry.persistence.database import reading
from registry.services import tokens
from registry.ui.pages import page, refused, see
from registry.web.commands import parts

blueprint = Blueprint("sign_in", __name__)

_PLAIN = "/@!$&'()*+,;="  #: what a path needs not have quoted (RFC 3986, 3.3)


@blueprint.get("/signin")
@requires(Permission.PUBLIC)
def show() -> BaseResponse:
    """Show the ways to sign in."""
    if is_person_signed_in():
        return see(_next())
    return page("signin.html", **_ways(), ended=request.args.get("ended") is not None)


@blueprint.post("/signin")
@requires(Permission.PUBLIC)
def sign_in_by_token() -> BaseResponse:
    """Sign the browser in by the token that was typed."""
    settings = parts().settings
    try:
        refuse_cross_origin(settings)
        cookies.require_safe_place(settings)
        with counting_failures():
            token = tokens.sign_in(
                reading(), request.form.get("token", "").strip(), now=datetime.now(UTC)
            )
        answer = see(_next())
        browser_sessions.begin_session(answer, tokens.actor_of(token))
    except RegistryError as error:
        return refused("signin.html", error, **_ways(), ended=False)
    return answer


@blueprint.get("/signin/once")
@requires(Permission.PUBLIC)
def sign_in_once() -> BaseResponse:
    """Sign the browser in by the link that the server printed when it started."""
    if request.method == "HEAD":  # who looks at a link has not opened it
        return Response()
    settings, now = parts().settings, datetime.now(UTC)
    if not settings.is_embedded or settings.ways_to_sign_in.is_insecure_dev:
        raise NotFoundError("this server gives out no such links")
    try:
        cookies.require_safe_place(settings)
        with counting_failures():
            links = SignInLinks(settings.secret_keys)
            cookie = links.cookie_of(request.args.get("ticket", ""), now=now)
            actor = tokens.actor_of(tokens.bootstrap_token(reading()))
            answer = see(url_for("ui.now.show"))
            browser_sessions.begin_session(answer, actor, cookie=cookie)
    except RegistryError as error:
        return refused("signin.html", error, **_ways(), ended=False)
    return answer


@blueprint.post("/signout")
@requires(Permission.PUBLIC)
def sign_out() -> BaseResponse:
    """Sign the browser out here, and offer to do so at the provider."""
    answer: Response
    address = browser_sessions.end_session()
    if address is None:
        answer = see(url_for("ui.sign_in.show"))  # type: ignore[assignment]
    else:
        answer = page("signedout.html", address=address)
    browser_sessions.forget_session(answer)
    return answer


def address(error: NotSignedInError) -> str:
    """Return where to sign in, to come back to the present page afterwards."""
    query = request.query_string.decode("ascii", "replace")
    path = quote(request.script_root + request.path, safe=_PLAIN)
    if request.method != "GET":
        path, query = url_for("ui.now.show"), ""
    asked = {"next": f"{path}?{query}" if query else path}
    if not isinstance(error, NoCredentialError):
        asked["ended"] = "1"
    return f"{url_for('ui.sign_in.show')}?{urlencode(asked)}"


def _ways() -> dict[str, Any]:
    settings = parts().settings.ways_to_sign_in
    return {"provider": settings.provider, "next": _next()}


def _next() -> str:
    path = request.values.get("next", "")
    return path if is_local_path(path) else url_for("ui.now.show")
