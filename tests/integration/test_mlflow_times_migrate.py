"""What was registered before MLflow's times were kept has them after the upgrade."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import (
    Column,
    Engine,
    MetaData,
    Table,
    create_engine,
    insert,
    inspect,
    select,
)
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from registry.persistence import schema
from registry.persistence.database import prepare_engine
from registry.persistence.tables import Base, ModelVersion, RegisteredModel

BEFORE, WITH_TIMES = "0002", "0003"
CREATED = datetime(2026, 11, 1, 12, tzinfo=UTC)
UPDATED = datetime(2026, 11, 20, 12, 30, 15, 123456, tzinfo=UTC)
#: What a process of the release before writes into both tables.
ROW: dict[str, Any] = {
    "name": "fraud",
    "number": 1,
    "status": "READY",
    "status_message": "",
    "source": "s3://elsewhere/model",
    "artifact_state": "unverified",
    "stage": "None",
    "description": "",
    "params": {},
    "metrics": {},
    "datasets": [],
    "created_at": CREATED,
    "created_by": "ci",
    "updated_at": UPDATED,
    "row_version": 1,
    "last_number": 1,
    "last_event": 1,
    "last_history": 1,
}


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)]
)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database of the release before."""
    url = (
        f"sqlite:///{tmp_path / 'old.db'}"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres_url")
    )
    engine = create_engine(url, poolclass=NullPool)
    prepare_engine(engine)
    upgrade_to(engine, BEFORE)
    yield engine
    engine.dispose()


def upgrade_to(engine: Engine, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    config.attributes["engine"] = engine
    command.upgrade(config, revision)


def write_as_before(engine: Engine, present: dict[str, set[str]], name: str) -> None:
    """A model and a version, into the columns that there were before."""
    model_id = uuid.uuid4().hex
    rows = {
        "registered_models": {**ROW, "id": model_id, "name": name},
        "model_versions": {**ROW, "id": uuid.uuid4().hex, "model_id": model_id},
    }
    with engine.begin() as connection:
        for table, row in rows.items():
            columns = [
                column
                for column in Base.metadata.tables[table].columns
                if column.name in present[table] and column.name in row
            ]
            older = Table(table, MetaData(), *(Column(c.name, c.type) for c in columns))
            connection.execute(
                insert(older), {column.name: row[column.name] for column in columns}
            )


def columns_of(engine: Engine) -> dict[str, set[str]]:
    return {
        table: {column["name"] for column in inspect(engine).get_columns(table)}
        for table in ("registered_models", "model_versions")
    }


def test_times_begin_as_those_of_the_last_change(old: Engine) -> None:
    write_as_before(old, columns_of(old), "fraud")

    schema.upgrade(old)

    with Session(old) as session:
        model = session.scalars(select(RegisteredModel)).one()
        version = session.scalars(select(ModelVersion)).one()
    assert (model.mlflow_updated_at, version.mlflow_updated_at) == (UPDATED, UPDATED)
    assert (version.run_link, version.run, version.download_uri) == ("", None, None)


def test_release_before_goes_on_writing_after_the_upgrade(old: Engine) -> None:
    before = columns_of(old)
    upgrade_to(old, WITH_TIMES)

    write_as_before(old, before, "fraud")

    schema.upgrade(old)
    with Session(old) as session:
        version = session.scalars(select(ModelVersion)).one()
    assert version.mlflow_updated_at.tzinfo is UTC
    assert version.run_link == ""
