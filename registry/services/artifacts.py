"""What lies behind a source, looked at before any lock is taken.

Rules:

- No database here: reading and hashing an artifact may take minutes, and a lock
  must not wait for it (design, section 5). What is found is handed to the
  transaction, which checks that the version is still the one that was looked at.
- A source the store can read gets a manifest: at once up to ``INLINE_BYTES`` and
  ``INLINE_FILES``, by the background above that.
- A source elsewhere is taken at its word and marked unverified.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from registry.artifacts import hashing
from registry.artifacts.store import ArtifactStore, StoredFile
from registry.domain.manifests import FileEntry, Manifest
from registry.domain.names import clean_text
from registry.errors import ArtifactNotFoundError, InvalidInputError

#: Up to here the request itself hashes; sha256 does more than this in a second.
INLINE_BYTES = 64 * 1024 * 1024
#: However small, each file costs a few milliseconds, of which a client waits 30 s.
INLINE_FILES = 1_000
MAX_SOURCE_CHARACTERS = 2000

_REFUSED_SCHEMES = frozenset({"", "file", "data", "javascript"})


@dataclass(frozen=True, kw_only=True)
class LinkedSource:
    """A source that was looked at.

    Attributes:
        is_readable: whether the store can read it.
        manifest: None while it is too large to have been hashed, or unreadable.
    """

    source: str
    is_readable: bool
    manifest: Manifest | None


def inspect_source(store: ArtifactStore, source: str) -> LinkedSource:
    """Look at the address that a version is to be linked to.

    Raises:
        InvalidInputError: when it is no address, or nothing is there.
        ArtifactStoreError: when the store does not answer.
    """
    source = _checked(source)
    if not store.claims(source):
        _refuse_local(source)
        return LinkedSource(source=source, is_readable=False, manifest=None)
    try:
        files = list(store.list_files(source))
        is_inline = is_hashed_inline(files)
        manifest = hashing.build_manifest(store, source) if is_inline else None
    except ArtifactNotFoundError as error:
        raise InvalidInputError(
            f"there is no artifact at {source}", field="source"
        ) from error
    return LinkedSource(source=source, is_readable=True, manifest=manifest)


def is_hashed_inline(files: Sequence[StoredFile] | Sequence[FileEntry]) -> bool:
    """Whether the request itself hashes these files, or the background does."""
    if len(files) > INLINE_FILES:
        return False
    return hashing.total_size(files) <= INLINE_BYTES


def _checked(source: str) -> str:
    source = clean_text(source, field="source")
    if not source.strip() or len(source) > MAX_SOURCE_CHARACTERS:
        raise InvalidInputError(
            f"must have 1 to {MAX_SOURCE_CHARACTERS} characters", field="source"
        )
    return source


def _refuse_local(source: str) -> None:
    try:
        scheme = urlsplit(source).scheme.lower()
    except ValueError as error:
        raise InvalidInputError(f"not an address: {error}", field="source") from error
    if scheme in _REFUSED_SCHEMES:
        raise InvalidInputError(
            "must be an address with a scheme, such as s3://bucket/prefix; "
            "a local path is uploaded, not linked",
            field="source",
        )
