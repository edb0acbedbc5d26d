"""Trouble with the database at start, as one line in place of a traceback.

Rules:

- Three cases are told apart: it does not let us in, it lacks the schema, it
  refuses a statement. Each line says what to look at or what to run.
- The address is not shown: it holds the password.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from registry.errors import RegistryError
from registry.persistence import database, schema


@contextmanager
def database_of(app: Flask) -> Iterator[None]:
    """A block that works on the app's database, which is asked for first.

    Raises:
        RegistryError: when it cannot be connected to, or fails within the block.
    """
    with app.app_context():
        try:
            with database.db.engine.connect():
                pass
        except SQLAlchemyError as error:
            said = " ".join(_said(error).split())
            setting = "DATABASE_URL"
            if "unsupported startup parameter" in said:  # PgBouncer's words alone
                setting = "PGBOUNCER"
            raise RegistryError(
                f"the database cannot be connected to: see STAGEGATE_{setting} ({said})"
            ) from error
        try:
            yield
        except SQLAlchemyError as error:
            # The lines after the first repeat the statement.
            reason = _said(error).partition("\n")[0]
            raise RegistryError(f"the database failed: {reason}") from error


def require_schema(app: Flask) -> None:
    """See that the database answers and has the present schema.

    Raises:
        RegistryError: saying which of the two fails, and what to run.
    """
    with database_of(app):
        problem = schema.schema_problem(database.db.session())
    if problem:
        raise RegistryError(problem)


def _said(error: SQLAlchemyError) -> str:
    """What the driver says, without the statement and link of SQLAlchemy."""
    return str(
        error.orig if isinstance(error, DBAPIError) and error.orig else error
    ).strip()
