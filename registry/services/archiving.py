"""Emptying a shared stage for the one version that stays in it."""

from registry.domain.policy import ARCHIVED
from registry.persistence import queries
from registry.services.transaction import Transaction
from registry.services.transitions import MoveRequest, move_version
from registry.services.versions import VersionRef


def archive_others(tx: Transaction, ref: VersionRef, stage: str, reason: str) -> None:
    """Move every other version that is in a stage to Archived, each by itself.

    Raises:
        NotFoundError: when there is no such model.
        TransitionRefusedError, ConflictError: as ``move_version``.
    """
    model = queries.lock_model(tx.session, ref.model)
    for other in queries.versions_in_stage(tx.session, model.id, stage):
        if other.number != ref.number:
            request = MoveRequest(
                model=ref.model, number=other.number, to_stage=ARCHIVED, reason=reason
            )
            move_version(tx, request)
