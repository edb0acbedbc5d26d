"""Reads an MLflow tracking server: runs, logged models, and artifacts it hands out.

Rules:

- GETs of the REST API and nothing else; nothing is ever written there.
- An exchange ends within ``TOTAL_SECONDS`` whatever the server does, and an answer
  has ``MAX_ANSWER_BYTES`` at most. One that hangs is then left alone for
  ``REST_SECONDS``, so that it does not hold one thread of ours after the other.
- A file is read as it comes. The server may fetch all of it from its own store before
  it sends the first byte, so that it has ``FILE_SECONDS`` to begin; after that it must
  have sent ``MIN_BYTES_PER_SECOND``.
- The credential goes to the operator's address alone: redirects are not followed
  and ``.netrc`` is not read. Proxy and certificate settings of the environment hold.
- It is never asked while anything is locked; who calls sees to that.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import quote

import requests
from requests.auth import AuthBase, HTTPBasicAuth
from urllib3.exceptions import HTTPError

from registry.errors import (
    ArtifactAccessDeniedError,
    ArtifactNotFoundError,
    NotFoundError,
    TrackingServerError,
)
from registry.tracking.documents import (
    ListedFile,
    LoggedModel,
    Run,
    read_files,
    read_logged_model,
    read_run,
)

CONNECT_SECONDS = 3.0
READ_SECONDS = 8.0
TOTAL_SECONDS = 10.0
REST_SECONDS = 30.0
FILE_SECONDS = 120.0
MIN_BYTES_PER_SECOND = 64 * 1024
#: A run with 10,000 params of 500 characters, or as many metrics, is smaller.
MAX_ANSWER_BYTES = 8 * 1024 * 1024

_PREFIX = "/api/2.0/mlflow"
_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
_CHUNK_BYTES = 64 * 1024
_FILE_CHUNK_BYTES = 1024 * 1024
_TEMPORARY = frozenset({408, 425, 429})

Found = TypeVar("Found")


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

    def logged_model_url(self, experiment_id: str, model_id: str) -> str:
        """Where a person sees the logged model."""
        experiment = quote(experiment_id, safe="")
        model = quote(model_id, safe="")
        return f"{self.url}/#/experiments/{experiment}/models/{model}"

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

    def list_files(self, path: str) -> Sequence[ListedFile]:
        """What lies directly in a directory of its artifacts; nothing if none does.

        Raises:
            ArtifactAccessDeniedError: it will not say, or hands out no artifacts.
            TrackingServerError: it did not answer.
        """
        what = f"the artifacts at {path!r}"
        try:
            return read_files(self._ask(_ARTIFACTS, what, {"path": path}))
        except NotFoundError as error:  # a directory that is not there is empty
            raise ArtifactAccessDeniedError(error.message) from error
        except TrackingServerError as error:
            if error.is_temporary:
                raise
            raise ArtifactAccessDeniedError(error.message) from error

    @contextmanager
    def open_file(self, path: str) -> Iterator[Iterator[bytes]]:
        """Stream a file of its artifacts.

        Raises:
            ArtifactNotFoundError: it has no such file.
            ArtifactAccessDeniedError: it will not hand it out.
            TrackingServerError: it did not answer, or became too slow.
        """
        began_at, what = time.monotonic(), f"the artifact {path!r}"
        url = f"{self._access.url}{_ARTIFACTS}/{quote(path, safe='/')}"
        with requests.Session() as session:
            response = self._within(
                FILE_SECONDS,
                lambda: self._send(session, url, {}, patience=FILE_SECONDS),
            )
            with response:
                _require_file(response.status_code, what)
                yield _chunks(response, began_at, what)

    def _get(self, path: str, what: str, **query: str) -> dict[str, Any]:
        return self._ask(_PREFIX + path, what, query)

    def _ask(self, path: str, what: str, query: dict[str, str]) -> dict[str, Any]:
        give_up_at = time.monotonic() + self._total_seconds
        url = self._access.url + path
        status, body = self._within(
            self._total_seconds, lambda: self._exchanged(url, query, give_up_at)
        )
        if status == HTTPStatus.NOT_FOUND:
            raise NotFoundError(f"the tracking server has no {what}")
        if status != HTTPStatus.OK:
            raise _no_answer(
                f"it answered {status} when asked for {what}",
                is_temporary=_is_temporary(status),
            )
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise _no_answer("it did not answer with JSON", is_temporary=False)
        return document

    def _within(self, seconds: float, work: Callable[[], Found]) -> Found:
        """What the work gives, which asks the server, or that it hangs."""
        if time.monotonic() < self._ask_again_at:
            raise _no_answer("it hung a moment ago", is_temporary=True)
        try:
            return _outcome(work, seconds)
        except requests.Timeout as error:
            raise self._hung() from error
        except TimeoutError as error:
            raise self._hung() from error
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            raise _no_answer(
                f"{type(error).__name__} at {self._access.url}", is_temporary=True
            ) from error

    def _hung(self) -> TrackingServerError:
        self._ask_again_at = time.monotonic() + REST_SECONDS
        return _no_answer("it did not answer in time", is_temporary=True)

    def _exchanged(
        self, url: str, query: dict[str, str], give_up_at: float
    ) -> tuple[int, bytes]:
        with (
            requests.Session() as session,
            self._send(session, url, query, patience=READ_SECONDS) as response,
        ):
            return response.status_code, _body(response, give_up_at)

    def _send(
        self,
        session: requests.Session,
        url: str,
        query: dict[str, str],
        *,
        patience: float,
    ) -> requests.Response:
        return session.get(
            url,
            params=query,
            auth=_auth(self._access),
            headers={
                "Accept": "application/json, */*",
                "Accept-Encoding": "identity",
                "User-Agent": "stagegate",
            },
            timeout=(CONNECT_SECONDS, patience),
            allow_redirects=False,
            stream=True,
        )


def _outcome(work: Callable[[], Found], seconds: float) -> Found:
    """What the work gives or raises, in a thread of its own.

    Timeouts of a socket hold for one read. A head that drips is left to the thread,
    which ends with the server.

    Raises:
        TimeoutError: it takes longer.
    """
    outcome: Future[Found] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except Exception as error:  # noqa: BLE001  # whoever waits hears of it
            outcome.set_exception(error)

    threading.Thread(target=run, name="tracking", daemon=True).start()
    return outcome.result(max(0.0, seconds))


def _body(response: requests.Response, give_up_at: float) -> bytes:
    body = bytearray()
    for chunk in response.iter_content(_CHUNK_BYTES):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise _no_answer(
                f"its answer has more than {MAX_ANSWER_BYTES} bytes", is_temporary=False
            )
        if time.monotonic() > give_up_at:
            raise TimeoutError
    return bytes(body)


def _require_file(status: int, what: str) -> None:
    if status == HTTPStatus.OK:
        return
    if status == HTTPStatus.NOT_FOUND:
        raise ArtifactNotFoundError(f"the tracking server does not have {what}")
    said = f"it answered {status} when asked for {what}"
    if _is_temporary(status):
        raise _no_answer(said, is_temporary=True)
    raise ArtifactAccessDeniedError(f"the tracking server does not hand it out: {said}")


def _chunks(response: requests.Response, began_at: float, what: str) -> Iterator[bytes]:
    passed = 0
    while True:
        try:
            # As much as has come, so that who drips is found out.
            chunk = response.raw.read1(_FILE_CHUNK_BYTES, decode_content=False)
        except (HTTPError, OSError) as error:
            raise _no_answer(
                f"{type(error).__name__} while it sent {what}", is_temporary=True
            ) from error
        if not chunk:
            return
        passed += len(chunk)
        allowed = FILE_SECONDS + passed / MIN_BYTES_PER_SECOND
        if time.monotonic() > began_at + allowed:
            raise _no_answer(f"it sent {what} too slowly", is_temporary=True)
        yield chunk


def _is_temporary(status: int) -> bool:
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TEMPORARY


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
