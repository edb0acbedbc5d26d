"""A registry on SQLite, or on both databases where a test asks for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from registry.persistence import schema
from tests.integration.api.driver import Driver
from tests.integration.conftest import close_app, make_app
from tests.services.postgres import PostgresServer


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


@pytest.fixture
def api(app: Flask, client: FlaskClient) -> Driver:
    """A client signed in as admin."""
    return Driver(app, client)
