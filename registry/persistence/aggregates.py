"""Two JSON aggregates that SQLite and PostgreSQL name differently.

With them a row and its tags or aliases come back from one statement. Over no
rows PostgreSQL answers NULL and SQLite an empty value; callers take both.
"""

from typing import Any

from sqlalchemy import JSON
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


@compiles(JSONObjectAggregate)
def _object_default(
    element: JSONObjectAggregate, compiler: SQLCompiler, **kw: object
) -> str:
    return f"json_group_object({compiler.process(element.clauses, **kw)})"


@compiles(JSONObjectAggregate, "postgresql")
def _object_postgresql(
    element: JSONObjectAggregate, compiler: SQLCompiler, **kw: object
) -> str:
    return f"json_object_agg({compiler.process(element.clauses, **kw)})"


@compiles(JSONArrayAggregate)
def _array_default(
    element: JSONArrayAggregate, compiler: SQLCompiler, **kw: object
) -> str:
    return f"json_group_array({compiler.process(element.clauses, **kw)})"


@compiles(JSONArrayAggregate, "postgresql")
def _array_postgresql(
    element: JSONArrayAggregate, compiler: SQLCompiler, **kw: object
) -> str:
    return f"json_agg({compiler.process(element.clauses, **kw)})"
