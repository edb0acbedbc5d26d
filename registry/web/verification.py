"""Artifacts are verified before a move, with no transaction open.

Hashing a large one may outlast a client's patience. What it then sends again must
not hash once more beside the first, or its repetitions would take every thread.
"""

import dataclasses

from registry.artifacts import hashing
from registry.domain.manifests import Manifest
from registry.errors import ArtifactChangedError, VerificationBusyError
from registry.persistence import queries
from registry.persistence.database import db, end_read
from registry.persistence.tables import ModelVersion
from registry.services import transitions
from registry.services.transitions import MoveRequest
from registry.services.versions import VersionRef
from registry.web.changing import commit, parts
from registry.web.single_flight import StillRunningError

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
    _verify(request.model, version, manifest, records=records)
    return dataclasses.replace(
        request, number=version.number, verified_digest=manifest.digest
    )


def _verify(
    model: str, version: ModelVersion, manifest: Manifest, *, records: bool
) -> None:
    differences = _differences(version, manifest)
    if not differences:
        return
    ref = VersionRef(model=model, number=version.number)
    if records:
        commit(
            lambda tx: transitions.mark_artifact_changed(tx, ref, differences),
            is_answer=False,
        )
    raise ArtifactChangedError(
        f"the artifact of version {ref.number} is not what was registered: "
        f"{'; '.join(differences[:5])}",
        differences,
    )


def _differences(version: ModelVersion, manifest: Manifest) -> list[str]:
    store, source = parts().store, version.artifact_uri
    try:
        return parts().verifications.run(
            (version.id, manifest.digest),
            lambda: hashing.verify_manifest(store, source, manifest),
            wait_seconds=WAIT_SECONDS,
        )
    except StillRunningError:
        raise VerificationBusyError(
            "the artifact is being verified; try again"
        ) from None
