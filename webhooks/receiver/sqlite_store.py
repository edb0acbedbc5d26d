"""The memory of a consumer in an SQLite file."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from .errors import BusyError
from .stores import Standing, Ticket

_SCHEMA = """
CREATE TABLE IF NOT EXISTS done (
    number INTEGER PRIMARY KEY, message_id TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS latest (
    key TEXT PRIMARY KEY, instant INTEGER NOT NULL, sequence INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS held (
    message_id TEXT PRIMARY KEY, key TEXT, token TEXT NOT NULL,
    busy_until INTEGER NOT NULL);
"""
_FIND_DONE = "SELECT 1 FROM done WHERE message_id = ?"
_FIND_LATEST = "SELECT instant, sequence FROM latest WHERE key = ?"
_FIND_HELD = "SELECT 1 FROM held WHERE message_id = ? OR key = ?"
_REMEMBER_LATEST = """
INSERT INTO latest VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE
SET instant = excluded.instant, sequence = excluded.sequence
WHERE (excluded.instant, excluded.sequence) > (instant, sequence)
"""
_FORGET = "DELETE FROM done WHERE number <= (SELECT max(number) FROM done) - ?"


class SQLiteStore:
    """Remembers in a file, over restarts, for all processes on one machine.

    It keeps the last ``max_entries`` message ids (100 bytes each) and every model.
    A method that raises ``sqlite3.Error`` has changed nothing.
    """

    def __init__(self, path: str | Path, *, max_entries: int = 1_000_000) -> None:
        self._path = path
        self._max_entries = max_entries
        with self._begin() as connection:
            for statement in filter(str.strip, _SCHEMA.split(";")):
                connection.execute(statement)

    def begin(self, ticket: Ticket) -> Standing:
        """Judge a message, and hold it and its model if it is new."""
        with self._begin() as connection:
            find = connection.execute
            if find(_FIND_DONE, (ticket.message_id,)).fetchone():
                return Standing.DUPLICATE
            if ticket.is_overtaken_by(find(_FIND_LATEST, (ticket.key,)).fetchone()):
                return Standing.OUT_OF_ORDER
            find("DELETE FROM held WHERE busy_until <= ?", (ticket.received_at,))
            if find(_FIND_HELD, (ticket.message_id, ticket.key)).fetchone():
                raise BusyError
            find(
                "INSERT INTO held VALUES (?, ?, ?, ?)",
                (ticket.message_id, ticket.key, ticket.token, ticket.busy_until),
            )
        return Standing.NEW

    def finish(self, ticket: Ticket) -> None:
        """Remember that a new message was dealt with, and let go of it."""
        with self._begin() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO done (message_id) VALUES (?)",
                (ticket.message_id,),
            )
            if ticket.key is not None and ticket.position is not None:
                connection.execute(_REMEMBER_LATEST, (ticket.key, *ticket.position))
            connection.execute(_FORGET, (self._max_entries,))
            self._let_go(connection, ticket)

    def release(self, ticket: Ticket) -> None:
        """Let go of a new message that was not dealt with."""
        with self._begin() as connection:
            self._let_go(connection, ticket)

    @staticmethod
    def _let_go(connection: sqlite3.Connection, ticket: Ticket) -> None:
        connection.execute("DELETE FROM held WHERE token = ?", (ticket.token,))

    @contextmanager
    def _begin(self) -> Iterator[sqlite3.Connection]:
        """One transaction on a connection of its own: servers fork and use threads."""
        with closing(sqlite3.connect(self._path, timeout=10)) as connection:
            connection.isolation_level = None
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                yield connection
