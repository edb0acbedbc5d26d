"""The database connection: one pool, transactions that say what they are for.

Rules:

- A transaction that will write says so when it begins: ``change``. On
  SQLite it begins IMMEDIATE; on PostgreSQL it is an ordinary READ COMMITTED one.
- A request reads without a transaction, each statement by itself (``reading``).
- What each database needs besides stands in ``sqlite`` and ``postgresql``.
- Values never reach a log: an error tells its statement without them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import g
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from registry.persistence import sqlite
from registry.persistence.purposes import PATIENCE, READS, SNAPSHOT, WRITES
from webhooks.metrics import count_noted

#: PostgreSQL's codes; its driver's classes for them would cost SQLite's users 9 MB.
_QUERY_CANCELED = "57014"
_READ_ONLY = "25006"
#: Refused where a change would be; it changes no row and asks for no lock on one.
_CHANGE_NOTHING = text(
    "UPDATE alembic_version SET version_num = version_num WHERE false"
)

db = SQLAlchemy(session_options={"autoflush": False, "expire_on_commit": False})


def engine_options(
    database_url: str, *, through_pgbouncer: bool = False
) -> dict[str, Any]:
    """Keyword arguments for ``create_engine``.

    Args:
        database_url: of SQLite or PostgreSQL.
        through_pgbouncer: whether it leads to PgBouncer in transaction mode.
    """
    if database_url.startswith("sqlite"):
        options = sqlite.options()
    else:
        from registry.persistence import postgresql  # noqa: PLC0415  # its driver is large

        options = postgresql.options(through_pgbouncer=through_pgbouncer)
    return {**options, "hide_parameters": True}


def prepare_engine(engine: Engine) -> None:
    """Attach the rules of the database to every connection of an engine."""
    if engine.dialect.name == "sqlite":
        sqlite.prepare(engine)
    else:
        from registry.persistence import postgresql  # noqa: PLC0415  # as above

        postgresql.prepare(engine)


@contextmanager
def change(
    engine: Engine, *, patience_seconds: float | None = None
) -> Iterator[Connection]:
    """A connection for one change: committed at the end, once; not after an error.

    Locks are waited for ``patience_seconds``, or as long as is usual.
    """
    patience = {} if patience_seconds is None else {PATIENCE: patience_seconds}
    with engine.connect() as cx:
        cx.execution_options(**{WRITES: True, **patience}).begin()
        yield cx
        cx.commit()


def begin_snapshot(session: Session) -> None:
    """Begin a read that sees one instant throughout, however long it takes."""
    session.rollback()
    session.connection(execution_options={SNAPSHOT: True})


def reading() -> Connection:
    """What the present request reads with; it holds no transaction open."""
    connection: Connection | None = g.get("reading")
    if connection is None or connection.closed:
        connection = db.engine.connect().execution_options(**{READS: True})
        g.reading = connection
    return connection


def reading_session() -> Session:
    """The same connection, for what is asked through the ORM."""
    session: Session | None = g.get("reading_session")
    if session is None or session.bind is not reading():
        session = g.reading_session = Session(reading(), autoflush=False)
    return session


def end_reading(_: object = None) -> None:
    """Give back what the request reads with: something slow begins, or it is over."""
    session: Session | None = g.pop("reading_session", None)
    if session is not None:
        session.close()
    connection: Connection | None = g.pop("reading", None)
    if connection is not None:
        connection.close()


def was_given_up(error: OperationalError) -> bool:
    """Whether a statement was ended because it took too long."""
    return (
        getattr(error.orig, "sqlstate", None) == _QUERY_CANCELED
        or getattr(error.orig, "sqlite_errorname", None) == "SQLITE_INTERRUPT"
    )


def writing_problem(session: Session) -> str | None:
    """Why a database that answers takes no changes at present, or None."""
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        return sqlite.file_problem(connection)
    try:
        session.execute(_CHANGE_NOTHING)
    except DBAPIError as error:
        if not _is_read_only(error):
            raise
        return "the database takes no changes at present"
    return None


def is_away(error: DBAPIError) -> bool:
    """Whether the database is away or busy, or takes no changes at present."""
    is_away = isinstance(error, OperationalError | InterfaceError)
    return is_away or _is_read_only(error)


def _is_read_only(error: DBAPIError) -> bool:
    return getattr(error.orig, "sqlstate", None) == _READ_ONLY


@contextmanager
def write_transaction(engine: Engine) -> Iterator[Session]:
    """As ``change``, for what is changed through the ORM."""
    with change(engine) as cx:
        session = Session(cx, autoflush=False, expire_on_commit=False)
        yield session
        session.flush()
    count_noted(session)


def session_factory(engine: Engine) -> sessionmaker[Session]:
    """Sessions for work outside a request, with the options of ``db``."""
    return sessionmaker(engine, autoflush=False, expire_on_commit=False)
