"""Sign-in: from the request's credential to its caller.

Rules:

- ``Authorization: Bearer <token>``, or HTTP Basic with the token as password; people
  sign in in other ways as well (``people``).
- The role is read from the database with every request; nothing is cached.
- That a token or session was used is noted once its request is answered.
- The token of a delivery opens the routes that admit it, for its version alone.
- What a browser brings along by itself (all but a token of ours) changes nothing at
  another site's wish (``cross_origin``).
- Failures are logged with the reason, never with the credential, and counted by source.
"""

import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from flask import Flask, Response, current_app, g, request
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from registry.auth import people
from registry.auth.cross_origin import refuse_cross_origin
from registry.auth.hops import READING, ask_for_no_more, hop_of_request
from registry.auth.permissions import (
    Permission,
    authorize_model,
    is_free_with_models,
    is_open_to_deliveries,
    permission_of,
)
from registry.auth.rate_limits import FailureLimit
from registry.auth.token_use import TokenUse
from registry.domain.actors import (
    Actor,
    ActorKind,
    Caller,
    CredentialKind,
    authorize,
)
from registry.domain.commands.deployments import DeploymentGrant
from registry.domain.deployment_token import DeploymentTokens, is_deployment_token
from registry.errors import (
    NoCredentialError,
    NotSignedInError,
    PermissionDeniedError,
)
from registry.persistence.database import db, end_reading, reading
from registry.services import sessions, tokens
from registry.services.deployment_grants import open_grant
from registry.settings import Settings

if TYPE_CHECKING:  # it is loaded where one is set
    from registry.identity.provider import Provider

logger = logging.getLogger(__name__)

_MAX_HEADER_CHARACTERS = 200
#: What a page sends that asks by itself whether it has changed: nobody is at it.
REFRESH = "X-Stagegate-Refresh"
_NOTED_USES = "stagegate-noted-uses"
_DEPLOYMENT_TOKENS = "stagegate-deployment-tokens"
_FAILURES = "stagegate-failed-sign-ins"
_WAYS = "stagegate-ways-to-sign-in"
#: What no browser brings along by itself.
_OF_SCRIPTS = frozenset(
    {
        CredentialKind.TOKEN,
        CredentialKind.CI_TOKEN,
        CredentialKind.DELIVERY_TOKEN,
    }
)
Found = TypeVar("Found")


def require_sign_in(
    app: Flask, settings: Settings, provider: "Provider | None"
) -> None:
    """Hold every request of this app to the permission of its route.

    Args:
        app: has all its routes.
        settings: say in which ways people sign in.
        provider: vouches for them, where one is set.
    """
    app.extensions[_WAYS] = people.Ways(settings, provider)
    app.extensions[_DEPLOYMENT_TOKENS] = DeploymentTokens(settings.secret_keys)
    app.extensions[_FAILURES] = FailureLimit(burst=30, per_minute=30)
    with app.app_context():
        app.extensions[_NOTED_USES] = TokenUse(db.engine)
    app.before_request(_authorize)
    app.after_request(_note_use_afterwards)
    app.after_request(ask_for_no_more)


def _authorize() -> None:
    g.request_id = uuid.uuid4().hex
    if request.endpoint is None:  # no such route: nothing to guard
        return
    permission = permission_of(current_app, request.endpoint)
    if permission is Permission.PUBLIC:
        return
    now = datetime.now(UTC)
    try:
        actor = _signed_in(permission, request.endpoint, now)
        g.caller = caller_of(actor)
        _let_go_of_connection()  # none waits for a body that arrives slowly
        _hold_to_models(actor, request.endpoint)
    except (NotSignedInError, PermissionDeniedError) as error:
        _note_failure(error)
        raise


def _note_failure(error: NotSignedInError | PermissionDeniedError) -> None:
    """Log a refusal, and count it if something was shown that is not good.

    Raises:
        TooManyAttemptsError: in place of the one refusal too many, which is not logged.
    """
    is_failure = isinstance(error, NotSignedInError)
    if is_failure and not isinstance(error, NoCredentialError):
        failed_sign_ins().note_failure(request.remote_addr or "")
    logger.warning(
        "sign_in_refused reason=%r path=%r source_ip=%s",
        error.message,
        request.path,
        request.remote_addr,
    )


def caller_of(actor: Actor) -> Caller:
    """Return what the audit log keeps of the present request, by whoever makes it."""
    return Caller(
        actor=actor,
        request_id=g.request_id,
        source_ip=request.remote_addr or "",
        user_agent=request.user_agent.string[:_MAX_HEADER_CHARACTERS],
        hop=hop_of_request(),
    )


def failed_sign_ins() -> FailureLimit:
    """Return who has failed to sign in, by source."""
    limit: FailureLimit = current_app.extensions[_FAILURES]
    return limit


@contextmanager
def counting_failures() -> Iterator[None]:
    """Hold a route that nobody signs in for to how often its source may fail.

    Raises:
        TooManyAttemptsError: it has failed too often.
    """
    failed_sign_ins().check(request.remote_addr or "")
    try:
        yield
    except NotSignedInError as error:
        _note_failure(error)
        raise


def is_person_signed_in() -> bool:
    """Whether a browser is signed in that asks for what is open to everybody."""
    ways: people.Ways = current_app.extensions[_WAYS]
    try:
        ways.actor("", datetime.now(UTC))
    except NotSignedInError:
        return False
    return True


def act_as(actor: Actor) -> None:
    """Let the present request, which no sign-in guards, be made by an actor."""
    g.caller = caller_of(actor)


def _let_go_of_connection() -> None:
    if request.method not in READING:
        end_reading()


def _hold_to_models(actor: Actor, endpoint: str) -> None:
    """Judge the model that is named, for those who may not act on every one."""
    is_held_by_grant = actor.kind is ActorKind.DELIVERY  # to one version already
    if not is_held_by_grant and not is_free_with_models(current_app, endpoint, actor):
        authorize_model(current_app, endpoint, actor)
        _let_go_of_connection()


def _signed_in(permission: Permission | None, endpoint: str, now: datetime) -> Actor:
    secret = _credential()
    if is_deployment_token(secret):
        grant = g.deployment_grant = _grant(secret, endpoint, now)
        return grant.actor
    ways: people.Ways = current_app.extensions[_WAYS]
    if secret and not ways.take(secret):
        actor = _by_token(secret, now)
    else:
        actor = _of_person(ways, secret, now)
    if permission is None:
        raise PermissionDeniedError("this route declares no permission")
    if actor.credential not in _OF_SCRIPTS:
        refuse_cross_origin(ways.settings)
    authorize(actor, permission.value)
    return actor


def _by_token(secret: str, now: datetime) -> Actor:
    token = _insisting(lambda: tokens.sign_in(reading(), secret, now=now))
    if tokens.is_use_worth_noting(token, now):
        g.noting = partial(tokens.note_use, token_id=token.id, at=now)
    return tokens.actor_of(token)


def _of_person(ways: people.Ways, jwt: str, now: datetime) -> Actor:
    actor, session = _insisting(lambda: ways.actor(jwt, now))
    is_by_itself = REFRESH in request.headers
    if session and not is_by_itself and sessions.is_worth_noting(session, now):
        g.noting = partial(sessions.note_seen, session_id=session.id, at=now)
    return actor


def _insisting(find: Callable[[], Found]) -> Found:
    """Return what is found; a connection that died while unused is replaced."""
    try:
        return find()
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
    end_reading()
    return find()


def _grant(secret: str, endpoint: str, now: datetime) -> DeploymentGrant:
    """Return what the token of a delivery allows, when it is what this request asks."""
    known: DeploymentTokens = current_app.extensions[_DEPLOYMENT_TOKENS]
    grant = open_grant(reading(), known, secret, now=now)
    path = request.view_args or {}
    if not is_open_to_deliveries(current_app, endpoint) or not grant.allows(
        path.get("name"), path.get("number")
    ):
        raise PermissionDeniedError(
            "this token reports deployments of version "
            f"{grant.number} of {grant.model!r}, and does nothing else"
        )
    return grant


def _credential() -> str:
    """Return what ``Authorization`` brings; nothing where there is none."""
    if "Authorization" not in request.headers:
        return ""
    authorization = request.authorization
    if authorization is None:  # it cannot be read
        raise NoCredentialError
    secret = None
    if authorization.type in {"basic", "bearer"}:
        is_basic = authorization.type == "basic"
        secret = authorization.password if is_basic else authorization.token
    if not secret:
        raise NotSignedInError("expected a bearer token, or Basic with it as password")
    return secret


def _note_use_afterwards(answer: Response) -> Response:
    write: Callable[[Connection], None] | None = g.get("noting")
    if write is not None:
        noting: TokenUse = current_app.extensions[_NOTED_USES]
        answer.call_on_close(partial(noting.note, write))
    return answer


def current_caller() -> Caller:
    """Return who makes the present request; only where a permission is declared."""
    caller: Caller = g.caller
    return caller


def current_grant() -> DeploymentGrant | None:
    """Return what the token of a delivery allows, if the caller signed in with one."""
    grant: DeploymentGrant | None = g.get("deployment_grant")
    return grant
