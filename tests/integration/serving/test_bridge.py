"""WSGI behind uvicorn: what arrives, what is answered, and what breaks off."""

import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from wsgiref.types import StartResponse, WSGIEnvironment
from wsgiref.validate import validator

import pytest
import requests
from flask import Flask, Response, request, stream_with_context
from werkzeug.exceptions import ClientDisconnected

from registry.serving.bridge import REQUEST_THREADS
from tests.integration.serving.conftest import (
    echo,
    head,
    last,
    refuse,
    rest_of,
    served,
    until,
)
from tests.waiting import STALL_SECONDS

CHUNKED = "Transfer-Encoding: chunked"


def test_the_environment_is_that_of_pep_3333() -> None:
    seen: dict[str, object] = {}

    def look(
        environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        seen.update(environ)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b""]

    sent = last(
        "GET /a%2Fb/%E5%90%8D?q=%20&q=1",
        "Content-Type: text/plain",
        "X-Twice: 1",
        "X-Twice: 2",
        "Cookie: a=1",
        "Cookie: b=2",
    )
    with served(validator(look)) as server:
        assert server.answer(sent).startswith(b"HTTP/1.1 200 ")

    expected = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/a/b/" + "名".encode().decode("latin-1"),
        "QUERY_STRING": "q=%20&q=1",
        "CONTENT_TYPE": "text/plain",
        "HTTP_HOST": "here",
        "HTTP_X_TWICE": "1,2",
        "HTTP_COOKIE": "a=1; b=2",
        "REMOTE_ADDR": "127.0.0.1",
        "SCRIPT_NAME": "",
        "wsgi.url_scheme": "http",
    }
    assert {name: seen[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("/below/a", "/below|/a"),
        ("/below", "/below|"),
        ("/belowa", "|/belowa"),
        ("/a/below", "|/a/below"),
    ],
)
def test_a_path_that_is_below_ours_is_told_apart(asked: str, told: str) -> None:
    def look(
        environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        path = f"{environ['SCRIPT_NAME']}|{environ['PATH_INFO']}"
        return echo({**environ, "PATH_INFO": path}, start_response)

    with served(look, below="/below") as server:
        assert server.answer(last(f"GET {asked}")).endswith(f"\r\n{told} ".encode())


@pytest.mark.parametrize("name", ["SCRIPT_NAME", "Script_Name", "Remote_User"])
def test_a_header_with_an_underscore_is_not_seen(name: str) -> None:
    def look(
        environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        path = f"{environ['SCRIPT_NAME']}{environ.get('HTTP_REMOTE_USER', '')}"
        return echo({**environ, "PATH_INFO": path}, start_response)

    with served(look) as server:
        assert server.answer(last("GET /x", f"{name}: /evil")).endswith(b"\r\n ")


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 3_000_000])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_of_any_size_arrives_whole(size: int, *, is_chunked: bool) -> None:
    body = bytes(index % 251 for index in range(size))
    parts = [body[start : start + 50_000] for start in range(0, size, 50_000)]
    with served(echo) as server:
        answer = requests.post(
            f"http://127.0.0.1:{server.port}/x",
            data=iter(parts) if is_chunked else body,
            timeout=30,
        )

    assert answer.content == b"/x " + body


@pytest.mark.parametrize("kept", [1000, 100_000])
def test_a_body_that_breaks_off_is_not_taken_for_a_whole_one(kept: int) -> None:
    ends: list[str] = []

    def read(
        environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        try:
            environ["wsgi.input"].read()
        except ClientDisconnected:
            ends.append("broken off")
            raise
        ends.append("whole")
        return refuse(environ, start_response)

    with served(read) as server:
        with server.connect() as client:
            client.sendall(head("PUT /", CHUNKED) + b"%x\r\n" % 200_000 + bytes(kept))
            time.sleep(0.2)
        until(lambda: not server.server.server_state.tasks)

    # What had not yet been given to the application never is.
    assert ends == (["broken off"] if kept > 65_536 else [])


@pytest.mark.parametrize("chunk", [b"-2\r\n", b"zz\r\n", b"5\r\nabc\r\n0\r\n\r\n"])
@pytest.mark.parametrize("before", [0, 100_000])
def test_a_malformed_chunk_is_a_bad_request(chunk: bytes, before: int) -> None:
    begun = b"%x\r\n" % before + bytes(before) + b"\r\n" if before else b""
    with served(echo) as server:
        answer = server.answer(last("POST /", CHUNKED) + begun + chunk)

    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n",
    ],
)
def test_a_request_says_once_which_host_it_is_for(request_head: bytes) -> None:
    with served(echo) as server:
        assert server.answer(request_head).startswith(b"HTTP/1.1 400 ")
        assert server.answer(b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_an_upgrade_is_passed_over_with_its_body_intact() -> None:
    sent = head(
        "POST /x",
        "Connection: Upgrade, HTTP2-Settings, close",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
        "Content-Length: 4",
    )
    with served(echo) as server:
        assert server.answer(sent + b"body").endswith(b"/x body")


def test_an_upgrade_that_could_not_be_passed_over_is_refused() -> None:
    first = head("GET /one")
    second = last("POST /two", "Content-Length: 4").replace(
        b"Connection: close", b"Connection: Upgrade\r\nUpgrade: h2c"
    )
    with served(echo) as server:
        answer = server.answer(first + second + b"body")

    assert b"HTTP/1.1 501 " in answer
    assert b"/two" not in answer


def test_a_path_may_hold_bytes_that_should_have_been_encoded() -> None:
    with served(echo) as server:
        sent = last("GET /名?q=名", "X-Said: 名")
        assert server.answer(sent).endswith("/名 ".encode())


def test_who_expects_to_be_asked_for_the_body_is_asked() -> None:
    with served(echo) as server, server.connect() as client:
        client.sendall(last("PUT /x", "Expect: 100-continue", "Content-Length: 4"))
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"body")
        assert rest_of(client).endswith(b"/x body")


def test_an_answer_that_breaks_off_is_seen_to() -> None:
    def breaks(
        _environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", "300000")])
        yield bytes(100_000)
        raise OSError("the disk is gone")

    with served(breaks) as server, pytest.raises(requests.RequestException):
        requests.get(f"http://127.0.0.1:{server.port}/", timeout=30).content  # noqa: B018


def test_pieces_are_made_in_the_context_of_their_request() -> None:
    app = Flask("streaming")

    @app.get("/<word>")
    def stream(word: str) -> Response:
        del word

        def pieces() -> Iterator[str]:
            for _ in range(50):
                yield request.path

        return Response(stream_with_context(pieces()))

    with served(app) as server:
        urls = [f"http://127.0.0.1:{server.port}/{word}" for word in ("a", "b", "c")]
        with ThreadPoolExecutor(len(urls)) as pool:
            answers = list(pool.map(lambda url: requests.get(url, timeout=30), urls))

    assert [answer.text for answer in answers] == ["/a" * 50, "/b" * 50, "/c" * 50]


def test_pieces_are_sent_as_they_come() -> None:
    may_end = threading.Event()

    def two(
        _environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        start_response("200 OK", [])
        yield b"first"
        may_end.wait(STALL_SECONDS)
        yield b"second"

    with served(two) as server, server.connect() as client:
        client.sendall(last("GET /"))
        begun = client.recv(65536)
        while b"first" not in begun:
            begun += client.recv(65536)
        assert b"second" not in begun
        may_end.set()
        assert b"second" in rest_of(client)


def test_head_and_no_content_have_no_body() -> None:
    def nothing(
        _environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        start_response("204 No Content", [])
        return []

    def described(
        _environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", "1000")])
        return []

    with served(nothing) as server:
        assert server.answer(last("DELETE /")).endswith(b"\r\n\r\n")
    with served(described) as server:
        answer = server.answer(last("HEAD /"))
    assert b"content-length: 1000\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


def test_downloads_that_wait_take_no_thread_from_the_others() -> None:
    def endless(
        environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/endless":
            return echo(environ, start_response)
        start_response("200 OK", [])
        return iter(lambda: bytes(65536), b"")

    with served(endless) as server:
        clients = [server.connect() for _ in range(3 * REQUEST_THREADS)]
        for client in clients:
            client.sendall(head("GET /endless"))
        for client in clients:
            assert client.recv(1)
        assert server.answer(last("GET /other")).endswith(b"/other ")
        for client in clients:
            client.close()


def test_uploads_that_wait_take_no_thread_from_the_others() -> None:
    with served(echo) as server:
        clients = [server.connect() for _ in range(3 * REQUEST_THREADS)]
        for client in clients:
            client.sendall(head("PUT /", "Content-Length: 1000000") + bytes(100_000))
        assert server.answer(last("GET /other")).endswith(b"/other ")
        for client in clients:
            client.close()


@pytest.mark.parametrize("below", ["", "/registry"])
def test_probes_are_answered_while_every_request_hangs(below: str) -> None:
    taken, end = threading.Semaphore(0), threading.Event()

    def hang(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/models":
            taken.release()
            end.wait()
        return echo(environ, start)

    with served(hang, below=below) as server, ExitStack() as clients:
        clients.callback(end.set)
        for _ in range(REQUEST_THREADS):
            client = clients.enter_context(server.connect())
            client.sendall(last(f"GET {below}/models"))
            assert taken.acquire(timeout=STALL_SECONDS)
        for probe in ("/healthz", "/readyz"):
            answer = server.answer(last(f"GET {below}{probe}"))
            assert answer.startswith(b"HTTP/1.1 200 ")


def test_write_is_not_there() -> None:
    def writes(
        _environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        start_response("200 OK", [])(b"data")
        return []

    with served(writes) as server:
        assert server.answer(last("GET /")).startswith(b"HTTP/1.1 500 ")
