"""Making a version: create it, send its artifact, wait until it is READY.

Rules:

- A registration that breaks off, by an error or by Ctrl-C, tells the server so
  that the version is FAILED_REGISTRATION and not pending for ever.
- Once finalized it is the server's work; a client that no longer waits leaves
  it alone.
- A key stands for one registration that came to something: what an earlier command
  with it left FAILED, or never finished, does not keep this one from its version.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TypeVar

import requests

from registry.client.transport import (
    Transport,
    json_object,
    path_of,
    was_replayed,
    was_sent_again,
)
from registry.client.types import (
    JsonObject,
    ModelVersion,
    Progress,
    VersionFacts,
)
from registry.client.uploads import LocalFile, Uploader
from registry.errors import (
    InvalidInputError,
    NotFoundError,
    RegistryError,
    WaitTimeoutError,
)

Found = TypeVar("Found")
Finish = Callable[[ModelVersion], ModelVersion]

PENDING = "PENDING_REGISTRATION"
FIRST_POLL_SECONDS = 0.05
LONGEST_POLL_SECONDS = 2.0


class Registration:
    """The registration of one version of a model."""

    def __init__(
        self,
        transport: Transport,
        model: str,
        wait_seconds: float,
        key: str | None = None,
    ) -> None:
        self._transport = transport
        self._versions_path = path_of("models", model, "versions")
        self._wait_seconds = wait_seconds
        self._key = key

    def begin(self, facts: VersionFacts, source: str | None = None) -> ModelVersion:
        """Make a version whose artifact is still to come, or to be checked."""
        return _version_in(self._create(_body(facts, source), None))

    def link(self, address: str, facts: VersionFacts) -> ModelVersion:
        """Make a version of artifacts that lie in a store already."""
        return self._made_once(_body(facts, address), self._ready)

    def upload(
        self,
        files: Sequence[LocalFile],
        facts: VersionFacts,
        on_progress: Progress | None,
    ) -> ModelVersion:
        """Make a version of local files."""

        def finish(version: ModelVersion) -> ModelVersion:
            try:
                finalized = self._send(version, files, on_progress)
            except BaseException as error:
                self._abort(version, error)
                raise
            return self._ready(finalized)

        self._check_names(files)
        return self._made_once(_body(facts, None), finish)

    def _check_names(self, files: Sequence[LocalFile]) -> None:
        """Hear what cannot be kept before there is a version, and bytes are sent.

        Raises:
            InvalidInputError: naming the file.
        """
        try:
            self._transport.request(
                "POST", "/uploads/check", body={"paths": [file.path for file in files]}
            )
        except InvalidInputError:
            raise
        except RegistryError:
            # An older server cannot tell, and what else is wrong is told again.
            return

    def _made_once(self, body: JsonObject, finish: Finish) -> ModelVersion:
        """Return a new version, finished; or the one made with the key before."""
        key = self._key
        while True:
            response = self._create(body, key)
            version = _version_in(response)
            if key is None or not was_replayed(response):
                return finish(version)
            now = as_it_is_now(self._transport, version)
            if now is None:  # gone, but it had been made
                return replace(version, replayed=True)
            is_unfinished = _is_unfinished(now, is_upload="source" not in body)
            if is_unfinished and was_sent_again(response):
                return finish(version)  # begun by this call, its answer lost
            if not is_unfinished and now.status != "FAILED_REGISTRATION":
                return replace(self._ready(now), replayed=True)
            key = type(key)(f"{key}-{version.version}")

    def _create(self, body: JsonObject, key: str | None) -> requests.Response:
        return self._transport.change(self._versions_path, body, idempotency_key=key)

    def _path_of(self, version: ModelVersion) -> str:
        return f"{self._versions_path}{path_of(version.version)}"

    def _send(
        self,
        version: ModelVersion,
        files: Sequence[LocalFile],
        on_progress: Progress | None,
    ) -> ModelVersion:
        path = self._path_of(version)
        uploaded = Uploader(self._transport, path, on_progress).upload(files)
        answer = self._transport.change(
            f"{path}/finalize", {"files": [asdict(file) for file in uploaded]}
        )
        return _version_in(answer)

    def _abort(self, version: ModelVersion, error: BaseException) -> None:
        """Give the version up; the error that led here is the one to report."""
        reason = (str(error) or type(error).__name__)[:500]
        path = f"{self._path_of(version)}/abort"
        with suppress(RegistryError):
            try:
                self._transport.change(path, {"reason": reason})
            except InvalidInputError:  # it quotes a name that no text may have
                self._transport.change(path, {"reason": ascii(reason)[:500]})

    def _ready(self, version: ModelVersion) -> ModelVersion:
        path = self._path_of(version)
        latest = [version]

        def settled() -> ModelVersion | None:
            if latest[0].status == PENDING:
                latest[0] = ModelVersion.from_json(self._transport.get(path))
            return None if latest[0].status == PENDING else latest[0]

        ready = wait_for(
            settled, self._wait_seconds, lambda: f"version {version.version}"
        )
        if ready.status != "READY":
            raise RegistryError(
                f"Registering {ready.model} version {ready.version} failed: "
                f"{ready.status_message or ready.status}"
            )
        return ready


def _version_in(response: requests.Response) -> ModelVersion:
    return ModelVersion.from_json(json_object(response))


def as_it_is_now(transport: Transport, version: ModelVersion) -> ModelVersion | None:
    """Return the version as it stands now; None when it, or its model, is gone."""
    path = path_of("models", version.model, "versions", version.version)
    try:
        now = ModelVersion.from_json(transport.get(path))
    except NotFoundError:
        return None
    # A model of the same name may have been made since, with numbers of its own.
    return now if now.created_at == version.created_at else None


def _is_unfinished(version: ModelVersion, *, is_upload: bool) -> bool:
    """Whether an upload was never completed, for all that is known.

    The server says of one that is complete what it does with it.
    """
    return is_upload and version.status == PENDING and not version.status_message


def _body(facts: VersionFacts, source: str | None) -> JsonObject:
    return {**facts} if source is None else {"source": source, **facts}


def is_address(source: str | Path) -> bool:
    """Whether a source is an address to link, not a path to upload."""
    if isinstance(source, Path) or Path(source).exists():
        return False
    scheme, colon, _rest = source.partition(":")
    # One letter before a colon is a drive.
    return bool(colon) and len(scheme) > 1 and scheme.replace("-", "").isalnum()


def wait_for(
    look: Callable[[], Found | None], timeout_seconds: float, what: Callable[[], str]
) -> Found:
    """Look again and again, less and less often, until there is something.

    Raises:
        WaitTimeoutError: when the time is up, after a last look.
    """
    ends_at = time.monotonic() + timeout_seconds
    pause_seconds = FIRST_POLL_SECONDS
    while True:
        result = look()
        if result is not None:
            return result
        left = ends_at - time.monotonic()
        if left <= 0:
            raise WaitTimeoutError(
                f"Gave up waiting {timeout_seconds:g} s for {what()}."
            )
        time.sleep(min(pause_seconds, left))
        pause_seconds = min(pause_seconds * 1.5, LONGEST_POLL_SECONDS)
