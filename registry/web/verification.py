"""Artifacts are verified before a move, or when asked, with no transaction open.

Hashing a large one may outlast a client's patience. What it then sends again must
not hash once more beside the first, or its repetitions would take every thread.
"""

import dataclasses
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from registry.artifacts import hashing
from registry.auth.sign_in import current_caller
from registry.domain.manifests import Manifest
from registry.errors import (
    ArtifactChangedError,
    ConflictError,
    NotFoundError,
    VerificationBusyError,
)
from registry.persistence import queries
from registry.persistence.database import (
    db,
    end_read,
    session_factory,
    write_transaction,
)
from registry.persistence.tables import ModelVersion
from registry.services import transitions
from registry.services.artifacts import is_read_by
from registry.services.transaction import Transaction
from registry.services.transitions import MoveRequest
from registry.services.versions import VersionRef
from registry.web.changing import parts
from registry.web.single_flight import StillRunningError

logger = logging.getLogger(__name__)

#: How long a request waits for a verification that another one has begun.
WAIT_SECONDS = 20.0


def verified_move(request: MoveRequest, *, records: bool = True) -> MoveRequest:
    """The move, with the digest of the artifact as it was hashed for it.

    A changed artifact is recorded as such, in a transaction of its own, unless
    nothing is to be changed.

    Raises:
        RegistryError: as ``transitions.artifact_to_verify``.
        ArtifactChangedError: when the artifact is not what was registered.
        ArtifactStoreError: when the store does not answer.
        VerificationBusyError: when another request is still at it.
    """
    session = db.session()
    version = transitions.artifact_to_verify(session, parts().policy, request)
    if version is None:
        return request
    manifest = Manifest.from_canonical(queries.manifest(session, version.id))
    end_read(session)
    verify_artifact(version, manifest, records=records)
    return dataclasses.replace(
        request, number=version.number, verified_digest=manifest.digest
    )


def verify_artifact(
    version: ModelVersion, manifest: Manifest, *, records: bool = True
) -> None:
    """Hash an artifact; what is found is recorded, unless nothing may be changed.

    Raises:
        ArtifactChangedError: when it is not what was registered.
        ArtifactStoreError: when the store does not answer.
        ConflictError: when nothing here reads the place where it lies any more.
        VerificationBusyError: when another request is still at it.
    """
    store, source = parts().store, version.artifact_uri
    if not is_read_by(store, source):
        raise ConflictError(
            f"the artifact of version {version.number} lies at {source}, which this "
            "registry is not set up to read any more: it cannot be verified"
        )
    differences = run_once(
        (version.id, manifest.digest),
        lambda: hashing.verify_manifest(store, source, manifest),
    )
    if differences:
        raise (
            change_recorder(version)(differences)
            if records
            else _changed(version, differences)
        )


def run_once(key: tuple[str, ...], verify: Callable[[], list[str]]) -> list[str]:
    """The differences that are found, by this request or by the one that is at it.

    Raises:
        VerificationBusyError: when another request is still at it.
    """
    try:
        return parts().verifications.run(key, verify, wait_seconds=WAIT_SECONDS)
    except StillRunningError:
        raise VerificationBusyError(
            "the artifact is being verified; try again"
        ) from None


def change_recorder(
    version: ModelVersion,
) -> Callable[[Sequence[str]], ArtifactChangedError]:
    """What records that an artifact has changed, and gives the error to raise.

    It may be called when the request is over and its answer is being sent.
    """
    sessions, wired, caller = session_factory(db.engine), parts(), current_caller()

    def found_changed(differences: Sequence[str]) -> ArtifactChangedError:
        try:
            with write_transaction(sessions) as session:
                now = datetime.now(UTC)
                ref = VersionRef(
                    model=queries.model_name(session, version.model_id),
                    number=version.number,
                )
                tx = Transaction(
                    session=session, caller=caller, policy=wired.policy, now=now
                )
                transitions.mark_artifact_changed(tx, ref, differences)
            wired.dispatcher.wake()
        except NotFoundError:  # it was deleted meanwhile: nobody gets it any more
            logger.info("changed_artifact_was_deleted version=%s", version.id)
        return _changed(version, differences)

    return found_changed


def _changed(version: ModelVersion, differences: Sequence[str]) -> ArtifactChangedError:
    return ArtifactChangedError(
        f"the artifact of version {version.number} is not what was registered: "
        f"{'; '.join(differences[:5])}",
        differences,
    )
