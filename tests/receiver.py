"""A webhook receiver on 127.0.0.1, as a consumer would write it.

- It records every request in the order of arrival and answers as scripted.
- It verifies signatures with the ``standardwebhooks`` library once it knows a
  secret; a request that fails is recorded as refused and answered with 401.
- It records before it answers, so an acknowledged delivery is a recorded one.

``python -m tests.receiver --port N --secret-file F --ledger FILE`` runs it as a
process of its own that appends one JSON line per request, for the crash tests.
"""

import argparse
import contextlib
import dataclasses
import datetime as dt
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self, cast

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.waiting import STALL_SECONDS


@dataclasses.dataclass(frozen=True)
class ReceivedRequest:
    """One request; ``is_verified`` is None when no secret was known."""

    number: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    received_at: dt.datetime
    is_verified: bool | None
    refusal: str

    @property
    def message_id(self) -> str:
        return self.headers.get("webhook-id", "")

    def json(self) -> Any:  # noqa: ANN401  # A body may be any JSON value.
        return json.loads(self.body)


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the receiver answers, and how long it takes over it."""

    status: int = 200
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    body: bytes = b""
    delay_seconds: float = 0.0


Script = Sequence[int | Answer] | Callable[[ReceivedRequest], int | Answer]
Record = Callable[[ReceivedRequest], None]


class Receiver:
    """The receiver, to be used as a context manager or by start and stop.

    ``answers`` is a list that is used up request by request, after which every
    answer is 200, or a function of the request. ``secret_file`` holds further
    secrets, one a line, and is read at each request: a secret exists only once
    the subscription does. Header names are lower case in what is recorded.
    """

    def __init__(
        self,
        *,
        secret: str | Iterable[str] = (),
        answers: Script = (),
        delay_seconds: float = 0.0,
        secret_file: Path | None = None,
        port: int = 0,
        record: Record | None = None,
    ) -> None:
        self.answers = answers
        self.delay_seconds = delay_seconds
        self._secrets = [secret] if isinstance(secret, str) else list(secret)
        self._secret_file = secret_file
        self._record = record
        self._answered_count = 0
        self._requests: list[ReceivedRequest] = []
        self._arrival = threading.Condition()
        self._stopping = threading.Event()
        self._may_answer = threading.Event()
        self._may_answer.set()
        self._server = _Server(("127.0.0.1", port), self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="receiver"
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Close every connection, cut delays short, and end the threads."""
        self._stopping.set()
        self._may_answer.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.close_connections()
        self._server.server_close()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def requests(self) -> tuple[ReceivedRequest, ...]:
        """Everything received so far, in the order of arrival."""
        with self._arrival:
            return tuple(self._requests)

    @property
    def verified(self) -> tuple[ReceivedRequest, ...]:
        """What came with a good signature, in the order of arrival."""
        return tuple(request for request in self.requests if request.is_verified)

    @property
    def stopping(self) -> threading.Event:
        return self._stopping

    def accept_secret(self, secret: str) -> None:
        """From now on verify; several secrets are accepted side by side."""
        with self._arrival:
            self._secrets.append(secret)

    def replace_secrets(self, secrets: Iterable[str]) -> None:
        with self._arrival:
            self._secrets = list(secrets)

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """Answer nothing as long as the block runs; what arrives is recorded."""
        self._may_answer.clear()
        try:
            yield
        finally:
            self._may_answer.set()

    def wait_until_answering(self) -> None:
        """Return when nobody holds the answers back."""
        self._may_answer.wait()

    def clear(self) -> None:
        """Forget what was received; the script goes on where it was."""
        with self._arrival:
            self._requests.clear()

    def wait_for(
        self, count: int, *, stall_seconds: float = STALL_SECONDS
    ) -> tuple[ReceivedRequest, ...]:
        """Wait for the arrival of ``count`` requests in all.

        Raises:
            TimeoutError: for so long none came, and there are fewer.
        """
        with self._arrival:
            while len(self._requests) < count:
                if not self._arrival.wait(stall_seconds):
                    raise TimeoutError(
                        f"expected {count} requests, received {len(self._requests)},"
                        f" and for {stall_seconds} s none"
                    )
            return tuple(self._requests)

    def take(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> Answer:
        """Record one request and decide the answer to it."""
        with self._arrival:
            is_verified, refusal = self._verify(headers, body)
            request = ReceivedRequest(
                number=len(self._requests),
                method=method,
                path=path,
                headers=headers,
                body=body,
                received_at=dt.datetime.now(dt.UTC),
                is_verified=is_verified,
                refusal=refusal,
            )
            if self._record is not None:
                self._record(request)
            self._requests.append(request)
            self._arrival.notify_all()
            if is_verified is False:
                return Answer(status=401)
            return self._scripted_answer(request)

    def _verify(self, headers: dict[str, str], body: bytes) -> tuple[bool | None, str]:
        refusal = ""
        secrets = self._known_secrets()
        for secret in secrets:
            try:
                Webhook(secret).verify(body, headers, json_parse=False)
            except WebhookVerificationError as error:
                refusal = str(error)
            else:
                return True, ""
        return (False, refusal) if secrets else (None, "")

    def _known_secrets(self) -> list[str]:
        if self._secret_file is None or not self._secret_file.exists():
            return self._secrets
        return self._secrets + self._secret_file.read_text(encoding="ascii").split()

    def _scripted_answer(self, request: ReceivedRequest) -> Answer:
        number = self._answered_count
        self._answered_count += 1
        if callable(self.answers):
            chosen = self.answers(request)
        else:
            chosen = self.answers[number] if number < len(self.answers) else 200
        if isinstance(chosen, int):
            return Answer(status=chosen, delay_seconds=self.delay_seconds)
        return chosen


class _Server(ThreadingHTTPServer):
    """Remembers its connections, to close idle ones when the receiver stops."""

    # server_close joins the threads of requests only when they are no daemons.
    daemon_threads = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], receiver: Receiver) -> None:
        self.receiver = receiver
        self._connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401  # socketserver's signature
        self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        for connection in tuple(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  # as above
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        receiver = cast("_Server", self.server).receiver
        length = int(self.headers.get("content-length", "0"))
        body = self.rfile.read(length)
        if len(body) < length:
            # The sender died in the middle: nothing that a consumer could act on.
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = receiver.take(self.command, self.path, headers, body)
        receiver.stopping.wait(answer.delay_seconds)
        receiver.wait_until_answering()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    # The names are the ones that http.server looks up.
    do_POST = handle_any  # noqa: N815  # as above
    do_GET = handle_any  # noqa: N815  # as above
    do_PUT = handle_any  # noqa: N815  # as above

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its signature
        """Say nothing: the record is the log."""


class Ledger:
    """Appends each request to a file as a JSON line, on the disk before it returns."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def append(self, request: ReceivedRequest) -> None:
        line = {
            "received_at": request.received_at.isoformat(),
            "id": request.message_id,
            "path": request.path,
            "is_verified": request.is_verified,
            "refusal": request.refusal,
            "body": request.body.decode("utf-8", errors="replace"),
        }
        self._file.write(json.dumps(line).encode() + b"\n")
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def read_ledger(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a ledger; a line cut off by a kill was not acknowledged."""
    lines = path.read_bytes().split(b"\n")[:-1]
    return [json.loads(line) for line in lines]


def main(arguments: Sequence[str] | None = None) -> None:
    """Receive until told to stop by SIGTERM or SIGINT."""
    options = _parse(arguments)
    ledger = Ledger(options.ledger)
    receiver = Receiver(
        port=options.port,
        secret_file=options.secret_file,
        answers=[int(status) for status in options.answers.split(",") if status],
        delay_seconds=options.delay_seconds,
        record=ledger.append,
    )
    done = threading.Event()

    def finish(_signal: int, _frame: FrameType | None) -> None:
        done.set()

    signal.signal(signal.SIGTERM, finish)
    signal.signal(signal.SIGINT, finish)
    with contextlib.closing(ledger), receiver:
        sys.stdout.write(f"receiving on {receiver.url}\n")
        sys.stdout.flush()
        done.wait()


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.receiver")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--secret-file", type=Path, default=None)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--answers", default="", help="statuses, such as 500,200")
    parser.add_argument("--delay-seconds", type=float, default=0.0)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
