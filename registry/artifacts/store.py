"""The artifact store: what the registry asks of the place where artifacts lie.

An artifact is a directory of files. Its address, the *source*, is a URI
(``s3://bucket/prefix`` or ``file:///directory``); a file in it is named by a path
relative to the source.

Rules:

- A store reads wherever ``claims`` says it can, and writes, copies and deletes
  only below its own root.
- Every path has passed ``registry.domain.manifests.check_artifact_path`` before it
  reaches the vendor's library or the file system.
- Contents are streamed: no method holds a whole file in memory.
- A store raises errors of ``registry.errors`` only. ``InvalidInputError`` names
  the field ``source``, ``path``, ``size_bytes`` or ``range``.

Nothing here knows models, versions or stages, and nothing interprets contents.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import BinaryIO, Protocol

from registry.domain.manifests import FileEntry

CHUNK_BYTES = 64 * 1024
"""How much is read at once: large enough for speed, small beside the process."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file as the store lists it.

    The ETag changes when the file does. It pins a read or a copy to what was
    listed; it is not a digest.
    """

    path: str
    size_bytes: int
    etag: str


@dataclass(frozen=True, slots=True)
class S3Access:
    """How to reach an S3 store; the endpoint is an http or https URL."""

    endpoint_url: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str | None = None


class ArtifactStore(Protocol):
    """A place that keeps artifacts.

    ``root_uri`` has no trailing slash; an address below it is the root, a slash
    and segments made of letters, digits, ``-`` and ``_``.
    """

    @property
    def root_uri(self) -> str:
        """The address below which this store writes."""
        ...

    def prepare(self) -> None:
        """Create the bucket or directory when it is missing.

        Raises:
            ArtifactStoreError: It is missing and may not be created.
        """
        ...

    def claims(self, source: str) -> bool:
        """Whether this store can read that address; nothing need be there.

        Raises:
            InvalidInputError: The address is of this store's kind but malformed,
                or leads out of what the store may read.
        """
        ...

    def list_files(self, source: str) -> Iterator[StoredFile]:
        """All files below the address, sorted by path.

        An address that names a single file yields it under its last segment.

        Raises:
            ArtifactNotFoundError: Nothing is there; ``BucketNotFoundError`` where
                there is no such bucket either.
            ArtifactAccessDeniedError: Our credentials do not open it.
            InvalidInputError: Something there cannot be part of an artifact: a
                symbolic link, a device, or a name that is no artifact path.
        """
        ...

    def stat(self, source: str, path: str) -> StoredFile:
        """One file's size and ETag.

        Raises:
            ArtifactNotFoundError: The file is not there.
        """
        ...

    def open(
        self,
        source: str,
        path: str,
        *,
        start: int = 0,
        length: int | None = None,
        etag: str | None = None,
    ) -> AbstractContextManager[Iterator[bytes]]:
        """Stream a file, or ``length`` bytes of it from ``start``, in chunks.

        A length that reaches beyond the end is cut. ``etag`` pins the read.

        Raises:
            ArtifactNotFoundError: The file is not there.
            ArtifactChangedError: It no longer has the given ETag.
            InvalidInputError: The range is negative or starts beyond the end.
        """
        ...

    def write(
        self, source: str, path: str, stream: BinaryIO, size_bytes: int | None
    ) -> FileEntry:
        """Store a stream under its final name once all of it has arrived.

        An existing file is replaced.

        Raises:
            InvalidInputError: The stream is not ``size_bytes`` long.
        """
        ...

    def copy(self, source: str, path: str, target_source: str, *, etag: str) -> None:
        """Copy one file inside the store, under the same path, and seal it.

        Raises:
            ArtifactChangedError: The file no longer has the given ETag.
        """
        ...

    def delete_tree(self, source: str) -> None:
        """Delete all files below the address; deleting nothing is no error."""
        ...

    def presign_get(
        self, source: str, path: str, *, expires: timedelta, filename: str
    ) -> str | None:
        """A URL that downloads the file without us, or None if there is none."""
        ...

    def presign_put(self, source: str, path: str, *, expires: timedelta) -> str | None:
        """A URL that uploads the file without us, or None if there is none."""
        ...
