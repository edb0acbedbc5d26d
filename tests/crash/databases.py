"""A fresh copy of one prepared database for each run, on SQLite and PostgreSQL.

- The template is migrated once and holds two models with a version in each stage,
  and two subscriptions; a run starts from a copy of it, always at the same address.
- SQLite: the file is copied. PostgreSQL: a database is made from the template.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from flask.testing import FlaskClient

from tests.integration.conftest import close_app, make_app, signed_in
from tests.server import server_environment
from tests.services.postgres import PostgresServer

MODELS = ("fraud", "churn")
ENDPOINTS = ("/steady", "/moody")  # the second answers 500 now and then
_TEMPLATE, _RUN = "crash_template", "crash_run"

#: The settings of a target, as its environment has them.
Environment = frozenset[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class World:
    """What every run starts from."""

    kind: str
    source: str
    secrets: Mapping[str, str]
    fresh: Callable[[], AbstractContextManager[Environment]]


def prepare_sqlite(directory: Path, receiver_url: str) -> World:
    """Prepare the template file; ``fresh`` copies it."""
    file = directory / "run.db"
    template = directory / "template.db"
    url = f"sqlite:///{file}"
    source, secrets = _fill(directory, receiver_url, url)
    shutil.copyfile(file, template)

    @contextlib.contextmanager
    def fresh() -> Iterator[Environment]:
        for leftover in directory.glob("run.db-*"):
            leftover.unlink()
        # Into the same file: one that was replaced is not written any more.
        shutil.copyfile(template, file)
        yield _environment(directory, url)

    return World(kind="sqlite", source=source, secrets=secrets, fresh=fresh)


def prepare_postgresql(
    directory: Path, receiver_url: str, server: PostgresServer
) -> World:
    """Prepare the template database; ``fresh`` makes another from it."""
    server.drop_database(_TEMPLATE)
    server.create_database(_TEMPLATE)
    source, secrets = _fill(directory, receiver_url, server.url(_TEMPLATE))

    @contextlib.contextmanager
    def fresh() -> Iterator[Environment]:
        server.drop_database(_RUN)
        server.create_database(_RUN, template=_TEMPLATE)
        yield _environment(directory, server.url(_RUN))

    return World(kind="postgresql", source=source, secrets=secrets, fresh=fresh)


def environment_of(variables: Mapping[str, str]) -> Environment:
    """Give the settings among the variables."""
    return frozenset(
        (name, value)
        for name, value in variables.items()
        if name.startswith("STAGEGATE_")
    )


def _environment(directory: Path, url: str) -> Environment:
    return environment_of(server_environment(directory, DATABASE_URL=url))


def _fill(directory: Path, receiver_url: str, url: str) -> tuple[str, dict[str, str]]:
    """Migrate, register, subscribe; answers the source and the secrets."""
    app = make_app(directory, DATABASE_URL=url)
    artifact = directory / "data" / "artifacts" / "given"
    artifact.mkdir(parents=True)
    (artifact / "model.bin").write_bytes(b"weights")
    source = artifact.as_uri()
    client = signed_in(app)
    for model in MODELS:
        _register_three(client, model, source)
    secrets = {}
    for path in ENDPOINTS:
        body = {"url": receiver_url.replace("/hook", path), "event_types": ["*"]}
        secrets[path] = _post(client, "webhooks", body)["secret"]
    close_app(app)
    return source, secrets


def _register_three(client: FlaskClient, model: str, source: str) -> None:
    """Version 1 has served, 2 serves, 3 is in Staging."""
    _post(client, "models", {"name": model})
    stages = (("Staging", "Production"), ("Staging", "Production"), ("Staging",))
    for number, path in enumerate(stages, start=1):
        _post(client, f"models/{model}/versions", {"source": source})
        for stage in path:
            _post(
                client,
                f"models/{model}/versions/{number}/transitions",
                {"to_stage": stage},
            )


def _post(client: FlaskClient, path: str, body: Mapping[str, object]) -> dict[str, str]:
    answer = client.post(f"/api/v1/{path}", json=body)
    assert answer.status_code in {200, 201}, answer.text
    document: dict[str, str] = answer.get_json()
    return document
