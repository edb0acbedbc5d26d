"""Artifacts are verified before a move, or when asked, with no transaction open.

Hashing a large one may outlast a client's patience. What it then sends again must
not hash once more at the same time, or its repetitions would take every thread.
"""

import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, cast

from flask import Response

from registry.artifacts import hashing
from registry.auth.sign_in import current_caller
from registry.domain.commands.aliases import SetAlias
from registry.domain.commands.change import new_transition_id
from registry.domain.commands.moves import MoveVersion
from registry.domain.commands.versions import MarkArtifactChanged
from registry.domain.documents import Document
from registry.domain.manifests import Manifest
from registry.domain.rows import VersionRow
from registry.errors import (
    ArtifactChangedError,
    ConflictError,
    CrowdedStageError,
    NotFoundError,
    VerificationBusyError,
    VerificationNeededError,
)
from registry.persistence import manifests, queries
from registry.persistence.database import (
    db,
    end_reading,
    reading,
)
from registry.services.artifacts import is_read_by
from registry.services.commands import execute
from registry.services.transaction import Transaction, begin
from registry.web.commands import Status, commit, parts
from registry.web.single_flight import StillRunningError

logger = logging.getLogger(__name__)


class MoveWork(Protocol):
    """What is done in a move's transaction."""

    def __call__(self, tx: Transaction, move: MoveVersion) -> Document:
        """Move, and answer."""


class AliasWork(Protocol):
    """What is done in the transaction that points an alias somewhere."""

    def __call__(self, tx: Transaction, move: MoveVersion | None) -> Document:
        """Point it, and answer."""


#: How long a request waits for a verification that another one has begun.
WAIT_SECONDS = 20.0
#: Who waits for SQLite's lock looks again after 1 to 100 ms, the longer the later.
TURN_SECONDS = 0.05


def commit_move(move: MoveVersion, work: MoveWork, *, status: Status = 200) -> Response:
    """Commit a move with what must be done before it, each with nothing locked.

    The artifact is hashed, where that is asked for; a changed one is recorded as such.
    Room is made in a stage that too many must leave, in parts, each in a transaction of
    its own, with a pause in between in which others have their turn. What a crash
    leaves then is true, and the same request goes on from there.

    Raises:
        RegistryError: as ``work``; room that was made by then is not undone.
        ArtifactChangedError: when the artifact is not what was registered.
        ArtifactStoreError: when the store does not answer.
        VerificationBusyError: when another request is still at it.
    """
    is_named = move.number is not None
    while True:
        try:
            return commit(partial(work, move=move), status=status)
        except VerificationNeededError as needed:
            move = _verify(move, needed)
        except CrowdedStageError:
            if not is_named:  # another one, once those who leave served before
                raise
            room = dataclasses.replace(
                move, makes_room=True, transition_id=new_transition_id()
            )
            commit(partial(work, move=room), is_answer=False)
            time.sleep(TURN_SECONDS)


def commit_alias(
    command: SetAlias, work: AliasWork, *, status: Status = 200
) -> Response:
    """Commit what points an alias somewhere: as a move where it is bound to a stage.

    Raises:
        RegistryError: as ``work``, or as ``commit_move``.
    """
    move = command.bound(parts().policy)
    if move is None:
        return commit(partial(work, move=None), status=status)
    return commit_move(move, work, status=status)


def _verify(
    move: MoveVersion, needed: VerificationNeededError, *, records: bool = True
) -> MoveVersion:
    """Return the move, with the digest of the artifact as it was hashed for it.

    Raises:
        RegistryError: as ``verify_artifact``.
    """
    version = cast("VersionRow", needed.version)
    digest = verified_digest(version, records=records)
    return dataclasses.replace(move, number=version.number, verified_digest=digest)


def verified_digest(version: VersionRow, *, records: bool = True) -> str:
    """Return the digest of an artifact, now hashed; raises as ``verify_artifact``."""
    manifest = manifests.manifest_of(reading(), version)
    end_reading()
    verify_artifact(version, manifest, records=records)
    return manifest.digest


def verify_artifact(
    version: VersionRow, manifest: Manifest, *, records: bool = True
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
            change_log(version)(differences)
            if records
            else _changed(version, differences)
        )


def run_once(key: tuple[str, ...], verify: Callable[[], list[str]]) -> list[str]:
    """Return the differences found, by this request or by the one that is at it.

    Raises:
        VerificationBusyError: when another request is still at it.
    """
    try:
        return parts().verifications.run(key, verify, wait_seconds=WAIT_SECONDS)
    except StillRunningError:
        raise VerificationBusyError(
            "the artifact is being verified; try again"
        ) from None


def change_log(
    version: VersionRow,
) -> Callable[[Sequence[str]], ArtifactChangedError]:
    """Return what notes that an artifact has changed, and returns the error to raise.

    It may be called when the request is over and its answer is being sent.
    """
    engine, wired, caller = db.engine, parts(), current_caller()

    def log_change(differences: Sequence[str]) -> ArtifactChangedError:
        try:
            with begin(engine, caller=caller, policy=wired.policy) as tx:
                command = MarkArtifactChanged(
                    model=queries.model_name(tx.cx, version.model_id),
                    number=version.number,
                    differences=differences,
                )
                execute(tx, command)
            wired.dispatcher.wake()
        except NotFoundError:  # it was deleted meanwhile: nobody gets it any more
            logger.info("changed_artifact_was_deleted version=%s", version.id)
        return _changed(version, differences)

    return log_change


def _changed(version: VersionRow, differences: Sequence[str]) -> ArtifactChangedError:
    return ArtifactChangedError(
        f"the artifact of version {version.number} is not what was registered: "
        f"{'; '.join(differences[:5])}",
        differences,
    )
