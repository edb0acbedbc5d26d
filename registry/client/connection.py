"""The HTTP sessions under the client: sign-in and repetition.

Rules:

- What may be repeated without harm is repeated a bounded number of times when
  the connection fails or a gateway answers 502, 503 or 504: GET, HEAD, PUT (it
  states a result) and any request with an ``Idempotency-Key``.
- ``.netrc`` is never read (it would replace our ``Authorization``); proxy and
  certificate settings of the environment are honoured.
"""

import re
from collections.abc import Callable
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.response import BaseHTTPResponse
from urllib3.util.retry import Retry

from registry.errors import InvalidInputError

#: Bytes handed to the socket at a time; the default of 16 KiB makes large uploads
#: slower.
SEND_BLOCK_BYTES = 256 * 1024
RETRIES = 3
LONGEST_RETRY_WAIT_SECONDS = 30.0

#: One that is a function is asked for each request, and may change.
Token = str | Callable[[], str] | None

_TOKEN = re.compile(r"[\x21-\x7e]*")
_REPEATABLE_METHODS = frozenset({"GET", "HEAD", "PUT"})


class BearerToken(AuthBase):
    """Signs a request with a token, or sends it unsigned when there is none."""

    def __init__(self, token: Token) -> None:
        self._token = token if callable(token) else _checked_token(token)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header; having been asked keeps ``requests`` off ``.netrc``."""
        token = self._token
        if text := _checked_token(token()) if callable(token) else token:
            request.headers["Authorization"] = f"Bearer {text}"
        return request


class BoundedRetry(Retry):
    """A retry that listens to ``Retry-After``, within reason."""

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        """Return the seconds the server asks for, at most half a minute."""
        seconds = super().get_retry_after(response)
        return None if seconds is None else min(seconds, LONGEST_RETRY_WAIT_SECONDS)


class RepeatingAdapter(HTTPAdapter):
    """Repeats what is safe to repeat, and sends everything else once."""

    def __init__(self) -> None:
        super().__init__(
            max_retries=BoundedRetry(
                total=RETRIES,
                allowed_methods=None,
                status_forcelist=(502, 503, 504),
                backoff_factor=0.2,
                raise_on_status=False,
            )
        )
        self._once = HTTPAdapter(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  signature of requests
        """As in ``requests``, with larger blocks on the way out."""
        super().init_poolmanager(*args, **kwargs, blocksize=SEND_BLOCK_BYTES)

    def send(
        self,
        request: requests.PreparedRequest,
        *args: Any,  # noqa: ANN401  signature of requests
        **kwargs: Any,  # noqa: ANN401  signature of requests
    ) -> requests.Response:
        """Send once or repeatedly, as the request allows."""
        is_repeatable = (
            request.method in _REPEATABLE_METHODS
            or "Idempotency-Key" in request.headers
        )
        if is_repeatable:
            return super().send(request, *args, **kwargs)
        return self._once.send(request, *args, **kwargs)

    def close(self) -> None:
        """Close both pools of connections."""
        self._once.close()
        super().close()


def open_session(token: Token = None) -> requests.Session:
    """Return a session that signs with ``token``, or with nothing when there is none.

    Raises:
        InvalidInputError: when no token can look so.
    """
    session = requests.Session()
    session.auth = BearerToken(token)
    session.headers["User-Agent"] = "stagegate-client"
    session.headers["Accept"] = "application/json, application/problem+json, */*;q=0.5"
    for scheme in ("http://", "https://"):
        session.mount(scheme, RepeatingAdapter())
    return session


def _checked_token(token: str | None) -> str:
    stripped = (token or "").strip()
    if not _TOKEN.fullmatch(stripped):
        raise InvalidInputError(
            "The token contains characters no token has", field="token"
        )
    return stripped
