"""The commands that run on the server: serve, worker, db upgrade."""

import os
import sys

import click
from flask import Flask

from registry.app import create_app
from registry.cli.database_trouble import database_of, require_schema
from registry.cli.metrics_server import metrics_served
from registry.first_start import ensure_first_token, prepare_store, with_secret_key
from registry.logs import configure_logging
from registry.persistence import database, schema
from registry.settings import PREFIX, Settings, packaged_config
from registry.worker import run_worker

#: The C library keeps memory for each thread apart, in up to eight arenas a
#: processor, and hands little of it back. Python's threads allocate one at a time,
#: so one arena serves them. What an operator sets goes before this.
_MALLOC = {"MALLOC_ARENA_MAX": "1"}


@click.command()
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on."
)
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535))
@click.option(
    "--deliver/--no-deliver",
    default=None,
    help="Deliver webhooks in this process too (default: STAGEGATE_DELIVER, true).",
)
def serve(host: str, port: int, *, deliver: bool | None) -> None:
    """Serve the registry, and deliver its webhooks in the same process.

    The embedded database is created and upgraded first. This process then
    becomes gunicorn's, so that it holds nothing it needed for starting only.
    """
    if deliver is not None:
        os.environ[f"{PREFIX}DELIVER"] = "true" if deliver else "false"
    settings = _settings()
    app = create_app(settings)
    if settings.is_embedded:
        _upgrade(app)
    require_schema(app)
    prepare_store(app)
    _show_first_token(app)
    click.echo(f"Stagegate serves on http://{host}:{port}", err=True)
    config = packaged_config("gunicorn.conf.py")
    os.execve(  # noqa: S606  # our own interpreter and our own file
        sys.executable,
        [
            sys.executable,
            "-m",
            "gunicorn",
            "--config",
            str(config),
            "--bind",
            f"{host}:{port}",
            "registry.wsgi:application()",
        ],
        {**_MALLOC, **os.environ},
    )


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
    click.echo(f"The schema is {schema.HEAD}.")


def _settings() -> Settings:
    settings = with_secret_key(Settings.from_env(os.environ))
    configure_logging(settings.log_level)
    return settings


def _upgrade(app: Flask) -> None:
    with database_of(app):
        schema.upgrade(database.db.engine)


def _show_first_token(app: Flask) -> None:
    token = ensure_first_token(app)
    if token:
        click.echo(f"The first admin token, shown this once: {token}", err=True)
