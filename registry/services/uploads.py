"""Completing registrations: hash what lies in the store, then seal the version.

The request does it for small artifacts, the background for large ones
(``complete_next``), both by the same steps:

1. read which version and what its uploader declared, in a transaction that ends;
2. hash, and for an upload copy to its final address, with nothing locked;
3. seal, or fail with the reason, in a transaction that checks again.

A crash between the steps leaves the version pending; the background tries again
after ``LEASE``. An upload that nobody finalizes is given up after ``UNFINISHED_FOR``.

Once a version is settled, sealed or failed, what was uploaded for it is removed, and
so is a copy that came too late. That happens after the commit: a crash in between
leaves files behind, never a version without its files.
"""

import logging
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from registry.artifacts import hashing
from registry.artifacts.store import ArtifactStore
from registry.domain.commands.registration import SEALED, upload_source
from registry.domain.commands.versions import FailRegistration, SealVersion
from registry.domain.manifests import Manifest
from registry.errors import (
    ArtifactChangedError,
    ArtifactNotFoundError,
    ArtifactStoreError,
    ConflictError,
    InvalidInputError,
)
from registry.persistence import queries
from registry.persistence.apply import lease_sealing
from registry.services.commands import execute
from registry.services.transaction import Transaction

logger = logging.getLogger(__name__)

#: Opens a transaction, and commits it at the end.
Begin = Callable[[], AbstractContextManager[Transaction]]

#: How long the background has for one artifact before another may try.
LEASE = timedelta(hours=1)

#: How long a version may wait for its upload to be finalized or aborted.
UNFINISHED_FOR = timedelta(days=7)
_UNFINISHED = f"the upload was not finished within {UNFINISHED_FOR.days} days"


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """An artifact that was hashed, and where it lies for good."""

    manifest: Manifest
    source: str


@dataclass(frozen=True, kw_only=True)
class _Job:
    model: str
    number: int
    version_id: str
    source: str
    declared: str | None


def final_source(artifact_root: str, version_id: str) -> str:
    """Return a fresh address for the sealed artifact: one for each attempt.

    An upload is copied there, pinned to what was hashed: whoever still holds an upload
    URL cannot reach it.
    """
    return f"{artifact_root}/{SEALED}/{version_id}/{uuid.uuid4().hex}"


def seal_upload(store: ArtifactStore, version_id: str, declared: Manifest) -> Sealed:
    """Hash an upload and copy it to its final address.

    Raises:
        ArtifactNotFoundError: when nothing was uploaded.
        InvalidInputError: when it is not what was declared.
    """
    target = final_source(store.root_uri, version_id)
    waiting = upload_source(store.root_uri, version_id)
    manifest = hashing.seal_upload(store, waiting, target, declared)
    return Sealed(manifest=manifest, source=target)


def complete_next(begin: Begin, store: ArtifactStore) -> bool:
    """Complete one registration that was left to the background, if one waits."""
    with begin() as tx:
        job = _lease(tx)
    if job is None:
        return False
    model, number = job.model, job.number
    try:
        sealed = _hash(store, job)
    except (ArtifactNotFoundError, ArtifactChangedError, InvalidInputError) as error:
        reason = error.message
        _settle(begin, job, FailRegistration(model=model, number=number, reason=reason))
    else:
        # The digest is taken here, with nothing locked, and kept for what follows.
        digest = sealed.manifest.digest
        logger.info("artifact_hashed version=%s digest=%s", job.version_id, digest)
        source = sealed.source if job.declared else None
        command = SealVersion(
            model=model, number=number, manifest=sealed.manifest, source=source
        )
        if not _settle(begin, job, command) and job.declared:
            remove(store, sealed.source)
    if job.declared:
        remove(store, job.source)
    return True


def remove(store: ArtifactStore, source: str) -> None:
    """Remove files of ours that nothing refers to any more.

    A store that fails leaves them behind, and the log says so: what was committed
    stands.
    """
    try:
        store.delete_tree(source)
    except ArtifactStoreError as error:
        logger.warning("files_left_behind at=%s reason=%r", source, error.message)


def give_up_next(begin: Begin, store: ArtifactStore) -> bool:
    """Fail one registration whose upload was left unfinished, if there is one.

    Its files are removed then; a crash before that leaves them behind.
    """
    with begin() as tx:
        upload = queries.oldest_unfinished_upload(
            tx.cx, created_before=tx.now - UNFINISHED_FOR
        )
        if upload is None:
            return False
        command = FailRegistration(
            model=upload.name,
            number=upload.number,
            reason=_UNFINISHED,
            only_unfinished=True,
        )
        version = execute(tx, command)
    if version.status_message == _UNFINISHED:
        remove(store, upload_source(store.root_uri, version.id))
        logger.info("upload_given_up version=%s", version.id)
    return True


def _lease(tx: Transaction) -> _Job | None:
    due = queries.due_for_sealing(tx.cx, tx.now)
    if due is None:
        return None
    lease_sealing(tx.cx, due.id, tx.now + LEASE)
    return _Job(
        model=due.model_name,
        number=due.number,
        version_id=due.id,
        source=due.download_uri or due.source,
        declared=due.declared_manifest,
    )


def _hash(store: ArtifactStore, job: _Job) -> Sealed:
    if job.declared:
        declared = Manifest.from_canonical(job.declared)
        return seal_upload(store, job.version_id, declared)
    manifest = hashing.build_manifest(store, job.source)
    return Sealed(manifest=manifest, source=job.source)


def _settle(
    begin: Begin,
    job: _Job,
    command: SealVersion | FailRegistration,
) -> bool:
    """Settle the version, unless somebody did in the meantime."""
    try:
        with begin() as tx:
            execute(tx, command)
    except ConflictError as error:
        logger.info(
            "registration_settled_elsewhere version=%s at=%s reason=%r",
            job.version_id,
            datetime.now(UTC),
            error.message,
        )
        return False
    return True
