"""The WSGI application behind an asynchronous server: threads work, they never wait.

Rules:

- A thread takes a request once its body is here. Larger bodies, which only those who
  are signed in get to send, are read in threads of their own (``TRANSFER_THREADS``).
- An answer of one piece is one visit to a thread. A longer one is sent piece by piece,
  and holds no thread while its client reads: however many clients stop reading, the
  others are answered.
- Who asks whether this process lives has threads apart: a database that is silent can
  hold all the others for half a minute, and is no reason to restart anything.
- How long a client may take is bounded by its connection, in
  ``registry.serving.connection``; when that is gone, what was read or sent ends here.
- An answer that breaks off is never completed: its client sees that it is cut.
- PEP 3333 but for ``write()``, which its own text calls obsolete.
"""

import asyncio
import contextvars
import io
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes
from wsgiref.types import WSGIApplication, WSGIEnvironment

from werkzeug.exceptions import ClientDisconnected

REQUEST_THREADS = 8  #: more would only wait for the interpreter and the database
PROBES = frozenset({"/healthz", "/readyz"})
PROBE_THREADS = 2
TRANSFER_THREADS = 256  #: they wait for clients and the store, and are made as needed
SMALL_BODY_BYTES = 64 * 1024  #: what is kept for a client that is not signed in yet
PIECE_BYTES = 64 * 1024  #: what a client must take in one term of patience

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
T = TypeVar("T")


class Bridge:
    """An ASGI application that runs a WSGI one.

    Args:
        wsgi: the application.
        below: the path that the application is below, which proxies leave in what
            they pass on; what comes without it is answered as well.
        start: called before the first request, in a thread.
        stop: called after the last one, in a thread.
    """

    def __init__(
        self,
        wsgi: WSGIApplication,
        *,
        below: str = "",
        start: Callable[[], None],
        stop: Callable[[], None],
    ) -> None:
        self.wsgi = wsgi
        self._below = below
        self._start = start
        self._stop = stop
        self._requests = ThreadPoolExecutor(REQUEST_THREADS, "request")
        self._transfers = ThreadPoolExecutor(TRANSFER_THREADS, "transfer")
        self._probes = ThreadPoolExecutor(PROBE_THREADS, "probe")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, or begin and end with the server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if has_ambiguous_host(scope):
            await _refuse(send, b"a request names its host once (RFC 9112, 3.2)\n")
            return
        with suppress(ClientDisconnected):
            await self._answer(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        await receive()
        await loop.run_in_executor(self._transfers, self._start)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await loop.run_in_executor(self._transfers, self._stop)
        for threads in (self._requests, self._probes, self._transfers):
            threads.shutdown(wait=False)
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        body, is_all = await _small_body(receive)
        environ = environ_of(scope, self._below)
        if is_all:
            environ["wsgi.input"] = io.BytesIO(body)
            is_probe = environ["PATH_INFO"] in PROBES
            threads = self._probes if is_probe else self._requests
        else:
            arriving = _ArrivingBody(body, receive, loop)
            environ["wsgi.input"] = io.BufferedReader(arriving, PIECE_BYTES)
            threads = self._transfers
        run = _Run(self.wsgi, environ)
        piece = await loop.run_in_executor(threads, run.begin)
        start = {"status": run.status, "headers": run.headers}
        await send({"type": "http.response.start", **start})
        if run.is_whole:
            await _send_pieces(send, piece or b"", more=False)
            return
        gone = asyncio.ensure_future(_disconnected(receive)) if is_all else None
        try:
            await self._send_rest(piece, run, send, gone)
        finally:
            if gone is not None:
                gone.cancel()
            self._transfers.submit(run.close)

    async def _send_rest(
        self,
        piece: bytes | None,
        run: "_Run",
        send: Send,
        gone: asyncio.Future[None] | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        while piece is not None and not (gone and gone.done()):
            await _send_pieces(send, piece, more=True)
            piece = await loop.run_in_executor(self._transfers, run.next_piece)
        await send({"type": "http.response.body"})


class _Run:
    """One call of the application, whose steps different threads may take.

    They have a context in common, which is where Flask keeps what belongs to a
    request; a step waits until the one before has ended.

    Attributes:
        is_whole: whether the first piece was all, and it is closed.
    """

    def __init__(self, wsgi: WSGIApplication, environ: WSGIEnvironment) -> None:
        self.status = 500
        self.headers: Headers = []
        self.is_whole = False
        self._wsgi = wsgi
        self._environ = environ
        self._body: Iterable[bytes] = ()
        self._rest: Iterator[bytes] = iter(())
        self._context = contextvars.Context()
        self._turn = threading.Lock()

    def begin(self) -> bytes | None:
        """The first piece; None where there is none."""
        return self._step(self._begin)

    def next_piece(self) -> bytes | None:
        """The piece after the one before, or None."""
        return self._step(lambda: next(self._rest, None))

    def close(self) -> None:
        """Give back what the answer holds."""
        self._step(self._close)

    def _step(self, step: Callable[[], T]) -> T:
        with self._turn:
            return self._context.run(step)

    def _begin(self) -> bytes | None:
        self._body = self._wsgi(self._environ, self._start_response)
        self._rest = iter(self._body)
        first = next(self._rest, None)
        self.is_whole = first is None or len(first) == _content_length(self.headers)
        if self.is_whole:
            self._close()
        return first

    def _close(self) -> None:
        close = getattr(self._body, "close", None)
        if close is not None:
            close()

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], _error: object = None
    ) -> Callable[[bytes], object]:
        self.status = int(status[:3])
        self.headers = [_encoded(*header) for header in headers]
        return _no_write


class _ArrivingBody(io.RawIOBase):
    """A body that is read in a thread while it arrives.

    What breaks off raises: its end could be mistaken for that of the file.
    """

    def __init__(
        self, begun: bytes, receive: Receive, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__()
        self._waiting = begun
        self._has_ended = False
        self._receive = receive
        self._loop = loop

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401  as io's stubs have it
        while not self._waiting and not self._has_ended:
            self._wait_for_more()
        count = min(len(buffer), len(self._waiting))
        buffer[:count], self._waiting = self._waiting[:count], self._waiting[count:]
        return count

    def _wait_for_more(self) -> None:
        # What is not awaited any more is cancelled when the server stops.
        message = asyncio.run_coroutine_threadsafe(
            _next_message(self._receive), self._loop
        ).result()
        self._waiting = message.get("body", b"")
        self._has_ended = not message.get("more_body", False)


def has_ambiguous_host(scope: Message) -> bool:
    """Whether a request says by no header or by several which host it is for."""
    hosts: int = sum(name == b"host" for name, _ in scope["headers"])
    return hosts > 1 or (hosts == 0 and scope["http_version"] != "1.0")


def environ_of(scope: Message, below: str = "") -> WSGIEnvironment:
    """The environment of PEP 3333, but for its input.

    A header with an underscore in its name is left out: it could not be told from
    one with a hyphen there, which a proxy may have set (reference: CVE-2025-64484).
    """
    host, port = scope["server"]
    path = unquote_to_bytes(scope["raw_path"]).decode("latin-1")
    is_below = path == below or path.startswith(f"{below}/")
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": below if is_below else "",
        "PATH_INFO": path.removeprefix(below) if is_below else path,
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": scope["client"][0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.errors": sys.stderr,
        "wsgi.input_terminated": True,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        # Who connected, whatever a proxy says of whom it connects for.
        "stagegate.peer": scope.get("state", {}).get("peer") or scope["client"][0],
        "stagegate.repeated": _repeated(scope["headers"]),
    }
    for name, value in scope["headers"]:
        if b"_" not in name:
            _add_header(environ, name.decode("latin-1"), value.decode("latin-1"))
    return environ


def _repeated(headers: Headers) -> frozenset[str]:
    """The names that stand more than once: their values are joined, by commas."""
    counts = Counter(name for name, _ in headers)
    if len(counts) == len(headers):
        return frozenset()
    return frozenset(n.decode("latin-1") for n, count in counts.items() if count > 1)


def _add_header(environ: WSGIEnvironment, name: str, value: str) -> None:
    key = name.upper().replace("-", "_")
    if key not in {"CONTENT_TYPE", "CONTENT_LENGTH"}:
        key = f"HTTP_{key}"
    if key in environ:
        separator = "; " if key == "HTTP_COOKIE" else ","
        value = f"{environ[key]}{separator}{value}"
    environ[key] = value


async def _small_body(receive: Receive) -> tuple[bytes, bool]:
    """What came of the body, and whether it is all; no more is read than is small."""
    body, is_all = b"", False
    while not is_all and len(body) < SMALL_BODY_BYTES:
        message = await _next_message(receive)
        body += message.get("body", b"")
        is_all = not message.get("more_body", False)
    return body, is_all


async def _next_message(receive: Receive) -> Message:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnected
    return message


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_pieces(send: Send, data: bytes, *, more: bool) -> None:
    while True:
        piece, data = data[:PIECE_BYTES], data[PIECE_BYTES:]
        is_more = more or bool(data)
        await send({"type": "http.response.body", "body": piece, "more_body": is_more})
        if not data:
            return


async def _refuse(send: Send, reason: bytes) -> None:
    headers = [(b"content-type", b"text/plain"), (b"connection", b"close")]
    headers.append((b"content-length", str(len(reason)).encode()))
    await send({"type": "http.response.start", "status": 400, "headers": headers})
    await send({"type": "http.response.body", "body": reason})


def _encoded(name: str, value: str) -> tuple[bytes, bytes]:
    return name.lower().encode("latin-1"), value.encode("latin-1")


def _content_length(headers: Headers) -> int | None:
    lengths = (int(value) for name, value in headers if name == b"content-length")
    return next(lengths, None)


def _no_write(_data: bytes) -> object:
    raise NotImplementedError("write() is not supported; return an iterable")
