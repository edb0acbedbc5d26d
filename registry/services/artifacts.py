"""What lies behind a source, looked at before any lock is taken.

Rules:

- No database here: reading and hashing an artifact may take minutes, and a lock
  must not wait for it. The transaction checks that the version is still the one that
  was looked at.
- A source the store can read gets a manifest: at once up to ``INLINE_BYTES`` and
  ``INLINE_FILES``, by the background above that.
- A source elsewhere is taken at its word and marked unverified; a bucket that our
  store does not have, or does not open to us, is elsewhere: S3 has many stores.
"""

from collections.abc import Sequence
from itertools import islice

from registry.artifacts import hashing
from registry.artifacts.store import ArtifactStore, StoredFile
from registry.domain.commands.registration import LinkedSource
from registry.domain.manifests import FileEntry
from registry.domain.sources import Address
from registry.errors import (
    ArtifactAccessDeniedError,
    ArtifactNotFoundError,
    BucketNotFoundError,
    InvalidInputError,
)

#: Up to here the request itself hashes; sha256 does more than this in a second.
INLINE_BYTES = 64 * 1024 * 1024
#: However small, each file costs a few milliseconds, of which a client waits 30 s.
INLINE_FILES = 1_000

_LOCAL_SCHEMES = frozenset({"", "file"})


def inspect_address(store: ArtifactStore, address: Address) -> LinkedSource:
    """Look at the address that a version is to be linked to."""
    source = address.text
    if not store.claims(source):
        _refuse_local(address)
        return LinkedSource(source=source)
    try:
        # A prefix may hold a whole bucket; more than this is the background's.
        files = list(islice(store.list_files(source), INLINE_FILES + 1))
        is_inline = is_hashed_inline(files)
        manifest = hashing.build_manifest(store, source) if is_inline else None
    except (BucketNotFoundError, ArtifactAccessDeniedError):
        if source.startswith(f"{store.root_uri}/"):
            raise  # our own bucket is gone or locked: nobody's mistake but ours
        return LinkedSource(source=source)
    except ArtifactNotFoundError as error:
        raise InvalidInputError(
            f"there is no artifact at {source}", field="source"
        ) from error
    return LinkedSource(source=source, is_readable=True, manifest=manifest)


def is_read_by(store: ArtifactStore, source: str) -> bool:
    """Whether the store reads that address; it may be of one that was ours once."""
    try:
        return store.claims(source)
    except InvalidInputError:
        return False


def is_hashed_inline(files: Sequence[StoredFile] | Sequence[FileEntry]) -> bool:
    """Whether the request itself hashes these files, or the background does."""
    if len(files) > INLINE_FILES:
        return False
    return hashing.total_size(files) <= INLINE_BYTES


def _refuse_local(address: Address) -> None:
    if address.scheme in _LOCAL_SCHEMES:
        raise InvalidInputError(
            "must be an address with a scheme, such as s3://bucket/prefix; "
            "a local path is uploaded, not linked",
            field="source",
        )
