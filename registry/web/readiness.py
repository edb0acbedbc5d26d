"""Whether this process can do its part, told within a moment whoever hangs.

Rules:

- The database is asked by one thread at a time, which is no request's: where it falls
  silent, probe after probe would else take every thread there is.
- What works in the background tells by its heartbeat that it lives. A database that is
  away is no reason to restart it; a thread that no longer turns is.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait

Look = Callable[[], str | None]

#: Less than the patience of a probe (``k8s/base``).
WAIT_SECONDS = 2.0
THREAD = "readiness"


class Readiness:
    """Asks the database, and all that is watched.

    Args:
        look: says why the database cannot be served from, or None.
    """

    def __init__(self, look: Look) -> None:
        self._look = look
        self._lock = threading.Lock()
        self._looking: Future[str | None] | None = None
        self._watched: list[Look] = []

    def watch(self, pulse: Look) -> None:
        """Ask ``pulse`` too, which says at once why something no longer lives."""
        self._watched.append(pulse)

    def problem(self) -> str | None:
        """Return why this process cannot serve, or None."""
        return self.background_problem() or self._database_problem()

    def background_problem(self) -> str | None:
        """Return why what works in the background is not alive, or None."""
        return next(filter(None, (pulse() for pulse in self._watched)), None)

    def _database_problem(self) -> str | None:
        with self._lock:
            if self._looking is None or self._looking.done():
                self._looking = Future()
                threading.Thread(
                    target=self._answer,
                    args=(self._looking,),
                    name=THREAD,
                    daemon=True,
                ).start()
            looking = self._looking
        if not wait([looking], timeout=WAIT_SECONDS).done:
            return f"the database has not answered for {WAIT_SECONDS:.0f} s"
        return looking.result()

    def _answer(self, looking: "Future[str | None]") -> None:
        try:
            looking.set_result(self._look())
        except BaseException as error:  # noqa: BLE001  # whoever waits must hear of it
            looking.set_exception(error)
