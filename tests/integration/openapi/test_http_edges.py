"""What HTTP allows and clients get wrong: a clear answer, never a 5xx."""

import gzip
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.integration.conftest import close_app, make_app, signed_in
from tests.server import RunningServer, running_server

PROBLEM = "application/problem+json"
MODELS = "/api/v1/models"
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": (
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; "
        "form-action 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
FILE = b"0123456789" * 1000


def assert_problem(answer: TestResponse, status: int) -> None:
    assert answer.status_code == status, answer.text
    assert answer.mimetype == PROBLEM
    document = answer.get_json()
    assert document["status"] == status
    assert document["type"].startswith("urn:stagegate:problem:")
    assert document["detail"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "BREW"])
def test_a_method_that_a_route_has_not_is_405_with_allow(
    client: FlaskClient, method: str
) -> None:
    answer = client.open(MODELS, method=method)
    assert_problem(answer, 405)
    allowed = {name.strip() for name in answer.headers["Allow"].split(",")}
    assert allowed == {"GET", "HEAD", "OPTIONS", "POST"}


def test_head_is_get_without_its_body(client: FlaskClient) -> None:
    answer = client.head(MODELS)
    assert (answer.status_code, answer.data) == (200, b"")
    assert answer.content_length == len(client.get(MODELS).data)
    assert client.head(f"{MODELS}/absent").status_code == 404


def test_options_answers_what_is_allowed(client: FlaskClient) -> None:
    answer = client.options(MODELS)
    assert answer.status_code == 200
    assert "POST" in answer.headers["Allow"]


@pytest.mark.parametrize(
    "path", [f"{MODELS}/", f"/{MODELS}", f"{MODELS}//m", "/api/v1", "/api/v2/models"]
)
def test_another_spelling_of_a_path_is_404(client: FlaskClient, path: str) -> None:
    assert_problem(client.get(f"http://localhost{path}"), 404)


@pytest.mark.parametrize("number", ["0", "2147483648", "9" * 400, "1.0", "-1", "x"])
@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_a_number_that_no_version_has_is_404_for_every_method(
    client: FlaskClient, number: str, method: str
) -> None:
    path = f"{MODELS}/m/versions/{number}"
    assert_problem(client.open(path, method=method, json={}), 404)


@pytest.mark.parametrize("accept", ["image/png", "text/html", "nonsense", ";", ""])
def test_an_unknown_accept_is_answered_with_json(
    client: FlaskClient, accept: str
) -> None:
    answer = client.get(MODELS, headers={"Accept": accept})
    assert (answer.status_code, answer.mimetype) == (200, "application/json")


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ";", ""],
)
def test_a_body_of_another_type_is_415(client: FlaskClient, content_type: str) -> None:
    answer = client.post(MODELS, data=b'{"name": "m"}', content_type=content_type)
    assert_problem(answer, 415)
    assert "application/json" in answer.get_json()["detail"]


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "application/vnd.x+json"]
)
def test_a_kind_of_json_is_json(client: FlaskClient, content_type: str) -> None:
    answer = client.post(MODELS, data=b'{"name": "m"}', content_type=content_type)
    assert answer.status_code == 201


def test_a_compressed_body_is_refused(client: FlaskClient) -> None:
    answer = client.post(
        MODELS,
        data=gzip.compress(b'{"name": "m"}'),
        content_type="application/json",
        headers={"Content-Encoding": "gzip"},
    )
    assert_problem(answer, 400)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b'"m"', b"1"])
def test_json_that_is_no_model_is_422(client: FlaskClient, body: bytes) -> None:
    answer = client.post(MODELS, data=body, content_type="application/json")
    assert_problem(answer, 422)
    assert answer.get_json()["errors"]


def test_renaming_to_a_taken_name_while_tagging_is_409(client: FlaskClient) -> None:
    for name in ("a", "b"):
        client.post(MODELS, json={"name": name})
    changes = {"name": "b", "tags": {"team": "vision"}}
    assert_problem(client.patch(f"{MODELS}/a", json=changes), 409)


@pytest.mark.parametrize(
    "path",
    [
        MODELS,
        "/api/v1/openapi.json",
        "/healthz",
        "/metrics",
        "/nowhere",
        "/api/v1/docs",
    ],
)
def test_every_answer_has_the_security_headers(app: Flask, path: str) -> None:
    answer = app.test_client().get(path)
    for name, value in SECURITY_HEADERS.items():
        assert answer.headers[name].startswith(value.partition(" ")[0]), name
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_a_host_that_is_not_allowed_is_a_400_problem(tmp_path: Path) -> None:
    app = make_app(tmp_path, ALLOWED_HOSTS="registry.example.com")
    try:
        client = signed_in(app)
        good = client.get(MODELS, base_url="http://registry.example.com")
        assert good.status_code == 200
        for path in (MODELS, "/healthz/", "/nowhere", "/api/v1/docs"):
            answer = client.get(path, base_url="http://rebound.example.net")
            assert_problem(answer, 400)
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
    finally:
        close_app(app)


@pytest.mark.parametrize(
    ("allowed", "asked", "is_allowed"),
    [
        ("registry.example.com", "REGISTRY.Example.com", True),
        ("registry.example.com", "registry.example.com.", True),
        ("registry.example.com", "registry.example.com.:8443", True),
        ("Registry.Example.COM.", "registry.example.com", True),
        ("registry.example.com:443", "registry.example.com:8000", True),
        ("münchen.example", "xn--mnchen-3ya.example", True),
        ("[::1]", "[::1]:8000", True),
        ("[::1]:9000", "[::1]", True),
        (".example.com", "a.b.example.com", True),
        (".example.com", "example.com", False),
        ("registry.example.com", "registry.example.com..", False),
        ("registry.example.com", "registry.example.com.evil.example", False),
        ("registry.example.com", "evil-registry.example.com", False),
        ("registry.example.com", "registry.example.com@evil.example", False),
        ("registry.example.com", "", False),
    ],
)
def test_all_spellings_of_a_host_are_one(
    tmp_path: Path, allowed: str, asked: str, *, is_allowed: bool
) -> None:
    app = make_app(tmp_path, ALLOWED_HOSTS=allowed)
    try:
        answer = signed_in(app).get(MODELS, headers={"Host": asked})
        assert answer.status_code == (200 if is_allowed else 400)
    finally:
        close_app(app)


def test_the_docs_page_loads_only_its_own_files(app: Flask) -> None:
    client = app.test_client()
    page = client.get("/api/v1/docs")
    assert page.mimetype == "text/html"
    policy = page.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    for asset in ("swagger-ui.css", "swagger-ui-bundle.js", "start.js"):
        assert f'"docs/{asset}"' in page.text
        with client.get(f"/api/v1/docs/{asset}") as answer:
            assert answer.status_code == 200
    assert_problem(client.get("/api/v1/docs/../app.py"), 404)
    assert_problem(client.get("/api/v1/docs/%2e%2e%2findex.html"), 404)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One process for the tests below: each changes a model of its own."""
    with running_server(tmp_path_factory.mktemp("server")) as running:
        yield running


def raw(server: RunningServer, request: bytes) -> bytes:
    """Send these bytes and read what comes until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(request)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def head(server: RunningServer, start: str, *headers: str) -> bytes:
    lines = [
        f"{start} HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        f"Authorization: Bearer {server.token}",
        "Connection: close",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def test_a_chunked_upload_of_unknown_length_is_stored(server: RunningServer) -> None:
    client = server.http()
    client.post(f"{server.url}{MODELS}", json={"name": "m"}, timeout=30)
    client.post(f"{server.url}{MODELS}/m/versions", json={}, timeout=30)
    path = f"{MODELS}/m/versions/1/artifacts/model.bin"
    sent = head(server, f"PUT {path}", "Transfer-Encoding: chunked")
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(FILE), FILE)
    answer = raw(server, sent + chunks)
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert b'"size_bytes":%d,' % len(FILE) in answer


def test_requests_that_are_not_http_are_4xx(server: RunningServer) -> None:
    path = f"{MODELS}/m/versions/1/artifacts/model.bin"
    bad_chunk = head(server, f"PUT {path}", "Transfer-Encoding: chunked") + b"zz\r\n"
    both = head(
        server, f"POST {MODELS}", "Transfer-Encoding: chunked", "Content-Length: 3"
    )
    for sent in (
        bad_chunk,
        both + b"0\r\n\r\n",
        head(server, f"POST {MODELS}", "Content-Length: x"),
        head(server, f"GET {MODELS}?cursor={'a' * 20_000}"),
        head(server, f"GET {MODELS}", f"X-Long: {'a' * 20_000}"),
        b"nonsense\r\n\r\n",
    ):
        assert raw(server, sent).startswith(b"HTTP/1.1 4"), sent[:200]
    assert server.is_answering()


def test_the_longest_names_fit_into_a_request(server: RunningServer) -> None:
    name, client = "名" * 256, server.http()
    assert client.post(f"{server.url}{MODELS}", json={"name": name}, timeout=30).ok
    client.post(f"{server.url}{MODELS}/{name}/versions", json={}, timeout=30)
    alias = f"{server.url}{MODELS}/{name}/aliases/{'名' * 255}"
    answer = client.put(alias, json={"version": 1}, timeout=30)
    assert answer.status_code == 200, answer.text
