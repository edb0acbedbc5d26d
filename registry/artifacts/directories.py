"""Files below one directory, reached so that no link can lead out of it.

Rules:

- Every segment is opened from its parent's descriptor with ``O_NOFOLLOW``: what
  was checked is what is read, whatever is renamed or linked meanwhile.
- A file becomes visible complete: written in ``.incoming`` below the root, synced,
  and renamed, and the directory that names it is synced too.
- Only regular files count. A link, pipe, socket or device is refused by name.
- ``OSError`` does not leave this package; ``os_errors`` translates it.
"""

import errno
import os
import stat as file_modes
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from registry.domain.manifests import check_artifact_path
from registry.errors import (
    ArtifactNotFoundError,
    ArtifactStoreError,
    InvalidInputError,
    RegistryError,
)

INCOMING = ".incoming"

_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK keeps the open of a named pipe from waiting for a writer.
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_NAME_ERRORS = frozenset(
    {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EILSEQ, errno.EINVAL}
)


@contextmanager
def os_errors(what: str) -> Iterator[None]:
    """Translate the file system's errors; ``what`` names the file or address."""
    try:
        yield
    except FileNotFoundError as error:
        raise ArtifactNotFoundError(f"There is no artifact at {what}.") from error
    except OSError as error:
        raise _translated(error, what) from error


def _translated(error: OSError, what: str) -> RegistryError:
    if error.errno in _NAME_ERRORS:
        return InvalidInputError(
            f"The file system cannot hold {what}: {error.strerror}.", field="path"
        )
    return ArtifactStoreError(f"The artifact store failed on {what}: {error.strerror}.")


class RootedDirectory:
    """A directory and what lies below it, addressed by tuples of segments."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def entered(self, segments: Sequence[str]) -> Iterator[int]:
        """The descriptor of an existing directory."""
        descriptor = self._open_root()
        try:
            for segment in segments:
                child = _open_directory(segment, descriptor)
                os.close(descriptor)
                descriptor = child
            yield descriptor
        finally:
            os.close(descriptor)

    def make(self, segments: Sequence[str]) -> None:
        """Create a directory and its parents where they are missing."""
        for depth, segment in enumerate(segments):
            with self.entered(segments[:depth]) as parent:
                try:
                    os.mkdir(segment, dir_fd=parent)
                except FileExistsError:
                    continue
                os.fsync(parent)

    @contextmanager
    def opened(self, segments: Sequence[str]) -> Iterator[int]:
        """The descriptor of an existing regular file, for reading."""
        with self.entered(segments[:-1]) as parent:
            descriptor = _open_regular(segments[-1], parent)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def arriving(self, segments: Sequence[str], *, mode: int) -> Iterator[int]:
        """The descriptor of a new file; it takes its name when the block succeeds."""
        self.make((INCOMING,))
        self.make(segments[:-1])
        name = uuid.uuid4().hex
        with self.entered((INCOMING,)) as incoming, self.entered(segments[:-1]) as home:
            descriptor = os.open(name, _NEW_FILE_FLAGS, 0o600, dir_fd=incoming)
            try:
                with _closing(descriptor):
                    yield descriptor
                    os.fchmod(descriptor, mode)
                    os.fsync(descriptor)
                os.replace(name, segments[-1], src_dir_fd=incoming, dst_dir_fd=home)
                os.fsync(home)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=incoming)
                raise

    def walk(
        self, directory: tuple[str, ...], prefix: str = ""
    ) -> Iterator[tuple[str, os.stat_result]]:
        """All regular files below a directory, sorted by path.

        One descriptor is open at a time, however deep the tree is.
        """
        for key, info in self._scan(directory):
            path = check_artifact_path(prefix + key.removesuffix("/"))
            if key.endswith("/"):
                yield from self.walk((*directory, key[:-1]), f"{path}/")
            elif file_modes.S_ISREG(info.st_mode):
                yield path, info
            else:
                raise InvalidInputError(
                    f"{path} is a link or a device; an artifact consists of files.",
                    field="source",
                )

    def _scan(self, directory: tuple[str, ...]) -> list[tuple[str, os.stat_result]]:
        """Names and facts; a directory's name ends in a slash, and sorts so."""
        with self.entered(directory) as descriptor, os.scandir(descriptor) as entries:
            rows = [
                (entry.name, entry.stat(follow_symlinks=False)) for entry in entries
            ]
        return sorted(
            (f"{name}/" if file_modes.S_ISDIR(info.st_mode) else name, info)
            for name, info in rows
        )

    def _open_root(self) -> int:
        try:
            return os.open(self._root, _DIRECTORY_FLAGS)
        except OSError as error:
            raise ArtifactStoreError(
                f"The artifact directory {self._root} cannot be opened:"
                f" {error.strerror}."
            ) from error


@contextmanager
def _closing(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)


def _open_directory(segment: str, parent: int) -> int:
    try:
        return os.open(segment, _DIRECTORY_FLAGS, dir_fd=parent)
    except NotADirectoryError:
        _refuse_link(segment, parent)
        raise


def _open_regular(segment: str, parent: int) -> int:
    try:
        descriptor = os.open(segment, _FILE_FLAGS, dir_fd=parent)
    except OSError:
        _refuse_link(segment, parent)
        raise
    mode = os.fstat(descriptor).st_mode
    if file_modes.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if file_modes.S_ISDIR(mode):
        raise FileNotFoundError(errno.ENOENT, "a directory is not a file", segment)
    raise _no_file(segment)


def _refuse_link(segment: str, parent: int) -> None:
    with suppress(FileNotFoundError):
        info = os.stat(segment, dir_fd=parent, follow_symlinks=False)
        if file_modes.S_ISLNK(info.st_mode):
            raise _no_file(segment)


def _no_file(segment: str) -> InvalidInputError:
    return InvalidInputError(
        f"{segment!a} is a link or a device, which the store does not follow.",
        field="path",
    )
