"""Whether another site makes a browser send a request: CSRF, decided without a token.

Rules, those of ``CrossOriginProtection`` in Go 1.25:

- Methods that change nothing pass: GET, HEAD, OPTIONS.
- ``Sec-Fetch-Site`` decides where there is one, as browsers send to https and to this
  machine: ``same-origin`` and ``none`` (typed, or a bookmark) pass, all else does not.
  ``same-site`` is refused: another name of one domain is another's.
- Else ``Origin`` decides, which must be our own; ``null`` is nobody's.
- Without either it is no browser of these years, and has nobody to act for.
"""

from urllib.parse import urlsplit

from flask import request

from registry.auth.hops import READING
from registry.errors import CrossOriginError
from registry.settings import Settings

_OURS = frozenset({"same-origin", "none"})
_PORTS = {"http": 80, "https": 443}


def is_cross_origin(
    method: str, *, fetch_site: str | None, origin: str | None, own: str
) -> bool:
    """Whether a request that may change something comes of another site."""
    if method in READING:
        return False
    if fetch_site:
        return fetch_site not in _OURS
    return bool(origin) and _place(origin or "") not in {_place(own)} - {None}


def refuse_cross_origin(settings: Settings) -> None:
    """Refuse the present request if another site has a browser send it.

    Raises:
        CrossOriginError: it does.
    """
    if is_cross_origin(
        request.method,
        fetch_site=request.headers.get("Sec-Fetch-Site"),
        origin=request.headers.get("Origin"),
        own=settings.public_url or f"{request.scheme}://{request.host}",
    ):
        raise CrossOriginError


def _place(address: str) -> tuple[str, str | None, int | None] | None:
    """Scheme, host and port of an address; None for what is none."""
    try:
        parts = urlsplit(address)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname else None
