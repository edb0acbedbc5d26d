"""A search that the database gives up: clients send again what is answered 503."""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, text

from registry.persistence.database import db
from tests.integration.mlflow_api.driver import mlflow_client

pytestmark = [
    pytest.mark.service,
    pytest.mark.parametrize("database", ["postgresql"], indirect=True),
]
REFUSED = ("INVALID_PARAMETER_VALUE", "the search takes too long; narrow it")
UNAVAILABLE = ("TEMPORARILY_UNAVAILABLE", "the database did not answer")
MODELS = ("/registered-models/search", 10)  # read at once
VERSIONS = ("/model-versions/search", 1_000)  # read in portions


@pytest.mark.parametrize("search", [MODELS, VERSIONS])
@pytest.mark.parametrize(
    ("setting", "expected"),
    [("statement_timeout", REFUSED), ("lock_timeout", UNAVAILABLE)],
)
def test_search_that_takes_too_long_is_refused_and_not_sent_again(
    app: Flask, setting: str, expected: tuple[str, str], search: tuple[str, int]
) -> None:
    (code, message), (path, most) = expected, search
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

    assert mlflow.done("GET", path)
