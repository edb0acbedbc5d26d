"""A client that stalls is bounded, by its connection alone."""

import socket
import time
from collections.abc import Iterable, Iterator
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from registry.serving import connection
from registry.serving.connection import MAX_HEAD_BYTES
from tests.integration.serving.conftest import (
    Hasty,
    Served,
    echo,
    head,
    last,
    refuse,
    rest_of,
    served,
    until,
)

LATE = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\n"


@pytest.fixture
def hasty() -> Iterator[Served]:
    with served(echo, Hasty) as server:
        yield server


def test_who_says_nothing_is_closed_without_a_word(hasty: Served) -> None:
    assert hasty.answer(b"") == b""


def test_who_does_not_end_a_head_is_told_and_closed(hasty: Served) -> None:
    assert hasty.answer(b"G") == LATE


def test_dripping_does_not_lengthen_the_term_of_a_head(hasty: Served) -> None:
    with hasty.connect() as client:
        drip(client, b"GET / HTTP/1.1\r\n" + b"a" * 1000, seconds=0.05)
        assert rest_of(client) in {LATE, LATE + b"<reset>"}


def test_a_second_head_has_its_term_too(hasty: Served) -> None:
    with hasty.connect() as client:
        client.sendall(head("GET /one") + b"GET /tw")
        answer = rest_of(client)

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"/one " + LATE)


@pytest.mark.parametrize("length", [100, 1_000_000])
def test_a_body_that_never_comes_is_not_waited_for(hasty: Served, length: int) -> None:
    assert hasty.answer(head("POST /", f"Content-Length: {length}")) == LATE


def test_a_body_that_comes_too_slowly_is_not_waited_for(hasty: Served) -> None:
    with hasty.connect() as client:
        client.sendall(head("POST /", "Content-Length: 1000"))
        drip(client, b"b" * 1000, seconds=0.05)
        assert rest_of(client) in {LATE, LATE + b"<reset>"}


def test_a_body_that_comes_slowly_is_taken(hasty: Served) -> None:
    with hasty.connect() as client:
        client.sendall(last("POST /slow", "Content-Length: 1000"))
        for _ in range(20):
            client.sendall(b"b" * 50)
            time.sleep(0.05)
        assert rest_of(client).endswith(b"/slow " + b"b" * 1000)


def test_a_body_waits_for_an_application_that_reads_slowly() -> None:
    def slow(
        environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        first = environ["wsgi.input"].read(1)
        time.sleep(2.5 * Hasty.terms[connection.Awaited.BODY].seconds)
        return echo({**environ, "PATH_INFO": first.decode()}, start_response)

    with served(slow, Hasty) as server:
        body = b"b" * 5_000_000
        sent = last("POST /", f"Content-Length: {len(body)}") + body
        assert server.answer(sent).endswith(b"b " + body[1:])


def test_who_does_not_read_is_cut_and_the_answer_is_given_up() -> None:
    given_up: list[bool] = []

    def endless(
        _environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        start_response("200 OK", [])
        try:
            while True:
                yield bytes(65536)
        finally:
            given_up.append(True)

    with served(endless, Hasty) as server, server.connect() as client:
        client.sendall(head("GET /"))
        until(lambda: given_up)
        until(lambda: not server.server.server_state.connections)


def test_who_reads_slowly_gets_the_whole_answer() -> None:
    size = 3_000_000

    def large(
        _environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", str(size))])
        return [bytes(size)]

    with served(large, Hasty) as server, server.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.sendall(last("GET /"))
        received = 0
        while part := client.recv(65536):
            received += len(part)
            time.sleep(0.02)

    assert received > size


def test_who_asks_again_and_again_without_reading_is_cut(hasty: Served) -> None:
    with hasty.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with pytest.raises(OSError, match=r"timed out|reset|Broken pipe"):
            client.sendall(10_000 * head("GET /" + "a" * 8000))
        until(lambda: not hasty.server.server_state.connections)


def test_an_answer_arrives_while_its_request_is_still_being_sent() -> None:
    with served(refuse, Hasty) as server, server.connect() as client:
        client.sendall(head("PUT /", "Content-Length: 10000000"))
        for _ in range(10):
            client.sendall(bytes(10_000))
        assert client.recv(65536).startswith(b"HTTP/1.1 401 ")
        assert rest_of(client) in {b"", b"<reset>"}  # nobody waits for all of it


def test_a_body_that_nobody_wanted_does_not_end_the_connection() -> None:
    with served(refuse) as server, server.connect() as client:
        client.sendall(head("PUT /", "Content-Length: 100000") + bytes(100_000))
        client.sendall(last("GET /"))
        assert rest_of(client).count(b"HTTP/1.1 401 ") == 2


@pytest.mark.parametrize(
    "request_head",
    [
        head("GET /" + "a" * MAX_HEAD_BYTES),
        head("GET /", *(f"X-{n}: {'a' * 400}" for n in range(50))),
        b"GET /" + b"a" * 100_000,
        b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000,
    ],
)
def test_a_head_that_is_too_large_is_refused(
    hasty: Served, request_head: bytes
) -> None:
    assert hasty.answer(request_head).startswith(TOO_LARGE)


def test_where_there_are_too_many_the_longest_silent_one_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "most_connections", lambda: 3)
    with served(echo) as server:
        clients = []
        for _ in range(3):
            clients.append(server.connect())
            until(lambda: len(server.server.server_state.connections) == len(clients))
        with server.connect() as newest:
            newest.sendall(last("GET /new"))
            assert b"/new" in rest_of(newest)
        assert rest_of(clients[0]) in {b"", b"<reset>"}
        for client in clients[1:]:
            client.sendall(last("GET /old"))
            assert b"/old" in rest_of(client)
            client.close()
        clients[0].close()


def drip(client: socket.socket, data: bytes, *, seconds: float) -> None:
    """Send byte by byte until all is sent or nobody takes any more."""
    try:
        for byte in data:
            client.sendall(bytes([byte]))
            time.sleep(seconds)
    except OSError:
        return
