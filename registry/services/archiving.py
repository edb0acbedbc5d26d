"""Emptying a shared stage for the one version that stays in it."""

from collections.abc import Sequence

from registry.domain.policy import ARCHIVED
from registry.errors import CrowdedStageError
from registry.persistence import queries
from registry.persistence.tables import ModelVersion
from registry.services.transaction import Transaction
from registry.services.transitions import MoveRequest, move_version
from registry.services.versions import VersionRef

#: Each is a change of its own, of fifteen statements: these hold the lock as long as a
#: hundred that move aside together.
MAX_AT_ONCE = 20


def archive_others(tx: Transaction, ref: VersionRef, stage: str, reason: str) -> None:
    """Move every other version that is in a stage to Archived, each by itself.

    Raises:
        NotFoundError: when there is no such model.
        TransitionRefusedError, ConflictError: as ``move_version``.
        CrowdedStageError: when there are too many (``archive_first_others``).
    """
    others = _others(tx, ref, stage)
    if len(others) > MAX_AT_ONCE:
        raise CrowdedStageError
    _archive(tx, ref.model, others, reason)


def archive_first_others(
    tx: Transaction, ref: VersionRef, stage: str, reason: str
) -> None:
    """As ``archive_others``, and of too many only the first."""
    _archive(tx, ref.model, _others(tx, ref, stage)[:MAX_AT_ONCE], reason)


def _others(tx: Transaction, ref: VersionRef, stage: str) -> Sequence[ModelVersion]:
    """Those in the stage; of too many, at least one too many."""
    model = queries.lock_model(tx.session, ref.model)
    found = queries.versions_in_stage(
        tx.session, model.id, stage, limit=MAX_AT_ONCE + 2
    )
    return [other for other in found if other.number != ref.number]


def _archive(
    tx: Transaction, model: str, versions: Sequence[ModelVersion], reason: str
) -> None:
    for version in versions:
        request = MoveRequest(
            model=model, number=version.number, to_stage=ARCHIVED, reason=reason
        )
        move_version(tx, request)
