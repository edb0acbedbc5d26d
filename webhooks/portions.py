"""Rows that may each have a megabyte, few of them in memory at a time."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVarTuple

from sqlalchemy import ColumnElement, Connection, Row, Select
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


def _keep_cursors(connection: Connection) -> None:
    """Have a transaction: PostgreSQL's cursors live no longer than one."""
    driver: Any = connection.connection.driver_connection
    if driver.info.transaction_status == _IDLE:
        connection.exec_driver_sql("BEGIN")
