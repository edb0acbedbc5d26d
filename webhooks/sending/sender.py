"""One POST to one receiver: made, judged, and recorded without its secrets.

Rules:

- A complete 2xx head in time is a success even if the body then stalls. 64 KiB
  of the body are read, never decompressed.
- Errors are said in our words: neither what a receiver wrote nor a URL ends up in
  ``error``, since both may hold secrets. But where a receiver redirects to is told,
  without user, password, query and fragment.
- Request headers are recorded by an allow-list of names; every other value is
  replaced whole. What was replaced counts as a secret in the answer too.
- A receiver may echo anything: each secret is looked for as it is and in the
  encodings that servers echo in (percent, form, JSON, HTML, base64).
- An answer that is cut in the middle of a secret loses that beginning as well.
"""

import base64
import html
import http.client
import json
import logging
import re
import ssl
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from urllib.parse import quote, quote_plus, urljoin, urlsplit

from requests.exceptions import InvalidHeader
from urllib3 import HTTPHeaderDict

from webhooks.errors import WebhooksError
from webhooks.queue.schedule import parse_retry_after
from webhooks.sending.exchange import Exchange, Timeouts, Watchdog
from webhooks.sending.guard import AddressGuard
from webhooks.sending.tls import PUBLIC, Tls, TlsContexts
from webhooks.tables import AttemptOutcome

__all__ = ["SendResult", "Sender", "Timeouts"]

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 * 1024
MAX_HEADERS = 100
MAX_HEADER_LENGTH = 1024
OWN_HEADERS = {
    "user-agent": "stagegate-webhooks/1",
    "accept-encoding": "identity",
    "connection": "close",
}
EXPIRED = "no complete answer before the deadline"
#: Moved Permanently, Found, See Other, Temporary Redirect, Permanent Redirect.
REDIRECTS = frozenset({301, 302, 303, 307, 308})
MAX_ADDRESS_LENGTH = 500
_FOLD = re.compile(r"[ \t]*\r\n[ \t]+")
_OF_A_PATH = "/%:@!$&'()*+,;=~"

# The first that fits, so the narrower ones stand first.
_SENTENCES: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((ssl.SSLError,), "TLS: the handshake failed"),
    ((InvalidHeader, UnicodeError), "a header cannot be sent"),
    ((TimeoutError,), "the receiver stopped answering"),
    (
        (OSError, http.client.HTTPException),
        "the connection broke or the answer was not HTTP",
    ),
    ((ValueError,), "the URL is not allowed"),
)

REDACTED = "(redacted)"
#: Header names whose values nobody can use, besides ``ce-…`` (CloudEvents).
SAFE_HEADERS = frozenset(
    {
        *("accept", "accept-encoding", "connection", "content-type", "user-agent"),
        *("webhook-id", "webhook-timestamp", "webhook-replay", "webhook-gap"),
        *("x-github-api-version", "x-github-event", "x-gitlab-event"),
        *("x-mlflow-delivery-id", "x-mlflow-timestamp"),
    }
)
#: Header names of answers that are secrets between the receiver and its clients.
SECRET_ANSWER_HEADERS = frozenset({"set-cookie", "set-cookie2", "authorization"})
MIN_ECHO_LENGTH = 8
MIN_BEGINNING = 4


@dataclass(frozen=True)
class SendResult:
    """What became of one attempt; ``outcome`` is delivered or failed.

    ``address`` and ``timings`` are those of the exchange.
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

    @property
    def is_redirect(self) -> bool:
        """Whether the receiver sends its senders elsewhere."""
        return self.status in REDIRECTS


@dataclass(frozen=True)
class _Answer:
    """What came back, as it came."""

    status: int | None = None
    error: str | None = None
    retry_after: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Sender:
    """Sends signed bodies; keeps TLS contexts alone between sends; thread-safe.

    Args:
        guard: judges every address before it is connected to.
        timeouts: the parts' limits and the total one.
    """

    def __init__(
        self, guard: AddressGuard, *, timeouts: Timeouts | None = None
    ) -> None:
        self._guard = guard
        self._timeouts = timeouts or Timeouts()
        self._contexts = TlsContexts()
        self._watchdog = Watchdog(self._timeouts.total_seconds)

    def send(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        now: datetime,
        tls: Tls = PUBLIC,
        secrets: Sequence[str] = (),
    ) -> SendResult:
        """POST the body and say what came of it; never raises for the receiver.

        Args:
            url: is judged again, since the rules may be stricter than when it
                was saved.
            body: the exact bytes that were signed.
            headers: names in lower case.
            now: what an HTTP date in ``Retry-After`` is measured from.
            tls: the receiver's own authority and our certificate for it.
            secrets: clear values that no part of the result may show.
        """
        started = time.monotonic()
        sent_headers = {**headers, **OWN_HEADERS}
        with Exchange(self._guard, self._timeouts, self._watchdog) as exchange:
            try:
                parts = self._guard.check_url(url)
                context = self._contexts.get(tls) if parts.scheme == "https" else None
                response = exchange.post(parts, body, sent_headers, context)
            except Exception as error:  # noqa: BLE001  # Whatever a receiver or its URL provokes is a failed attempt, and the reason is kept.
                reason = EXPIRED if exchange.is_expired else explain(error)
                answer = _Answer(error=reason)
            else:
                answer = _read(response, url)
        redactor = Redactor(secrets, sent_headers)
        return SendResult(
            outcome=AttemptOutcome.FAILED if answer.error else AttemptOutcome.DELIVERED,
            status=answer.status,
            error=answer.error and redactor.text(answer.error),
            retry_after=parse_retry_after(answer.retry_after, now),
            request_headers=redactor.request_headers(sent_headers),
            response_headers=_shorten(redactor.response_headers(answer.headers)),
            response_body=redactor.body(answer.body)[:MAX_BODY_BYTES],
            duration_seconds=round(time.monotonic() - started, 6),
            address=exchange.address,
            timings=exchange.timings,
        )


def _read(response: http.client.HTTPResponse, url: str) -> _Answer:
    """Judge the complete head, then keep what comes of the body in time."""
    status = response.status
    is_success = 200 <= status < 300  # noqa: PLR2004  # RFC 9110 §15.3.
    # One value of one line for each name; those of a repeated one joined by commas.
    headers = HTTPHeaderDict(
        (name, _FOLD.sub(" ", value)) for name, value in response.headers.items()
    )
    body = bytearray()
    # The head has decided; a body that breaks off changes nothing.
    with suppress(http.client.HTTPException, OSError, ValueError):
        # One read of the socket at a time, so that what came before a stall is kept.
        while len(body) < MAX_BODY_BYTES:
            piece = response.read1(MAX_BODY_BYTES - len(body))
            if not piece:
                break
            body += piece
    return _Answer(
        status=status,
        error=None
        if is_success
        else explain_status(status, url, headers.get("location")),
        retry_after=None if is_success else headers.get("retry-after"),
        headers=dict(headers.itermerged()),
        body=bytes(body),
    )


def _shorten(headers: Mapping[str, str]) -> dict[str, str]:
    entries = list(headers.items())[:MAX_HEADERS]
    return {name: value[:MAX_HEADER_LENGTH] for name, value in entries}


def explain(error: Exception) -> str:
    """Return why a request could not be made or answered."""
    if isinstance(error, WebhooksError):
        return error.message
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: {error.verify_message}"
    reason = str(getattr(error, "reason", ""))
    if isinstance(error, ssl.SSLError) and "CERTIFICATE_REQUIRED" in reason:
        return "TLS: the receiver demands a client certificate"
    for kinds, sentence in _SENTENCES:
        if isinstance(error, kinds):
            return sentence
    # Where, but not what: the message may quote the URL or a header.
    logger.error(
        "webhook_send_failed error=%s at=%s",
        type(error).__name__,
        [
            f"{frame.name}:{frame.lineno}"
            for frame in traceback.extract_tb(error.__traceback__)
        ],
    )
    return "the request could not be made"


def explain_status(status: int, url: str, location: str | None) -> str:
    """Return what an answer was that is none of success; ``url`` was asked."""
    said = f"the receiver answered {status}"
    if status not in REDIRECTS:
        return said
    target = _address_shown(url, location) if location else None
    where = f"to {target}" if target else "to no address that can be shown"
    return f"{said}, a redirect {where}; redirects are not followed"


def _address_shown(url: str, reference: str) -> str | None:
    """Return where a reference leads from a URL, without what may be secret in it."""
    try:
        parts = urlsplit(urljoin(url, reference))
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not (host and host.isascii()):
        return None
    host = f"[{host}]" if ":" in host else quote(host)
    place = host if port is None else f"{host}:{port}"
    address = f"{parts.scheme}://{place}{quote(parts.path, _OF_A_PATH)}"
    return address[:MAX_ADDRESS_LENGTH]


def is_safe(name: str) -> bool:
    """Whether a request header's value may be recorded."""
    lower = name.lower()
    return lower in SAFE_HEADERS or lower.startswith("ce-")


class Redactor:
    """Replaces secrets in text and bytes.

    Args:
        secrets: clear values, in any order; empty ones are ignored.
        headers: the request's headers, whose unsafe values are secrets as well.
    """

    def __init__(self, secrets: Iterable[str], headers: Mapping[str, str]) -> None:
        self._secrets = {secret for secret in secrets if secret}
        # In pieces, too: "Bearer x", "v1,x v1,y".
        self._pieces = {
            piece
            for name, value in headers.items()
            if not is_safe(name)
            for piece in value.split()
            if len(piece) >= MIN_ECHO_LENGTH
        }
        # No form is shorter than its secret, and most answers are short.
        self._shortest = min(map(len, self._secrets | self._pieces), default=0)

    @cached_property
    def _forms(self) -> list[str]:
        encoded = {form for secret in self._secrets for form in _forms(secret)}
        forms = encoded | self._pieces
        # A header's bytes are read as Latin-1, whatever they were meant as.
        forms |= {form.encode().decode("latin-1") for form in forms}
        # The longest first: a secret may contain another one.
        return sorted(forms, key=len, reverse=True)

    def request_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return the request's headers as they may be recorded."""
        return {
            name: self.text(value) if is_safe(name) else REDACTED
            for name, value in headers.items()
        }

    def response_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return the answer's headers as they may be recorded, names in lower case."""
        return {
            self.text(name).lower(): REDACTED
            if name.lower() in SECRET_ANSWER_HEADERS
            else self.text(value)
            for name, value in headers.items()
        }

    def text(self, text: str) -> str:
        """Replace every secret in a text."""
        if len(text) >= self._shortest:
            for form in self._forms:
                text = text.replace(form, REDACTED)
        return text

    def body(self, body: bytes) -> bytes:
        """Replace every secret in the bytes, and the beginning of one at their end."""
        if len(body) < min(self._shortest, MIN_BEGINNING):
            return body
        forms = [form.encode() for form in self._forms]
        for form in forms:
            body = body.replace(form, REDACTED.encode())
        for form in forms:
            if form[:MIN_BEGINNING] not in body[-len(form) :]:
                continue
            for length in range(min(len(form) - 1, len(body)), MIN_BEGINNING - 1, -1):
                if body.endswith(form[:length]):
                    return body[:-length] + REDACTED.encode()
        return body


def _forms(secret: str) -> Iterable[str]:
    """Yield a secret as it may come back."""
    yield secret
    for encoded in (quote(secret), quote(secret, safe=""), quote_plus(secret)):
        yield encoded
        yield re.sub("%..", lambda escape: escape[0].lower(), encoded)
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield html.escape(secret)
    yield base64.b64encode(secret.encode()).decode().rstrip("=")
    yield base64.urlsafe_b64encode(secret.encode()).decode().rstrip("=")
