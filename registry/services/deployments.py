"""Reports of deployments, and the rollback that a failure may cause.

Rules:

- The rollback is decided and made in the report's transaction, as every other move. Its
  actor is the registry itself; the audit entry of the report names who reported.
- One that cannot be made is no error: why is recorded with the report.
- What it puts back is verified before the transaction, where the policy wants that.
"""

from dataclasses import dataclass, replace

from registry.domain.actors import SYSTEM
from registry.domain.commands.deployments import ReportDeployment
from registry.domain.commands.moves import Moved, MoveVersion
from registry.domain.documents import Document, deployment_document
from registry.errors import RegistryError, VerificationNeededError
from registry.services.commands import carry_out, execute, look, preview
from registry.services.transaction import Transaction


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """The rollback to make, or why none is made."""

    move: MoveVersion | None = None
    moved: Moved | None = None
    refusal: str | None = None

    @property
    def details(self) -> Document:
        """Return what the audit entry of the report says of it."""
        if self.refusal is not None:
            return {"automatic_rollback": {"refused": self.refusal}}
        if self.moved is not None:
            return {"automatic_rollback": {"to_version": self.moved.version.number}}
        return {}


def report_deployment(
    tx: Transaction,
    report: ReportDeployment,
    *,
    digest: str | None = None,
    refusal: str | None = None,
) -> Document:
    """Take a report down, and roll back where the policy asks for it.

    ``digest`` is the artifact's that goes back, where it was hashed; ``refusal`` is why
    it may not go back.

    Raises:
        RegistryError: as ``ReportDeployment``.
        VerificationNeededError: when what goes back is to be verified first.
    """
    seen = look(tx, report)
    move, refused = report.due_rollback(seen, tx.policy, tx.caller.actor)
    plan = _Plan(refusal=refused)
    if move is not None:
        plan = _plan_move(tx, replace(move, verified_digest=digest), refusal)
    report = replace(report, details=plan.details, rolls_back=plan.move is not None)
    row = carry_out(tx, report, seen)
    document = deployment_document(report.model, row)
    return {**document, "automatic_rollback": _carried_out(tx, plan)}


def _plan_move(tx: Transaction, move: MoveVersion, refusal: str | None) -> _Plan:
    if refusal is not None:
        return _Plan(refusal=refusal)
    try:
        moved = preview(_as_system(tx), move).answer
    except VerificationNeededError:
        raise
    except RegistryError as error:
        return _Plan(refusal=error.message)
    if moved.request:
        return _Plan(refusal=f"it takes {moved.request.needed} approvals")
    return _Plan(move=move, moved=moved)


def _carried_out(tx: Transaction, plan: _Plan) -> Document | None:
    """Roll back as planned; returns what was done, or why nothing was."""
    done: Document = {"transition_id": None, "to_version": None, "refused": None}
    if plan.move is None:
        return {**done, "refused": plan.refusal} if plan.refusal else None
    moved = execute(_as_system(tx), plan.move)
    return {
        **done,
        "transition_id": moved.transition_id,
        "to_version": moved.version.number,
    }


def _as_system(tx: Transaction) -> Transaction:
    return replace(tx, caller=replace(tx.caller, actor=SYSTEM))
