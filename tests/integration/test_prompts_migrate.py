"""Prompts of the release before, and who asked for their events, after the upgrade."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Engine,
    MetaData,
    Table,
    Text,
    create_engine,
    insert,
    inspect,
    select,
)
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from registry.persistence import schema
from registry.persistence.database import prepare_engine
from registry.persistence.tables import Base, ModelTag, RegisteredModel
from tests.integration.test_mlflow_times_migrate import ROW, upgrade_to
from tests.integration.webhooks.conftest import World, embedded_engine
from webhooks.tables import Base as WebhooksBase
from webhooks.tables import Subscription

BEFORE = "0008"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
#: Name, how many versions it has had, and what its tag says.
MODELS = [
    ("prompt", 0, "true"),
    ("Prompt", 0, "True"),
    ("plain", 0, None),
    ("no-prompt", 0, "false"),
    ("with-versions", 1, "true"),
]
ASKED = {
    "prompt_tag.set": "prompt.tag_set",
    "prompt_tag.deleted": "prompt.tag_deleted",
    "prompt_version_tag.set": "prompt_version.tag_set",
    "prompt_version_tag.deleted": "prompt_version.tag_deleted",
    "prompt_alias.created": "prompt_version.alias_set",
    "prompt_alias.deleted": "prompt_version.alias_deleted",
    "prompt.created": "prompt.created",
    "prompt_version.created": "prompt_version.created",
    "model_version.tag_set": "model_version.tag_set",
}


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)]
)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    """A database of the release before."""
    url = (
        f"sqlite:///{tmp_path / 'old.db'}"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres_url")
    )
    engine = create_engine(url, poolclass=NullPool)
    prepare_engine(engine)
    upgrade_to(engine, BEFORE)
    return engine


def as_it_was(engine: Engine, name: str) -> Table:
    """A table with the columns that it has now, and a value where one is gone since."""
    present = {column["name"] for column in inspect(engine).get_columns(name)}
    known = {**Base.metadata.tables, **WebhooksBase.metadata.tables}[name].columns
    columns = [Column(c.name, c.type) for c in known if c.name in present]
    if "ordering" in present:
        columns.append(Column("ordering", Text, default="key"))
    return Table(name, MetaData(), *columns)


def write(engine: Engine, table: Table, row: dict[str, Any]) -> None:
    """A row, as far as the table has columns for it."""
    values = {name: row[name] for name in table.c.keys() & row.keys()}
    with engine.begin() as connection:
        connection.execute(insert(table), values)


def write_models(engine: Engine) -> None:
    models = as_it_was(engine, RegisteredModel.__tablename__)
    tags = as_it_was(engine, ModelTag.__tablename__)
    for name, last_number, value in MODELS:
        of_model = {"id": name, "name": name, "last_number": last_number}
        write(engine, models, {**ROW, "mlflow_updated_at": NOW, **of_model})
        if value is not None:
            tag = {"key": "mlflow.prompt.is_prompt", "value": value}
            write(engine, tags, {"model_id": name, **tag})


def test_what_is_tagged_and_had_no_version_is_a_prompt(old: Engine) -> None:
    write_models(old)

    schema.upgrade(old)

    with Session(old) as session:
        found = session.execute(select(RegisteredModel.name, RegisteredModel.is_prompt))
        assert {name for name, is_prompt in found if is_prompt} == {"prompt", "Prompt"}


def test_release_before_goes_on_registering_models(old: Engine) -> None:
    models = as_it_was(old, RegisteredModel.__tablename__)
    schema.upgrade(old)

    write(old, models, {**ROW, "id": "m", "mlflow_updated_at": NOW})

    with Session(old) as session:
        assert session.scalars(select(RegisteredModel.is_prompt)).all() == [False]


def test_who_asked_for_events_of_prompts_is_told_of_them(
    old: Engine, tmp_path: Path
) -> None:
    source = embedded_engine(tmp_path / "source.db")
    WebhooksBase.metadata.create_all(source)
    World(source).subscribe()
    with source.connect() as reading:
        query = select(WebhooksBase.metadata.tables[Subscription.__tablename__])
        row = dict(reading.execute(query).mappings().one())
    source.dispose()
    subscriptions = as_it_was(old, Subscription.__tablename__)
    write(old, subscriptions, {**row, "id": "one", "event_types": list(ASKED)})
    write(old, subscriptions, {**row, "id": "all", "event_types": ["*"]})

    schema.upgrade(old)

    with Session(old) as session:
        query = select(Subscription.id, Subscription.event_types)
        found = session.execute(query.order_by(Subscription.id))
        assert [tuple(row) for row in found] == [
            ("all", ["*"]),
            ("one", list(ASKED.values())),
        ]
