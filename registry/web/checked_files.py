"""Files of artifacts, held to their manifest while they are sent.

Rules:

- Of a version that was found changed nothing is sent.
- A whole file is hashed as it passes, and its last piece held back until the digest is
  the registered one. A changed file breaks off before the length that was announced; a
  small one is refused before anything of it was sent.
- A range cannot be judged by itself: before one is sent, the whole file is hashed,
  and the range is then read under the ETag that the store had for it. That is
  remembered, so that a file is not hashed for each of its ranges. A store without
  ETags has no ranges.
- What is found is recorded as a failed verification is.
- What is shown as a text is small, and UTF-8.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from registry.artifacts import hashing
from registry.artifacts.streams import held_to
from registry.domain.manifests import FileEntry
from registry.domain.rows import VersionRow
from registry.errors import ArtifactChangedError
from registry.services.artifacts import is_read_by
from registry.web.commands import parts
from registry.web.verification import change_log, run_once

MAX_TEXT_BYTES = 512 * 1024


def require_unchanged(version: VersionRow) -> None:
    """Refuse to hand out what a verification found changed.

    Raises:
        ArtifactChangedError: when one did.
    """
    if version.artifact_state == "changed":
        raise ArtifactChangedError(
            f"the artifact of version {version.number} is not what was registered, so "
            "nothing of it is handed out"
        )


def whole_under(version: VersionRow, entry: FileEntry) -> str | None:
    """Return the store's ETag of a file that was found whole; None where it has none.

    Raises:
        ArtifactChangedError: when the file is not what was registered.
        VerificationBusyError: when another request is still reading it.
    """
    store, source = parts().store, version.artifact_uri
    etag = store.stat(source, entry.path).etag
    if not etag:
        return None
    key = (source, entry.path, etag, entry.sha256)
    if key not in parts().whole_files:
        differences = run_once(
            key, lambda: hashing.verify_file(store, source, entry, etag=etag)
        )
        if differences:
            raise change_log(version)(differences)
        parts().whole_files.add(key)
    return etag


@contextmanager
def whole(version: VersionRow, entry: FileEntry) -> Iterator[Iterator[bytes]]:
    """The file, hashed; its first piece has been read by then.

    Raises:
        ArtifactChangedError: now or while it is read: it is not what was registered.
    """
    log_change = change_log(version)
    with parts().store.open(version.artifact_uri, entry.path) as chunks:
        yield _begun(_watched(entry, chunks, log_change))


def text_of(version: VersionRow, entry: FileEntry) -> str | None:
    """Return a file as a text; None where it is none, large, or lies elsewhere.

    Raises:
        ArtifactChangedError: It is not what was registered.
        ArtifactNotFoundError: The store does not have it any more.
        ArtifactStoreError: The store does not answer.
    """
    require_unchanged(version)
    is_readable = is_read_by(parts().store, version.artifact_uri)
    if not is_readable or entry.size_bytes > MAX_TEXT_BYTES:
        return None
    with whole(version, entry) as chunks:
        content = b"".join(chunks)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _watched(
    entry: FileEntry,
    chunks: Iterator[bytes],
    log_change: Callable[[Sequence[str]], ArtifactChangedError],
) -> Iterator[bytes]:
    try:
        yield from held_to(entry, chunks)
    except ArtifactChangedError as error:
        raise log_change(error.differences) from error


def _begun(chunks: Iterator[bytes]) -> Iterator[bytes]:
    first = next(chunks, b"")

    def all_chunks() -> Iterator[bytes]:
        yield first
        yield from chunks

    return all_chunks()
