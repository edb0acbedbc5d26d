"""What a consumer remembers of the messages it dealt with.

- A new message holds its model until it is finished or released, so that two
  messages of one model are never worked on at once.
- A hold ends by itself: the process that made it may be gone.
- Times are whole Unix microseconds.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from .errors import BusyError


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
        """Tell whether an event at this position has been dealt with before."""
        if self.position is None or latest is None:
            return False
        return self.position <= latest

    def excludes(self, other: "Ticket") -> bool:
        """Tell whether the other has to wait while this one is worked on."""
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
                message_id: held
                for message_id, held in self._held.items()
                if ticket.received_at < held.busy_until
            }
            if any(held.excludes(ticket) for held in self._held.values()):
                raise BusyError
            self._held[ticket.message_id] = ticket
            return Standing.NEW

    def finish(self, ticket: Ticket) -> None:
        """Remember that a new message was dealt with, and let go of it."""
        with self._lock:
            self._let_go(ticket)
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
            self._let_go(ticket)

    def _let_go(self, ticket: Ticket) -> None:
        # Another try may hold it by now, when this one took too long.
        if self._held.get(ticket.message_id) == ticket:
            del self._held[ticket.message_id]
