"""The application in this process, and a real server beside it."""

import functools
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool

from registry.app import create_app
from registry.auth.sign_in import failed_sign_ins
from registry.first_start import ensure_first_token, prepare_store, with_secret_key
from registry.persistence import schema
from registry.persistence.database import db
from registry.settings import Settings
from tests.integration.world import keep
from tests.server import (
    RunningServer,
    running_server,
    server_environment,
    write_migrated,
)
from tests.services.fresh_database import FreshDatabase
from tests.services.postgres import PostgresServer

TOKEN = "test-token-of-no-value"


def make_app(directory: Path, **settings: str) -> Flask:
    """An application of its own, on a database with ``TOKEN`` as admin."""
    if "DATABASE_URL" not in settings and not _database(directory).exists():
        _database(directory).parent.mkdir(parents=True, exist_ok=True)
        _database(directory).write_bytes(_fresh_sqlite())
    app = _build(directory, **settings)
    _make_ready(app)
    return app


def _build(directory: Path, **settings: str) -> Flask:
    environment = server_environment(directory, BOOTSTRAP_TOKEN=TOKEN, **settings)
    return create_app(with_secret_key(Settings.from_env(environment)))


def _make_ready(app: Flask) -> None:
    with app.app_context():
        if schema.schema_problem(db.session()):
            schema.upgrade(db.engine)
    prepare_store(app)
    ensure_first_token(app)


def _database(directory: Path) -> Path:
    return directory / "data" / "stagegate.db"


@functools.cache
def _fresh_sqlite() -> bytes:
    """A database with ``TOKEN``, made once: all migrations take as long as 20 tests."""
    with tempfile.TemporaryDirectory() as name:
        write_migrated(_database(Path(name)))
        app = _build(Path(name))
        _make_ready(app)
        close_app(app)
        return _database(Path(name)).read_bytes()


def close_app(app: Flask) -> str:
    """Give the connections back, so that the database can be dropped.

    Returns:
        How it stood with them before.
    """
    with app.app_context():
        status = db.engine.pool.status()
        db.engine.dispose()
    return status


class SharedApps:
    """Applications that several tests use, one after the other.

    To build one takes 0.2 s, and its first statements as long again; its database as
    it was at first is a copy away. A test that changes the application itself, or
    needs two that are alike, makes its own.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._apps: dict[str, Flask] = {}

    def lend(self, directory: Path, settings: Mapping[str, str]) -> Flask:
        """One with these settings and nothing in it; its data are in ``directory``."""
        key = json.dumps(settings, sort_keys=True)
        place = self._directory / hashlib.sha256(key.encode()).hexdigest()[:16]
        if key not in self._apps:
            self._apps[key] = _build(place, **settings)
        app = self._apps[key]
        with app.app_context():
            failed_sign_ins().forget()
        data, file = place / "data", place / "data" / "stagegate.db"
        data.mkdir(parents=True, exist_ok=True)
        for each in data.iterdir():
            if each.is_dir():
                shutil.rmtree(each)
            elif each != file:
                each.unlink()
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "data").symlink_to(data)
        if "DATABASE_URL" not in settings:
            # Into the same file: one that was replaced is not written any more.
            _database(place).write_bytes(_fresh_sqlite())
        prepare_store(app)
        return app


@pytest.fixture(scope="session")
def shared_apps(tmp_path_factory: pytest.TempPathFactory) -> SharedApps:
    return SharedApps(tmp_path_factory.mktemp("applications"))


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


@pytest.fixture(scope="session")
def fresh_postgres(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FreshDatabase]:
    """A database that is as at first whenever it is asked for."""
    template, copy = "fresh", "shared"
    postgres_server.create_database(template)
    close_app(
        make_app(
            tmp_path_factory.mktemp("fresh"),
            DATABASE_URL=postgres_server.url(template),
        )
    )
    yield FreshDatabase(postgres_server, template, copy)
    for name in (copy, template):
        postgres_server.drop_database(name)


@pytest.fixture
def database(request: pytest.FixtureRequest) -> dict[str, str]:
    """The settings of a database: SQLite, unless the test is marked for both."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return {}
    fresh: FreshDatabase = request.getfixturevalue("fresh_postgres")
    fresh.restore()
    return {"DATABASE_URL": fresh.url}


@pytest.fixture
def app(
    tmp_path: Path, database: dict[str, str], shared_apps: SharedApps
) -> Iterator[Flask]:
    """The application on that database and a local artifact directory."""
    app = shared_apps.lend(tmp_path, database)
    yield app
    assert "Current Checked out connections: 0" in close_app(app)


def signed_in(app: Flask, token: str = TOKEN) -> FlaskClient:
    """A test client that signs in with every request."""
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A test client signed in as admin."""
    return signed_in(app)


@dataclass(frozen=True)
class LastingServer:
    """A real server for several tests, one after the other."""

    server: RunningServer
    _empty: Callable[[], None]

    def emptied(self) -> RunningServer:
        """The server, with a registry as it was at first."""
        self._empty()
        return self.server


@contextmanager
def lasting(directory: Path, **settings: str) -> Iterator[LastingServer]:
    """Start one on SQLite and a local artifact directory."""
    with running_server(directory, **settings) as server:
        url = make_url(f"sqlite:///{_database(directory)}")
        yield LastingServer(server, keep(url, directory / "data" / "artifacts"))


@pytest.fixture(scope="session")
def lasting_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LastingServer]:
    with lasting(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def server(lasting_server: LastingServer) -> RunningServer:
    """A real server with nothing in it.

    It goes on after the test. A test that ends it starts one of its own.
    """
    return lasting_server.emptied()


@pytest.fixture
def failures_last(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine, no failed sign-in is forgiven meanwhile."""
    with app.app_context():
        monkeypatch.setattr(failed_sign_ins(), "_clock", lambda: 0.0)
