"""A receiver of webhooks in the driver's own process, of the standard library alone.

What a path is answered:

- ``/status/N``: N, with a short body;
- ``/flaky``: 500 twice to each model's event, then 200;
- ``/limited``: 429 with ``Retry-After: 2`` once to each model's event, then 200;
- any other: 200.

``?of=NAME`` keeps the requests of cases apart.
"""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from tests.waiting import STALL_SECONDS

TOLERANCE_SECONDS = 300
BODY = b'{"detail": "told"}'
FAILURES = {"/flaky": (500, 500), "/limited": (429,)}


@dataclass(frozen=True)
class Delivery:
    """One request, as it came, and the status that it was answered."""

    path: str
    headers: dict[str, str]
    body: bytes
    status: int

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def data(self) -> dict[str, Any]:
        """What it says of the event."""
        found: dict[str, Any] = self.document["data"]
        return found

    def is_signed_with(self, secret: str) -> bool:
        """Verify it as MLflow's documentation tells receivers to."""
        identity = self.headers["x-mlflow-delivery-id"]
        seconds = self.headers["x-mlflow-timestamp"]
        if abs(time.time() - int(seconds)) > TOLERANCE_SECONDS:
            return False
        message = f"{identity}.{seconds}.".encode() + self.body
        digest = hmac.new(secret.encode(), message, hashlib.sha256).digest()
        expected = f"v1,{base64.b64encode(digest).decode()}"
        return hmac.compare_digest(expected, self.headers["x-mlflow-signature"])


@dataclass
class Endpoint:
    """Listens on 127.0.0.1 and keeps what it is told."""

    port: int = 0
    deliveries: list[Delivery] = field(default_factory=list)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def url(self, name: str, path: str = "/hook") -> str:
        """An address whose requests ``told`` finds by the name."""
        return f"http://127.0.0.1:{self.port}{path}?of={name}"

    def told(self, name: str, count: int = 1) -> list[Delivery]:
        """The requests to that address, once there are so many."""
        with self.arrived:
            while len(found := self._of(name)) < count:
                if not self.arrived.wait(STALL_SECONDS):
                    break
        assert len(found) == count, found
        return found

    def take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        """Keep a request, and say with what status it is answered."""
        with self.arrived:
            place, _, name = path.partition("?of=")
            earlier = len(self._of(name))
            failures = FAILURES.get(place, ())
            status = 200
            if earlier < len(failures):
                status = failures[earlier]
            elif place.startswith("/status/"):
                status = int(place.rpartition("/")[2])
            self.deliveries.append(Delivery(path, headers, body, status))
            self.arrived.notify_all()
        return status

    def _of(self, name: str) -> list[Delivery]:
        return [each for each in self.deliveries if each.path.endswith(f"?of={name}")]


class _Handler(BaseHTTPRequestHandler):
    endpoint: ClassVar[Endpoint]

    def do_POST(self) -> None:  # the name that http.server calls
        length = int(self.headers.get("Content-Length", 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        status = self.endpoint.take(self.path, headers, self.rfile.read(length))
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(BODY)))
        if status == 429:
            self.send_header("Retry-After", "2")
        if 300 <= status < 400:
            self.send_header("Location", "/hook?of=elsewhere")
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_: object) -> None:
        """Keep still."""


@contextmanager
def listening(port: int) -> Iterator[Endpoint]:
    """An endpoint for the time of the block."""
    endpoint = Endpoint(port)
    handler = type("Handler", (_Handler,), {"endpoint": endpoint})
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield endpoint
        server.shutdown()
        thread.join()
