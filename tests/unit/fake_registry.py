"""A scripted HTTP server that stands in for a registry, and for its store.

It says exactly what a test tells it to, also what no sound server says: half a
body, another digest, a redirect to a stranger.
"""

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """A request as it arrived."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401  whatever was sent
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """A response to give. ``cut_at`` closes the connection after so many bytes."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_at: int | None = None


Script = Callable[[Asked], Answer]


class FakeRegistry:
    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._scripts: dict[tuple[str, str], list[Script]] = defaultdict(list)
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                fake.handle(self)

            # The names are those of http.server.
            do_GET = do_POST = handle_any  # noqa: N815
            do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815

            def log_message(self, *_args: object) -> None:
                """Stay quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def on(self, method: str, path: str, *scripts: Script) -> None:
        """Answer requests by these scripts in turn; the last one goes on."""
        self._scripts[method, path] += scripts

    def forget(self, method: str, path: str) -> None:
        """Take back how an API request was to be answered."""
        self._scripts.pop((method, f"/api/v1{path}"), None)

    def json(
        self,
        method: str,
        path: str,
        document: object,
        *,
        status: int = 200,
        **headers: str,
    ) -> None:
        """Answer an API request with a JSON document."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = json_answer(document, status=status, headers=named)
        self.on(method, f"/api/v1{path}", lambda _asked: answer)

    def problem(
        self, method: str, path: str, slug: str, *, status: int, **members: object
    ) -> None:
        """Answer an API request with a problem document."""
        document = {
            "type": f"urn:stagegate:problem:{slug}",
            "title": "A title",
            "status": status,
            "detail": f"about {slug}",
            **members,
        }
        body = json.dumps(document).encode()
        answer = Answer(status, body, {"Content-Type": "application/problem+json"})
        self.on(method, f"/api/v1{path}", lambda _asked: answer)

    def asked_for(self, method: str, path: str) -> list[Asked]:
        return [
            one
            for one in self.asked
            if one.method == method and one.path == f"/api/v1{path}"
        ]

    def handle_unknown(self, asked: Asked) -> Answer:
        return Answer(501, b"nothing scripted for " + asked.path.encode())

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        length = int(handler.headers.get("Content-Length") or 0)
        asked = Asked(
            handler.command,
            parts.path,
            dict(parse_qsl(parts.query)),
            dict(handler.headers.items()),
            handler.rfile.read(length),
        )
        self.asked.append(asked)
        scripts = self._scripts.get((asked.method, asked.path))
        if not scripts:
            answer = self.handle_unknown(asked)
        else:
            script = scripts.pop(0) if len(scripts) > 1 else scripts[0]
            answer = script(asked)
        _send(handler, answer)


def json_answer(
    document: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Answer:
    body = json.dumps(document).encode()
    return Answer(status, body, {"Content-Type": "application/json", **(headers or {})})


def _send(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
    handler.send_response(answer.status)
    for name, value in answer.headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(answer.body)))
    handler.end_headers()
    with suppress(BrokenPipeError, ConnectionResetError):
        # A client may stop reading what it does not want.
        handler.wfile.write(answer.body[: answer.cut_at])
    if answer.cut_at is not None:
        handler.close_connection = True


def model_document(name: str = "fraud", **members: object) -> dict[str, object]:
    return {
        "name": name,
        "description": "",
        "tags": {},
        "aliases": {},
        "stages": {"Production": [2]},
        "latest_version": 2,
        "created_at": "2026-11-20T12:00:00.000000Z",
        "created_by": "alice",
        "updated_at": "2026-11-20T12:00:00.000000Z",
        **members,
    }


def version_document(version: int = 1, **members: object) -> dict[str, object]:
    return {
        "model": "fraud",
        "version": version,
        "stage": "None",
        "status": "READY",
        "status_message": "",
        "source": "s3://models/fraud/1",
        "verified": True,
        "artifact_digest": "sha256:" + "0" * 64,
        "artifact_size_bytes": 3,
        "created_at": "2026-11-20T12:00:00.000000Z",
        "updated_at": "2026-11-20T12:00:00.000000Z",
        **members,
    }


def transition_document(
    version: int = 2, stage: str = "Production", **members: object
) -> dict[str, object]:
    return {
        "transition_id": "t-1",
        "version": version_document(version, stage=stage),
        "superseded": None,
        "cause": "promotion",
        **members,
    }
