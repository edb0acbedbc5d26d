"""The latest version of each stage is found by indexes, however many there are."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Connection, Engine, event, text, update
from sqlalchemy.orm import Session

from registry.persistence import latest
from registry.persistence.database import db
from registry.persistence.tables import ModelVersion
from tests.integration.api.driver import MODEL, ON_BOTH_DATABASES
from tests.integration.crowds import add_versions
from tests.integration.mlflow_api.driver import Mlflow

VERSIONS = 3000
STAGES = ("None", "Staging", "Production", "Archived")


def fill(app: Flask) -> None:
    """Thousands of versions of one model, nearly all of them archived."""
    with app.app_context(), Session(db.engine) as session:
        model_id = session.scalars(text("SELECT id FROM registered_models")).one()
        add_versions(session, model_id, range(1, VERSIONS + 1), "Archived")
        session.execute(
            update(ModelVersion).where(ModelVersion.number == 7).values(stage="Staging")
        )
        session.commit()
        session.execute(text("ANALYZE"))
        session.commit()


def plans_of(engine: Engine, work: Callable[[Connection], object]) -> list[str]:
    """How the database carries out each statement of ``work``."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, *asked: Any) -> None:  # noqa: ANN401  # SQLAlchemy's own arguments
        if asked[0] != "BEGIN":
            seen.append((asked[0], asked[1]))

    event.listen(engine, "before_cursor_execute", note)
    with engine.connect() as connection:
        work(connection)
    event.remove(engine, "before_cursor_execute", note)
    explain = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN"
    with engine.connect() as connection:
        return [
            "\n".join(
                str(row[-1])
                for row in connection.exec_driver_sql(f"{explain} {sql}", parameters)
            )
            for sql, parameters in seen
        ]


@ON_BOTH_DATABASES
@pytest.mark.parametrize(
    "find",
    [
        lambda cx: latest.model_with_latest(cx, MODEL, STAGES),
        lambda cx: latest.latest_versions(cx, MODEL, STAGES),
        lambda cx: latest.newest_version(cx, MODEL),
    ],
    ids=["with its model", "by stage", "of all"],
)
def test_latest_versions_are_found_by_indexes(
    mlflow: Mlflow, find: Callable[[Connection], object]
) -> None:
    mlflow.create_model()
    fill(mlflow.app)

    (plan,) = plans_of(mlflow.api.engine, find)

    for slow in ("SCAN model_versions", "Seq Scan on model_versions", "B-TREE", "Sort"):
        assert slow not in plan, plan
