"""A receiver that misbehaves: it runs a script on each raw connection."""

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

Script = Callable[[socket.socket, threading.Event], None]


class _HostileServer:
    """Accepts connections and gives each a thread of its own."""

    def __init__(
        self, script: Script, tls: ssl.SSLContext | None, *, reads_request: bool
    ) -> None:
        self._reads_request = reads_request
        self.listener = socket.create_server(("127.0.0.1", 0))
        self._script = script
        self._tls = tls
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    def stop(self) -> None:
        self._over.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._acceptor.join()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            spoken: socket.socket = connection
            if self._tls is not None:
                spoken = self._tls.wrap_socket(connection, server_side=True)
            with spoken:
                if self._reads_request:
                    _read_request(spoken)
                self._script(spoken, self._over)


@contextmanager
def hostile_receiver(
    script: Script, tls: ssl.SSLContext | None = None, *, reads_request: bool = True
) -> Iterator[int]:
    """Run the script for every connection; give the port.

    The script gets the connection, after the request's head and body have come
    unless they are not to be read, and an event that is set when the test is over.
    """
    server = _HostileServer(script, tls, reads_request=reads_request)
    try:
        yield server.listener.getsockname()[1]
    finally:
        server.stop()


@contextmanager
def black_holes(hosts: Sequence[str]) -> Iterator[int]:
    """Listen on every host, and let no connection come about; give the port.

    A queue of connections that nobody accepts is full at once: Linux then drops
    every further attempt without a word, as a firewall does.
    """
    port = 0
    with contextlib.ExitStack() as opened:
        for host in hosts:
            listener = opened.enter_context(socket.socket())
            listener.bind((host, port))
            port = listener.getsockname()[1]
            listener.listen(0)
            for _ in range(3):
                filler = opened.enter_context(socket.socket())
                filler.setblocking(False)  # noqa: FBT003  # Its only form.
                filler.connect_ex((host, port))
        yield port


def _read_request(connection: socket.socket) -> None:
    """Read until the body that the tests send, which ends in a brace."""
    received = b""
    while not received.endswith(b"}"):
        piece = connection.recv(65536)
        if not piece:
            return
        received += piece


def drip(start: bytes, piece: bytes) -> Script:
    """Say the start at once, then a piece every 50 ms for ever."""

    def script(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(start)
        while not over.wait(0.05):
            connection.sendall(piece)

    return script


def say(*pieces: bytes) -> Script:
    """Say the pieces and hang up."""

    def script(connection: socket.socket, _over: threading.Event) -> None:
        for piece in pieces:
            connection.sendall(piece)

    return script


def say_and_stall(start: bytes) -> Script:
    """Say the start, then nothing more."""

    def script(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(start)
        over.wait()

    return script


def flood(start: bytes, piece: bytes) -> Script:
    """Say the start, then the piece as fast and as long as it is taken."""

    def script(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(start)
        while not over.is_set():
            connection.sendall(piece)

    return script


def reset(start: bytes) -> Script:
    """Say the start and reset the connection."""

    def script(connection: socket.socket, _over: threading.Event) -> None:
        connection.sendall(start)
        linger = struct.pack("ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    return script


def half_close(start: bytes) -> Script:
    """Say the start, say that nothing more comes, and keep the connection."""

    def script(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(start)
        connection.shutdown(socket.SHUT_WR)
        over.wait()

    return script
