"""A search that the database gives up: clients send again what is answered 503."""

import time
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, text

from registry.domain.names import MAX_TAG_VALUE_CHARACTERS
from registry.persistence import sqlite
from registry.persistence.database import db
from registry.search.language import MAX_PATTERN_CHARACTERS
from tests.integration.api.driver import ON_BOTH_DATABASES
from tests.integration.mlflow_api.driver import mlflow_client

REFUSED = ("INVALID_PARAMETER_VALUE", "the search takes too long; narrow it")
UNAVAILABLE = ("TEMPORARILY_UNAVAILABLE", "the database did not answer")
MODELS = ("/registered-models/search", 10)  # read at once
VERSIONS = ("/model-versions/search", 1_000)  # read in portions


@pytest.mark.service
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.parametrize("asked", [MODELS, VERSIONS])
@pytest.mark.parametrize(
    ("setting", "expected"),
    [("statement_timeout", REFUSED), ("lock_timeout", UNAVAILABLE)],
)
def test_search_that_postgresql_gives_up_is_refused_and_not_sent_again(
    app: Flask, setting: str, expected: tuple[str, str], asked: tuple[str, int]
) -> None:
    (code, message), (path, most) = expected, asked
    mlflow = mlflow_client(app)
    mlflow.create_versions(1)
    with app.app_context():
        engine = db.engine

    def hurry(_connection: object, cursor: Any, statement: str, *_: object) -> None:  # noqa: ANN401  # the driver's own
        if "registered_models" in statement:  # the search, and not the sign-in
            cursor.connection.execute(f"SET {setting} = 100")

    event.listen(engine, "before_cursor_execute", hurry)
    with engine.begin() as locking:  # for as long as the search may wait
        locking.execute(text("LOCK TABLE registered_models IN ACCESS EXCLUSIVE MODE"))
        assert mlflow.refused(code, "GET", path, max_results=most) == message
    event.remove(engine, "before_cursor_execute", hurry)

    assert mlflow.done("GET", path)


def test_search_that_sqlite_would_go_on_with_is_refused_too(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, message = REFUSED
    mlflow = mlflow_client(app)
    mlflow.create_model()
    tag = {"key": "notes", "value": "a" * MAX_TAG_VALUE_CHARACTERS}
    for _ in range(50):
        mlflow.create_version(tags=[tag])
    # The slowest there is: it takes some 20 ms for each of the texts.
    pattern = f"tags.notes LIKE '%{'_a' * 990}b%'"
    monkeypatch.setattr(sqlite, "STATEMENT_SECONDS", 0.1)

    assert mlflow.refused(code, "GET", VERSIONS[0], filter=pattern) == message

    # Neither the limit nor what was ended stays with the connection.
    assert mlflow.version(1)
    monkeypatch.undo()
    assert mlflow.done("GET", VERSIONS[0], filter="tags.notes LIKE 'a%'")


@ON_BOTH_DATABASES
def test_hostile_pattern_over_the_longest_tags_is_answered_well_within_the_limit(
    app: Flask,
) -> None:
    mlflow = mlflow_client(app)
    mlflow.create_model()
    tag = {"key": "notes", "value": "a" * MAX_TAG_VALUE_CHARACTERS}
    for _ in range(10):
        mlflow.create_version(tags=[tag])
    began = time.monotonic()

    pattern = f"%{'a' * (MAX_PATTERN_CHARACTERS - 3)}b%"
    found = mlflow.done("GET", VERSIONS[0], filter=f"tags.notes ILIKE '{pattern}'")

    # SQLite's own comparison took four seconds for each of the ten.
    assert found == {}
    assert time.monotonic() - began < 15
