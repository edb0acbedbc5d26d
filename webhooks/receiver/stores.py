"""What a consumer remembers of the messages it dealt with, in memory or in a file.

- A new message holds its model until it is finished or released, so that two
  messages of one model are never worked on at once.
- A hold ends by itself: the process that made it may be gone.
- Times are whole Unix microseconds.

Why a request is not accepted:

    ReceiverError
    ├── SignatureError    not signed with a known secret
    ├── TooOldError       signed too long ago
    ├── MalformedError    signed, but no event
    └── BusyError         its model is being worked on
"""

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol


class ReceiverError(Exception):
    """The request is not accepted; ``status`` is the HTTP status to answer."""

    status = 400

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class SignatureError(ReceiverError):
    """No signature of the request was made with a known secret."""

    status = 401


class TooOldError(ReceiverError):
    """The request was signed too long ago, or by a clock that is too far ahead."""


class MalformedError(ReceiverError):
    """The body is signed, but it is no event in the standard format."""


class BusyError(ReceiverError):
    """This message, or another of its model, is being worked on."""

    status = 503


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
_LET_GO = "DELETE FROM held WHERE token = ?"
_FORGET = "DELETE FROM done WHERE number <= (SELECT max(number) FROM done) - ?"


class Standing(StrEnum):
    """What a verified message is to this consumer."""

    NEW = "new"
    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out_of_order"


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """What a store needs to know of a message; times are Unix microseconds.

    ``key`` is the model and ``position`` the place among its events; both are None
    for events that are about no model, and ``position`` is None for a replay.
    ``token`` tells apart two tries at one message.
    """

    message_id: str
    key: str | None
    position: tuple[int, int] | None
    received_at: int
    busy_until: int
    token: str

    def is_overtaken_by(self, latest: tuple[int, int] | None) -> bool:
        """Whether an event at this position has been dealt with before."""
        if self.position is None or latest is None:
            return False
        return self.position <= latest

    def excludes(self, other: "Ticket") -> bool:
        """Whether the other has to wait while this one is worked on."""
        is_same = other.message_id == self.message_id
        is_same_model = self.key is not None and other.key == self.key
        return other.received_at < self.busy_until and (is_same or is_same_model)


class Store(Protocol):
    """Remembers what was done. Every method is atomic."""

    def begin(self, ticket: Ticket) -> Standing:
        """Judge a message, and hold it and its model if it is new.

        Raises:
            BusyError: it, or another message of its model, is held.
        """
        ...

    def finish(self, ticket: Ticket) -> None:
        """Remember that a new message was dealt with, and let go of it."""
        ...

    def release(self, ticket: Ticket) -> None:
        """Let go of a new message that was not dealt with."""
        ...


class MemoryStore:
    """Remembers in this process, until it ends: a restart acts on a resend again.

    It keeps the last ``max_entries`` message ids and as many models.
    """

    def __init__(self, *, max_entries: int = 10_000) -> None:
        self._max_entries = max_entries
        self._lock = threading.Lock()
        self._done: OrderedDict[str, None] = OrderedDict()
        self._latest: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._held: dict[str, Ticket] = {}

    def begin(self, ticket: Ticket) -> Standing:
        """Judge a message, and hold it and its model if it is new."""
        with self._lock:
            if ticket.message_id in self._done:
                return Standing.DUPLICATE
            if ticket.is_overtaken_by(self._latest.get(ticket.key or "")):
                return Standing.OUT_OF_ORDER
            self._held = {
                token: held
                for token, held in self._held.items()
                if ticket.received_at < held.busy_until
            }
            if any(held.excludes(ticket) for held in self._held.values()):
                raise BusyError
            self._held[ticket.token] = ticket
            return Standing.NEW

    def finish(self, ticket: Ticket) -> None:
        """Remember that a new message was dealt with, and let go of it."""
        with self._lock:
            self._held.pop(ticket.token, None)
            self._done[ticket.message_id] = None
            if ticket.key is not None and ticket.position is not None:
                latest = self._latest.pop(ticket.key, ticket.position)
                self._latest[ticket.key] = max(latest, ticket.position)
            for remembered in (self._done, self._latest):
                while len(remembered) > self._max_entries:
                    remembered.popitem(last=False)

    def release(self, ticket: Ticket) -> None:
        """Let go of a new message that was not dealt with."""
        with self._lock:
            self._held.pop(ticket.token, None)


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
            execute = connection.execute
            if execute(_FIND_DONE, (ticket.message_id,)).fetchone():
                return Standing.DUPLICATE
            if ticket.is_overtaken_by(execute(_FIND_LATEST, (ticket.key,)).fetchone()):
                return Standing.OUT_OF_ORDER
            execute("DELETE FROM held WHERE busy_until <= ?", (ticket.received_at,))
            if execute(_FIND_HELD, (ticket.message_id, ticket.key)).fetchone():
                raise BusyError
            execute(
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
            connection.execute(_LET_GO, (ticket.token,))

    def release(self, ticket: Ticket) -> None:
        """Let go of a new message that was not dealt with."""
        with self._begin() as connection:
            connection.execute(_LET_GO, (ticket.token,))

    @contextmanager
    def _begin(self) -> Iterator[sqlite3.Connection]:
        """One transaction on a connection of its own: servers fork and use threads."""
        with closing(sqlite3.connect(self._path, timeout=10)) as connection:
            connection.isolation_level = None
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                yield connection
