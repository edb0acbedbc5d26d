"""No statement goes on for longer than 30 s, on either database."""

import time

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, Integer, column, create_engine, select, text
from sqlalchemy.exc import OperationalError

from registry.persistence import sqlite
from registry.persistence.database import (
    engine_options,
    prepare_engine,
    session_factory,
    was_given_up,
    write_transaction,
)
from registry.persistence.purposes import UNLIMITED
from tests.integration.api.driver import ON_BOTH_DATABASES, Driver
from webhooks.statements import fetch

ENDLESS = text(
    "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers)"
    " SELECT count(*) FROM numbers"
)
#: SQLite finds its first row at once, and looks for the second without an end.
WITHOUT_LAST_ROW = select(column("n", Integer)).select_from(
    text(
        "(WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers)"
        " SELECT n FROM numbers WHERE n < 2) AS few"
    )
)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's limit, made short."""
    monkeypatch.setattr(sqlite, "STATEMENT_SECONDS", 0.2)


def hurry(connection: Connection) -> None:
    """PostgreSQL's limit, made short for one transaction."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL statement_timeout = 200"))


def refusal_of_endless(connection: Connection) -> OperationalError:
    with pytest.raises(OperationalError) as given_up:
        connection.execute(ENDLESS).all()
    return given_up.value


@ON_BOTH_DATABASES
@pytest.mark.usefixtures("hurried")
def test_statement_whose_rows_do_not_end_is_given_up(
    app: Flask, client: FlaskClient
) -> None:
    with Driver(app, client).engine.connect() as cx:
        hurry(cx)
        with pytest.raises(OperationalError) as given_up:
            fetch(cx, WITHOUT_LAST_ROW, {})
    assert was_given_up(given_up.value)


@ON_BOTH_DATABASES
@pytest.mark.usefixtures("hurried")
def test_statement_without_an_end_is_given_up_whatever_it_is_for(
    app: Flask, client: FlaskClient
) -> None:
    api = Driver(app, client)
    sessions = session_factory(api.engine)
    began = time.monotonic()
    with sessions() as session:
        hurry(session.connection())
        assert was_given_up(refusal_of_endless(session.connection()))
    with write_transaction(api.engine) as session:
        hurry(session.connection())
        assert was_given_up(refusal_of_endless(session.connection()))
        session.rollback()

    assert time.monotonic() - began < 10
    assert api.get("/models").status_code == 200


@pytest.mark.usefixtures("hurried")
def test_limit_of_sqlite_begins_anew_with_each_statement() -> None:
    engine = create_engine("sqlite://", **engine_options("sqlite://"))
    prepare_engine(engine)
    with engine.connect() as connection:
        for _ in range(5):
            connection.execute(text("SELECT 1")).all()
            time.sleep(0.1)
        assert was_given_up(refusal_of_endless(connection))


def bounded(count: int) -> str:
    return f"{ENDLESS.text.replace('FROM numbers)', f'FROM numbers LIMIT {count})')}"


@pytest.mark.usefixtures("hurried")
def test_change_of_the_schema_may_take_as_long_as_it_takes() -> None:
    engine: Engine = create_engine("sqlite://", **engine_options("sqlite://"))
    prepare_engine(engine)
    with engine.connect().execution_options(**{UNLIMITED: True}) as connection:
        began = time.monotonic()
        while time.monotonic() - began < 0.5:
            connection.execute(text(bounded(3_000_000))).all()
