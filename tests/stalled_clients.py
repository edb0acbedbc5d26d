"""Clients that keep a server waiting, each in its own way, for tests and benchmarks.

Whom the server cuts off comes again, so that as many are there at any time. Who had an
answer stays, and does not close either.
"""

import selectors
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import requests

MODEL = "stalled"
FILE = "weights.bin"
FILE_BYTES = 32 * 1024 * 1024  # more than all buffers on the way take
_ESTABLISHED = 1  # Linux, tcp_states.h


@dataclass(frozen=True, kw_only=True)
class Target:
    """A server, who is signed in there, and what it has for these clients."""

    port: int
    token: str

    def head(self, start: str, *headers: str) -> bytes:
        lines = [f"{start} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", *headers, "", ""]
        return "\r\n".join(lines).encode()

    def signed_in(self, start: str, *headers: str) -> bytes:
        return self.head(start, f"Authorization: Bearer {self.token}", *headers)


_FILES = f"/api/v1/models/{MODEL}/versions/{{}}/artifacts/{FILE}"

#: What each sort sends before it falls silent.
SORTS: Mapping[str, Callable[[Target], bytes]] = {
    "silent": lambda _target: b"",
    "one byte of a head": lambda _target: b"G",
    "no body": lambda target: target.head(
        "POST /api/v1/models", "Content-Type: application/json", "Content-Length: 100"
    ),
    "no body, signed in": lambda target: target.signed_in(
        "POST /api/v1/models",
        "Content-Type: application/json",
        "Content-Length: 200000",
    ),
    "no upload": lambda target: target.signed_in(
        f"PUT {_FILES.format(2)}", f"Content-Length: {FILE_BYTES}"
    ),
    "download not read": lambda target: target.signed_in(f"GET {_FILES.format(1)}"),
    "closed by nobody": lambda target: target.signed_in(
        "GET /api/v1/models", "Connection: close"
    ),
}


def prepare(session: requests.Session, url: str) -> None:
    """Make a version with a file to download, and one that waits for its upload."""
    versions = f"{url}/api/v1/models/{MODEL}/versions"
    _post(session, f"{url}/api/v1/models", {"name": MODEL})
    for _ in range(2):
        _post(session, versions, {})
    answer = session.put(f"{versions}/1/artifacts/{FILE}", data=bytes(FILE_BYTES))
    answer.raise_for_status()
    _post(session, f"{versions}/1/finalize", {"files": [answer.json()]})


def _post(session: requests.Session, url: str, document: object) -> None:
    session.post(url, json=document).raise_for_status()


@contextmanager
def stalled(sort: str, target: Target, *, count: int) -> Iterator["Stalled"]:
    """So many clients of one sort, at any time while this is open."""
    clients = Stalled(SORTS[sort](target), target.port)
    clients.come(count)
    try:
        yield clients
    finally:
        clients.go()


class Stalled:
    """Clients that have said what they say.

    Attributes:
        closed: how many the server has closed so far.
    """

    def __init__(self, said: bytes, port: int) -> None:
        self.closed = 0
        self._said = said
        self._port = port
        self._selector = selectors.DefaultSelector()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._come_again)

    def come(self, count: int) -> None:
        """Connect, each with a small buffer for what it will not read."""
        for _ in range(count):
            self._connect()
        self._thread.start()

    def go(self) -> None:
        """Close them all."""
        self._is_over.set()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            self._leave(key.fileobj)
        self._selector.close()

    def _connect(self) -> None:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        try:
            client.connect(("127.0.0.1", self._port))
            client.sendall(self._said)
        except ConnectionError:  # the server has ended
            client.close()
        else:
            self._selector.register(client, selectors.EVENT_READ)

    def _leave(self, client: object) -> None:
        assert isinstance(client, socket.socket)
        self._selector.unregister(client)
        client.close()

    def _come_again(self) -> None:
        while not self._is_over.wait(0.05):
            for key, _ in self._selector.select(0):
                if self._is_cut_off(key.fileobj):
                    self._leave(key.fileobj)
                    self.closed += 1
                    self._connect()

    def _is_cut_off(self, client: object) -> bool:
        """Whether the server has closed it before the end of its answer."""
        assert isinstance(client, socket.socket)
        state = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        has_answer = "Connection: close" in self._said.decode()
        return state != _ESTABLISHED and not has_answer
