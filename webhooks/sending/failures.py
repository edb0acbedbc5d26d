"""Why an attempt failed, in one sentence of ours.

Nothing a receiver wrote ends up in it, nor a URL: both may hold secrets. But where a
receiver redirects to is told, without user, password, query and fragment.
"""

import logging
import ssl
import traceback
from urllib.parse import quote, urljoin, urlsplit

import requests

from webhooks.errors import WebhooksError

logger = logging.getLogger(__name__)

EXPIRED = "no complete answer before the deadline"
MAX_WRAPPINGS = 10
#: Moved Permanently, Found, See Other, Temporary Redirect, Permanent Redirect.
REDIRECTS = frozenset({301, 302, 303, 307, 308})
MAX_ADDRESS_LENGTH = 500
_OF_A_PATH = "/%:@!$&'()*+,;=~"
_CERTIFICATE_WANTED = "CERTIFICATE_REQUIRED"

# The first that fits, so the narrower ones stand first.
_SENTENCES: tuple[tuple[type[Exception], str], ...] = (
    (requests.exceptions.Timeout, "the receiver stopped answering"),
    (
        requests.exceptions.ConnectionError,
        "the connection broke or the answer was not HTTP",
    ),
    (requests.exceptions.InvalidHeader, "a header cannot be sent"),
    (UnicodeError, "a header cannot be sent"),
    (ValueError, "the URL is not allowed"),
)


def explain(error: Exception) -> str:
    """Return why a request could not be made or answered."""
    if isinstance(error, WebhooksError):
        return error.message
    if isinstance(error, requests.exceptions.SSLError):
        return _explain_tls(error)
    for kind, sentence in _SENTENCES:
        if isinstance(error, kind):
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


def _explain_tls(error: BaseException) -> str:
    """Find why a certificate was refused, in OpenSSL's words."""
    cause: BaseException | None = error
    # Three layers wrap it; the bound is for a chain that bites its tail.
    for _ in range(MAX_WRAPPINGS):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"TLS: {cause.verify_message}"
        if _CERTIFICATE_WANTED in str(getattr(cause, "reason", "")):
            return "TLS: the receiver demands a client certificate"
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
