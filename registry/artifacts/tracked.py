"""Artifacts that an MLflow tracking server hands out: ``mlflow-artifacts:/path``.

Rules:

- They are read, never written: whoever logs them sends them to that server.
- The server lists a directory without ETags, so that nothing pins a read to what was
  listed; digests alone say whether it is what was registered.
- What it will not list or hand out is denied to us (``ArtifactAccessDeniedError``), as
  a bucket is that was not opened to us.
"""

import posixpath
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import BinaryIO

from registry.artifacts.store import ArtifactStore, StoredFile
from registry.artifacts.streams import check_range, outside_range
from registry.domain.manifests import MAX_FILES, FileEntry, check_artifact_path
from registry.domain.sources import ProxiedSource, parse_source
from registry.errors import ArtifactNotFoundError, InvalidInputError
from registry.tracking.client import TrackingServer
from registry.tracking.documents import ListedFile


class TrackedArtifacts:
    """The reading half of an ``ArtifactStore``, over a tracking server."""

    def __init__(self, tracking: TrackingServer) -> None:
        self._tracking = tracking

    def list_files(self, source: str) -> Iterator[StoredFile]:
        """All files below the address, sorted by path."""
        root = _path_of(source)
        is_empty = True
        for stored in self._walk(root, "", iter(range(MAX_FILES))):
            is_empty = False
            yield stored
        if is_empty:
            yield self._found(root, posixpath.basename(root))

    def stat(self, source: str, path: str) -> StoredFile:
        """One file's size; it has no ETag."""
        return self._found(self._place(source, path), path)

    @contextmanager
    def open(
        self,
        source: str,
        path: str,
        *,
        start: int = 0,
        length: int | None = None,
        etag: str | None = None,
    ) -> Iterator[Iterator[bytes]]:
        """Stream a file, or what is asked for of it; there is no ETag to pin it by."""
        del etag
        check_range(start, length)
        with self._tracking.open_file(self._place(source, path)) as chunks:
            yield _part_of(chunks, start, length, path)

    def _walk(
        self, directory: str, prefix: str, budget: Iterator[int]
    ) -> Iterator[StoredFile]:
        if next(budget, None) is None:
            raise InvalidInputError(
                f"There are more than {MAX_FILES:,} directories.", field="source"
            )
        for file in sorted(self._tracking.list_files(directory), key=_sort_key):
            path = check_artifact_path(prefix + file.name)
            if "/" in file.name:
                raise InvalidInputError(
                    f"The tracking server lists {file.name!a} as one name.",
                    field="source",
                )
            if file.is_directory:
                yield from self._walk(f"{directory}/{file.name}", f"{path}/", budget)
            else:
                yield StoredFile(path, file.size_bytes, etag="")

    def _place(self, source: str, path: str) -> str:
        """Where the file is; the source may be the address of the one file itself."""
        root = _path_of(source)
        place = f"{root}/{check_artifact_path(path)}"
        if posixpath.basename(root) == path and not self._tracking.list_files(root):
            return root
        return place

    def _found(self, place: str, path: str) -> StoredFile:
        # The server says of a file that is not there what its own store says of it:
        # anything. Of the directory it is said well.
        directory, _, name = place.rpartition("/")
        for file in self._tracking.list_files(directory):
            if file.name == name and not file.is_directory:
                return StoredFile(path, file.size_bytes, etag="")
        raise ArtifactNotFoundError(
            f"There is no artifact at mlflow-artifacts:/{place}."
        )


class StoreAndTracking:
    """The registry's own store, and beside it what the tracking server hands out."""

    def __init__(self, store: ArtifactStore, tracking: TrackingServer) -> None:
        self._store = store
        self._tracked = TrackedArtifacts(tracking)

    @property
    def root_uri(self) -> str:
        """The address below which the own store writes."""
        return self._store.root_uri

    def prepare(self) -> None:
        """Create the own bucket or directory when it is missing."""
        self._store.prepare()

    def claims(self, source: str) -> bool:
        """Whether one of both reads the address."""
        return _is_tracked(source) or self._store.claims(source)

    def list_files(self, source: str) -> Iterator[StoredFile]:
        """All files below the address, sorted by path."""
        return self._reader(source).list_files(source)

    def stat(self, source: str, path: str) -> StoredFile:
        """One file's size and ETag."""
        return self._reader(source).stat(source, path)

    def open(
        self,
        source: str,
        path: str,
        *,
        start: int = 0,
        length: int | None = None,
        etag: str | None = None,
    ) -> AbstractContextManager[Iterator[bytes]]:
        """Stream a file or a range of it."""
        return self._reader(source).open(
            source, path, start=start, length=length, etag=etag
        )

    def write(
        self, source: str, path: str, stream: BinaryIO, size_bytes: int | None
    ) -> FileEntry:
        """Store a stream in the own store."""
        return self._store.write(source, path, stream, size_bytes)

    def copy(self, source: str, path: str, target_source: str, *, etag: str) -> None:
        """Copy one file inside the own store."""
        self._store.copy(source, path, target_source, etag=etag)

    def delete_tree(self, source: str) -> None:
        """Delete all files below an address of the own store."""
        self._store.delete_tree(source)

    def presign_get(
        self, source: str, path: str, *, expires: timedelta, filename: str
    ) -> str | None:
        """A URL of the own store; the tracking server has none to give."""
        if _is_tracked(source):
            return None
        return self._store.presign_get(source, path, expires=expires, filename=filename)

    def presign_put(self, source: str, path: str, *, expires: timedelta) -> str | None:
        """A URL of the own store."""
        return self._store.presign_put(source, path, expires=expires)

    def _reader(self, source: str) -> ArtifactStore | TrackedArtifacts:
        return self._tracked if _is_tracked(source) else self._store


def _is_tracked(source: str) -> bool:
    return source.lower().startswith("mlflow-artifacts:")


def _path_of(source: str) -> str:
    found = parse_source(source)
    if not isinstance(found, ProxiedSource):
        raise InvalidInputError(
            f"The source {source!a} is not below a tracking server.", field="source"
        )
    return found.path


def _sort_key(file: ListedFile) -> str:
    return f"{file.name}/" if file.is_directory else file.name


def _part_of(
    chunks: Iterator[bytes], start: int, length: int | None, path: str
) -> Iterator[bytes]:
    """What lies between two bytes: the server may know no ranges."""
    position, stop = 0, None if length is None else start + length
    for chunk in chunks:
        end = None if stop is None else max(0, stop - position)
        piece = chunk[max(0, start - position) : end]
        position += len(chunk)
        if piece:
            yield piece
        if stop is not None and position >= stop:
            return
    if start and position <= start:
        raise outside_range(path)
