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
        targets = {
            entry.path: safe_location(destination, entry.path) for entry in files
        }
        missing = [
            entry for entry in files if not _is_there(targets[entry.path], entry)
        ]
        self._total = sum(entry.size_bytes for entry in files)
        self._done = self._total - sum(entry.size_bytes for entry in missing)
        self._on_progress(self._done, self._total)
        if missing:
            with staged(destination, files, missing) as directory:
                for entry in missing:
                    self._fetch_verified(entry, safe_location(directory, entry.path))
        return [
            DownloadedFile(
                entry.path,
                targets[entry.path],
                entry.size_bytes,
                verified=entry.sha256 is not None,
            )
            for entry in files
        ]

    def _fetch_verified(self, entry: ArtifactFile, part: Path) -> None:
        """Fill a file, starting over once when one that was continued is wrong."""
        was_continued = part.stat().st_size > 0
        if entry.sha256 is None:
            _empty(part)
        self._fetch(entry, part)
        if not _matches(part, entry) and was_continued:
            _empty(part)
            self._fetch(entry, part)
        if not _matches(part, entry):
            expected = f"expected {entry.size_bytes} bytes, sha256 {entry.sha256}"
            raise ArtifactChangedError(
                f"{entry.path} is not what was registered: its size or sha256 differs.",
                [f"{entry.path}: {expected}"],
            )
        self._done += entry.size_bytes
        self._on_progress(self._done, self._total)

    def _fetch(self, entry: ArtifactFile, part: Path) -> None:
        """Fetch what is missing, continuing after a broken connection."""
        most_bytes, tries = part.stat().st_size, 0
        while True:
            try:
                self._fetch_rest(entry, part)
            except ServerUnreachableError:
                tries = 1 if part.stat().st_size > most_bytes else tries + 1
                if tries == DOWNLOAD_TRIES:
                    raise
                most_bytes = max(most_bytes, part.stat().st_size)
                time.sleep(FIRST_PAUSE_SECONDS * 2 ** (tries - 1))
            else:
                return

    def _fetch_rest(self, entry: ArtifactFile, part: Path) -> None:
        have = part.stat().st_size
        if have > entry.size_bytes:
            _empty(part)
            have = 0
        if have and have == entry.size_bytes:
            return
        path = f"{self._version_path}/artifacts/{quote(entry.path, safe='/')}"
        with self._transport.stream(path, _rest_of(entry, have)) as response:
            # 206 continues; a server that ignores ranges sends everything.
            is_rest = response.status_code == requests.codes.partial_content
            with part.open("ab" if is_rest else "wb") as file:
                self._copy(response, file, entry.size_bytes)

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


def _rest_of(entry: ArtifactFile, have: int) -> dict[str, str]:
    """Headers that ask for the rest of a file, if it is still that file."""
    if not have:
        return {}
    digest = (entry.sha256 or "").removeprefix("sha256:")
    return {"Range": f"bytes={have}-", "If-Range": f'"{digest}"'}


def _is_there(target: Path, entry: ArtifactFile) -> bool:
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
    return entry.sha256 is not None and _matches(target, entry)


def _matches(location: Path, entry: ArtifactFile) -> bool:
    if location.stat().st_size != entry.size_bytes:
        return False
    if entry.sha256 is None:
        return True
    with location.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return digest == entry.sha256.removeprefix("sha256:")


def _empty(file: Path) -> None:
    file.write_bytes(b"")
