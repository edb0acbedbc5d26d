"""Partial indexes, with the condition said once for both databases.

SQLAlchemy's own ``sqlite_where`` and ``postgresql_where`` ask for it twice, and
make it load the other database's dialect, which holds 2 MB in every process.
"""

from typing import Any

from sqlalchemy import Index
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateIndex

_WHERE = "where"


def partial_index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """An index of the rows for which ``where``, as literal SQL, holds."""
    return Index(name, *columns, unique=unique, info={_WHERE: where})


@compiles(CreateIndex)
def _create_index(create: CreateIndex, compiler: Any, **options: Any) -> str:  # noqa: ANN401  # SQLAlchemy's own hook.
    statement: str = compiler.visit_create_index(create, **options)
    where = create.element.info.get(_WHERE)
    return f"{statement} WHERE {where}" if where else statement
