"""Work that takes long has a few places, so that it never takes every thread.

Rules:

- Who finds no place is told to come back, at once or after a moment: to wait for
  long would take a thread as well.
- Places are of one process, which has eight threads (``registry.serving.bridge``).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import BoundedSemaphore

from registry.errors import BusyError


class Room:
    """So many places, and what they are for."""

    def __init__(self, what: str, places: int, *, wait_seconds: float = 0.0) -> None:
        self._what = what
        self._places = BoundedSemaphore(places)
        self._wait_seconds = wait_seconds

    @contextmanager
    def place(self) -> Iterator[None]:
        """One of the places, for the time of the block.

        Raises:
            BusyError: when all of them are taken.
        """
        if not self._places.acquire(timeout=self._wait_seconds):
            raise BusyError(f"too many {self._what} are under way; try again")
        try:
            yield
        finally:
            self._places.release()


@dataclass(frozen=True)
class Rooms:
    """What may take long: a receiver's 20 s, a statement's 30 s, a log's minutes."""

    tests: Room = field(default_factory=lambda: Room("test sends", 2))
    searches: Room = field(
        # Most take milliseconds: a place is soon free.
        default_factory=lambda: Room("searches", 4, wait_seconds=1.0)
    )
    audits: Room = field(default_factory=lambda: Room("readings of the audit log", 2))
