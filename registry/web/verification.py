"""Artifacts are verified before a move, with no transaction open."""

import dataclasses

from registry.artifacts import hashing
from registry.domain.manifests import Manifest
from registry.errors import ArtifactChangedError
from registry.persistence import queries
from registry.persistence.database import db, end_read
from registry.services import transitions
from registry.services.transitions import MoveRequest
from registry.services.versions import VersionRef
from registry.web.changing import commit, parts


def verified_move(request: MoveRequest) -> MoveRequest:
    """The move, with the digest of the artifact as it was hashed for it.

    A changed artifact is recorded as such, in a transaction of its own.

    Raises:
        RegistryError: as ``transitions.artifact_to_verify``.
        ArtifactChangedError: when the artifact is not what was registered.
        ArtifactStoreError: when the store does not answer.
    """
    session = db.session()
    version = transitions.artifact_to_verify(session, parts().policy, request)
    if version is None:
        return request
    manifest = Manifest.from_canonical(queries.manifest(session, version.id))
    end_read(session)
    _verify(request.model, version.number, version.artifact_uri, manifest)
    return dataclasses.replace(
        request, number=version.number, verified_digest=manifest.digest
    )


def _verify(model: str, number: int, source: str, manifest: Manifest) -> None:
    differences = hashing.verify_manifest(parts().store, source, manifest)
    if not differences:
        return
    ref = VersionRef(model=model, number=number)
    commit(
        lambda tx: transitions.mark_artifact_changed(tx, ref, differences),
        is_answer=False,
    )
    raise ArtifactChangedError(
        f"the artifact of version {number} is not what was registered: "
        f"{'; '.join(differences[:5])}",
        differences,
    )
