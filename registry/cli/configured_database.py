"""The database that the settings name, as commands reach it.

Rules:

- Trouble with it is one line in place of a traceback.
- At a start, three cases are told apart: it does not let us in, it lacks the schema, it
  refuses a statement. Each line says what to look at or what to run.
- The address is not shown: it holds the password.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flask import Flask
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

from registry.errors import NotFoundError, RegistryError
from registry.persistence.database import (
    begin_snapshot,
    db,
    engine_options,
    prepare_engine,
    session_factory,
)
from registry.persistence.schema import schema_problem
from registry.settings import Settings


@contextmanager
def database_of(app: Flask) -> Iterator[None]:
    """A block that works on the app's database, which is asked for first.

    Raises:
        RegistryError: when it cannot be connected to, or fails within the block.
    """
    with app.app_context():
        try:
            with db.engine.connect():
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
        problem = schema_problem(db.session())
    if problem:
        raise RegistryError(problem)


def _said(error: SQLAlchemyError) -> str:
    """Return what the driver says, without the statement and link of SQLAlchemy."""
    return str(
        error.orig if isinstance(error, DBAPIError) and error.orig else error
    ).strip()


@contextmanager
def snapshot_of(settings: Settings) -> Iterator[Session]:
    """A session that sees the database as it is at one instant.

    Raises:
        NotFoundError: when the embedded database does not exist.
        RegistryError: when the database cannot be read, or has another schema.
    """
    _require_file(settings)
    try:
        url = settings.database_url
        options = engine_options(url, through_pgbouncer=settings.pgbouncer)
        engine = create_engine(url, **options)
        prepare_engine(engine)
        try:
            with session_factory(engine)() as session:
                begin_snapshot(session)
                if problem := schema_problem(session):
                    raise RegistryError(f"The database cannot be read: {problem}")
                yield session
        finally:
            engine.dispose()
    except (ArgumentError, SQLAlchemyError) as error:
        # The first line only: the rest repeats the statement and a link.
        reason = str(error).partition("\n")[0]
        raise RegistryError(f"The database cannot be read: {reason}") from error


def _require_file(settings: Settings) -> None:
    """Connecting would make an empty database, and find it intact."""
    if not settings.is_embedded:
        return
    file = make_url(settings.database_url).database
    if file and not Path(file).exists():
        raise NotFoundError(
            f"There is no database {file}: name it by STAGEGATE_DATA_DIR or"
            " STAGEGATE_DATABASE_URL."
        )
