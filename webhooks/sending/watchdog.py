"""One thread that watches the deadlines of all sends.

A timer for each send would start a thread for each send: a fifth of what a send
costs. Every deadline is equally far away, so they fall due in the order in which
they were set, and the thread sleeps from one to the next. It ends when nothing is
watched any more, and the next send starts it again.
"""

import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Watchdog:
    """Calls back when ``seconds`` are over, unless released before; thread-safe."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        # In the order of the deadlines.
        self._watched: dict[object, tuple[float, Callable[[], None]]] = {}
        self._thread: threading.Thread | None = None

    def watch(self, expire: Callable[[], None]) -> object:
        """Begin to count; give what ``release`` wants. ``expire`` must be short."""
        token = object()
        with self._lock:
            self._watched[token] = (time.monotonic() + self._seconds, expire)
            # Not alive: a fork left it behind.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._run, name="webhook-watchdog", daemon=True
                )
                self._thread.start()
        return token

    def release(self, token: object) -> None:
        """Stop to count; nothing happens when the time is over already."""
        with self._lock:
            self._watched.pop(token, None)

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._watched:
                    self._thread = None
                    return
                token, (due_at, expire) = next(iter(self._watched.items()))
                remaining = due_at - time.monotonic()
                if remaining <= 0:
                    del self._watched[token]
            if remaining > 0:
                time.sleep(remaining)
                continue
            try:
                expire()
            except Exception:
                # One that fails must not leave the others unwatched.
                logger.exception("webhook_watchdog_failed")
