"""Artifacts on their way from the registry.

Rules:

- The destination gets files whose digests are the registered ones, and gets them when
  all are there (``registry.client.staging``).
- A download goes on where it broke off, in the same call and in a later one.
- What is there already, with the right digest, is not fetched again.
- No path from the server leads out of the destination.
"""

import hashlib
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import requests

from registry.client.staging import safe_location, staged
from registry.client.transport import Transport
from registry.client.types import ArtifactFile, Progress
from registry.errors import (
    ArtifactChangedError,
    RegistryError,
    ServerUnreachableError,
)

#: What a broken connection loses at most, since a block arrives whole or not.
READ_BLOCK_BYTES = 128 * 1024
#: So many times in a row a file is asked for in vain. With the pauses, which double,
#: and what the transport repeats, a server has ten seconds to be started again.
DOWNLOAD_TRIES = 4
FIRST_PAUSE_SECONDS = 0.5


@dataclass(frozen=True)
class DownloadedFile:
    """A file that arrived.

    ``verified`` is false when the registry has no digest to compare with.
    """

    path: str
    location: Path
    size_bytes: int
    verified: bool


class Downloader:
    """Fetches files of one version into a directory."""

    def __init__(
        self, transport: Transport, version_path: str, on_progress: Progress | None
    ) -> None:
        self._transport = transport
        self._version_path = version_path
        self._on_progress = on_progress or (lambda _done, _total: None)
        self._done = 0
        self._total = 0

    def download(
        self, files: list[ArtifactFile], destination: Path
    ) -> list[DownloadedFile]:
        """Fetch files, skipping those that are there already.

        Raises:
            ArtifactChangedError: when a digest is not the registered one.
            RegistryError: for a path that leaves the destination, or that it cannot
                hold.
        """
        targets = {one.path: safe_location(destination, one.path) for one in files}
        missing = [one for one in files if not _is_there(targets[one.path], one)]
        self._total = sum(one.size_bytes for one in files)
        self._done = self._total - sum(one.size_bytes for one in missing)
        self._on_progress(self._done, self._total)
        if missing:
            with staged(destination, files, missing) as directory:
                for one in missing:
                    self._fetch_verified(one, safe_location(directory, one.path))
        return [
            DownloadedFile(
                one.path,
                targets[one.path],
                one.size_bytes,
                verified=one.sha256 is not None,
            )
            for one in files
        ]

    def _fetch_verified(self, one: ArtifactFile, part: Path) -> None:
        """Fill a file, starting over once when one that was continued is wrong."""
        was_continued = part.stat().st_size > 0
        if one.sha256 is None:
            _empty(part)
        self._fetch(one, part)
        if not _matches(part, one) and was_continued:
            _empty(part)
            self._fetch(one, part)
        if not _matches(part, one):
            raise ArtifactChangedError(
                f"{one.path} is not what was registered: its size or sha256 differs.",
                [f"{one.path}: expected {one.size_bytes} bytes, sha256 {one.sha256}"],
            )
        self._done += one.size_bytes
        self._on_progress(self._done, self._total)

    def _fetch(self, one: ArtifactFile, part: Path) -> None:
        """Fetch what is missing, continuing after a broken connection."""
        most_bytes, tries = part.stat().st_size, 0
        while True:
            try:
                self._fetch_rest(one, part)
            except ServerUnreachableError:
                tries = 1 if part.stat().st_size > most_bytes else tries + 1
                if tries == DOWNLOAD_TRIES:
                    raise
                most_bytes = max(most_bytes, part.stat().st_size)
                time.sleep(FIRST_PAUSE_SECONDS * 2 ** (tries - 1))
            else:
                return

    def _fetch_rest(self, one: ArtifactFile, part: Path) -> None:
        have = part.stat().st_size
        if have > one.size_bytes:
            _empty(part)
            have = 0
        if have and have == one.size_bytes:
            return
        path = f"{self._version_path}/artifacts/{quote(one.path, safe='/')}"
        with self._transport.stream(path, _rest_of(one, have)) as response:
            # 206 continues; a server that ignores ranges sends everything.
            is_rest = response.status_code == requests.codes.partial_content
            with part.open("ab" if is_rest else "wb") as file:
                self._copy(response, file, one.size_bytes)

    def _copy(
        self, response: requests.Response, file: BinaryIO, size_bytes: int
    ) -> None:
        position = file.tell()
        for block in response.iter_content(READ_BLOCK_BYTES):
            position += len(block)
            if position > size_bytes:
                # The digest will not match; no need to fill the disk first.
                file.write(block[:1])
                return
            file.write(block)
            self._on_progress(self._done + position, self._total)


def _rest_of(one: ArtifactFile, have: int) -> dict[str, str]:
    """Headers that ask for the rest of a file, if it is still that file."""
    if not have:
        return {}
    digest = (one.sha256 or "").removeprefix("sha256:")
    return {"Range": f"bytes={have}-", "If-Range": f'"{digest}"'}


def _is_there(target: Path, one: ArtifactFile) -> bool:
    """Whether a file need not be fetched.

    Raises:
        RegistryError: when something is in its place that is no file.
    """
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return False
    except OSError as error:
        raise RegistryError(f"{target} cannot be made: {error.strerror}.") from error
    if not stat.S_ISREG(mode):
        raise RegistryError(f"{target} is there, and is no file.")
    return one.sha256 is not None and _matches(target, one)


def _matches(location: Path, one: ArtifactFile) -> bool:
    if location.stat().st_size != one.size_bytes:
        return False
    if one.sha256 is None:
        return True
    with location.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return digest == one.sha256.removeprefix("sha256:")


def _empty(file: Path) -> None:
    file.write_bytes(b"")
