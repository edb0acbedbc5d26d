"""One POST to one receiver, ended in time whatever the receiver does.

Rules:

- ``requests``' adapter is used without its session: no proxy or ``.netrc`` of
  the environment, no redirect followed (not even read: ``requests`` would read
  and decompress the whole body of one), no cookie, no retry, no connection kept.
- Connections go through the address guard; TLS verifies the host name.
- The whole exchange (name, connection, TLS, request, head, body) has one
  deadline, kept by a watchdog that shuts the socket. A timeout per read would
  not do: a receiver that drips bytes resets it for ever.
- When the watchdog fired before the head was complete, its flag decides and not
  the status: ``http.client`` takes the cut for the end of the head and reports
  what the status line said, which would be a false success.
- A complete 2xx head in time is a success even if the body then stalls. 64 KiB
  of the body are read, never decompressed.
- Errors are said in our words: nothing a receiver wrote ends up in ``error``.
"""

import contextlib
import http.client
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Self

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from webhooks.address_guard import AddressGuard
from webhooks.errors import BlockedAddressError, UnreachableError
from webhooks.retry import parse_retry_after
from webhooks.tables import AttemptOutcome
from webhooks.tls import Tls, TlsContexts

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 * 1024
MAX_HEADERS = 100
MAX_HEADER_LENGTH = 1024
MAX_WRAPPINGS = 10
USER_AGENT = "stagegate-webhooks/1"
REDACTED = "(redacted)"
SECRET_HEADERS = frozenset({"webhook-signature", "authorization"})


@dataclass(frozen=True)
class SendResult:
    """What became of one attempt; ``outcome`` is delivered or failed.

    ``address`` is the one that was connected to. ``timings`` are the seconds of
    each part that ended: ``name``, ``connect``, ``tls``, ``first_byte``.
    """

    outcome: AttemptOutcome
    status: int | None = None
    error: str | None = None
    retry_after: timedelta | None = None
    request_headers: Mapping[str, str] = field(default_factory=dict)
    response_headers: Mapping[str, str] = field(default_factory=dict)
    response_body: bytes = b""
    duration_seconds: float = 0.0
    address: str | None = None
    timings: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_delivered(self) -> bool:
        """Whether the receiver acknowledged."""
        return self.outcome is AttemptOutcome.DELIVERED


@dataclass(frozen=True)
class Timeouts:
    """How long each part of an exchange may take, in seconds."""

    connect_seconds: float = 5.0
    read_seconds: float = 10.0
    total_seconds: float = 20.0


class _Exchange:
    """The deadline of one POST, and the socket it cuts."""

    def __init__(self, total_seconds: float) -> None:
        self.is_expired = False
        self._give_up_at = time.monotonic() + total_seconds
        self._lock = threading.Lock()
        self._watched: socket.socket | None = None
        self._watchdog = threading.Timer(total_seconds, self._expire)
        self._watchdog.daemon = True

    def __enter__(self) -> Self:
        self._watchdog.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._watchdog.cancel()
        with self._lock:
            if self._watched is not None:
                self._watched.close()

    @property
    def remaining_seconds(self) -> float:
        return max(0.001, self._give_up_at - time.monotonic())

    def watch(self, connection: socket.socket) -> None:
        """Remember the connection; cut it at once when time is already up."""
        with self._lock:
            # TLS moves the descriptor into another object. A duplicate stays
            # ours, and shutting it down ends the same connection.
            self._watched = connection.dup()
            if self.is_expired:
                self._cut()

    def _expire(self) -> None:
        with self._lock:
            self.is_expired = True
            self._cut()

    def _cut(self) -> None:
        if self._watched is not None:
            with contextlib.suppress(OSError):
                self._watched.shutdown(socket.SHUT_RDWR)


Connector = Callable[[str, int], socket.socket]

# The first that fits, so the narrower ones stand first.
_EXPLANATIONS: tuple[tuple[type[Exception], str], ...] = (
    (requests.exceptions.Timeout, "the receiver stopped answering"),
    (
        requests.exceptions.ConnectionError,
        "the connection broke or the answer was not HTTP",
    ),
    (ValueError, "the URL is not allowed"),
)


class _GuardedHTTPConnection(HTTPConnection):
    connector: Connector

    def _new_conn(self) -> socket.socket:
        return self.connector(self.host, self.port or self.default_port)


class _GuardedHTTPSConnection(HTTPSConnection):
    connector: Connector

    def _new_conn(self) -> socket.socket:
        return self.connector(self.host, self.port or self.default_port)


class _GuardedPools(PoolManager):
    """Makes pools whose connections go through the guard."""

    def __init__(
        self, connect: Callable[..., socket.socket], tls: Callable[[], ssl.SSLContext]
    ) -> None:
        super().__init__(num_pools=1, maxsize=1)
        self._connect = connect
        self._tls = tls

    def _new_pool(
        self,
        scheme: str,
        host: str,
        port: int,
        request_context: dict[str, Any] | None = None,
    ) -> HTTPConnectionPool:
        request_context = dict(request_context or self.connection_pool_kw)
        if scheme == "https":
            request_context["ssl_context"] = self._tls()
        pool = super()._new_pool(scheme, host, port, request_context)
        kind = (
            _GuardedHTTPSConnection
            if isinstance(pool, HTTPSConnectionPool)
            else _GuardedHTTPConnection
        )
        bound = type(
            kind.__name__,
            (kind,),
            {"connector": staticmethod(partial(self._connect, scheme=scheme))},
        )
        pool.ConnectionCls = bound
        return pool


class _GuardedAdapter(HTTPAdapter):
    """A ``requests`` adapter for one POST."""

    def __init__(
        self, connect: Callable[..., socket.socket], tls: Callable[[], ssl.SSLContext]
    ) -> None:
        self._connect = connect
        self._tls = tls
        super().__init__(max_retries=0)

    def init_poolmanager(self, *_: object, **__: object) -> None:
        self.poolmanager = _GuardedPools(self._connect, self._tls)

    def cert_verify(self, *_: object) -> None:
        """Leave it to the context, which verifies chain and host name.

        Loading the bundle into every connection, as ``requests`` does, costs
        about 20 ms of processor time each.
        """


class Sender:
    """Sends signed bodies; holds no state between sends and is thread-safe.

    Args:
        guard: judges every address before it is connected to.
        timeouts: the parts' limits and the total one.
        tls: verifies receivers; by default with the bundle of ``certifi``.
    """

    def __init__(
        self,
        guard: AddressGuard,
        *,
        timeouts: Timeouts | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.guard = guard
        self.timeouts = timeouts or Timeouts()
        self._contexts = TlsContexts(tls)

    def send(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        now: datetime,
        tls: Tls | None = None,
        secrets: Sequence[str] = (),  # noqa: ARG002  # Redaction follows.
    ) -> SendResult:
        """POST the body and say what came of it; never raises for the receiver.

        Args:
            url: is judged again, since the rules may be stricter than when it
                was saved.
            body: the exact bytes that were signed.
            headers: the signature and the content type.
            now: what an HTTP date in ``Retry-After`` is measured from.
            tls: the receiver's own authority and our certificate for it.
            secrets: clear values that no part of the result may show.
        """
        started = time.monotonic()
        sent_headers = {
            **headers,
            "user-agent": USER_AGENT,
            "accept-encoding": "identity",
            "connection": "close",
        }
        with _Exchange(self.timeouts.total_seconds) as exchange:
            answer = self._exchange(exchange, url, body, sent_headers, tls=tls)
        return SendResult(
            outcome=answer.outcome,
            status=answer.status,
            error=answer.error,
            retry_after=parse_retry_after(answer.retry_after, now),
            request_headers=_redact(sent_headers),
            response_headers=answer.headers,
            response_body=answer.body,
            duration_seconds=round(time.monotonic() - started, 6),
        )

    def _exchange(
        self,
        exchange: _Exchange,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        tls: Tls | None,
    ) -> "_Answer":
        adapter = _GuardedAdapter(
            partial(self._connect, exchange), partial(self._contexts.get, tls)
        )
        try:
            self.guard.check_url(url)
            request = requests.Request("POST", url, data=body, headers=headers)
            limits = (self.timeouts.connect_seconds, self.timeouts.read_seconds)
            response = adapter.send(request.prepare(), stream=True, timeout=limits)
        except Exception as error:  # noqa: BLE001  # Whatever a receiver or its URL provokes is a failed attempt, and the reason is kept.
            return _Answer(error=_explain(error, is_expired=exchange.is_expired))
        finally:
            adapter.close()
        if exchange.is_expired:
            response.close()
            return _Answer(error=_explain(None, is_expired=True))
        return _read(response)

    def _connect(
        self, exchange: _Exchange, host: str, port: int, *, scheme: str
    ) -> socket.socket:
        timeout = min(self.timeouts.connect_seconds, exchange.remaining_seconds)
        connection = self.guard.connect(
            host.strip("[]"), port, scheme=scheme, timeout_seconds=timeout
        )
        connection.settimeout(self.timeouts.connect_seconds)
        exchange.watch(connection)
        return connection


@dataclass(frozen=True)
class _Answer:
    status: int | None = None
    error: str | None = None
    retry_after: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def outcome(self) -> AttemptOutcome:
        return AttemptOutcome.FAILED if self.error else AttemptOutcome.DELIVERED


def _read(response: requests.Response) -> _Answer:
    """Judge the complete head, then keep what comes of the body in time."""
    status = response.status_code
    is_success = 200 <= status < 300  # noqa: PLR2004  # RFC 9110 §15.3.
    body = bytearray()
    try:
        while len(body) < MAX_BODY_BYTES:
            # One read of the socket at a time, so that what came before a stall
            # is kept.
            piece = response.raw.read1(MAX_BODY_BYTES - len(body), decode_content=False)
            if not piece:
                break
            body += piece
    except (HTTPError, http.client.HTTPException, OSError, ValueError):
        # The head has decided; a body that breaks off changes nothing.
        pass
    finally:
        response.close()
    return _Answer(
        status=status,
        error=None if is_success else f"the receiver answered {status}",
        retry_after=None if is_success else response.headers.get("retry-after"),
        headers=_shorten(response.headers),
        body=bytes(body[:MAX_BODY_BYTES]),
    )


def _shorten(headers: Mapping[str, str]) -> dict[str, str]:
    entries = list(headers.items())[:MAX_HEADERS]
    return {name.lower(): value[:MAX_HEADER_LENGTH] for name, value in entries}


def _redact(headers: Mapping[str, str]) -> dict[str, str]:
    return {
        name: REDACTED if name.lower() in SECRET_HEADERS else value
        for name, value in headers.items()
    }


def _explain(error: Exception | None, *, is_expired: bool) -> str:
    if is_expired:
        return "no complete answer before the deadline"
    if isinstance(error, BlockedAddressError | UnreachableError):
        return error.message
    if isinstance(error, requests.exceptions.SSLError):
        return _explain_tls(error)
    for kind, sentence in _EXPLANATIONS:
        if isinstance(error, kind):
            return sentence
    logger.error("webhook_send_failed", exc_info=error)
    return "the request could not be made"


def _explain_tls(error: BaseException) -> str:
    """Find why a certificate was refused, in OpenSSL's words."""
    cause: BaseException | None = error
    # Three layers wrap it; the bound is for a chain that bites its tail.
    for _ in range(MAX_WRAPPINGS):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"TLS: {cause.verify_message}"
        cause = _inner_cause(cause)
    return "TLS: the handshake failed"


def _inner_cause(error: BaseException | None) -> BaseException | None:
    """Step from a wrapping error to what it wraps."""
    if error is None:
        return None
    for argument in (*error.args, getattr(error, "reason", None)):
        if isinstance(argument, BaseException):
            return argument
    return error.__cause__ or error.__context__
