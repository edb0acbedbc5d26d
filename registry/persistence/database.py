"""The database connection: what SQLite and PostgreSQL need to keep the promises.

Rules (security reference, section 4; measured as M3, M8):

- A transaction that will write says so when it begins: ``begin_write``. On
  SQLite it begins IMMEDIATE, since one that has read cannot be made a writer
  once another has committed; on PostgreSQL it is an ordinary READ COMMITTED one.
- SQLite: WAL, ``synchronous=FULL`` (a commit survives a power cut), foreign keys
  on, 15 s of patience for the one writer.
- PostgreSQL: bounded waits for locks and statements, so that trouble ends in an
  answer.
- PgBouncer in transaction mode gives each transaction another session: nothing may be
  left in one, so no statement is prepared, and the bounds are set in each transaction.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

_WRITES = "stagegate_writes"
_THROUGH_PGBOUNCER = "stagegate_through_pgbouncer"
_SQLITE_PATIENCE_SECONDS = 15
_SQLITE_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA cache_size = -256",  # KiB a connection; the system caches the file too
    "PRAGMA foreign_keys = ON",
    f"PRAGMA busy_timeout = {_SQLITE_PATIENCE_SECONDS * 1000}",
)
_SQLITE_STATEMENTS = 16  # prepared ones that a connection keeps, some KB each
_POSTGRESQL_BOUNDS = {
    "lock_timeout": "15s",
    "statement_timeout": "30s",
    "idle_in_transaction_session_timeout": "60s",
}
_SET_BOUNDS = "SELECT " + ", ".join(
    f"set_config('{name}', '{bound}', true)"
    for name, bound in _POSTGRESQL_BOUNDS.items()
)
#: PostgreSQL's code; its driver's class for it would cost SQLite's users 9 MB.
_QUERY_CANCELED = "57014"
#: One step may compare a text with a pattern for a third of a second.
_SQLITE_STEPS_BETWEEN_LOOKS = 1_000
_POOL_SIZE = 10  # the threads of a web process, and two to spare

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
        return {
            "connect_args": {
                "timeout": _SQLITE_PATIENCE_SECONDS,
                "cached_statements": _SQLITE_STATEMENTS,
            },
        }
    bounds = " ".join(
        f"-c {name}={bound}" for name, bound in _POSTGRESQL_BOUNDS.items()
    )
    session = {"prepare_threshold": None} if through_pgbouncer else {"options": bounds}
    return {
        "connect_args": {**session, "connect_timeout": 5},
        "execution_options": {_THROUGH_PGBOUNCER: through_pgbouncer},
        "pool_size": _POOL_SIZE,
        "max_overflow": 10,
        "pool_timeout": 10,
        "pool_pre_ping": True,
        "pool_recycle": 1800,
    }


def prepare_engine(engine: Engine) -> None:
    """Attach the rules of SQLite or PgBouncer; PostgreSQL has what it needs."""
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    elif engine.get_execution_options().get(_THROUGH_PGBOUNCER):
        event.listen(engine, "begin", _bound_transaction)


def begin_write(session: Session) -> None:
    """Begin the transaction of a change; what the session read before is over."""
    session.rollback()
    session.connection(execution_options={_WRITES: True})


def end_read(session: Session) -> None:
    """End a read before something slow begins; what was read stays usable.

    A rollback alone would leave rows behind that are read again when they are next
    looked at, in a transaction that then stays open.
    """
    session.expunge_all()
    session.rollback()


def begin_snapshot(session: Session) -> None:
    """Begin a read that sees one instant throughout, however long it takes."""
    session.rollback()
    if session.get_bind().dialect.name == "postgresql":
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})


@contextmanager
def reading_at_most(session: Session, seconds: float) -> Iterator[None]:
    """End what is read for longer, on SQLite too, which has no limit of its own.

    PostgreSQL ends a statement by ``statement_timeout``. What is ended raises
    ``OperationalError``; ``was_given_up`` knows it.
    """
    if session.get_bind().dialect.name != "sqlite":
        yield
        return
    driver: Any = session.connection().connection.driver_connection
    give_up_at = time.monotonic() + seconds
    driver.set_progress_handler(
        lambda: time.monotonic() > give_up_at, _SQLITE_STEPS_BETWEEN_LOOKS
    )
    try:
        yield
    finally:
        driver.set_progress_handler(None, 0)


def was_given_up(error: OperationalError) -> bool:
    """Whether a statement was ended because it took too long."""
    return (
        getattr(error.orig, "sqlstate", None) == _QUERY_CANCELED
        or getattr(error.orig, "sqlite_errorname", None) == "SQLITE_INTERRUPT"
    )


@contextmanager
def write_transaction(sessions: sessionmaker[Session]) -> Iterator[Session]:
    """A session of its own for one change: committed at the end, once."""
    with sessions() as session:
        begin_write(session)
        yield session
        session.commit()


def session_factory(engine: Engine) -> sessionmaker[Session]:
    """Sessions for work outside a request, with the options of ``db``."""
    return sessionmaker(engine, autoflush=False, expire_on_commit=False)


def _set_up_sqlite(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    # The driver must not begin transactions by itself: SQLAlchemy does, below.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in _SQLITE_PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _bound_transaction(connection: Connection) -> None:
    connection.exec_driver_sql(_SET_BOUNDS)
