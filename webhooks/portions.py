"""Rows that may each have a megabyte, few of them in memory at a time."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeVarTuple

from sqlalchemy import ColumnElement, Row, Select
from sqlalchemy.orm import Session

Columns = TypeVarTuple("Columns")

#: With PostgreSQL, each portion is one more exchange.
PORTIONS = {"sqlite": 5, "postgresql": 25}


def read_rows(
    session: Session,
    query: Select[*Columns],
    *,
    limit: int,
    joined_in: Iterable[ColumnElement[Any]] = (),
    **options: object,
) -> Iterator[Row[*Columns]]:
    """Rows of a query that asks for ``limit``; who stops early reads no more of them.

    Args:
        session: what it reads with.
        query: has its order itself, or ``joined_in``.
        limit: how many rows there are at most, or nearly.
        joined_in: the order of a subquery that all else is left-joined to. SQLite
            goes from row to row of it, and so has that order; told to sort, it would
            first read all that is shown, and hold it.
        options: execution options.
    """
    dialect = session.get_bind().dialect.name
    if dialect != "sqlite":
        query = query.order_by(*joined_in)
    if limit > PORTIONS[dialect]:
        options["yield_per"] = PORTIONS[dialect]
    with session.execute(query, execution_options=options) as rows:
        yield from rows
