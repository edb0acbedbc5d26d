"""What SQLite needs to keep the promises, attached to its engine.

Rules:

- WAL, ``synchronous=FULL`` (a commit survives a power cut), foreign keys on, 15 s of
  patience for the one writer.
- A transaction that will write begins IMMEDIATE, since one that has read cannot be
  made a writer once another has committed.
- No statement takes longer than 30 s, as on PostgreSQL: SQLite asks now and then
  whether it is to go on, and no step between is long, whatever texts it compares.
- A file that was removed or replaced is not written any more: connections that had
  opened it would go on, and what they commit would be lost.
"""

import math
import sqlite3
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from registry.persistence.purposes import PATIENCE, READS, UNLIMITED, WRITES
from registry.search.like import LIKE_FUNCTION, Pattern

STATEMENT_SECONDS = 30.0
PATIENCE_SECONDS = 15
REPLACED = (
    "the file of the database was removed or replaced while it was open; put it back, "
    "or start the server anew"
)


class FileReplacedError(OperationalError):
    """The file of the database is not the one that was opened."""

    def __init__(self) -> None:
        super().__init__(None, None, sqlite3.OperationalError(REPLACED))


_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA cache_size = -256",  # KiB a connection; the system caches the file too
    "PRAGMA foreign_keys = ON",
)
_STATEMENTS = 16  # prepared ones that a connection keeps, some KB each
_STEPS_BETWEEN_LOOKS = 10_000  # 2 to 100 ms
_LIMIT = "stagegate_limit"
_FILE = "stagegate_file"


def options() -> dict[str, Any]:
    """Keyword arguments for ``create_engine``."""
    return {
        "connect_args": {"timeout": PATIENCE_SECONDS, "cached_statements": _STATEMENTS}
    }


def prepare(engine: Engine) -> None:
    """Attach the rules to every connection of an engine."""
    file = _DatabaseFile(engine.url.database)
    event.listen(engine, "do_connect", file.before_connecting)
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "connect", file.after_connecting)
    event.listen(engine, "begin", _begin)
    event.listen(engine, "begin", file.after_beginning)
    event.listen(engine, "before_cursor_execute", _restart_limit)


def file_problem(connection: Connection) -> str | None:
    """Return why what is written by this connection would be lost, or None."""
    file: _DatabaseFile = connection.connection.info[_FILE]
    return None if file.is_whole() else REPLACED


class _DatabaseFile:
    """The file that an engine opened first, which must stay what it was."""

    def __init__(self, path: str | None) -> None:
        self._path = Path(path).absolute() if path and path != ":memory:" else None
        self._opened: tuple[int, int] | None = None

    def before_connecting(self, *_: object) -> None:
        """Make no new, empty file in the place of one that was removed."""
        if self._opened is not None:
            self._expect(self._opened == self._identity())

    def after_connecting(self, _: object, record: ConnectionPoolEntry) -> None:
        record.info[_FILE] = self
        if self._opened is None:
            self._opened = self._identity()

    def after_beginning(self, connection: Connection) -> None:
        if _writes(connection):
            self._expect(self.is_whole())

    def is_whole(self) -> bool:
        """Whether a connection that is open has both files that it writes to."""
        if self._path is None:
            return True
        # The log beside the file has what was committed last.
        has_log = self._path.with_name(f"{self._path.name}-wal").exists()
        return has_log and self._opened == self._identity()

    def _identity(self) -> tuple[int, int] | None:
        """Return what tells one file from another, or None where there is none."""
        if self._path is None:
            return None
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def _expect(self, is_same: bool) -> None:  # noqa: FBT001  # what is asserted
        if not is_same:
            raise FileReplacedError


class _Limit:
    """Ends what one connection takes too long for."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._give_up_at = math.inf
        connection.set_progress_handler(self._is_over, _STEPS_BETWEEN_LOOKS)
        connection.create_function(LIKE_FUNCTION, 3, self._is_like, deterministic=True)

    def restart(self, seconds: float) -> None:
        self._give_up_at = time.monotonic() + seconds

    def _is_over(self) -> bool:
        return time.monotonic() > self._give_up_at

    def _is_like(self, text: str, pattern: str, ignore_case: int) -> bool:
        if self._is_over():
            self._connection.interrupt()
        return _pattern(pattern, ignore_case=bool(ignore_case)).matches(text)


@lru_cache(maxsize=16)
def _pattern(pattern: str, *, ignore_case: bool) -> Pattern:
    return Pattern(pattern, ignore_case=ignore_case)


def _set_up(connection: Any, record: ConnectionPoolEntry) -> None:  # noqa: ANN401  # the driver's own
    # The driver must not begin transactions by itself: SQLAlchemy does, below.
    connection.isolation_level = None
    for pragma in _PRAGMAS:
        connection.execute(pragma).close()
    connection.execute(_be_patient(PATIENCE_SECONDS)).close()
    record.info[_LIMIT] = _Limit(connection)


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if not options.get(WRITES):
        if not options.get(READS):
            connection.exec_driver_sql("BEGIN")
        return
    patience = options.get(PATIENCE)
    if patience is None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        return
    connection.exec_driver_sql(_be_patient(patience))
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        connection.exec_driver_sql(_be_patient(PATIENCE_SECONDS))


def _be_patient(seconds: float) -> str:
    return f"PRAGMA busy_timeout = {seconds * 1000:.0f}"


def _writes(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get(WRITES))


def _restart_limit(connection: Connection, *_: object) -> None:
    is_limited = not connection.get_execution_options().get(UNLIMITED)
    limit: _Limit = connection.connection.info[_LIMIT]
    limit.restart(STATEMENT_SECONDS if is_limited else math.inf)
