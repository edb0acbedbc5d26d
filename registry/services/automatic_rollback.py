"""Rollback because a deployment has failed, where the policy asks for it.

Rules:

- Only the version's present stage counts, and only a deployment of the change that
  put it there: a late report about an earlier one rolls nothing back.
- What an automatic rollback put there is left alone, so that nothing goes round in
  circles: somebody has to look.
- The artifact of the version that goes back is verified before the transaction
  begins; in it the move is decided again, as every other.
- The actor is the registry itself; the audit entry of the report names who reported.
- A rollback that cannot be made is no error: why is recorded with the report.
"""

import dataclasses
from dataclasses import dataclass

from registry.domain.actors import SYSTEM
from registry.domain.policy import Cause, StagePolicy
from registry.errors import RegistryError
from registry.persistence.tables import ModelVersion, StageChange
from registry.services import transitions
from registry.services.documents import Document
from registry.services.transaction import Transaction
from registry.services.transitions import MoveRequest

_CHANGED_MEANWHILE = "the stage changed while the report came in"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A deployment that failed, and what it was a consequence of.

    Attributes:
        present: what put the version into its stage; None when nothing did.
        transition_id: the change that was being deployed.
    """

    model: str
    version: ModelVersion
    present: StageChange | None
    transition_id: str | None
    environment: str


@dataclass(frozen=True, kw_only=True)
class RollbackPlan:
    """What is to be done about a failure.

    Attributes:
        move: the rollback to make, its artifact verified; None for none.
        to_version: the version that it puts back, once that is certain.
        refusal: why a rollback that is due cannot be made.
    """

    move: MoveRequest | None = None
    to_version: int | None = None
    refusal: str | None = None

    @property
    def details(self) -> Document:
        """What the audit entry of the report says of it."""
        if self.refusal is not None:
            return {"automatic_rollback": {"refused": self.refusal}}
        if self.to_version is not None:
            return {"automatic_rollback": {"to_version": self.to_version}}
        return {}


NO_ROLLBACK = RollbackPlan()


def due_rollback(policy: StagePolicy, failure: Failure) -> MoveRequest | None:
    """The rollback that the policy asks for, if any."""
    present, version = failure.present, failure.version
    stages = policy.for_model(failure.model).automatic_rollback
    if present is None or version.stage not in stages:
        return None
    is_present = failure.transition_id == present.transition_id
    was_automatic = (
        present.cause == Cause.ROLLBACK and present.actor_kind == SYSTEM.kind
    )
    if not is_present or was_automatic:
        return None
    return MoveRequest(
        model=failure.model,
        number=None,
        to_stage=version.stage,
        reason=f"deployment to {failure.environment} failed",
        is_rollback=True,
        expects_incumbent=True,
        expected_incumbent=version.number,
    )


def settled(
    tx: Transaction, due: MoveRequest | None, prepared: RollbackPlan
) -> RollbackPlan:
    """What will be done, decided under the lock; ``prepared`` was before it."""
    if due is None:
        return NO_ROLLBACK
    if prepared.move is None:
        return RollbackPlan(refusal=prepared.refusal or _CHANGED_MEANWHILE)
    # Its reason and its expectations are those of the moment, its digest is not.
    move = dataclasses.replace(
        due,
        number=prepared.move.number,
        verified_digest=prepared.move.verified_digest,
    )
    try:
        to_version = transitions.check_move(tx, move)
    except RegistryError as error:
        return RollbackPlan(refusal=error.message)
    return RollbackPlan(move=move, to_version=to_version)


def carry_out(tx: Transaction, plan: RollbackPlan) -> Document | None:
    """Roll back; answers what was done, or why not, or None for nothing to do."""
    done: Document = {"transition_id": None, "to_version": None, "refused": None}
    if plan.move is None:
        return {**done, "refused": plan.refusal} if plan.refusal else None
    caller = dataclasses.replace(tx.caller, actor=SYSTEM)
    moved = transitions.move_version(dataclasses.replace(tx, caller=caller), plan.move)
    return {
        **done,
        "transition_id": moved["transition_id"],
        "to_version": plan.to_version,
    }
