"""Requests to one registry: addresses, errors, paging.

Rules:

- The token goes to the registry's own address and nowhere else: redirects are
  not followed, and addresses of an artifact store get no ``Authorization``.
- Every failure leaves as an error of ``registry.errors``.
"""

import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import SupportsIndex, TypeGuard
from urllib.parse import quote

import requests
from urllib3.exceptions import HTTPError

from registry.addresses import masked, server_address
from registry.client.connection import Token, open_session
from registry.client.problems import error_from
from registry.client.types import JsonObject
from registry.errors import InvalidInputError, RegistryError, ServerUnreachableError

API_PATH = "/api/v1"
CONNECT_TIMEOUT_SECONDS = 10
PAGE_SIZE = 200

#: Absent parameters are left out of the query.
Query = Mapping[str, str | int | None]

#: What ``requests`` sends as it is, with a length: an iterable with ``read``.
UploadBody = bytes | Iterable[bytes]

_HEADER = re.compile(r"[\x20-\x7e]*")
_MAX_DIGITS = 20


class EffectKey(str):
    """An idempotency key that stands for what a request is to achieve.

    A repetition may put it in other words, such as another reason, and is answered
    with what was done the first time.
    """

    __slots__ = ()


class Transport:
    """Requests to one registry, and to the artifact store it points to."""

    def __init__(self, url: str, token: Token, *, timeout_seconds: float) -> None:
        self.base_url = _checked_url(url)
        self._timeout = (CONNECT_TIMEOUT_SECONDS, timeout_seconds)
        self._registry = open_session(token)
        self._store = open_session()

    def close(self) -> None:
        """Close the connections."""
        self._registry.close()
        self._store.close()

    def url_of(self, path: str) -> str:
        """Return the address of an API path."""
        return f"{self.base_url}{API_PATH}{path}"

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: JsonObject | None = None,
        headers: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> requests.Response:
        """Call the API and return a successful response.

        Raises:
            InvalidInputError: for what cannot stand in a header.
            RegistryError: what the server said, as its class.
            ServerUnreachableError: when there was no answer.
        """
        sent = dict(headers or {})
        if idempotency_key is not None:
            sent["Idempotency-Key"] = idempotency_key
        if isinstance(idempotency_key, EffectKey):
            sent["Prefer"] = "handling=lenient"
        _check_headers(sent)
        with unreachable_named(self.base_url):
            response = self._registry.request(
                method,
                self.url_of(path),
                params=dict(query or {}),
                json=body,
                headers=sent,
                timeout=self._timeout,
                allow_redirects=False,
            )
        return _successful(response)

    def get(self, path: str, query: Query | None = None) -> JsonObject:
        """GET one JSON object."""
        return json_object(self.request("GET", path, query=query))

    def change(
        self,
        path: str,
        body: JsonObject,
        *,
        idempotency_key: str | None = None,
    ) -> requests.Response:
        """POST a change under a key, a fresh one unless given.

        A fresh key makes this one call safe to repeat when its answer is lost.
        """
        key = idempotency_key or f"client-{uuid.uuid4()}"
        return self.request("POST", path, body=body, idempotency_key=key)

    def pages(
        self,
        path: str,
        query: Query | None = None,
        *,
        page_size: int | None = PAGE_SIZE,
    ) -> Iterator[JsonObject]:
        """Yield every item of a list, page after page, as it is asked for.

        A list that is answered whole takes no ``page_size``.
        """
        parameters = {"limit": page_size, **(query or {})}
        while True:
            page = self.get(path, parameters)
            yield from page.get("items", ())
            cursor = page.get("next_cursor")
            if not cursor:
                return
            parameters["cursor"] = cursor

    @contextmanager
    def stream(
        self, path: str, headers: Mapping[str, str] | None = None
    ) -> Iterator[requests.Response]:
        """GET a body piece by piece, from the store when sent there.

        The store knows a file by another entity tag, so ``If-Range`` is not for it.

        Raises:
            RegistryError: what the server said, as its class.
        """
        with unreachable_named(self.base_url):
            response = self._fetch(self._registry, self.url_of(path), headers)
            if response.is_redirect:
                address = requests.compat.urljoin(
                    response.url, response.headers["Location"]
                )
                response.close()
                sent = {k: v for k, v in (headers or {}).items() if k != "If-Range"}
                # The store's session: our token must not reach another host.
                response = self._fetch(self._store, address, sent)
            with response:
                yield _successful(response)

    def put_file(
        self,
        url: str,
        body: UploadBody,
        *,
        headers: Mapping[str, str],
        is_ours: bool,
    ) -> requests.Response:
        """PUT a body to the registry, or unsigned to its artifact store."""
        session = self._registry if is_ours else self._store
        with unreachable_named(masked(url)):
            response = session.put(
                url,
                data=body,
                headers=dict(headers),
                timeout=self._timeout,
                allow_redirects=False,
            )
        return _successful(response)

    def _fetch(
        self, session: requests.Session, url: str, headers: Mapping[str, str] | None
    ) -> requests.Response:
        return session.get(
            url,
            # Digests are over the bytes as stored, and so are ranges.
            headers={"Accept-Encoding": "identity", **(headers or {})},
            timeout=self._timeout,
            allow_redirects=False,
            stream=True,
        )


def was_replayed(response: requests.Response) -> bool:
    """Whether a key's earlier answer came again, and nothing was done now."""
    return response.headers.get("Idempotent-Replayed") == "true"


def was_sent_again(response: requests.Response) -> bool:
    """Whether the request was repeated on the way, its first answer lost."""
    retries = getattr(response.raw, "retries", None)
    return bool(retries and retries.history)


def path_of(*segments: str | int) -> str:
    """Return an API path of escaped segments.

    Raises:
        InvalidInputError: for a segment that would lead elsewhere.
    """
    for segment in segments:
        if str(segment) in {"", ".", ".."}:
            raise InvalidInputError(f"{str(segment)!r} is not a name")
    return "".join(f"/{quote(str(segment), safe='')}" for segment in segments)


def version_path(model: str, version: int, *further: str) -> str:
    """Return the API path of a version.

    Raises:
        InvalidInputError: as ``version_number``.
    """
    return path_of("models", model, "versions", version_number(version), *further)


def version_number(version: object) -> int:
    """Return the number of a version; text of digits is one too, as MLflow writes it.

    Raises:
        InvalidInputError: when it is no whole number from 1 on.
    """
    number = int(version) if _is_number(version) else 0
    if number < 1:
        raise InvalidInputError(
            f"a version is a whole number from 1 on, not {version!r:.80}",
            field="version",
        )
    return number


def _is_number(version: object) -> TypeGuard[SupportsIndex | str]:
    if isinstance(version, str):
        return version.isascii() and version.isdigit() and len(version) < _MAX_DIGITS
    return isinstance(version, SupportsIndex) and not isinstance(version, bool)


def rfc3339(instant: datetime) -> str:
    """Return an instant as the API writes it."""
    utc = instant.astimezone(UTC).replace(tzinfo=None)
    return f"{utc.isoformat(timespec='microseconds')}Z"


def json_object(response: requests.Response) -> JsonObject:
    """Return the JSON object of a response.

    Raises:
        RegistryError: when the body is something else.
    """
    try:
        document = response.json()
    except requests.exceptions.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise RegistryError(
            f"{masked(response.url)} did not answer with a JSON object:"
            " is this a registry?"
        )
    return document


def _checked_url(url: str) -> str:
    try:
        address = server_address(url)
    except ValueError as error:
        raise InvalidInputError(
            f"This is not the address of a registry: {error}", field="url"
        ) from error
    return address.removesuffix(API_PATH).rstrip("/")


def _check_headers(headers: Mapping[str, str]) -> None:
    """Hold what a caller gave to what a header can say, whatever its encoding."""
    for name, value in headers.items():
        if not _HEADER.fullmatch(value):
            raise InvalidInputError(
                f"{name} must be one line of ASCII text, not {value!a}", field=name
            )


def _successful(response: requests.Response) -> requests.Response:
    if response.is_redirect:
        target = masked(response.headers["Location"].partition("?")[0])
        raise RegistryError(
            f"The server redirects to {target}; use that server's address instead."
        )
    if not response.ok:
        raise error_from(response)
    return response


@contextmanager
def unreachable_named(address: str) -> Iterator[None]:
    """Translate the failures of the network.

    Raises:
        InvalidInputError: when the request could not be written (NaN has no JSON).
        ServerUnreachableError: naming the address and the cause.
    """
    try:
        yield
    except requests.exceptions.InvalidJSONError as error:
        raise InvalidInputError(f"A value cannot be sent as JSON: {error}") from error
    except (requests.exceptions.RequestException, HTTPError) as error:
        raise ServerUnreachableError(
            f"No usable answer from {address}: {_cause(error)}"
        ) from error


def _cause(error: BaseException) -> str:
    """Return the innermost reason, in place of the layers wrapped around it."""
    while True:
        inner = error.__cause__ or error.__context__
        if inner is None:
            break
        error = inner
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return masked(str(error)).rpartition(": ")[2] or type(error).__name__
