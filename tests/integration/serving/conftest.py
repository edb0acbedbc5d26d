"""A WSGI application served as ours is, by a thread of this process."""

import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import uvicorn

from registry.serving.bridge import Bridge
from registry.serving.connection import Awaited, Connection, Term
from registry.serving.run import listen, server_config
from tests.waiting import STALL_SECONDS, wait_for


class Hasty(Connection):
    """Connections with short terms."""

    terms: ClassVar = {
        Awaited.HEAD: Term(0.4),
        Awaited.BODY: Term(0.4, or_bytes=100),
        Awaited.UNWANTED_BODY: Term(0.4),
    }
    sending_seconds: ClassVar = 0.4


@dataclass(frozen=True)
class Served:
    """Where it answers, and how to talk to it byte by byte."""

    port: int
    server: uvicorn.Server

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), STALL_SECONDS)

    def answer(self, request: bytes) -> bytes:
        """All that comes until the server closes."""
        with self.connect() as client:
            client.sendall(request)
            return rest_of(client)


def rest_of(client: socket.socket) -> bytes:
    parts = []
    try:
        while part := client.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        parts.append(b"<reset>")
    return b"".join(parts)


def head(start: str, *headers: str) -> bytes:
    return "\r\n".join([f"{start} HTTP/1.1", "Host: here", *headers, "", ""]).encode()


def last(start: str, *headers: str) -> bytes:
    """The head of a request behind which the server closes."""
    return head(start, "Connection: close", *headers)


@contextmanager
def served(
    wsgi: WSGIApplication,
    connection: type[Connection] = Connection,
    *,
    below: str = "",
) -> Iterator[Served]:
    """The application, on a port of its own."""
    listener = listen("127.0.0.1", 0)
    bridge = Bridge(wsgi, below=below, start=lambda: None, stop=lambda: None)
    config = server_config(bridge, processes=1, grace=5)
    config.http = connection
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        until(lambda: server.started)
        yield Served(listener.getsockname()[1], server)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def until(condition: Any) -> None:  # noqa: ANN401  anything to call
    """Wait for what should come at once."""
    wait_for(condition)


def echo(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer the body, and the path before it."""
    body = environ["wsgi.input"].read()
    said = environ["PATH_INFO"].encode("latin-1") + b" " + body
    start_response("200 OK", [("Content-Length", str(len(said)))])
    return [said]


def refuse(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer without a look at the body."""
    start_response("401 Unauthorized", [("Content-Length", "2")])
    return [b"no"]
