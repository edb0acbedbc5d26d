"""One POST on one connection: its deadline, the time of each part, the whole head.

Rules:

- The connection comes from the address guard, is used once and is closed.
- All of it (name, connection, TLS, request, head, body) has one deadline, kept by a
  watchdog that shuts the socket. A timeout per read would not do: a receiver that
  drips bytes resets it for ever.
- The last metre is ``http.client``'s reader, below ``requests`` and ``urllib3``: their
  pools, sessions and adapters cost twice what is done here, and half of what
  they do must not happen: proxies and ``.netrc`` of the environment, cookies, retries,
  redirects (whose body ``requests`` would read and decompress, followed or not).
- Head and body leave in one piece: in two, Nagle's algorithm would hold the body back
  until the receiver has acknowledged the head.
- A head that ends without its blank line is an error: ``http.client`` takes a
  closed connection for the end of the head and would report its status.
- Interim answers other than 100 are passed over too (RFC 9110 §15.2), and an answer
  of two lengths is none (§8.6).
"""

import contextlib
import http.client
import io
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Self
from urllib.parse import SplitResult

from requests.utils import check_header_validity, requote_uri
from urllib3.util import parse_url

from webhooks.errors import BlockedAddressError
from webhooks.sending.guard import DEFAULT_PORTS, AddressGuard, port_of

logger = logging.getLogger(__name__)


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
    thread for each, a third of what a send costs. Every deadline is equally far away,
    so they fall due in the order in which they were set, and the thread sleeps from
    one to the next. It ends when nothing is watched any more, and the next send
    starts it again.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        # When to call what, in the order of the deadlines.
        self._watched: dict[Callable[[], None], float] = {}
        self._thread: threading.Thread | None = None

    def watch(self, expire: Callable[[], None]) -> None:
        """Begin to count; ``expire`` must be short, and not be watched already."""
        with self._lock:
            self._watched[expire] = time.monotonic() + self._seconds
            # Not alive: a fork left it behind.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._run, name="webhook-watchdog", daemon=True
                )
                self._thread.start()

    def release(self, expire: Callable[[], None]) -> None:
        """Stop to count; nothing happens when the time is over already."""
        with self._lock:
            self._watched.pop(expire, None)

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._watched:
                    self._thread = None
                    return
                expire, due_at = next(iter(self._watched.items()))
                remaining = due_at - time.monotonic()
                if remaining <= 0:
                    del self._watched[expire]
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
        self._open: list[socket.socket | http.client.HTTPResponse] = []
        self._watched: socket.socket | None = None
        self._watchdog = watchdog

    def __enter__(self) -> Self:
        self._watchdog.watch(self._expire)
        return self

    def __exit__(self, *_: object) -> None:
        self._watchdog.release(self._expire)
        with self._lock:
            for part in reversed(self._open):
                part.close()

    def post(
        self,
        url: SplitResult,
        body: bytes,
        headers: Mapping[str, str],
        context: ssl.SSLContext | None,
    ) -> http.client.HTTPResponse:
        """Return the answer once its head is complete; ``context`` is for TLS.

        Raises:
            WebhooksError: the host may not be reached, or cannot be.
            InvalidHeader, UnicodeError: a header cannot be sent.
            OSError, HTTPException: the connection broke, or it is no HTTP.
        """
        # A name may end with the dot of the root, which no receiver expects.
        host, port = (url.hostname or "").rstrip("."), port_of(url)
        place = f"[{host}]" if ":" in host else host
        if port != DEFAULT_PORTS[url.scheme]:
            place = f"{place}:{port}"
        own = {"host": place, "content-length": str(len(body))}
        request = _head(url, {**own, **headers}) + body
        connection = self._connect(host, port, url.scheme)
        if context is not None:
            connection = context.wrap_socket(connection, server_hostname=host)
            self._open.append(connection)
            self._mark("tls")
        try:
            connection.sendall(request)
        except BrokenPipeError:
            # It may have answered before it had read everything.
            pass
        except TimeoutError as error:
            raise ConnectionError from error
        connection.settimeout(self._timeouts.read_seconds)
        return self._answer(connection)

    def _connect(self, host: str, port: int, scheme: str) -> socket.socket:
        """Connect through the guard; what is connected is cut at the deadline."""
        limit = self._timeouts.connect_seconds
        started = time.monotonic()
        try:
            connection = self._guard.connect(
                host,
                port,
                scheme=scheme,
                timeout_seconds=min(limit, self._remaining_seconds()),
                on_step=self._step,
            )
        except BlockedAddressError:
            # How long it took must not tell an inside name from one that is none.
            grain = self._timeouts.refusal_seconds
            elapsed = time.monotonic() - started
            time.sleep(min(-elapsed % grain, self._remaining_seconds()))
            raise
        self._open.append(connection)
        connection.settimeout(limit)
        with self._lock:
            # TLS moves the descriptor into another object. A duplicate stays ours,
            # and shutting it down ends the same connection.
            self._watched = connection.dup() if scheme == "https" else connection
            self._open.append(self._watched)
            if self.is_expired:
                self._cut()
        return connection

    def _answer(self, connection: socket.socket) -> http.client.HTTPResponse:
        """Read the head of an answer, which must be complete."""
        answer = http.client.HTTPResponse(connection, method="POST")
        self._open.append(answer)
        answer.fp = head = HeadReader(answer.fp.detach(), lambda: self.is_expired)
        if head.peek(1):
            self._mark("first_byte")
        answer.begin()
        while HTTPStatus.SWITCHING_PROTOCOLS < answer.status < HTTPStatus.OK:
            answer.headers = answer.msg = None  # type: ignore[assignment]  # As before the first call, so that it reads on.
            answer.begin()
        if head.has_cut_line:
            raise http.client.RemoteDisconnected("the head is not complete")
        lengths = ",".join(answer.headers.get_all("content-length", ())).split(",")
        if not answer.chunked and len({length.strip() for length in lengths}) > 1:
            raise http.client.HTTPException("the lengths of the body differ")
        return answer

    def _remaining_seconds(self) -> float:
        """Time until the deadline, never quite none: 0 would mean no timeout."""
        return max(0.001, self._give_up_at - time.monotonic())

    def _step(self, part: str, address: str | None) -> None:
        self._mark(part)
        self.address = address

    def _mark(self, part: str) -> None:
        """Note that a part has ended now."""
        now = time.monotonic()
        self.timings[part] = round(now - self._marked_at, 6)
        self._marked_at = now

    def _expire(self) -> None:
        with self._lock:
            self.is_expired = True
            self._cut()

    def _cut(self) -> None:
        if self._watched is not None:
            with contextlib.suppress(OSError):
                self._watched.shutdown(socket.SHUT_RDWR)


def _head(url: SplitResult, headers: Mapping[str, str]) -> bytes:
    """Write the head of a POST; the target is quoted as ``requests`` quotes it."""
    target = requote_uri(parse_url(url.geturl()).request_uri)
    head = f"POST {target} HTTP/1.1\r\n".encode()
    for name, value in headers.items():
        check_header_validity((name, value))
        head += b"%b: %b\r\n" % (name.encode("ascii"), value.encode("latin-1"))
    return head + b"\r\n"


class HeadReader(io.BufferedReader):
    """Remembers that a line was cut off by the end of the connection.

    A connection that was shut still gives what has come. That may be megabytes of
    short lines, which take a slow machine minutes: none is read once time is over.
    """

    has_cut_line = False

    def __init__(self, raw: io.RawIOBase, is_over: Callable[[], bool]) -> None:
        super().__init__(raw)
        self._is_over = is_over

    def readline(self, size: int | None = -1, /) -> bytes:
        """Read a line, unless time is over (TimeoutError)."""
        if self._is_over():
            raise TimeoutError
        line = super().readline(size)
        self.has_cut_line = not line.endswith(b"\n")
        return line
