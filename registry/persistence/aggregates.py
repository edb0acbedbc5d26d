"""Functions that SQLite and PostgreSQL name differently.

With the aggregates a row and its tags or aliases come back from one statement. Over no
rows PostgreSQL answers NULL and SQLite an empty value; callers take both.
"""

from typing import Any

from sqlalchemy import JSON, Integer
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class JSONObjectAggregate(FunctionElement[Any]):
    """``{key: value, …}`` over the rows; takes key and value."""

    type = JSON()
    inherit_cache = True


class JSONArrayAggregate(FunctionElement[Any]):
    """``[value, …]`` over the rows, in no particular order."""

    type = JSON()
    inherit_cache = True


class JSONFiles(FunctionElement[Any]):
    """What the member ``files`` of a JSON text lists, a row each, as ``value``."""

    inherit_cache = True


class Position(FunctionElement[int]):
    """Where in a text another one begins, from 1 on; 0 where it does not."""

    type = Integer()
    inherit_cache = True


def _written(kind: type[FunctionElement[Any]], sqlite: str, postgresql: str) -> None:
    """Write a function so; its arguments take the place of ``{}``."""

    def write(
        element: FunctionElement[Any], compiler: SQLCompiler, **kw: object
    ) -> str:
        is_sqlite = compiler.dialect.name == "sqlite"
        arguments = compiler.process(element.clauses, **kw)
        return (sqlite if is_sqlite else postgresql).format(arguments)

    compiles(kind)(write)


_written(JSONObjectAggregate, "json_group_object({})", "json_object_agg({})")
_written(JSONArrayAggregate, "json_group_array({})", "json_agg({})")
_written(
    JSONFiles,
    "json_each({}, '$.files')",
    "json_array_elements(CAST({} AS JSON) -> 'files')",
)
_written(Position, "instr({})", "strpos({})")
