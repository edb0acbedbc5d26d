"""Artifacts in a directory of this machine: the embedded default.

Rules:

- An address is checked against the root after its links are resolved, and opened
  by ``RootedDirectory``, which follows none.
- A copy is a copy of the bytes: a rename or a hard link would leave whoever holds
  the uploaded file open a way to change the sealed one. Copies are mode 0444.
- The ETag is inode, change time and size. A file's owner cannot set the change
  time, so an edit in place shows, down to the resolution of the kernel's clock.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

from registry.artifacts.addresses import local_path
from registry.artifacts.directories import INCOMING, RootedDirectory, os_errors
from registry.artifacts.store import CHUNK_BYTES, StoredFile
from registry.artifacts.streams import HashingReader, check_range, outside_range
from registry.domain.manifests import FileEntry, check_artifact_path
from registry.errors import (
    ArtifactChangedError,
    ArtifactNotFoundError,
    ArtifactStoreError,
    InvalidInputError,
)

_WRITABLE_MODE = 0o644
_SEALED_MODE = 0o444


class LocalArtifactStore:
    """An ``ArtifactStore`` in one directory."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._files = RootedDirectory(self._root)

    @property
    def root_uri(self) -> str:
        """The root as a ``file:`` URI."""
        return self._root.as_uri()

    def prepare(self) -> None:
        """Create the root and check that it can be written."""
        incoming = self._root / INCOMING
        try:
            incoming.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArtifactStoreError(
                f"The artifact directory {self._root} cannot be created:"
                f" {error.strerror}."
            ) from error
        if not os.access(incoming, os.W_OK | os.X_OK):
            raise ArtifactStoreError(
                f"The artifact directory {self._root} cannot be written."
            )

    def claims(self, source: str) -> bool:
        """Whether the address is a ``file:`` URI or an absolute path below the root."""
        if local_path(source) is None:
            return False
        self._segments(source)
        return True

    def list_files(self, source: str) -> Iterator[StoredFile]:
        """All files below the address, sorted by path."""
        directory = self._segments(source)
        is_empty = True
        with os_errors(source):
            try:
                for path, info in self._files.walk(directory):
                    is_empty = False
                    yield _stored(path, info)
            except NotADirectoryError:
                is_empty = False
                yield self.stat(source, directory[-1])
        if is_empty:
            raise ArtifactNotFoundError(f"There is no artifact at {source}.")

    def stat(self, source: str, path: str) -> StoredFile:
        """One file's size and ETag."""
        with self._opened(source, path) as descriptor:
            return _stored(path, os.fstat(descriptor))

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
        """Stream a file or a range of it."""
        check_range(start, length)
        with self._opened(source, path) as descriptor:
            stored = _pinned(descriptor, path, etag)
            if start and start >= stored.size_bytes:
                raise outside_range(path)
            remaining = stored.size_bytes - start
            count = remaining if length is None else min(length, remaining)
            os.lseek(descriptor, start, os.SEEK_SET)
            yield _chunks(descriptor, count, path)

    def write(
        self, source: str, path: str, stream: BinaryIO, size_bytes: int | None
    ) -> FileEntry:
        """Store a stream under its final name once all of it has arrived."""
        target = self._target(source, path)
        reader = HashingReader(stream, size_bytes)
        with os_errors(path), self._files.arriving(target, mode=_WRITABLE_MODE) as new:
            while chunk := reader.read(CHUNK_BYTES):
                _write_all(new, chunk)
            return reader.entry(path)

    def copy(self, source: str, path: str, target_source: str, *, etag: str) -> None:
        """Copy one file inside the store, under the same path, and seal it."""
        target = self._target(target_source, path)
        with (
            self._opened(source, path) as original,
            os_errors(path),
            self._files.arriving(target, mode=_SEALED_MODE) as new,
        ):
            _pinned(original, path, etag)
            while chunk := os.read(original, CHUNK_BYTES):
                _write_all(new, chunk)
            _pinned(original, path, etag)

    def delete_tree(self, source: str) -> None:
        """Delete all files below the address; deleting nothing is no error."""
        tree = self._root.joinpath(*self._segments(source))
        with os_errors(source):
            try:
                # It works on descriptors, so no link swapped in can mislead it.
                shutil.rmtree(tree)
            except FileNotFoundError:
                return
            except NotADirectoryError:
                tree.unlink()

    def presign_get(
        self, source: str, path: str, *, expires: timedelta, filename: str
    ) -> str | None:
        """None: a directory has no URLs of its own."""
        del source, path, expires, filename
        return None

    def presign_put(self, source: str, path: str, *, expires: timedelta) -> str | None:
        """None: a directory has no URLs of its own."""
        del source, path, expires
        return None

    def _segments(self, source: str) -> tuple[str, ...]:
        path = local_path(source)
        if path is None:
            raise InvalidInputError(
                f"The source {source!a} is not a file: address.", field="source"
            )
        try:
            segments = path.resolve().relative_to(self._root).parts
        except (OSError, RuntimeError, ValueError) as error:
            raise _not_ours(source) from error
        if not segments or segments[0] == INCOMING:
            raise _not_ours(source)
        return segments

    def _target(self, source: str, path: str) -> tuple[str, ...]:
        check_artifact_path(path)
        return (*self._segments(source), *path.split("/"))

    @contextmanager
    def _opened(self, source: str, path: str) -> Iterator[int]:
        """The file; the translation of errors ends where the caller's block begins."""
        check_artifact_path(path)
        directory = self._segments(source)
        candidates = [(*directory, *path.split("/"))]
        if directory[-1] == path:
            # The source may be the address of the one file itself.
            candidates.append(directory)
        with ExitStack() as stack:
            with os_errors(path):
                descriptor = self._open_first(stack, candidates)
            yield descriptor

    def _open_first(self, stack: ExitStack, candidates: list[tuple[str, ...]]) -> int:
        for segments in candidates:
            with suppress(FileNotFoundError, NotADirectoryError):
                return stack.enter_context(self._files.opened(segments))
        raise FileNotFoundError


def _not_ours(source: str) -> InvalidInputError:
    return InvalidInputError(
        f"The source {source!a} is not below the artifact root.", field="source"
    )


def _stored(path: str, info: os.stat_result) -> StoredFile:
    etag = f"{info.st_ino:x}-{info.st_ctime_ns:x}-{info.st_size:x}"
    return StoredFile(path, info.st_size, etag)


def _pinned(descriptor: int, path: str, etag: str | None) -> StoredFile:
    stored = _stored(path, os.fstat(descriptor))
    if etag is not None and stored.etag != etag:
        raise ArtifactChangedError(f"{path} has been changed since it was listed.")
    return stored


def _chunks(descriptor: int, count: int, path: str) -> Iterator[bytes]:
    while count:
        with os_errors(path):
            chunk = os.read(descriptor, min(count, CHUNK_BYTES))
        if not chunk:
            raise ArtifactChangedError(f"{path} became shorter while it was read.")
        count -= len(chunk)
        yield chunk


def _write_all(descriptor: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]
