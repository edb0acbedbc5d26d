"""Sign-in: from the request's credential to its caller.

Rules:

- ``Authorization: Bearer <token>``, or HTTP Basic with the token as password.
- The role is read from the database with every request; nothing is cached.
- That a token was used is noted once its request is answered (``token_use``).
- The token of a delivery opens the routes that admit it, for its version alone.
- Failures are logged with the reason, never with the credential.
"""

import logging
import uuid
from datetime import UTC, datetime
from functools import partial

from flask import Flask, Response, current_app, g, request
from sqlalchemy.exc import DBAPIError

from registry.auth.hops import READING, ask_for_no_more, hop_of_request
from registry.auth.permissions import (
    Permission,
    authorize_model,
    is_free_with_models,
    is_open_to_deliveries,
    permission_of,
)
from registry.auth.token_use import TokenUse
from registry.domain.actors import Actor, ActorKind, Caller, authorize
from registry.domain.commands.deployments import DeploymentGrant
from registry.domain.deployment_token import DeploymentTokens, is_deployment_token
from registry.domain.rows import TokenRow
from registry.errors import NotSignedInError, PermissionDeniedError
from registry.persistence.database import db, end_reading, reading
from registry.services import tokens
from registry.services.deployment_grants import open_grant

logger = logging.getLogger(__name__)

_MAX_HEADER_CHARACTERS = 200
_NOTED_USES = "stagegate-noted-uses"
_DEPLOYMENT_TOKENS = "stagegate-deployment-tokens"


def require_sign_in(app: Flask, deployment_tokens: DeploymentTokens) -> None:
    """Hold every request of this app to the permission of its route."""
    app.extensions[_DEPLOYMENT_TOKENS] = deployment_tokens
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
        g.caller = _caller(actor)
        _let_go_of_connection()  # none waits for a body that arrives slowly
        _hold_to_models(actor, request.endpoint)
    except (NotSignedInError, PermissionDeniedError) as error:
        logger.warning(
            "sign_in_refused reason=%r path=%r source_ip=%s",
            error.message,
            request.path,
            request.remote_addr,
        )
        raise


def _caller(actor: Actor) -> Caller:
    return Caller(
        actor=actor,
        request_id=g.request_id,
        source_ip=request.remote_addr or "",
        user_agent=request.user_agent.string[:_MAX_HEADER_CHARACTERS],
        hop=hop_of_request(),
    )


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
    token = _token(secret, now)
    actor = tokens.actor_of(token)
    if permission is None:
        raise PermissionDeniedError("this route declares no permission")
    authorize(actor, permission.value)
    if tokens.is_use_worth_noting(token, now):
        g.used_token = (token.id, now)
    return actor


def _token(secret: str, now: datetime) -> TokenRow:
    """Return who signs in; a connection that died while nobody used it is replaced."""
    try:
        return tokens.sign_in(reading(), secret, now=now)
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
    end_reading()
    return tokens.sign_in(reading(), secret, now=now)


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
    authorization = request.authorization
    if authorization is None:
        raise NotSignedInError("sign in with 'Authorization: Bearer <token>'")
    secret = (
        authorization.password
        if authorization.type == "basic"
        else authorization.token
        if authorization.type == "bearer"
        else None
    )
    if not secret:
        raise NotSignedInError("expected a bearer token, or Basic with it as password")
    return secret


def _note_use_afterwards(answer: Response) -> Response:
    used: tuple[str, datetime] | None = g.get("used_token")
    if used is not None:
        noting: TokenUse = current_app.extensions[_NOTED_USES]
        answer.call_on_close(partial(noting.note, *used))
    return answer


def current_caller() -> Caller:
    """Return who makes the present request; only where a permission is declared."""
    caller: Caller = g.caller
    return caller


def current_grant() -> DeploymentGrant | None:
    """Return what the token of a delivery allows, if the caller signed in with one."""
    grant: DeploymentGrant | None = g.get("deployment_grant")
    return grant
