"""Changes of rows, by statements that were compiled once."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Executable
from sqlalchemy.engine import Dialect

Row = Mapping[str, Any]


def write(cx: Connection, statement: Executable, rows: Sequence[Row]) -> None:
    """Execute an INSERT, UPDATE or DELETE for each row, as the text that it is.

    SQLAlchemy's own way to the driver costs as much again as the driver. It goes on to
    compile the statement, to convert values, and to tell errors.

    Args:
        cx: in a transaction.
        statement: has a parameter for each member of a row, and returns nothing.
        rows: at least one.
    """
    text, to_driver = _compiled(statement, cx.dialect)
    values = [to_driver(row) for row in rows]
    cx.exec_driver_sql(text, values if len(values) > 1 else values[0])


@lru_cache(maxsize=256)
def _compiled(
    statement: Executable, dialect: Dialect
) -> tuple[str, Callable[[Row], Any]]:
    # As for many rows: nothing of them is to come back.
    compiled: Any = statement.compile(dialect=dialect, for_executemany=True)  # type: ignore[attr-defined]
    convert = compiled._bind_processors  # noqa: SLF001  # said nowhere else
    names: Sequence[str] | None = compiled.positiontup
    always = {
        name: value for name, value in compiled.params.items() if value is not None
    }

    def value(row: Row, name: str) -> Any:  # noqa: ANN401  # any column's
        given = row.get(name, always.get(name))
        return convert[name](given) if name in convert else given

    if names is not None:
        return compiled.string, lambda row: tuple(value(row, name) for name in names)
    named = tuple(compiled.params)
    return compiled.string, lambda row: {name: value(row, name) for name in named}
