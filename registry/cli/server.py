"""The commands that run on the server: serve, worker, db upgrade."""

import os
import sys
from contextlib import suppress
from multiprocessing import get_context

import click
from flask import Flask

from registry.addresses import is_loopback
from registry.app import create_app
from registry.cli.configured_database import database_of, require_schema
from registry.cli.failures import failure_of
from registry.cli.metrics_server import metrics_served
from registry.cli.streams import is_terminal, say, say_aside
from registry.domain.sign_in_links import LIFETIME
from registry.errors import ConfigurationError, RegistryError
from registry.first_start import (
    ensure_first_token,
    prepare_store,
    sign_in_link,
    with_secret_key,
)
from registry.logs import configure_logging
from registry.persistence import database, schema
from registry.serving import run as http_server
from registry.settings import PREFIX, Settings
from registry.worker import run_worker


@click.command()
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on."
)
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535))
@click.option(
    "--workers",
    default=1,
    show_default=True,
    envvar="WEB_CONCURRENCY",
    show_envvar=True,
    type=click.IntRange(1, 64),
    help="Processes that serve; leave it at one with SQLite.",
)
@click.option(
    "--grace",
    default=25,
    show_default=True,
    type=click.IntRange(0, 3600),
    help="Seconds that requests have to end after SIGTERM.",
)
@click.option(
    "--deliver/--no-deliver",
    default=None,
    help="Deliver webhooks in this process too (default: STAGEGATE_DELIVER, true).",
)
def serve(
    host: str, port: int, *, workers: int, grace: int, deliver: bool | None
) -> None:
    """Serve the registry, and deliver its webhooks in the same process.

    The embedded database is created and upgraded first.
    """
    if deliver is not None:
        os.environ[f"{PREFIX}DELIVER"] = "true" if deliver else "false"
    settings = _settings()
    if settings.ways_to_sign_in.is_insecure_dev and not is_loopback(host):
        problem = (
            "STAGEGATE_INSECURE_DEV makes everybody an admin: it does not go with"
            f" --host {host}, where others reach the server"
        )
        raise ConfigurationError([problem])
    app = create_app(settings)
    if settings.is_embedded:
        _upgrade_apart(app)
    require_schema(app)
    prepare_store(app)
    _show_first_token(app)
    try:
        listener = http_server.listen(host, port)
    except OSError as error:
        raise click.ClickException(
            f"cannot listen on {host} port {port}: {error.strerror}"
        ) from error
    port = listener.getsockname()[1]
    at = f"[{host}]" if ":" in host else host
    say_aside(f"Stagegate serves on http://{at}:{port}")
    if is_terminal(sys.stderr) and (is_loopback(host) or settings.public_url):
        _show_link(app, f"http://{at}:{port}")
    if not (is_loopback(host) or settings.public_url):
        say_aside(
            "STAGEGATE_PUBLIC_URL is not set: events have no links to this server,"
            " unless it is asked by a name in STAGEGATE_ALLOWED_HOSTS."
        )
    http_server.serve(app, listener, processes=workers, grace=grace)


@click.command()
@click.option(
    "--metrics-host",
    default="127.0.0.1",
    show_default=True,
    help="Address to serve metrics on.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(1, 65535),
    help="Serve /metrics, and /healthz for a probe, on this port.  [default: nowhere]",
)
def worker(metrics_host: str, metrics_port: int | None) -> None:
    """Deliver webhooks and run the periodic jobs, without serving."""
    app = create_app(_settings())
    require_schema(app)
    with metrics_served(app, metrics_host, metrics_port):
        run_worker(app)


@click.group()
def db() -> None:
    """Look after the database."""


@db.command()
def upgrade() -> None:
    """Bring the database's schema to this version's."""
    app = create_app(_settings())
    _upgrade(app)
    _show_first_token(app)
    with suppress(OSError):  # it is done, said or not
        say(f"The schema is {schema.HEAD}.")


def _settings() -> Settings:
    settings = with_secret_key(Settings.from_env(os.environ))
    configure_logging(settings.log_level)
    return settings


def _upgrade_apart(app: Flask) -> None:
    """Upgrade in a process of its own: what Alembic needs, 12 MB, ends with it."""
    with database_of(app):
        if not schema.schema_problem(database.db.session()):
            return
        database.db.session.remove()
        database.db.engine.dispose()
    child = get_context("fork").Process(target=_upgrade_or_exit, args=(app,))
    child.start()
    child.join()
    if child.exitcode:
        sys.exit(child.exitcode)


def _upgrade_or_exit(app: Flask) -> None:
    try:
        _upgrade(app)
    except RegistryError as error:
        sys.exit(failure_of(error).exit_code)


def _upgrade(app: Flask) -> None:
    with database_of(app):
        schema.upgrade(database.db.engine)


def _show_link(app: Flask, address: str) -> None:
    """Say where a browser is signed in; a terminal's reader alone is told."""
    below = os.environ.get("SCRIPT_NAME", "").strip("/")
    link = sign_in_link(app, f"{address}/{below}".rstrip("/"))
    if link:
        minutes = LIFETIME.seconds // 60
        say_aside(f"Open it signed in, once and within {minutes} minutes:\n  {link}")


def _show_first_token(app: Flask) -> None:
    token = ensure_first_token(app)
    if token:
        say_aside(f"The first admin token, shown this once: {token}")
