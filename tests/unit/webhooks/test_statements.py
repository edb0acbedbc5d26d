"""Statements that go to the driver as text, on a table of their own."""

from collections.abc import Iterator

import pytest
from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Integer,
    MetaData,
    Table,
    Text,
    bindparam,
    create_engine,
    event,
    select,
)
from sqlalchemy.exc import IntegrityError

from webhooks.statements import fetch, fetch_one, pipelined, write

ITEMS = Table(
    "items",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("name", Text),
    Column("data", JSON),
)
ALL = select(ITEMS).order_by(ITEMS.c.id)
ROWS = [
    {"id": number, "name": f"n{number}", "data": {"k": number}} for number in (1, 2)
]


@pytest.fixture
def cx() -> Iterator[Connection]:
    with create_engine("sqlite://").connect() as connection:
        ITEMS.create(connection)
        write(connection, ITEMS.insert(), ROWS)
        yield connection


def test_values_are_converted_on_their_way_there_and_back(cx: Connection) -> None:
    assert fetch(cx, ALL, {}) == [(1, "n1", {"k": 1}), (2, "n2", {"k": 2})]


def test_a_constant_null_is_written_and_a_missing_value_refused(cx: Connection) -> None:
    change = ITEMS.update().where(ITEMS.c.id == bindparam("of_id"))
    write(cx, change.values(name=None), [{"of_id": 1}])

    assert fetch_one(cx, ALL, {}) == (1, None, {"k": 1})
    with pytest.raises(KeyError, match="of_id"):
        write(cx, change.values(name="x"), [{}])


def test_a_list_of_values_is_read_by_and_not_written_by(cx: Connection) -> None:
    of_ids = ITEMS.c.id.in_(bindparam("ids", expanding=True))

    assert fetch(cx, select(ITEMS.c.id).where(of_ids), {"ids": [2, 3]}) == [(2,)]
    with pytest.raises(ValueError, match="its text differs"):
        write(cx, ITEMS.delete().where(of_ids), [{"ids": [1]}])


def test_what_the_driver_refuses_is_told_as_sqlalchemy_tells_it(cx: Connection) -> None:
    with pytest.raises(IntegrityError, match="UNIQUE"):
        write(cx, ITEMS.insert(), ROWS[:1])


def test_what_is_refused_at_the_end_is_told_as_sqlalchemy_tells_it(
    cx: Connection,
) -> None:
    refused = "INSERT INTO items (id) VALUES (1)"
    with pytest.raises(IntegrityError, match="UNIQUE"), pipelined(cx):
        cx.connection.cursor().execute(refused)


def test_listeners_are_told_before_and_after(cx: Connection) -> None:
    told: list[str] = []
    for moment in ("before_cursor_execute", "after_cursor_execute"):
        event.listen(cx, moment, lambda *_, moment=moment: told.append(moment))

    fetch(cx, ALL, {})

    assert told == ["before_cursor_execute", "after_cursor_execute"]
