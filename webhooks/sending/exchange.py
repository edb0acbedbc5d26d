"""One POST on its connection: the deadline, the time of each part, the whole head.

``requests`` and ``urllib3`` do it, with the parts replaced that trust too much:

- Connections come from the exchange, which goes through the address guard.
- A head that ends without its blank line is an error: ``http.client`` takes a
  closed connection for the end of the head and would report its status.
- Interim answers other than 100 are passed over too (RFC 9110 §15.2).
- ``urllib3`` is kept from logging URLs, in which a secret may stand.
"""

import contextlib
import http.client
import io
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from webhooks.errors import BlockedAddressError
from webhooks.sending.guard import AddressGuard

logger = logging.getLogger(__name__)

SWITCHING_PROTOCOLS = 101
FIRST_FINAL_STATUS = 200


@dataclass(frozen=True)
class Timeouts:
    """How long each part of an exchange may take, in seconds.

    ``connect_seconds`` holds for the name and all its addresses together, and for
    each read of the handshake; ``read_seconds`` for each read of the answer;
    ``total_seconds`` for everything. A refusal takes a multiple of
    ``refusal_seconds``.
    """

    connect_seconds: float = 5.0
    read_seconds: float = 10.0
    total_seconds: float = 20.0
    refusal_seconds: float = 0.25


class Watchdog:
    """Calls back when ``seconds`` are over, unless released before; thread-safe.

    One thread watches the deadlines of all sends: a timer for each would start a
    thread for each, a fifth of what a send costs. Every deadline is equally far away,
    so they fall due in the order in which they were set, and the thread sleeps from
    one to the next. It ends when nothing is watched any more, and the next send
    starts it again.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        # In the order of the deadlines.
        self._watched: dict[object, tuple[float, Callable[[], None]]] = {}
        self._thread: threading.Thread | None = None

    def watch(self, expire: Callable[[], None]) -> object:
        """Begin to count; return what ``release`` wants. ``expire`` must be short."""
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


class Exchange:
    """One POST, as a context manager around it.

    A watchdog shuts the socket when time is up. ``timings`` are the seconds of each
    part that ended: ``name``, ``connect``, ``tls``, ``first_byte``; ``address`` is
    the one that was connected to.
    """

    def __init__(
        self, guard: AddressGuard, timeouts: Timeouts, watchdog: Watchdog
    ) -> None:
        self.is_expired = False
        self.address: str | None = None
        self.timings: dict[str, float] = {}
        self._guard = guard
        self._timeouts = timeouts
        self._marked_at = time.monotonic()
        self._give_up_at = self._marked_at + timeouts.total_seconds
        self._lock = threading.Lock()
        self._watched: socket.socket | None = None
        self._watchdog = watchdog
        self._token: object = None

    def __enter__(self) -> Self:
        self._token = self._watchdog.watch(self._expire)
        return self

    def __exit__(self, *_: object) -> None:
        self._watchdog.release(self._token)
        with self._lock:
            if self._watched is not None:
                self._watched.close()

    @property
    def remaining_seconds(self) -> float:
        """Time until the deadline, never quite none: 0 would mean no timeout."""
        return max(0.001, self._give_up_at - time.monotonic())

    def connect(self, host: str, port: int, scheme: str) -> socket.socket:
        """Connect through the guard; what is connected is cut at the deadline.

        Raises:
            BlockedAddressError: the host may not be reached.
            UnreachableError: no vetted address accepted a connection in time.
        """
        limit = self._timeouts.connect_seconds
        started = time.monotonic()
        try:
            connection = self._guard.connect(
                host.strip("[]"),
                port,
                scheme=scheme,
                timeout_seconds=min(limit, self.remaining_seconds),
                on_step=self._step,
            )
        except BlockedAddressError:
            # How long it took must not tell an inside name from one that is none.
            grain = self._timeouts.refusal_seconds
            elapsed = time.monotonic() - started
            time.sleep(min(-elapsed % grain, self.remaining_seconds))
            raise
        connection.settimeout(limit)
        self._watch(connection)
        return connection

    def mark(self, part: str) -> None:
        """Note that a part has ended now."""
        now = time.monotonic()
        self.timings[part] = round(now - self._marked_at, 6)
        self._marked_at = now

    def _step(self, part: str, address: str | None) -> None:
        self.mark(part)
        self.address = address

    def _watch(self, connection: socket.socket) -> None:
        """Remember the connection; cut it at once when time is already up."""
        with self._lock:
            # TLS moves the descriptor into another object. A duplicate stays
            # ours, and shutting it down ends the same connection.
            self._watched = connection.dup()
            if self.is_expired:
                self._cut()

    def _expire(self) -> None:
        with self._lock:
            self.is_expired = True
            self._cut()

    def _cut(self) -> None:
        if self._watched is not None:
            with contextlib.suppress(OSError):
                self._watched.shutdown(socket.SHUT_RDWR)


class _HeadReader(io.BufferedReader):
    """Remembers that a line was cut off by the end of the connection."""

    has_cut_line = False

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        self.has_cut_line = not line.endswith(b"\n")
        return line


class _Response(http.client.HTTPResponse):
    """An answer whose head must be complete."""

    def __init__(
        self, sock: socket.socket, method: str | None, *, exchange: Exchange
    ) -> None:
        super().__init__(sock, method=method)
        self._exchange = exchange
        self._reader = _HeadReader(self.fp.detach())
        self.fp = self._reader

    def begin(self) -> None:
        if self._reader.peek(1):
            self._exchange.mark("first_byte")
        super().begin()
        while SWITCHING_PROTOCOLS < self.status < FIRST_FINAL_STATUS:
            self.headers = self.msg = None  # type: ignore[assignment]  # As before the first call, so that it reads on.
            super().begin()
        if self._reader.has_cut_line:
            raise http.client.RemoteDisconnected("the head is not complete")
        # urllib3 would log the URL of an answer with defects.
        self.msg.defects.clear()
        self.msg.set_payload("")


class _GuardedHTTPConnection(HTTPConnection):
    def __init__(self, *args: Any, exchange: Exchange, **options: Any) -> None:  # noqa: ANN401  # urllib3's own.
        super().__init__(*args, **options)
        self.response_class = partial(_Response, exchange=exchange)  # type: ignore[assignment]  # It is only called.
        self._exchange = exchange

    def _new_conn(self) -> socket.socket:
        return self._exchange.connect(self.host, self.port, "http")


class _GuardedHTTPSConnection(HTTPSConnection):
    def __init__(self, *args: Any, exchange: Exchange, **options: Any) -> None:  # noqa: ANN401  # urllib3's own.
        super().__init__(*args, **options)
        self.response_class = partial(_Response, exchange=exchange)  # type: ignore[assignment]  # It is only called.
        self._exchange = exchange

    def _new_conn(self) -> socket.socket:
        return self._exchange.connect(self.host, self.port, "https")

    def connect(self) -> None:
        super().connect()
        self._exchange.mark("tls")


class _GuardedPools(PoolManager):
    """Makes pools whose connections go through the guard."""

    def __init__(self, exchange: Exchange, tls: Callable[[], ssl.SSLContext]) -> None:
        super().__init__(num_pools=1, maxsize=1)
        self._exchange = exchange
        self._tls = tls

    def _new_pool(
        self,
        scheme: str,
        host: str,
        port: int,
        request_context: dict[str, Any] | None = None,
    ) -> HTTPConnectionPool:
        request_context = dict(request_context or self.connection_pool_kw)
        if scheme == "https":
            request_context["ssl_context"] = self._tls()
        pool = super()._new_pool(scheme, host, port, request_context)
        pool.ConnectionCls = (
            _GuardedHTTPSConnection
            if isinstance(pool, HTTPSConnectionPool)
            else _GuardedHTTPConnection
        )
        pool.conn_kw["exchange"] = self._exchange
        return pool


class GuardedAdapter(HTTPAdapter):
    """A ``requests`` adapter for one POST.

    ``tls`` gives the context when a receiver speaks TLS, and not before.
    """

    def __init__(self, exchange: Exchange, tls: Callable[[], ssl.SSLContext]) -> None:
        self._exchange = exchange
        self._tls = tls
        super().__init__(max_retries=0)

    def init_poolmanager(self, *_: object, **__: object) -> None:
        """Replace the pools."""
        self.poolmanager = _GuardedPools(self._exchange, self._tls)

    def cert_verify(self, *_: object) -> None:
        """Leave it to the context, which verifies chain and host name.

        Loading the bundle into every connection, as ``requests`` does, costs
        about 20 ms of processor time each.
        """
