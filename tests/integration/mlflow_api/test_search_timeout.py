"""A search that the database gives up: clients send again what is answered 503."""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, text

from registry.mlflow_api import search
from registry.persistence.database import db
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
        if "page" in statement:  # the search, and not the sign-in
            cursor.connection.execute(f"SET LOCAL {setting} = 100")

    event.listen(engine, "before_cursor_execute", hurry)
    with engine.begin() as locking:  # for as long as the search may wait
        locking.execute(text("LOCK TABLE registered_models IN ACCESS EXCLUSIVE MODE"))
        assert mlflow.refused(code, "GET", path, max_results=most) == message
    event.remove(engine, "before_cursor_execute", hurry)

    assert mlflow.done("GET", path)


@pytest.mark.parametrize("path", [MODELS[0], VERSIONS[0]])
def test_search_that_sqlite_would_go_on_with_is_refused_too(
    app: Flask, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    code, message = REFUSED
    mlflow = mlflow_client(app)
    for number in range(50):
        mlflow.create_model(f"model-{number}")
        mlflow.create_version(f"model-{number}")
    monkeypatch.setattr(search, "SEARCH_SECONDS", 0.0)

    assert mlflow.refused(code, "GET", path) == message

    # Neither the limit nor what was ended stays with the connection.
    assert mlflow.done("GET", "/registered-models/get", name="model-1")
    monkeypatch.undo()
    assert mlflow.done("GET", path)
