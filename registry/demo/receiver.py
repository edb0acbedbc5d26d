"""A webhook consumer: it verifies what it gets, and remembers it."""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from standardwebhooks.webhooks import Webhook, WebhookVerificationError


@dataclass(frozen=True, kw_only=True)
class Received:
    """One request, as the consumer saw it."""

    at: datetime
    event_type: str
    data: Mapping[str, Any]
    is_verified: bool


class Receiver:
    """An HTTP server on a free port of 127.0.0.1, between ``with`` and its end.

    ``secret`` is set once the subscription exists; until then, and when a signature
    does not fit, the answer is 401.
    """

    def __init__(self) -> None:
        self.secret: str | None = None
        self.received: list[Received] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Where the consumer listens."""
        return f"http://127.0.0.1:{self._server.server_port}/deploy"

    def take(self, body: bytes, headers: Mapping[str, str]) -> HTTPStatus:
        """Verify and remember one request; answers the status for it."""
        is_verified = self._is_verified(body, headers)
        message = json.loads(body)
        self.received.append(
            Received(
                at=datetime.now(UTC),
                event_type=message["type"],
                data=message["data"],
                is_verified=is_verified,
            )
        )
        return HTTPStatus.NO_CONTENT if is_verified else HTTPStatus.UNAUTHORIZED

    def _is_verified(self, body: bytes, headers: Mapping[str, str]) -> bool:
        if self.secret is None:
            return False
        try:
            Webhook(self.secret).verify(body, dict(headers))
        except WebhookVerificationError:
            return False
        return True

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        take = self.take

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                headers = {name.lower(): value for name, value in self.headers.items()}
                self.send_response(take(self.rfile.read(length), headers))
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                """The story prints what came; the log would repeat it."""

        return Handler
