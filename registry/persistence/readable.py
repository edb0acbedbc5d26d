"""Which models somebody may read, as a condition of SQL: lists leave out the others.

Rules:

- Patterns (``domain.roles``) are parameters: a list has one statement for everybody who
  may not read every model, and its own for everybody else.
- A name matches as in ``fnmatchcase``: by GLOB on SQLite, by LIKE on PostgreSQL.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Dialect,
    Text,
    TypeDecorator,
    and_,
    bindparam,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import Boolean, TypeEngine

from registry.domain.roles import EVERY_MODEL

#: Sets of patterns: what may be read matches one of each (``actors.readable``).
Readable = Sequence[Sequence[str]]

_SETS = ("readable_by_role", "readable_by_scope")
_WORDS = {"*": "%", "?": "_"}


class _Patterns(TypeDecorator[Sequence[str]]):
    """A list of patterns, in the words of the database."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type of the parameter: an array, or JSON as a text."""
        is_array = dialect.name == "postgresql"
        return dialect.type_descriptor(ARRAY(Text) if is_array else Text())

    def process_bind_param(
        self, value: Sequence[str] | None, dialect: Dialect
    ) -> object:
        """Return what the driver is given."""
        patterns = list(value or ())
        if dialect.name == "postgresql":
            return [_like(pattern) for pattern in patterns]
        return json.dumps(patterns)


class _MatchesOne(FunctionElement[bool]):
    """Whether a name, the first expression, matches one pattern of the second."""

    type = Boolean()
    inherit_cache = True


@compiles(_MatchesOne, "sqlite")
def _by_glob(element: _MatchesOne, compiler: SQLCompiler, **kw: object) -> str:
    name, patterns = (compiler.process(each, **kw) for each in element.clauses)
    return f"EXISTS (SELECT 1 FROM json_each({patterns}) WHERE {name} GLOB value)"  # noqa: S608  # both are compiled


@compiles(_MatchesOne, "postgresql")
def _by_like(element: _MatchesOne, compiler: SQLCompiler, **kw: object) -> str:
    name, patterns = (compiler.process(each, **kw) for each in element.clauses)
    return f"{name} LIKE ANY ({patterns})"


def is_readable(name: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether a model of that name may be read, by ``readable_values``."""
    return and_(*(_MatchesOne(name, bindparam(s, type_=_Patterns())) for s in _SETS))


def readable_values(readable: Readable) -> dict[str, Sequence[str]]:
    """Return the parameters of ``is_readable``; of one set, or of both."""
    every = [[EVERY_MODEL]] * len(_SETS)
    return dict(zip(_SETS, [*readable, *every], strict=False))


def _like(pattern: str) -> str:
    """Return a pattern in LIKE's words, in which a backslash takes their meaning."""
    return re.sub(
        r"[*?%_\\]", lambda found: _WORDS.get(found[0], f"\\{found[0]}"), pattern
    )
