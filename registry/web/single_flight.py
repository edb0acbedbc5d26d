"""Work that several callers ask for at once is done once, and all have its outcome.

Rules:

- Who comes first does the work, in its own thread; who comes meanwhile waits.
- Nobody waits longer than it said: threads are few.
- An outcome is kept for nobody who comes after it; an error is an outcome.
"""

from collections.abc import Callable, Hashable
from concurrent.futures import Future, wait
from threading import Lock
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Outcome = TypeVar("Outcome")


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
