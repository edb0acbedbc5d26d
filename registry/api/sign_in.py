"""``/auth``: how a browser signs in and out.

Rules:

- A sign-in at the identity provider is the code flow with PKCE. Its state, nonce and
  verifier travel in a sealed cookie of ten minutes: whoever comes back without it did
  not begin here, and nobody is signed in as somebody else by a link.
- What begins or ends a session asks whether another site wishes it (``cross_origin``).
- After it a browser goes on to a path here, never to an address.
- These routes are for browsers and the provider, and not in our API's description.
"""

import hmac
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, jsonify, redirect, request
from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Response as BaseResponse

from registry.api.tokens import caller_document
from registry.auth import cookies, people
from registry.auth.cross_origin import refuse_cross_origin
from registry.auth.permissions import NONE, Permission, requires
from registry.auth.sign_in import caller_of, counting_failures, current_caller
from registry.domain.actors import SYSTEM, Actor, CredentialKind
from registry.domain.openid import Attempt
from registry.domain.people import is_local_path
from registry.domain.rows import SessionRow
from registry.errors import (
    IdentityProviderError,
    InvalidInputError,
    NotFoundError,
    NotSignedInError,
    PermissionDeniedError,
)
from registry.persistence.database import db, end_reading, reading
from registry.services import people as people_service
from registry.services import sessions, tokens
from registry.services.transaction import Transaction, begin
from registry.web.commands import parts
from registry.web.own_address import own_address
from webhooks.errors import UnsealError

if TYPE_CHECKING:  # it is loaded where one is set
    from registry.identity.provider import Provider

blueprint = Blueprint("sign_in", __name__, url_prefix="/auth")

_SECONDS = 10 * 60  #: for a sign-in


@blueprint.get("/login")
@requires(Permission.PUBLIC)
def login() -> BaseResponse:
    """Send the browser to the identity provider."""
    provider, settings, path = _provider(), parts().settings, _next()
    cookies.require_safe_place(settings)
    attempt = Attempt.begin(f"{own_address(settings)}/auth/callback")
    with parts().rooms.sign_ins.place():
        answer = redirect(provider.authorization_url(attempt))
    begun = {
        "attempt": asdict(attempt),
        "next": path,
        "until": datetime.now(UTC).timestamp() + _SECONDS,
    }
    sealed = parts().webhooks.box.seal(json.dumps(begun))
    cookies.give(answer, settings, cookies.SIGN_IN, sealed, seconds=_SECONDS)
    return answer


@blueprint.get("/callback")
@requires(Permission.PUBLIC)
def callback() -> BaseResponse:
    """Sign the browser in that comes back from the identity provider."""
    provider, settings = _provider(), parts().settings
    attempt, path = _begun()
    with counting_failures(), parts().rooms.sign_ins.place():
        person, sid = provider.complete(request.args.to_dict(), attempt)
    actor = people_service.sign_in(reading(), person, credential=CredentialKind.SESSION)
    brought = cookies.brought(settings, cookies.SESSION)
    with _transaction(actor) as tx:
        row, cookie = sessions.start_for_person(tx, person, sid=sid, brought=brought)
    answer = redirect(path)
    _give_session(answer, row, cookie)
    cookies.give(answer, settings, cookies.SIGN_IN, "", seconds=0)
    return answer


@blueprint.post("/session")
@requires(Permission.READ, model=NONE)
def sign_in_by_token() -> Response:
    """Sign a browser in by the API token that this request brings."""
    settings, actor = parts().settings, current_caller().actor
    cookies.require_safe_place(settings)
    refuse_cross_origin(settings)
    answer = jsonify(caller_document(actor))
    answer.status_code = HTTPStatus.CREATED
    begin_session(answer, actor)
    return answer


def begin_session(answer: BaseResponse, actor: Actor, *, cookie: str = "") -> None:
    """Give the browser a session of the token that an actor has shown.

    Args:
        answer: to the browser.
        actor: whose session it is.
        cookie: what it is known by, where that is not just any.

    Raises:
        PermissionDeniedError: it has shown something else.
        NotSignedInError: that cookie has been given to a browser already.
    """
    if actor.credential is not CredentialKind.TOKEN:
        raise PermissionDeniedError("a session is made from an API token alone")
    brought = cookies.brought(parts().settings, cookies.SESSION)
    with _transaction(actor) as tx:
        token = tokens.find(tx.cx, actor.credential_id, now=tx.now)
        row, cookie = sessions.start_for_token(
            tx, token, brought=brought, cookie=cookie
        )
    _give_session(answer, row, cookie)


@blueprint.post("/logout")
@requires(Permission.PUBLIC)
def logout() -> Response:
    """Sign the browser out here, and say where it signs out at the provider."""
    address = end_session()
    answer = jsonify({"logout_url": address})
    forget_session(answer)
    return answer


def end_session() -> str | None:
    """End the browser's session; returns where it signs out at the provider, if it can.

    Raises:
        CrossOriginError: another site wishes it.
    """
    settings, address = parts().settings, None
    refuse_cross_origin(settings)
    cookie = cookies.brought(settings, cookies.SESSION)
    with suppress(NotSignedInError):  # it is signed out already
        actor, session = people.actor_of_cookie(cookie, datetime.now(UTC))
        with _transaction(actor) as tx:
            sessions.end(tx, cookie)
        provider = parts().provider
        if provider and session.token_id is None:
            with suppress(IdentityProviderError):  # it has ended here all the same
                address = provider.end_session_url(own_address(settings))
    return address


def forget_session(answer: BaseResponse) -> None:
    """Have the browser forget its session."""
    cookies.give(answer, parts().settings, cookies.SESSION, "", seconds=0)


@blueprint.post("/backchannel-logout")
@requires(Permission.PUBLIC)
def backchannel_logout() -> Response:
    """End the sessions of whoever signed out at the identity provider."""
    provider = _provider()
    try:
        with counting_failures():
            ended = provider.ended(request.form.get("logout_token", ""))
    except NotSignedInError as error:
        raise BadRequest(error.message) from error  # as the specification has it
    actor = replace(SYSTEM, on_behalf_of={"issuer": provider.issuer})
    with _transaction(actor) as tx:
        sessions.end_at_provider(
            tx, issuer=provider.issuer, sid=ended.sid, subject=ended.subject
        )
    return Response(status=HTTPStatus.OK)


def _provider() -> "Provider":
    provider = parts().provider
    if provider is None:
        raise NotFoundError(
            "no identity provider is set here; sign in by a token (POST /auth/session)"
        )
    return provider


def _next() -> str:
    path = request.args.get("next") or f"{request.script_root}/"
    if not is_local_path(path):
        raise InvalidInputError("expected a path on this server", field="next")
    return path


def _give_session(answer: BaseResponse, row: SessionRow, cookie: str) -> None:
    seconds = int((row.expires_at - row.created_at).total_seconds())
    cookies.give(answer, parts().settings, cookies.SESSION, cookie, seconds=seconds)


def _begun() -> tuple[Attempt, str]:
    """Return what this browser began with, and where it goes on to.

    Raises:
        NotSignedInError: it did not begin here, or too long ago.
    """
    sealed = cookies.brought(parts().settings, cookies.SIGN_IN)
    with suppress(UnsealError):
        begun: dict[str, Any] = json.loads(parts().webhooks.box.open(sealed))
        attempt = Attempt(**begun["attempt"])
        state = request.args.get("state", "")
        is_meant = hmac.compare_digest(attempt.state.encode(), state.encode())
        if is_meant and datetime.now(UTC).timestamp() < begun["until"]:
            return attempt, begun["next"]
    raise NotSignedInError(
        "this sign-in was not begun in this browser, or too long ago; begin again"
    )


@contextmanager
def _transaction(actor: Actor) -> Iterator[Transaction]:
    end_reading()
    with begin(db.engine, caller=caller_of(actor), policy=parts().policy) as tx:
        yield tx
