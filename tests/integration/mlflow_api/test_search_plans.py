"""Which index each search begins with on SQLite, whose planner goes by no figures.

So what is planned for an empty registry is planned for one of any size. PostgreSQL
plans by what it holds; ``python -m tests.bench search`` times both.
"""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event

from registry.persistence.database import db
from tests.integration.mlflow_api.driver import Mlflow, mlflow_client

MODELS, VERSIONS = "/registered-models/search", "/model-versions/search"


def plan_of(mlflow: Mlflow, path: str, **fields: Any) -> str:  # noqa: ANN401  # what JSON can say
    """The plan of the statement that finds a page, one step a line."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, *said: Any) -> None:  # noqa: ANN401  # SQLAlchemy's own arguments
        seen.append(said[:2])

    with mlflow.app.app_context():
        engine = db.engine
        event.listen(engine, "before_cursor_execute", note)
        mlflow.done("GET", path, **fields)
        event.remove(engine, "before_cursor_execute", note)
        statement, parameters = next(
            each for each in seen if "LIMIT" in each[0] and "json_each" not in each[0]
        )
        with engine.connect() as connection:
            steps = connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {statement}", parameters
            )
            return "\n".join(step[-1] for step in steps)


@pytest.mark.parametrize(
    ("path", "fields", "steps"),
    [
        (MODELS, {}, ["registered_models_name_key"]),
        (
            MODELS,
            {"order_by": "timestamp DESC"},
            ["registered_models_by_mlflow_update"],
        ),
        (
            MODELS,
            {"filter": "name LIKE 'fraud-%'"},
            ["registered_models_name_key (name>? AND name<?)"],
        ),
        (
            MODELS,
            {"filter": "tags.team = 'risk'"},
            ["model_tags_by_value (key=? AND <expr>=?)"],
        ),
        (VERSIONS, {}, ["model_versions_by_mlflow_update"]),
        (
            VERSIONS,
            {"order_by": "creation_timestamp"},
            ["model_versions_by_creation"],
        ),
        (VERSIONS, {"order_by": "name"}, ["registered_models_name_key"]),
        (
            VERSIONS,
            {"order_by": "version_number DESC"},
            ["model_versions_by_number_down"],
        ),
        (VERSIONS, {"order_by": "version_number"}, ["model_versions_by_number_up"]),
        (
            VERSIONS,
            {"filter": "name = 'fraud'"},
            ["registered_models_name_key (name=?)", "(model_id=?)"],
        ),
        (VERSIONS, {"filter": "run_id = 'r'"}, ["model_versions_by_run (<expr>=?)"]),
        (
            VERSIONS,
            {"filter": "run_id IN ('r', 's')"},
            ["model_versions_by_run (<expr>=?)"],
        ),
        (
            VERSIONS,
            {"filter": "source_path = 's3://b/m'"},
            ["model_versions_by_source (<expr>=?)"],
        ),
        (
            VERSIONS,
            {"filter": "source_path LIKE 's3://b/%'"},
            ["model_versions_by_source (<expr>>? AND <expr><?)"],
        ),
        (
            VERSIONS,
            {"filter": "tags.git_sha = 'abc'"},
            ["version_tags_by_value (key=? AND <expr>=?)"],
        ),
        (
            VERSIONS,
            {"filter": "tags.git_sha LIKE 'abc%'"},
            ["version_tags_by_value (key=? AND <expr>>? AND <expr><?)"],
        ),
    ],
)
def test_search_begins_with_the_index_made_for_it(
    app: Flask, path: str, fields: dict[str, str], steps: list[str]
) -> None:
    plan = plan_of(mlflow_client(app), path, **fields)

    for step in steps:
        assert step in plan, plan
    # A table is never read whole, nor is an index made for one statement.
    assert "AUTOMATIC" not in plan
    for line in plan.splitlines():
        is_whole = line.startswith(("SCAN registered_models", "SCAN model_versions"))
        assert not is_whole or "USING" in line, plan
