"""Manifests of what lies in a store: built, verified, and sealed from an upload.

Rules:

- Every digest is taken over bytes read from the store; nobody's word is taken.
- Memory does not grow with the size of the files, and of these ``MAX_FILES`` at
  most are listed: an address may be the prefix of a whole bucket.
- Sealing hashes the copy, not the upload. The uploader's presigned URL stays valid
  for minutes, and two contents can share an MD5 ETag; the copy is out of reach.
"""

import hashlib
from collections.abc import Iterable
from itertools import islice

from registry.artifacts.store import ArtifactStore, StoredFile
from registry.artifacts.streams import held_to
from registry.domain.manifests import MAX_FILES, FileEntry, Manifest
from registry.errors import (
    ArtifactChangedError,
    ArtifactNotFoundError,
    ConflictError,
    InvalidInputError,
    RegistryError,
)


def build_manifest(store: ArtifactStore, source: str) -> Manifest:
    """Hash every file at an address.

    Raises:
        ArtifactNotFoundError: Nothing is there.
        ArtifactChangedError: A file was changed while it was listed and read.
        InvalidInputError: Something there cannot be part of an artifact, or it has
            more than ``MAX_FILES`` files; none is read then.
    """
    listed = _listed(store, source)
    return Manifest(tuple(_hashed(store, source, stored) for stored in listed))


def verify_manifest(store: ArtifactStore, source: str, manifest: Manifest) -> list[str]:
    """How what lies at an address departs from its manifest, one sentence each.

    A store that cannot be reached is an error, not a difference.
    """
    try:
        found = build_manifest(store, source)
    except (ArtifactNotFoundError, ArtifactChangedError, InvalidInputError) as error:
        return [error.message]
    return manifest.differences(found)


def verify_file(
    store: ArtifactStore, source: str, entry: FileEntry, *, etag: str
) -> list[str]:
    """How one file departs from its manifest, read under the given ETag."""
    try:
        with store.open(source, entry.path, etag=etag) as chunks:
            for _ in held_to(entry, chunks):
                pass
    except ArtifactChangedError as error:
        return list(error.differences)
    return []


def total_size(files: Iterable[StoredFile | FileEntry]) -> int:
    """The bytes of all files together, without reading any."""
    return sum(file.size_bytes for file in files)


def seal_upload(
    store: ArtifactStore, upload_source: str, target_source: str, declared: Manifest
) -> Manifest:
    """Copy an upload to its final address, if it is what was declared.

    The target is an address of this attempt alone, so that two attempts cannot
    undo each other. The upload stays: delete it once the target's address is
    committed, and a crash in between costs a copy instead of the upload.

    Raises:
        ArtifactNotFoundError: Nothing was uploaded.
        InvalidInputError: What was uploaded is not what was declared; the message
            lists every difference, and nothing is left at the target.
        ArtifactChangedError: The upload was changed while it was sealed.
        ConflictError: Something else lies at the target.
    """
    if _is_occupied(store, target_source):
        if verify_manifest(store, target_source, declared):
            raise ConflictError(f"There is another artifact at {target_source}.")
        return declared
    uploaded = _listed(store, upload_source)
    _check_sizes(uploaded, declared)
    try:
        for stored in uploaded:
            store.copy(upload_source, stored.path, target_source, etag=stored.etag)
        differences = verify_manifest(store, target_source, declared)
        if differences:
            raise _not_as_declared(differences)
    except RegistryError:
        store.delete_tree(target_source)
        raise
    return declared


def _is_occupied(store: ArtifactStore, source: str) -> bool:
    try:
        return any(True for _ in store.list_files(source))
    except ArtifactNotFoundError:
        return False


def _listed(store: ArtifactStore, source: str) -> list[StoredFile]:
    files = list(islice(store.list_files(source), MAX_FILES + 1))
    if len(files) > MAX_FILES:
        raise InvalidInputError(
            f"There are more than {MAX_FILES:,} files at {source}.", field="source"
        )
    return files


def _hashed(store: ArtifactStore, source: str, stored: StoredFile) -> FileEntry:
    digest = hashlib.sha256()
    size_bytes = 0
    with store.open(source, stored.path, etag=stored.etag) as chunks:
        for chunk in chunks:
            digest.update(chunk)
            size_bytes += len(chunk)
    if size_bytes != stored.size_bytes:
        raise ArtifactChangedError(f"{stored.path} has been changed while it was read.")
    return FileEntry(stored.path, size_bytes, digest.hexdigest())


def _check_sizes(uploaded: list[StoredFile], declared: Manifest) -> None:
    """Find what is wrong without reading a byte, before anything is copied."""
    digests = {entry.path: entry.sha256 for entry in declared.files}
    nothing = "0" * 64
    found = Manifest(
        tuple(
            FileEntry(file.path, file.size_bytes, digests.get(file.path, nothing))
            for file in uploaded
        )
    )
    differences = declared.differences(found)
    if differences:
        raise _not_as_declared(differences)


def _not_as_declared(differences: list[str]) -> InvalidInputError:
    return InvalidInputError(
        f"The upload is not what was declared: {' '.join(differences)}", field="files"
    )
