"""Rows that may each have a megabyte, few of them in memory at a time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeVarTuple

from sqlalchemy import Column, ColumnElement, Connection, Row, Select, bindparam, tuple_
from sqlalchemy.orm import Session

Columns = TypeVarTuple("Columns")

#: With PostgreSQL, each portion is one more exchange.
PORTIONS = {"sqlite": 5, "postgresql": 25}
_IDLE = 0  #: libpq's word for a connection without a transaction


def read_rows(
    source: Session | Connection,
    query: Select[*Columns],
    *,
    limit: int,
    joined_in: Iterable[ColumnElement[Any]] = (),
    values: Mapping[str, Any] | None = None,
    **options: object,
) -> Iterator[Row[*Columns]]:
    """Rows of a query that asks for ``limit``; who stops early reads no more of them.

    Args:
        source: what it reads with.
        query: has its order itself, or ``joined_in``.
        limit: how many rows there are at most, or nearly.
        joined_in: the order of a subquery that all else is left-joined to. SQLite
            goes from row to row of it, and so has that order; told to sort, it would
            first read all that is shown, and hold it.
        values: of the query's parameters.
        options: execution options.
    """
    connection = source if isinstance(source, Connection) else source.connection()
    dialect = connection.dialect.name
    if dialect != "sqlite":
        query = query.order_by(*joined_in)
    if limit > PORTIONS[dialect]:
        options["yield_per"] = PORTIONS[dialect]
        if dialect == "postgresql":
            _keep_cursors(connection)
    with source.execute(query, values, execution_options=options) as rows:
        yield from rows


def walk(
    session: Session,
    query: Select[*Columns],
    *keys: Column[Any],
    limit: int,
    **values: object,
) -> Iterator[Row[*Columns]]:
    """Yield all rows of a query in the order of ``keys``, which tell them apart.

    It is asked anew for each portion, by statements that are built once: none is open
    while somebody takes his time.
    """
    first, following = _portions(query, keys, limit)
    connection = session.connection()
    rows = connection.execute(first, values).all()
    while True:
        yield from rows
        if len(rows) < limit:
            return
        last = {_behind(key): getattr(rows[-1], key.key) for key in keys}
        rows = connection.execute(following, {**values, **last}).all()


@cache
def _portions(
    query: Select[*Columns], keys: Sequence[Column[Any]], limit: int
) -> tuple[Select[*Columns], Select[*Columns]]:
    first = query.order_by(*keys).limit(limit)
    last = [bindparam(_behind(key), type_=key.type) for key in keys]
    # The first key by itself too, for an index that has no more.
    return first, first.where(tuple_(*keys) > tuple_(*last), keys[0] >= last[0])


def _behind(key: Column[Any]) -> str:
    return f"behind_{key.key}"


def _keep_cursors(connection: Connection) -> None:
    """Have a transaction: PostgreSQL's cursors live no longer than one."""
    driver: Any = connection.connection.driver_connection
    if driver.info.transaction_status == _IDLE:
        connection.exec_driver_sql("BEGIN")
