"""A TCP proxy that can stop passing bytes, as a firewall that forgot a connection.

Its own end of each connection stays open and acknowledges what comes: whoever waits
for an answer hears nothing, not even that nobody is there.
"""

import contextlib
import math
import socket
import threading
from types import TracebackType
from typing import Self

_PIECE = 65_536


class SilentProxy:
    """Passes connections on to a port of 127.0.0.1, until it is told to be silent.

    Args:
        port: where to.
        most_bytes: when it has passed on so many, it falls silent by itself.
    """

    def __init__(self, port: int, *, most_bytes: float = math.inf) -> None:
        self._target = ("127.0.0.1", port)
        self._bytes_left = most_bytes
        self._speaking = threading.Event()
        self._speaking.set()
        self._ending = threading.Event()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending.set()
        self._speaking.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in (self._listener, *self._sockets):
            each.close()

    def fall_silent(self) -> None:
        """Pass nothing on from now on, on any connection, old or new."""
        self._speaking.clear()

    def speak(self) -> None:
        """Pass on again, what was held back first."""
        self._bytes_left = math.inf
        self._speaking.set()

    def _start(self, work: object, *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments)  # type: ignore[arg-type]  # any of ours
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target)
            except ConnectionRefusedError:
                client.close()
                continue
            self._sockets += [client, server]
            self._start(self._pass_on, client, server)
            self._start(self._pass_on, server, client)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(_PIECE):
                self._speaking.wait()
                if self._ending.is_set():
                    return
                target.sendall(piece)
                self._bytes_left -= len(piece)
                if self._bytes_left < 0:
                    self.fall_silent()
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
