"""``requests`` and ``urllib3``, with the parts replaced that trust too much.

- Connections come from the exchange, which goes through the address guard.
- The time of the handshake and of the first byte is marked.
- A head that ends without its blank line is an error: ``http.client`` takes a
  closed connection for the end of the head and would report its status.
- Interim answers other than 100 are passed over too (RFC 9110 §15.2).
- ``urllib3`` is kept from logging URLs, in which a secret may stand.
"""

import http.client
import io
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from webhooks.sending.exchange import Exchange

SWITCHING_PROTOCOLS = 101
FIRST_FINAL_STATUS = 200


class _HeadReader(io.BufferedReader):
    """Remembers that a line was cut off by the end of the connection."""

    has_cut_line = False

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        self.has_cut_line = not line.endswith(b"\n")
        return line


class _Response(http.client.HTTPResponse):
    """An answer whose head must be complete."""

    def __init__(
        self, sock: socket.socket, method: str | None, *, exchange: Exchange
    ) -> None:
        super().__init__(sock, method=method)
        self._exchange = exchange
        self._reader = _HeadReader(self.fp.detach())
        self.fp = self._reader

    def begin(self) -> None:
        if self._reader.peek(1):
            self._exchange.mark("first_byte")
        super().begin()
        while SWITCHING_PROTOCOLS < self.status < FIRST_FINAL_STATUS:
            self.headers = self.msg = None  # type: ignore[assignment]  # As before the first call, so that it reads on.
            super().begin()
        if self._reader.has_cut_line:
            raise http.client.RemoteDisconnected("the head is not complete")
        # urllib3 would log the URL of an answer with defects.
        self.msg.defects.clear()
        self.msg.set_payload("")


class _GuardedHTTPConnection(HTTPConnection):
    def __init__(self, *args: Any, exchange: Exchange, **options: Any) -> None:  # noqa: ANN401  # urllib3's own.
        super().__init__(*args, **options)
        self.response_class = partial(_Response, exchange=exchange)  # type: ignore[assignment]  # It is only called.
        self._exchange = exchange

    def _new_conn(self) -> socket.socket:
        return self._exchange.connect(self.host, self.port, "http")


class _GuardedHTTPSConnection(HTTPSConnection):
    def __init__(self, *args: Any, exchange: Exchange, **options: Any) -> None:  # noqa: ANN401  # urllib3's own.
        super().__init__(*args, **options)
        self.response_class = partial(_Response, exchange=exchange)  # type: ignore[assignment]  # It is only called.
        self._exchange = exchange

    def _new_conn(self) -> socket.socket:
        return self._exchange.connect(self.host, self.port, "https")

    def connect(self) -> None:
        super().connect()
        self._exchange.mark("tls")


class _GuardedPools(PoolManager):
    """Makes pools whose connections go through the guard."""

    def __init__(self, exchange: Exchange, tls: Callable[[], ssl.SSLContext]) -> None:
        super().__init__(num_pools=1, maxsize=1)
        self._exchange = exchange
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
        pool.ConnectionCls = (
            _GuardedHTTPSConnection
            if isinstance(pool, HTTPSConnectionPool)
            else _GuardedHTTPConnection
        )
        pool.conn_kw["exchange"] = self._exchange
        return pool


class GuardedAdapter(HTTPAdapter):
    """A ``requests`` adapter for one POST.

    ``tls`` gives the context when a receiver speaks TLS, and not before.
    """

    def __init__(self, exchange: Exchange, tls: Callable[[], ssl.SSLContext]) -> None:
        self._exchange = exchange
        self._tls = tls
        super().__init__(max_retries=0)

    def init_poolmanager(self, *_: object, **__: object) -> None:
        """Replace the pools."""
        self.poolmanager = _GuardedPools(self._exchange, self._tls)

    def cert_verify(self, *_: object) -> None:
        """Leave it to the context, which verifies chain and host name.

        Loading the bundle into every connection, as ``requests`` does, costs
        about 20 ms of processor time each.
        """
