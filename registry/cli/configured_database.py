"""The database that the settings name, as commands read it without a server."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import Session

from registry.errors import NotFoundError, RegistryError
from registry.persistence.database import (
    begin_snapshot,
    engine_options,
    prepare_engine,
    session_factory,
)
from registry.persistence.schema import schema_problem
from registry.settings import Settings


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
