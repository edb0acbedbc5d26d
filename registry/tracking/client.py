"""Reads an MLflow tracking server: one run, one logged model.

Rules:

- Two GETs of the REST API and nothing else; nothing is ever written there.
- An exchange ends within ``TOTAL_SECONDS`` whatever the server does, and an answer
  has ``MAX_ANSWER_BYTES`` at most. One that hangs is then left alone for
  ``REST_SECONDS``, so that it does not hold one thread of ours after the other.
- The credential goes to the operator's address alone: redirects are not followed
  and ``.netrc`` is not read. Proxy and certificate settings of the environment hold.
- It is never asked while anything is locked; who calls sees to that.
"""

import json
import threading
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import requests
from requests.auth import AuthBase, HTTPBasicAuth
from urllib3.exceptions import HTTPError

from registry.errors import NotFoundError, TrackingServerError
from registry.tracking.documents import LoggedModel, Run, read_logged_model, read_run

CONNECT_SECONDS = 3.0
READ_SECONDS = 8.0
TOTAL_SECONDS = 10.0
REST_SECONDS = 30.0
#: A run with 10,000 params of 500 characters, or as many metrics, is smaller.
MAX_ANSWER_BYTES = 8 * 1024 * 1024

_PREFIX = "/api/2.0/mlflow"
_CHUNK_BYTES = 64 * 1024
_TEMPORARY = frozenset({408, 425, 429})


@dataclass(frozen=True, kw_only=True)
class TrackingAccess:
    """Where the tracking server is and how to sign in; all but the URL may be empty.

    Attributes:
        url: without a trailing slash; it holds no credential.
    """

    url: str
    token: str = field(default="", repr=False)
    username: str = ""
    password: str = field(default="", repr=False)


class TrackingServer:
    """A tracking server; thread-safe, since it keeps no connection."""

    def __init__(
        self, access: TrackingAccess, *, total_seconds: float = TOTAL_SECONDS
    ) -> None:
        self._access = access
        self._total_seconds = total_seconds
        self._ask_again_at = 0.0

    @property
    def url(self) -> str:
        """Its address, as the operator gave it."""
        return self._access.url

    def run_url(self, experiment_id: str, run_id: str) -> str:
        """Where a person sees the run."""
        experiment = quote(experiment_id, safe="")
        return f"{self.url}/#/experiments/{experiment}/runs/{quote(run_id, safe='')}"

    def get_run(self, run_id: str) -> Run:
        """One run.

        Raises:
            NotFoundError: the server has no such run.
            TrackingServerError: it did not answer, or not with a run.
        """
        what = f"run {run_id!r}"
        run = read_run(self._get("/runs/get", what, run_id=run_id))
        if run is None or run.run_id != run_id:
            raise _no_answer(f"no {what} in its answer", is_temporary=False)
        return run

    def get_logged_model(self, model_id: str) -> LoggedModel:
        """One logged model.

        Raises:
            NotFoundError: the server has no such model.
            TrackingServerError: it did not answer, or not with a logged model.
        """
        what = f"logged model {model_id!r}"
        path = f"/logged-models/{quote(model_id, safe='')}"
        model = read_logged_model(self._get(path, what))
        if model is None or model.model_id != model_id:
            raise _no_answer(f"no {what} in its answer", is_temporary=False)
        return model

    def _get(self, path: str, what: str, **query: str) -> dict[str, Any]:
        status, body = self._exchange(_PREFIX + path, query)
        if status == HTTPStatus.NOT_FOUND:
            raise NotFoundError(f"the tracking server has no {what}")
        if status != HTTPStatus.OK:
            is_temporary = status >= HTTPStatus.INTERNAL_SERVER_ERROR
            raise _no_answer(
                f"it answered {status} when asked for {what}",
                is_temporary=is_temporary or status in _TEMPORARY,
            )
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise _no_answer("it did not answer with JSON", is_temporary=False)
        return document

    def _exchange(self, path: str, query: dict[str, str]) -> tuple[int, bytes]:
        if time.monotonic() < self._ask_again_at:
            raise _no_answer("it hung a moment ago", is_temporary=True)
        exchange = _Exchange(self._access, path, query, seconds=self._total_seconds)
        try:
            return exchange.result()
        finally:
            if exchange.has_hung:
                self._ask_again_at = time.monotonic() + REST_SECONDS


class _Exchange:
    """One GET in a thread of its own, so that its end does not hang on the server.

    Timeouts of a socket hold for one read. A head that drips is left to the thread,
    which ends with the server.
    """

    def __init__(
        self,
        access: TrackingAccess,
        path: str,
        query: dict[str, str],
        *,
        seconds: float,
    ) -> None:
        self._access = access
        self._url = access.url + path
        self._query = query
        self._give_up_at = time.monotonic() + seconds
        self._answer: tuple[int, bytes] | None = None
        self._error: Exception | None = None
        self.has_hung = False

    def result(self) -> tuple[int, bytes]:
        """Status and body.

        Raises:
            TrackingServerError: there was no answer in time, or too long a one.
        """
        thread = threading.Thread(target=self._run, name="tracking", daemon=True)
        thread.start()
        thread.join(max(0.0, self._give_up_at - time.monotonic()))
        if self._error is not None:
            raise self._error
        if self._answer is None:
            raise self._hung()
        return self._answer

    def _hung(self) -> TrackingServerError:
        self.has_hung = True
        return _no_answer("it did not answer in time", is_temporary=True)

    def _run(self) -> None:
        try:
            self._answer = self._exchanged()
        except TrackingServerError as error:
            self._error = error
        except requests.Timeout:
            self._error = self._hung()
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            self._error = _no_answer(
                f"{type(error).__name__} at {self._access.url}", is_temporary=True
            )
            self._error.__cause__ = error

    def _exchanged(self) -> tuple[int, bytes]:
        with (
            requests.Session() as session,
            session.get(
                self._url,
                params=self._query,
                auth=_auth(self._access),
                headers={"Accept": "application/json", "User-Agent": "stagegate"},
                timeout=(CONNECT_SECONDS, READ_SECONDS),
                allow_redirects=False,
                stream=True,
            ) as response,
        ):
            return response.status_code, self._body(response)

    def _body(self, response: requests.Response) -> bytes:
        body = bytearray()
        for chunk in response.iter_content(_CHUNK_BYTES):
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise _no_answer(
                    f"its answer has more than {MAX_ANSWER_BYTES} bytes",
                    is_temporary=False,
                )
            if time.monotonic() > self._give_up_at:
                raise self._hung()
        return bytes(body)


class _Token(AuthBase):
    """Bearer, or nothing; having been asked keeps ``requests`` off ``.netrc``."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header."""
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _auth(access: TrackingAccess) -> AuthBase:
    if access.username:
        # As bytes: requests would encode a text as Latin-1, and fail on others.
        return HTTPBasicAuth(access.username.encode(), access.password.encode())
    return _Token(access.token)


def _no_answer(reason: str, *, is_temporary: bool) -> TrackingServerError:
    return TrackingServerError(
        f"the tracking server did not answer as it should: {reason}",
        is_temporary=is_temporary,
    )
