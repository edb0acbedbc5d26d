"""``create_app``: the one place that knows every part and wires them."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from flask import Flask, Response, request

from registry.api import health, mounting, sign_in
from registry.api.metrics import measure
from registry.api.problems import register_problem_handlers
from registry.artifacts.opening import open_store
from registry.artifacts.store import ArtifactStore, S3Access
from registry.artifacts.tracked import StoreAndTracking
from registry.auth.permissions import check_every_route
from registry.auth.sign_in import require_sign_in
from registry.domain.deployment_token import DeploymentTokens
from registry.domain.policy import StagePolicy
from registry.domain.policy_file import parse_policy
from registry.errors import ConfigurationError
from registry.mlflow_api import mounting as mlflow_mounting
from registry.persistence.database import (
    db,
    end_reading,
    engine_options,
    prepare_engine,
    session_factory,
    write_transaction,
)
from registry.persistence.schema import serving_problem
from registry.services.deployment_grants import lend_token
from registry.services.subscriptions import WebhookParts
from registry.settings import Settings
from registry.tracking.client import TrackingAccess, TrackingServer
from registry.ui import mounting as ui_mounting
from registry.web.hosts import HostCheckingFlask
from registry.web.parts import Parts
from registry.web.readiness import Readiness
from registry.web.strict_json import StrictJSONProvider
from webhooks.queue.dispatcher import Dispatcher
from webhooks.roster.secrets import SecretBox
from webhooks.sending.guard import AddressGuard
from webhooks.sending.sender import Sender

if TYPE_CHECKING:
    from registry.identity.provider import Provider

MAX_BODY_BYTES = 1024 * 1024
_LEASE = timedelta(seconds=60)
_THIS_MACHINE = ("localhost", "127.0.0.1", "[::1]")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": (
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; "
        "form-action 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_HTTPS_FOR_A_YEAR = f"max-age={365 * 24 * 60 * 60}"


def create_app(settings: Settings) -> Flask:
    """Build the application; nothing runs in the background yet.

    Raises:
        ConfigurationError: for a policy file, an artifact store or a route that
            cannot be used.
    """
    app = HostCheckingFlask("registry", allowed_hosts=_allowed_hosts(settings))
    app.json = StrictJSONProvider(app)
    app.url_map.merge_slashes = False
    app.config.update(
        SQLALCHEMY_DATABASE_URI=settings.database_url,
        SQLALCHEMY_ENGINE_OPTIONS=engine_options(
            settings.database_url, through_pgbouncer=settings.pgbouncer
        ),
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
    )
    db.init_app(app)
    app.teardown_appcontext(end_reading)
    with app.app_context():
        prepare_engine(db.engine)
        app.extensions["stagegate"] = _parts(settings)
    app.register_blueprint(health.blueprint)
    app.register_blueprint(sign_in.blueprint)
    mounting.mount(app)
    mlflow_mounting.mount(app)
    ui_mounting.mount(app)
    measure(app)
    require_sign_in(app, settings, app.extensions["stagegate"].provider)
    register_problem_handlers(app)
    ui_mounting.show_problems(app)
    app.after_request(_add_security_headers)
    check_every_route(app)
    return app


def _allowed_hosts(settings: Settings) -> Sequence[str]:
    """Where everybody is an admin, no page may give this machine a name of its own."""
    is_dev = settings.ways_to_sign_in.is_insecure_dev
    return settings.allowed_hosts or (_THIS_MACHINE if is_dev else ())


def _parts(settings: Settings) -> Parts:
    sessions = session_factory(db.engine)
    guard = AddressGuard(
        settings.webhook_allowed_networks, allow_http=settings.webhook_allow_http
    )
    box = SecretBox(settings.secret_keys)
    store, tracking = _store(settings), _tracking(settings)
    return Parts(
        settings=settings,
        policy=load_policy(settings),
        store=StoreAndTracking(store, tracking) if tracking else store,
        tracking=tracking,
        provider=_provider(settings),
        webhooks=WebhookParts(box=box, guard=guard),
        dispatcher=Dispatcher(
            partial(write_transaction, db.engine),
            box,
            Sender(guard),
            lease=_LEASE,
            lend=partial(lend_token, DeploymentTokens(settings.secret_keys)),
        ),
        readiness=Readiness(partial(serving_problem, sessions)),
    )


def load_policy(settings: Settings) -> StagePolicy:
    """Read the policy file.

    Raises:
        ConfigurationError: when it cannot be read or is malformed.
    """
    path = settings.policy_file
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            [f"STAGEGATE_POLICY_FILE: cannot read {path}: {error.strerror}"]
        ) from error
    return parse_policy(content, source=str(path))


def _store(settings: Settings) -> ArtifactStore:
    access = S3Access(
        endpoint_url=settings.s3_endpoint_url,
        access_key=settings.s3_access_key,
        secret_key=settings.s3_secret_key,
        region=settings.s3_region,
    )
    return open_store(
        settings.artifact_root, access if settings.s3_endpoint_url else None
    )


def _provider(settings: Settings) -> "Provider | None":
    if settings.ways_to_sign_in.provider is None:
        return None
    from registry.identity.provider import Provider  # noqa: PLC0415  # 2 MB

    return Provider(settings.ways_to_sign_in.provider)


def _tracking(settings: Settings) -> TrackingServer | None:
    if not settings.tracking_uri:
        return None
    access = TrackingAccess(
        url=settings.tracking_uri,
        token=settings.tracking_token,
        username=settings.tracking_username,
        password=settings.tracking_password,
    )
    return TrackingServer(access)


def _add_security_headers(answer: Response) -> Response:
    for name, value in _HEADERS.items():
        answer.headers.setdefault(name, value)
    if request.is_secure:
        answer.headers.setdefault("Strict-Transport-Security", _HTTPS_FOR_A_YEAR)
    return answer
