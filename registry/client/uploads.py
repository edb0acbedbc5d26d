"""Artifacts on their way to the registry.

Rules:

- A file is never whole in memory; its sha256 is computed as it is sent.
- A file is sent under the name it has, in whatever Unicode form.
- Links to files of the same directory are followed. One that leads out, or to a
  directory, is refused unless all are to be followed: an upload must not take what
  nobody sees in it, nor leave something out in silence.
"""

import hashlib
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urlsplit

import requests

from registry.client.transport import Transport, json_object
from registry.client.types import JsonObject, Progress
from registry.errors import ArtifactChangedError, InvalidInputError

READ_BLOCK_BYTES = 1024 * 1024
#: From the beginning of a path, what ends in the first hidden file or directory.
_HIDDEN = re.compile(r"(?:[^./][^/]*/)*\.[^/]*/?")


@dataclass(frozen=True)
class LocalFile:
    """A file to upload, under the path it gets in the artifact."""

    path: str
    location: Path
    size_bytes: int


@dataclass(frozen=True)
class UploadedFile:
    """A file as the manifest lists it."""

    path: str
    size_bytes: int
    sha256: str


def local_files(source: Path, *, follow_links: bool = False) -> list[LocalFile]:
    """Return the files of an artifact: one file, or all below a directory.

    Args:
        source: a link that is named here is followed.
        follow_links: also links that lead out of the directory, or to directories.

    Raises:
        InvalidInputError: when there is nothing to upload, something that is neither
            a file nor a directory of files, or a link that is not to be followed.
    """
    if not source.exists():
        raise InvalidInputError(f"{source} does not exist", field="source")
    if not source.is_dir():
        return [_local_file(source, source.name)]
    inside = None if follow_links else source.resolve()
    files = [
        _local_file(location, location.relative_to(source).as_posix())
        for location in _locations(source, inside)
    ]
    if not files:
        raise InvalidInputError(f"{source} holds no file", field="source")
    return sorted(files, key=lambda file: file.path)


def artifact_digest(files: Sequence[LocalFile]) -> str:
    """Return what tells artifacts apart: a SHA-256 over the files and their names."""
    digest = hashlib.sha256()
    for entry in files:
        with entry.location.open("rb") as file:
            own = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{own} {entry.path}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def hidden_in(files: Sequence[LocalFile]) -> list[str]:
    """Return what a listing hides, such as ``.env``, and ``.git/`` for all below it."""
    matches = (_HIDDEN.match(entry.path) for entry in files)
    return sorted({hidden[0] for hidden in matches if hidden})


def _locations(
    directory: Path, inside: Path | None, above: frozenset[Path] = frozenset()
) -> Iterator[Path]:
    """Yield every file below; links must not lead out of ``inside``, if any."""
    here = directory.resolve()
    if here in above:
        raise _refused(directory, "a link to a directory that it lies in")
    for location in directory.iterdir():
        if inside and location.is_symlink() and location.exists():
            _require_inside(location, inside)
        if location.is_dir():
            yield from _locations(location, inside, above | {here})
        else:
            yield location


def _require_inside(link: Path, directory: Path) -> None:
    target = link.resolve()
    if target.is_dir():
        raise _refused(link, "a link to a directory", can_follow=True)
    if not target.is_relative_to(directory):
        raise _refused(
            link, f"a link to {target}, outside of {directory}", can_follow=True
        )


def _refused(
    location: Path, what_it_is: str, *, can_follow: bool = False
) -> InvalidInputError:
    hint = "; it is taken with follow_links (--follow-links)" if can_follow else ""
    return InvalidInputError(f"{location} is {what_it_is}{hint}", field="source")


def _local_file(location: Path, path: str) -> LocalFile:
    try:
        status = location.stat()
    except OSError as error:
        raise InvalidInputError(
            f"{location} cannot be read: {error.strerror}", field="source"
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise _refused(location, "not a file")
    return LocalFile(path, location, status.st_size)


class HashingReader:
    """A file of a known size that is hashed as it is read.

    ``requests`` takes its length from ``__len__``; going back to the start, as
    a repeated request does, starts the digest anew.
    """

    def __init__(
        self, file: BinaryIO, size_bytes: int, on_read: Callable[[int], None]
    ) -> None:
        self._file = file
        self._size_bytes = size_bytes
        self._on_read = on_read
        self._done = 0
        self._digest = hashlib.sha256()

    def __len__(self) -> int:
        return self._size_bytes

    def __iter__(self) -> Iterator[bytes]:
        while block := self.read(READ_BLOCK_BYTES):
            yield block

    def tell(self) -> int:
        """Return how many bytes were read."""
        return self._done

    def seek(self, offset: int) -> int:
        """Go back to the start, the only place a request starts from."""
        self._file.seek(offset)
        self._done = offset
        self._digest = hashlib.sha256()
        return offset

    def read(self, size: int = -1) -> bytes:
        """Read at most ``size`` bytes, or all that is left.

        Raises:
            ArtifactChangedError: when the file became shorter meanwhile.
        """
        left = self._size_bytes - self._done
        wanted = left if size < 0 else min(size, left)
        block = self._file.read(wanted)
        if wanted and not block:
            raise ArtifactChangedError("A file became shorter while it was uploaded.")
        self._digest.update(block)
        self._done += len(block)
        self._on_read(self._done)
        return block

    def hexdigest(self) -> str:
        """Return the sha256 of what was read."""
        return self._digest.hexdigest()


class Uploader:
    """Sends the files of one version, one after the other."""

    def __init__(
        self, transport: Transport, version_path: str, on_progress: Progress | None
    ) -> None:
        self._transport = transport
        self._version_path = version_path
        self._on_progress = on_progress or (lambda _done, _total: None)
        self._done = 0
        self._total = 0

    def upload(self, files: Sequence[LocalFile]) -> list[UploadedFile]:
        """Send every file and return the manifest's lines.

        Raises:
            ArtifactChangedError: when what arrived is not what was sent.
        """
        self._done, self._total = 0, sum(entry.size_bytes for entry in files)
        self._on_progress(0, self._total)
        return [self._upload_file(entry) for entry in files]

    def _upload_file(self, entry: LocalFile) -> UploadedFile:
        target = json_object(
            self._transport.request(
                "POST",
                f"{self._version_path}/uploads",
                body={"path": entry.path, "size_bytes": entry.size_bytes},
            )
        )
        with entry.location.open("rb") as file:
            reader = HashingReader(file, entry.size_bytes, self._report)
            response = self._send(entry.path, reader, target)
            sent = UploadedFile(entry.path, entry.size_bytes, reader.hexdigest())
        _check_receipt(response, sent)
        self._done += entry.size_bytes
        return sent

    def _report(self, read_bytes: int) -> None:
        self._on_progress(self._done + read_bytes, self._total)

    def _send(
        self, path: str, reader: HashingReader, target: JsonObject
    ) -> requests.Response:
        url = str(target.get("url", ""))
        own_path = f"{self._version_path}/artifacts/{quote(path, safe='/')}"
        is_ours = urlsplit(url).path.endswith(f"/api/v1{own_path}")
        return self._transport.put_file(
            # Behind a proxy the server may know itself by another name.
            self._transport.url_of(own_path) if is_ours else url,
            # An empty stream would be sent chunked, which stores refuse.
            reader if len(reader) else b"",
            headers=target.get("headers") or {},
            is_ours=is_ours,
        )


def _check_receipt(response: requests.Response, sent: UploadedFile) -> None:
    media_type = response.headers.get("Content-Type", "")
    if not response.content or not media_type.startswith("application/json"):
        return
    received = json_object(response).get("sha256")
    if received not in {None, sent.sha256}:
        raise ArtifactChangedError(
            f"{sent.path} arrived with another digest than it was sent with."
        )
