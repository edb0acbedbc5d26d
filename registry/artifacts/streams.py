"""Streams into a store: counted, hashed and held to the size that was announced.

Rules:

- ``read`` returns as much as was asked for unless the stream has ended; short
  reads of a socket are gathered here, once, for every store.
- A stream that is longer or shorter than announced is refused before the store
  has made the file visible.
- On the way out a file is held to its manifest: its last piece is not let go before
  the digest of all is the registered one.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from registry.domain.manifests import FileEntry, Manifest
from registry.errors import ArtifactChangedError, InvalidInputError


class HashingReader:
    """Reads a binary stream and knows the size and sha256 of what passed."""

    def __init__(self, stream: BinaryIO, size_bytes: int | None) -> None:
        if size_bytes is not None and size_bytes < 0:
            raise InvalidInputError("A size is not negative.", field="size_bytes")
        self._stream = stream
        self._announced_bytes = size_bytes
        self._hash = hashlib.sha256()
        self._passed_bytes = 0

    def read(self, size: int) -> bytes:
        """Return ``size`` bytes, fewer only at the end of the stream."""
        chunks: list[bytes] = []
        wanted = size
        while wanted and (chunk := self._stream.read(wanted)):
            chunks.append(chunk)
            wanted -= len(chunk)
        # Joining a list of one returns that one: no second copy for a file.
        block = b"".join(chunks)
        self._hash.update(block)
        self._passed_bytes += len(block)
        self._check_size(has_ended=wanted > 0)
        return block

    def entry(self, path: str) -> FileEntry:
        """What passed, as a line of a manifest; call it after the last read.

        Raises:
            InvalidInputError: Less or more than announced has passed.
        """
        self._check_size(has_ended=True)
        return FileEntry(path, self._passed_bytes, self._hash.hexdigest())

    def _check_size(self, *, has_ended: bool) -> None:
        announced = self._announced_bytes
        if announced is None or (self._passed_bytes < announced and not has_ended):
            return
        if self._passed_bytes < announced:
            raise InvalidInputError(
                f"The stream ended after {self._passed_bytes} bytes; {announced}"
                f" were announced.",
                field="size_bytes",
            )
        if self._passed_bytes > announced or self._stream.read(1):
            raise InvalidInputError(
                f"The stream is longer than the {announced} bytes announced.",
                field="size_bytes",
            )


def held_to(entry: FileEntry, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks of a file, of which all but the last are passed on unjudged.

    Raises:
        ArtifactChangedError: They are not what the manifest says; what was passed on
            is shorter than that.
    """
    digest, passed_bytes, held = hashlib.sha256(), 0, b""
    for chunk in chunks:
        digest.update(chunk)
        passed_bytes += len(chunk)
        if passed_bytes > entry.size_bytes:
            break
        if held:
            yield held
        held = chunk
    found = FileEntry(entry.path, passed_bytes, digest.hexdigest())
    differences = Manifest((entry,)).differences(Manifest((found,)))
    if differences:
        raise ArtifactChangedError(" ".join(differences), differences)
    yield held


def check_range(start: int, length: int | None) -> None:
    """Refuse a range that no file could have.

    Raises:
        InvalidInputError: A bound is negative; the field is ``range``.
    """
    if start < 0 or (length is not None and length < 0):
        raise InvalidInputError("A range has no negative bounds.", field="range")


def outside_range(path: str) -> InvalidInputError:
    """The error for a range that starts at or beyond the end of a file."""
    return InvalidInputError(
        f"The range starts beyond the end of {path}.", field="range"
    )
