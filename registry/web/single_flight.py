"""Work that several callers ask for at once is done once, and all have its outcome.

Rules:

- Who comes first does the work, in its own thread; who comes meanwhile waits.
- Nobody waits longer than it said: threads are few.
- An outcome is kept for nobody who comes after it; an error is an outcome. What is
  worth remembering is remembered by its key, and of these the last ones only.
"""

from collections.abc import Callable, Hashable
from concurrent.futures import Future, wait
from threading import Lock
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Outcome = TypeVar("Outcome")


MAX_RECENT_KEYS = 1000


class StillRunningError(Exception):
    """Somebody else's run did not end in time."""


class SingleFlight(Generic[Key, Outcome]):
    """At most one run for each key at a time, in this process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._running: dict[Key, Future[Outcome]] = {}

    def run(
        self, key: Key, work: Callable[[], Outcome], *, wait_seconds: float
    ) -> Outcome:
        """Do the work, or have the outcome of the run that is under way.

        Raises:
            StillRunningError: when that one takes longer than ``wait_seconds``.
            BaseException: as ``work``, in whichever thread it ran.
        """
        with self._lock:
            running = self._running.get(key)
            ours: Future[Outcome] = Future()
            if running is None:
                self._running[key] = ours
        if running is None:
            self._carry_out(key, work, ours)
            return ours.result()
        if not wait([running], timeout=wait_seconds).done:
            raise StillRunningError
        return running.result()

    def _carry_out(
        self, key: Key, work: Callable[[], Outcome], ours: "Future[Outcome]"
    ) -> None:
        try:
            outcome = work()
        except BaseException as error:  # noqa: BLE001  # whoever waits must hear of it
            self._forget(key)
            ours.set_exception(error)
        else:
            self._forget(key)
            ours.set_result(outcome)

    def _forget(self, key: Key) -> None:
        with self._lock:
            del self._running[key]


class RecentKeys(Generic[Key]):
    """The keys that were added last."""

    def __init__(self, most: int = MAX_RECENT_KEYS) -> None:
        self._most = most
        self._lock = Lock()
        self._keys: dict[Key, None] = {}

    def __contains__(self, key: Key) -> bool:
        """Whether the key was added, and not so long ago."""
        return key in self._keys

    def add(self, key: Key) -> None:
        """Remember a key, and forget the oldest one if there are too many."""
        with self._lock:
            self._keys[key] = None
            if len(self._keys) > self._most:
                del self._keys[next(iter(self._keys))]
