"""Statements as the driver takes them, and their rows as they are needed.

- What was compiled once is given to the driver as the text that it is: SQLAlchemy's own
  way there costs three times what the driver does. It still compiles, converts values,
  begins transactions, tells listeners, and judges errors.
- Of rows that may each have a megabyte, few are in memory at a time.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from functools import cache, lru_cache
from typing import Any, NamedTuple, TypeVarTuple

from sqlalchemy import (
    ARRAY,
    JSON,
    Column,
    ColumnElement,
    Connection,
    Executable,
    Row,
    Select,
    Text,
    any_,
    bindparam,
    cast,
    column,
    func,
    literal,
    select,
    tuple_,
    type_coerce,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import Session
from sqlalchemy.sql.selectable import TypedReturnsRows
from sqlalchemy.types import TypeEngine

Columns = TypeVarTuple("Columns")
Values = Mapping[str, Any]
_Convert = Callable[[Any], Any]


class _Text(NamedTuple):
    """A statement as the driver takes it, and how values go there and come back."""

    sql: str
    to_driver: Callable[[Values], Any]
    converted: Sequence[tuple[int, _Convert]]


def write(cx: Connection, statement: Executable, rows: Sequence[Values]) -> None:
    """Execute an INSERT, UPDATE or DELETE for each row.

    Args:
        cx: in a transaction.
        statement: has a parameter for each member of a row, and returns nothing.
        rows: at least one.
    """
    text = _compiled(statement, cx.dialect, has_rows=False)
    if text is None:
        raise ValueError(f"its text differs by its values: {statement}")
    values = [text.to_driver(row) for row in rows]
    _send(cx, text.sql, values if len(values) > 1 else values[0], has_rows=False)


def fetch(
    cx: Connection, statement: TypedReturnsRows[*Columns], values: Values
) -> list[tuple[*Columns]]:
    """Fetch all rows of a statement; SQLAlchemy writes its text, if it has a list."""
    text = _compiled(statement, cx.dialect, has_rows=True)
    rows: list[Any]
    if text is None:
        rows = list(cx.execute(statement, values))
        return rows
    rows = _send(cx, text.sql, text.to_driver(values), has_rows=True)
    if text.converted:
        rows = [_converted(row, text.converted) for row in rows]
    return rows


def fetch_one(
    cx: Connection, statement: TypedReturnsRows[*Columns], values: Values
) -> tuple[*Columns] | None:
    """Fetch the first row, as ``fetch``; None when there is none."""
    rows = fetch(cx, statement, values)
    return rows[0] if rows else None


def is_among(member: Any, name: str, database: str) -> ColumnElement[bool]:  # noqa: ANN401  # of a table or of its alias
    """Whether a column has one of a parameter's values, by a text of any length.

    Args:
        member: the column, of texts or whole numbers.
        name: the parameter, a list.
        database: the dialect's name.
    """
    condition: ColumnElement[bool]
    if database == "postgresql":
        condition = member == any_(bindparam(name, type_=ARRAY(member.type)))
    else:
        values = func.json_each(bindparam(name, type_=JSON)).table_valued("value")
        condition = member.in_(select(values.c.value))
    return condition


class Rows:
    """Rows that a statement takes as a parameter: its text is the same for any number.

    Args:
        types: of the columns, by their names.
    """

    def __init__(self, **types: TypeEngine[Any]) -> None:
        self.types = types

    def columns(self, database: str) -> Sequence[ColumnElement[Any]]:
        """Return the columns, to be selected; ``database`` is the dialect's name."""
        if database == "postgresql":
            array = func.json_array_elements(cast(bindparam("rows", type_=Text), JSON))
        else:
            array = func.json_each(bindparam("rows", type_=Text))
        row = array.table_valued(column("value", JSON)).c.value
        return [
            cast(row[place].as_string(), type_)
            if database == "postgresql"
            else type_coerce(func.json_extract(row, literal(f"$[{place}]")), type_)
            for place, type_ in enumerate(self.types.values())
        ]

    def parameters(self, dialect: Dialect, rows: Iterable[Sequence[Any]]) -> Values:
        """Return the parameters, for ``write`` and ``fetch``."""
        to_json = [
            type_.dialect_impl(dialect).bind_processor(dialect) or _unchanged
            for type_ in self.types.values()
        ]
        values = [
            [convert(value) for convert, value in zip(to_json, row, strict=True)]
            for row in rows
        ]
        # Instants, which SQLite's processors have written already.
        return {"rows": json.dumps(values, default=datetime.isoformat)}


def _unchanged(value: object) -> object:
    return value


def _converted(
    row: Sequence[Any], converted: Sequence[tuple[int, _Convert]]
) -> tuple[Any, ...]:
    values = list(row)
    for place, convert in converted:
        values[place] = convert(values[place])
    return tuple(values)


@contextmanager
def pipelined(cx: Connection) -> Iterator[None]:
    """Send what is written in the block without waiting for each answer.

    A ``fetch`` waits for what was sent before it, and so does the end of the block;
    what went wrong is raised there, or by the statement after it. Each wait for an
    answer is a switch to another thread, which is what a busy server's time goes into.
    """
    driver = cx.connection.driver_connection
    pipeline = getattr(driver, "pipeline", nullcontext)  # SQLite waits for nobody
    try:
        with pipeline():
            yield
    except cx.dialect.loaded_dbapi.Error as error:
        cx._handle_dbapi_exception(error, None, None, None, None)  # noqa: SLF001  # said nowhere else


def _send(cx: Connection, sql: str, values: Any, *, has_rows: bool) -> list[Any]:  # noqa: ANN401  # the driver's own
    """Execute, with a list of values once for each, and return the rows."""
    if not cx.in_transaction():
        cx.begin()
    is_many = isinstance(values, list)
    cursor: Any = cx.connection.cursor()
    execute = cx.dialect.do_executemany if is_many else cx.dialect.do_execute
    try:
        for tell in cx.dispatch.before_cursor_execute:
            tell(cx, cursor, sql, values, None, is_many)
        execute(cursor, sql, values)
        for tell in cx.dispatch.after_cursor_execute:
            tell(cx, cursor, sql, values, None, is_many)
        # SQLite looks for the second row, and may fail at it, when it is asked for.
        rows: list[Any] = cursor.fetchall() if has_rows else []
        cursor.close()
    except cx.dialect.loaded_dbapi.Error as error:
        cx._handle_dbapi_exception(error, sql, values, cursor, None)  # noqa: SLF001  # said nowhere else
    return rows


@lru_cache(maxsize=512)
def _compiled(
    statement: Executable, dialect: Dialect, *, has_rows: bool
) -> _Text | None:
    """Compile a statement, unless it has a list of values, each of its own text."""
    # A change is compiled as for many rows: nothing of them is to come back.
    compiled: Any = statement.compile(dialect=dialect, for_executemany=not has_rows)  # type: ignore[attr-defined]
    if compiled.post_compile_params:
        return None
    constants = {
        name: value
        for name, value in compiled.params.items()
        if not compiled.binds[name].required
    }
    converted = compiled._bind_processors.items()  # noqa: SLF001  # as above

    def by_name(values: Values) -> dict[str, Any]:
        plain = {**constants, **values}
        for name, convert in converted:
            plain[name] = convert(plain[name])
        return plain

    def in_order(values: Values) -> tuple[Any, ...]:
        plain = by_name(values)
        return tuple([plain[name] for name in compiled.positiontup])

    return _Text(
        sql=compiled.string,
        to_driver=by_name if compiled.positiontup is None else in_order,
        converted=_conversions(statement, dialect) if has_rows else (),
    )


def _conversions(statement: Any, dialect: Dialect) -> list[tuple[int, _Convert]]:  # noqa: ANN401  # returns rows
    """Which columns of a result are converted, and how."""
    found = (
        column.type.dialect_impl(dialect).result_processor(dialect, None)
        for column in statement.exported_columns
    )
    return [(place, convert) for place, convert in enumerate(found) if convert]


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
