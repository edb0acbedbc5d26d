"""Artifacts on their way from the registry.

Rules:

- A download goes to ``<name>.part``, is continued there after a break, and gets
  its name only once its digest is the registered one.
- What is there already, with the right digest, is not fetched again.
- No path from the server leads out of the destination.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import requests

from registry.client.transport import Transport
from registry.client.types import ArtifactFile, Progress
from registry.errors import (
    ArtifactChangedError,
    RegistryError,
    ServerUnreachableError,
)

#: What a broken connection loses at most, since a block arrives whole or not.
READ_BLOCK_BYTES = 128 * 1024
DOWNLOAD_TRIES = 4
PART_SUFFIX = ".part"


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
            RegistryError: for a path that leaves the destination.
        """
        targets = [(one, safe_location(destination, one.path)) for one in files]
        self._done, self._total = 0, sum(one.size_bytes for one in files)
        self._on_progress(0, self._total)
        return [self._download_one(one, target) for one, target in targets]

    def _download_one(self, one: ArtifactFile, target: Path) -> DownloadedFile:
        arrived = DownloadedFile(
            one.path, target, one.size_bytes, verified=one.sha256 is not None
        )
        if one.sha256 is None or not _is_there(target, one):
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(target.name + PART_SUFFIX)
            self._fetch_verified(one, part)
            part.replace(target)
        self._done += one.size_bytes
        self._on_progress(self._done, self._total)
        return arrived

    def _fetch_verified(self, one: ArtifactFile, part: Path) -> None:
        """Fill the part file, starting over once when a continued one is wrong."""
        if one.sha256 is None:
            part.unlink(missing_ok=True)
        was_continued = part.exists()
        self._fetch(one, part)
        if _matches(part, one):
            return
        part.unlink()
        if was_continued:
            self._fetch(one, part)
            if _matches(part, one):
                return
            part.unlink()
        raise ArtifactChangedError(
            f"{one.path} is not what was registered: its size or sha256 differs.",
            [f"{one.path}: expected {one.size_bytes} bytes, sha256 {one.sha256}"],
        )

    def _fetch(self, one: ArtifactFile, part: Path) -> None:
        """Fetch what is missing, continuing after a broken connection."""
        tries_left = DOWNLOAD_TRIES
        while True:
            try:
                self._fetch_rest(one, part)
            except ServerUnreachableError:
                tries_left -= 1
                if not tries_left:
                    raise
            else:
                return

    def _fetch_rest(self, one: ArtifactFile, part: Path) -> None:
        have = part.stat().st_size if part.exists() else 0
        if have > one.size_bytes:
            part.unlink()
            have = 0
        if have and have == one.size_bytes:
            return
        path = f"{self._version_path}/artifacts/{quote(one.path, safe='/')}"
        headers = {"Range": f"bytes={have}-"} if have else {}
        with self._transport.stream(path, headers) as response:
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


def safe_location(destination: Path, path: str) -> Path:
    """Where a path of an artifact lies below the destination.

    Raises:
        RegistryError: for a path that leads, or could lead, out of it.
    """
    segments = path.split("/")
    is_plain = not any(segment in {"", ".", ".."} for segment in segments)
    if not is_plain or any(character in path for character in "\\\0"):
        raise RegistryError(f"The server names a file {path!r}: refused as unsafe.")
    base = destination.resolve()
    location = base.joinpath(*segments)
    part = location.with_name(location.name + PART_SUFFIX)
    for one in (location, part):
        # Links that lie in the destination must not lead out of it either.
        if not one.resolve().is_relative_to(base):
            raise RegistryError(f"{one} leads out of {destination}: refused as unsafe.")
    return location


def _is_there(location: Path, one: ArtifactFile) -> bool:
    return location.is_file() and _matches(location, one)


def _matches(location: Path, one: ArtifactFile) -> bool:
    if location.stat().st_size != one.size_bytes:
        return False
    if one.sha256 is None:
        return True
    with location.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return digest == one.sha256.removeprefix("sha256:")
