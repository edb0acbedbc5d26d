"""Names to addresses within a time limit, in a bounded number of threads.

- ``getaddrinfo`` knows no timeout, so it runs in a thread that is left behind when
  it stalls. There are never more than ``MAX_THREADS``.
- Everyone who asks for the same name at once shares one lookup: a name whose
  server stalls occupies one thread, however many deliveries wait for it.
- A name that does not resolve, or not in time, has no addresses.
"""

import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

Resolver = Callable[[str, int], Sequence[str]]
Lookup = Future[Sequence[str]]

MAX_THREADS = 32


def resolve_by_system(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver for every stream address of the host."""
    entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in entries]


class BoundedResolver:
    """Asks a resolver that may block; thread-safe."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._under_way: dict[tuple[str, int], Lookup] = {}
        self._changed = threading.Condition()

    def resolve(self, host: str, port: int, timeout_seconds: float) -> Sequence[str]:
        """Return the host's addresses, or none when they do not come in time."""
        give_up_at = time.monotonic() + timeout_seconds
        lookup = self._join(host, port, timeout_seconds)
        if lookup is None:
            return ()
        try:
            return lookup.result(max(0.0, give_up_at - time.monotonic()))
        except TimeoutError:
            return ()

    def _join(self, host: str, port: int, timeout_seconds: float) -> Lookup | None:
        """Find or start the lookup of the name; None while every thread stalls."""
        key = (host, port)

        def may_go_on() -> bool:
            return key in self._under_way or len(self._under_way) < MAX_THREADS

        with self._changed:
            if not self._changed.wait_for(may_go_on, timeout_seconds):
                return None
            if key in self._under_way:
                return self._under_way[key]
            lookup: Lookup = Future()
            threading.Thread(
                target=self._ask,
                args=(key, lookup),
                name="webhook-resolver",
                daemon=True,
            ).start()
            # After the start: a thread that cannot start must not be waited for.
            self._under_way[key] = lookup
            return lookup

    def _ask(self, key: tuple[str, int], lookup: Lookup) -> None:
        answers: Sequence[str] = ()
        try:
            answers = self._resolver(*key)
        except (OSError, UnicodeError):
            # UnicodeError is what the idna codec says of an impossible label.
            pass
        finally:
            # First: whoever asks after this answer starts a lookup of its own.
            with self._changed:
                del self._under_way[key]
                self._changed.notify_all()
            lookup.set_result(answers)
