"""Sealing: a pending version gets its manifest, or fails with the reason.

Rules:

- Hashing happens before the transaction, never in it.
- An upload waits at an address of its own and is copied to its final one, pinned
  to what was hashed: whoever still holds an upload URL cannot reach it there.
- A sealed artifact never changes: sealing again with the same manifest answers
  the version, with another one it is refused.
"""

import uuid

from sqlalchemy.orm import Session

from registry.domain import names
from registry.domain.manifests import Manifest
from registry.domain.policy import VersionStatus
from registry.persistence.tables import ModelVersion, VersionManifest
from registry.services.changes import touch
from registry.services.documents import Document, version_document
from registry.services.transaction import Transaction
from registry.services.versions import (
    UPDATED,
    VersionRef,
    finish_version,
    lock_version,
    require_pending,
)


def upload_source(artifact_root: str, version_id: str) -> str:
    """Where the upload of a version waits."""
    return f"{artifact_root}/uploads/{version_id}"


def final_source(artifact_root: str, version_id: str) -> str:
    """A fresh address for the sealed artifact: one for each attempt."""
    return f"{artifact_root}/artifacts/{version_id}/{uuid.uuid4().hex}"


def seal_version(
    tx: Transaction, ref: VersionRef, manifest: Manifest, *, source: str | None = None
) -> Document:
    """Complete a pending version: its manifest, and where an upload was copied to.

    Raises:
        NotFoundError: when model or version do not exist.
        ConflictError: when the version is complete with another artifact, or
            its registration has failed.
    """
    model, version = lock_version(tx, ref)
    before = version_document(model.name, version)
    if version.artifact_digest == manifest.digest:
        return before
    require_pending(version)
    touch(model, version, tx.now)
    if source is not None:
        version.source = source
    store_manifest(tx.session, version, manifest)
    tx.session.flush()
    return finish_version(tx, model, version, action=UPDATED, before=before)


def store_manifest(session: Session, version: ModelVersion, manifest: Manifest) -> None:
    """Make the version READY with this manifest."""
    session.add(VersionManifest(version_id=version.id, canonical=manifest.canonical))
    version.status = VersionStatus.READY
    version.status_message = ""
    version.artifact_state = "verified"
    version.artifact_digest = manifest.digest
    version.artifact_size_bytes = manifest.size_bytes
    version.seal_after = None
    version.declared_manifest = None


def schedule_sealing(tx: Transaction, ref: VersionRef, declared: Manifest) -> Document:
    """Leave an uploaded artifact to the background, to be hashed and sealed.

    Raises:
        NotFoundError: when model or version do not exist.
        ConflictError: when the version is no longer pending.
    """
    model, version = lock_version(tx, ref)
    require_pending(version)
    before = version_document(model.name, version)
    version.declared_manifest = declared.canonical
    version.seal_after = touch(model, version, tx.now)
    version.status_message = "the artifact is being hashed"
    tx.session.flush()
    return finish_version(tx, model, version, action=UPDATED, before=before)


def fail_registration(tx: Transaction, ref: VersionRef, reason: str) -> Document:
    """Give a pending version up, with the reason.

    Raises:
        NotFoundError: when model or version do not exist.
        ConflictError: when the version is complete.
    """
    model, version = lock_version(tx, ref)
    require_pending(version)
    before = version_document(model.name, version)
    touch(model, version, tx.now)
    version.status = VersionStatus.FAILED_REGISTRATION
    version.status_message = names.told_text(reason)
    version.seal_after = None
    version.declared_manifest = None
    tx.session.flush()
    return finish_version(tx, model, version, action=UPDATED, before=before)
