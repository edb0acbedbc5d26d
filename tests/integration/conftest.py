"""The application in this process, and a real server beside it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from registry.app import create_app
from registry.first_start import ensure_first_token, prepare_store, with_secret_key
from registry.persistence import schema
from registry.persistence.database import db
from registry.settings import Settings
from tests.server import RunningServer, running_server, server_environment
from tests.services.postgres import PostgresServer

TOKEN = "test-token-of-no-value"


def make_app(directory: Path, **settings: str) -> Flask:
    """An application on a database of its own, upgraded, with ``TOKEN`` as admin."""
    environment = server_environment(directory, BOOTSTRAP_TOKEN=TOKEN, **settings)
    app = create_app(with_secret_key(Settings.from_env(environment)))
    with app.app_context():
        schema.upgrade(db.engine)
    prepare_store(app)
    ensure_first_token(app)
    return app


def close_app(app: Flask) -> None:
    """Give the connections back, so that the database can be dropped."""
    with app.app_context():
        db.engine.dispose()


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: PostgresServer) -> Iterator[str]:
    """The name of a database with the present schema, to be copied."""
    name = "migrated_template"
    postgres_server.create_database(name)
    engine = create_engine(postgres_server.url(name), poolclass=NullPool)
    schema.upgrade(engine)
    engine.dispose()
    yield name
    postgres_server.drop_database(name)


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The settings of a database: SQLite, unless the test is marked for both."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield {}
        return
    template: str = request.getfixturevalue("migrated_postgres")
    server: PostgresServer = request.getfixturevalue("postgres_server")
    with server.fresh_database(template) as url:
        yield {"DATABASE_URL": url}


@pytest.fixture
def app(tmp_path: Path, database: dict[str, str]) -> Iterator[Flask]:
    """The application on that database and a local artifact directory."""
    app = make_app(tmp_path, **database)
    yield app
    close_app(app)


def signed_in(app: Flask, token: str = TOKEN) -> FlaskClient:
    """A test client that signs in with every request."""
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A test client signed in as admin."""
    return signed_in(app)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    """A real server on SQLite and a local artifact directory."""
    with running_server(tmp_path) as server:
        yield server
