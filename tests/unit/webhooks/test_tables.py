"""Instants go in aware and come out in UTC."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import Column, MetaData, Table, create_engine, insert, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import StatementError

from webhooks.tables import UTCDateTime

TABLE = Table("instants", MetaData(), Column("at", UTCDateTime))
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
POSTGRESQL = make_url("postgresql+psycopg://").get_dialect()()
SQLITE = make_url("sqlite://").get_dialect()()
PARIS = timezone(timedelta(hours=1))


@pytest.mark.parametrize("instant", [NOON, NOON.astimezone(PARIS), None])
def test_sqlite_gives_the_same_instant_back_in_utc(instant: datetime | None) -> None:
    engine = create_engine("sqlite://")
    TABLE.metadata.create_all(engine)

    with engine.begin() as connection:
        connection.execute(insert(TABLE).values(at=instant))
        found = connection.execute(select(TABLE.c.at)).scalar_one()
    engine.dispose()

    assert found == instant
    assert found is None or found.tzinfo is UTC


def test_a_naive_instant_is_refused() -> None:
    engine = create_engine("sqlite://")
    TABLE.metadata.create_all(engine)

    with (
        engine.connect() as connection,
        pytest.raises(StatementError, match="must be aware"),
    ):
        connection.execute(insert(TABLE).values(at=NOON.replace(tzinfo=None)))
    engine.dispose()


def test_postgresql_stores_the_zone_and_sqlite_does_not() -> None:
    column = UTCDateTime()

    assert column.compile(POSTGRESQL) == "TIMESTAMP WITH TIME ZONE"
    assert column.compile(SQLITE) == "DATETIME"


def test_postgresql_values_are_put_into_utc_both_ways() -> None:
    column = UTCDateTime()
    dialect = POSTGRESQL

    assert column.process_bind_param(NOON.astimezone(PARIS), dialect) == NOON
    found = column.process_result_value(NOON.astimezone(PARIS), dialect)
    assert found is not None
    assert found.tzinfo is UTC
