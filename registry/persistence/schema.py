"""The schema's version: upgrade it, and tell whether it is the present one.

Alembic keeps the history in ``migrations``; it runs on SQLite and PostgreSQL
alike. Serving needs only the revision's name, so Alembic itself is loaded by
``upgrade`` alone: it would hold 15 MB in every web process.
"""

from pathlib import Path

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from registry.persistence.database import writing_problem
from registry.persistence.sqlite import REPLACED, FileReplacedError

#: The newest revision in ``migrations/versions``; a test holds the two together.
HEAD = "0023"

MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(engine: Engine) -> None:
    """Bring the database to ``HEAD``; one process at a time does the work."""
    # Loaded here for the reason that the module's docstring gives.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["engine"] = engine
    command.upgrade(config, "head")


def serving_problem(sessions: sessionmaker[Session]) -> str | None:
    """Return why the database cannot be served from at present, or None."""
    with sessions() as session:
        return schema_problem(session) or writing_problem(session)


def schema_problem(session: Session) -> str | None:
    """Return why the database cannot be served from, or None."""
    try:
        revision = session.scalar(text("SELECT version_num FROM alembic_version"))
    except FileReplacedError:
        return REPLACED
    except SQLAlchemyError:
        return (
            "the database does not answer, or has no schema: run stagegate db upgrade"
        )
    if revision != HEAD:
        return f"the schema is {revision}, expected {HEAD}: run stagegate db upgrade"
    return None
