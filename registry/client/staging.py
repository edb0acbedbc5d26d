"""Where a download waits until all of it is there.

Rules:

- Files arrive in a directory of their own: beside a destination that does not exist yet
  (``model.stagegate-part``), or within one that does (``.stagegate-part``). The
  destination gets them once every one is verified; a new destination, in one step.
- One download at a time has such a directory, by a lock that ends with its process; a
  second one takes another. What is left by one that broke off is taken up by the next
  that wants the same files, and removed by any that ends well.
- Where nothing can be locked, nobody could tell what is left over: it is removed.
"""

import fcntl
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from registry.client.types import ArtifactFile
from registry.errors import (
    ArtifactChangedError,
    NotFoundError,
    RegistryError,
    ServerUnreachableError,
)

SUFFIX = ".stagegate-part"
#: So many downloads at once to one destination can be taken up again.
MAX_LOCKED = 8
_LOCK = "lock"
# With the suffix and what tells several apart, a name has less than 255 bytes.
_MAX_NAME_BYTES = 180


@contextmanager
def staged(
    destination: Path, artifact: Sequence[ArtifactFile], missing: Sequence[ArtifactFile]
) -> Iterator[Path]:
    """A directory for the block to fill with the files that the destination lacks.

    Then they are handed over.

    Raises:
        RegistryError: the destination cannot hold one of them, or mixes two up.
    """
    place, lock = _claim(destination, artifact)
    tree = place / _key(artifact)
    is_kept = False
    try:
        _make(tree, missing, destination)
        yield tree
        _hand_over(tree, missing, destination)
    except (ArtifactChangedError, NotFoundError):
        raise  # again it would end the same way
    except BaseException as error:
        is_kept = lock is not None and _has_bytes(tree)
        if is_kept and isinstance(error, ServerUnreachableError):
            raise ServerUnreachableError(
                f"{error.message} What has arrived waits in {place}; the same download"
                " goes on from there."
            ) from error
        raise
    finally:
        if not is_kept:
            _remove(place)
        if lock is not None:
            os.close(lock)


def safe_location(directory: Path, path: str) -> Path:
    """Return where a path of an artifact lies below a directory.

    Raises:
        RegistryError: for a path that leads, or could lead, out of it.
    """
    segments = path.split("/")
    is_plain = not any(segment in {"", ".", ".."} for segment in segments)
    if not is_plain or any(character in path for character in "\\\0"):
        raise RegistryError(f"The server names a file {path!r}: refused as unsafe.")
    base = directory.resolve()
    location = base.joinpath(*segments)
    # Links that lie in the directory must not lead out of it either.
    if not location.resolve().is_relative_to(base):
        raise RegistryError(f"{location} leads out of {directory}: refused as unsafe.")
    return location


def _claim(
    destination: Path, artifact: Sequence[ArtifactFile]
) -> tuple[Path, int | None]:
    """Return a place that no other download has, and what locks it."""
    name = destination.name.encode()[:_MAX_NAME_BYTES].decode(errors="ignore")
    first = destination.with_name(name + SUFFIX)
    if destination.is_dir():
        first = destination / SUFFIX
    taken = {entry.path.partition("/")[0] for entry in artifact}
    for number in range(1, MAX_LOCKED + 1):
        place = first if number == 1 else first.with_name(f"{first.name}-{number}")
        if place.name not in taken and (lock := _lock(place)) is not None:
            return place, lock
    return first.with_name(f"{first.name}-{uuid.uuid4().hex}"), None


def _lock(place: Path) -> int | None:
    """Lock a place, made if it is missing; None where that cannot be had."""
    if place.is_symlink():
        return None
    try:
        place.mkdir(parents=True, exist_ok=True)
        lock = os.open(place / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:  # its owner has just removed it, or is another user
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The owner may have been done just before, and its lock be no longer there.
        if os.path.samestat(os.fstat(lock), (place / _LOCK).stat()):
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:  # this file system knows no locks
        _remove(place)
    os.close(lock)
    return None


def _remove(place: Path) -> None:
    """Remove a place that is ours, the lock last: who comes meanwhile makes it anew."""
    with suppress(OSError):
        for entry in place.iterdir():
            if entry.name != _LOCK:
                shutil.rmtree(entry)
        (place / _LOCK).unlink(missing_ok=True)
        place.rmdir()


def _key(artifact: Sequence[ArtifactFile]) -> str:
    """Return a name that only the same files have."""
    text = json.dumps(
        [[entry.path, entry.size_bytes, entry.sha256] for entry in artifact]
    )
    return hashlib.sha256(text.encode()).hexdigest()


def _make(tree: Path, missing: Sequence[ArtifactFile], destination: Path) -> None:
    """Make every file empty, so that it is known at once which cannot be held."""
    paths: dict[tuple[int, int], str] = {}
    for entry in missing:
        location = safe_location(tree, entry.path)
        try:
            location.parent.mkdir(parents=True, exist_ok=True)
            location.open("ab").close()
            stat = location.stat()
        except OSError as error:
            raise RegistryError(
                f"{destination} cannot hold {entry.path!r}: {error.strerror}."
            ) from error
        other = paths.setdefault((stat.st_dev, stat.st_ino), entry.path)
        if other != entry.path:
            raise RegistryError(
                f"{destination} cannot hold both {other!r} and {entry.path!r}: its file"
                " system takes one for the other."
            )


def _hand_over(tree: Path, missing: Sequence[ArtifactFile], destination: Path) -> None:
    if not destination.exists():
        # Another download may have made it meanwhile.
        with suppress(OSError):
            tree.rename(destination)
            return
    for entry in missing:
        target = safe_location(destination, entry.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(safe_location(tree, entry.path), target)


def _has_bytes(tree: Path) -> bool:
    return any(path.is_file() and path.stat().st_size for path in tree.rglob("*"))
