"""What consumers report of the versions that they deploy.

Rules:

- There is one row for each (version, stage change, environment); it holds the last
  word. The audit log has an entry, and consumers get an event, for every report
  that changes it; a report that repeats the last word changes nothing.
- ``succeeded`` is final against ``pending`` and ``in_progress``, which may come late,
  until the event has been delivered again. ``failed`` is not: a pipeline may be run
  again. Of ``succeeded`` and ``failed`` the last one counts.
- A failure may roll back, in the same transaction (``automatic_rollback``). Who may
  not move versions moves none by a report either: that takes the token of the very
  delivery that announced the change, or a promoter. Anybody else's report stands, and
  does not keep a later one that says the same from rolling back.
- A report is about the change that its delivery announced; one that names no
  delivery is about the change that put the version where it is.
"""

import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from sqlalchemy.orm import Session

from registry.domain import names
from registry.domain.actors import Actor, Role
from registry.domain.policy import StagePolicy
from registry.domain.timestamps import rfc3339
from registry.errors import ConflictError, NotFoundError
from registry.persistence import deployments as stored
from registry.persistence import queries
from registry.persistence.tables import (
    Deployment,
    ModelVersion,
    RegisteredModel,
    StageChange,
)
from registry.services.audit import Change
from registry.services.automatic_rollback import (
    Failure,
    RollbackPlan,
    carry_out,
    due_rollback,
    settled,
)
from registry.services.changes import record_change, touch, version_event
from registry.services.deployment_grants import DeploymentGrant
from registry.services.documents import Document
from registry.services.transaction import Transaction
from registry.services.transitions import MoveRequest
from registry.services.versions import VersionRef, lock_version

UPDATED = "deployment.updated"


class DeploymentStatus(StrEnum):
    """How far a deployment has come."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


_UNFINISHED = frozenset({DeploymentStatus.PENDING, DeploymentStatus.IN_PROGRESS})


@dataclass(frozen=True, kw_only=True)
class DeploymentReport:
    """What a consumer says of a version.

    Attributes:
        url: where more is to be read; None keeps what was said before.
        description: as ``url``.
        delivery_id: the delivery that made the consumer deploy, if it says so.
        webhook_id: the ``webhook-id`` that it came with, if it says so.
        grant: what the consumer may report, where it signed in with a delivery's
            token; None where it has a token of its own.
    """

    model: str
    number: int
    status: DeploymentStatus
    environment: str
    url: str | None = None
    description: str | None = None
    delivery_id: str | None = None
    webhook_id: str | None = None
    grant: DeploymentGrant | None = None


@dataclass(frozen=True, kw_only=True)
class _Origin:
    """What a deployment is a consequence of."""

    present: StageChange | None
    transition_id: str | None
    event_id: str | None
    delivery_id: str | None


def expected_rollback(
    session: Session, policy: StagePolicy, report: DeploymentReport, reporter: Actor
) -> MoveRequest | None:
    """The rollback that this report is about to cause, if any.

    A first look without the lock, so that the artifact can be verified before it.

    Raises:
        NotFoundError: when model, version or delivery do not exist.
    """
    if report.status is not DeploymentStatus.FAILED:
        return None
    version = queries.get_version(session, report.model, report.number)
    origin = _origin(session, version, report)
    due = _due_rollback(policy, version, origin, report)
    return due if _may_roll_back(reporter, report, origin) else None


def report_deployment(
    tx: Transaction, report: DeploymentReport, prepared: RollbackPlan
) -> Document:
    """Take a report down, and roll back where the policy asks for it.

    Raises:
        NotFoundError: when model, version or delivery do not exist.
        InvalidInputError: for an environment or text that breaks the rules.
        ConflictError: when the deployment has succeeded already.
    """
    report = replace(report, environment=names.environment_name(report.environment))
    ref = VersionRef(model=report.model, number=report.number)
    model, version = lock_version(tx, ref)
    origin = _origin(tx.session, version, report)
    row = stored.standing_deployment(
        tx.session,
        version.id,
        origin.transition_id,
        report.environment,
    )
    due = _due_rollback(tx.policy, version, origin, report)
    may_move = _may_roll_back(tx.caller.actor, report, origin)
    plan = _rollback_plan(tx, due, prepared, may_move=may_move)
    if row is not None and _says_the_same(row, report, origin) and plan.move is None:
        return _answer(tx, deployment_document(model.name, row), plan)
    _expect_unfinished(tx.session, row, report, origin)
    before = deployment_document(model.name, row) if row else None
    row = row or _new_row(version, origin, report)
    _write(tx, model, row, report=report, origin=origin)
    document = deployment_document(model.name, row)
    change = Change(
        action=UPDATED,
        model=model.name,
        version=version.number,
        before=before,
        after=document,
        details=plan.details,
    )
    data = {
        **version_event(tx.caller, model, version),
        "transition_id": row.transition_id,
        "deployment": document,
    }
    record_change(tx, model, change, data=data, at=row.updated_at)
    return _answer(tx, document, plan)


def _answer(tx: Transaction, document: Document, plan: RollbackPlan) -> Document:
    return {**document, "automatic_rollback": carry_out(tx, plan)}


def _rollback_plan(
    tx: Transaction, due: MoveRequest | None, prepared: RollbackPlan, *, may_move: bool
) -> RollbackPlan:
    if due is None or may_move:
        return settled(tx, due, prepared)
    return RollbackPlan(
        refusal=f"role {tx.caller.actor.role} moves no version by a report: that takes "
        f"the token of the change's own delivery, or the role {Role.PROMOTER}"
    )


def _may_roll_back(reporter: Actor, report: DeploymentReport, origin: _Origin) -> bool:
    """Whether this report may move a version."""
    if report.grant is not None:
        return report.grant.transition_id == origin.transition_id
    return reporter.role.includes(Role.PROMOTER)


def _origin(
    session: Session, version: ModelVersion, report: DeploymentReport
) -> _Origin:
    present = stored.present_change(session, version.id)
    grant = report.grant
    if report.delivery_id is not None or report.webhook_id is not None:
        change = stored.announced_change(
            session,
            version.id,
            event_id=report.webhook_id,
            delivery_id=report.delivery_id,
        )
        if change is None:
            raise NotFoundError(
                f"no such delivery announced a stage change of version {version.number}"
            )
        return _origin_of(present, change, report)
    if grant is not None:
        return _Origin(
            present=present,
            transition_id=grant.transition_id,
            event_id=grant.event_id,
            delivery_id=grant.delivery_id,
        )
    return _origin_of(present, present, report)


def _origin_of(
    present: StageChange | None, change: StageChange | None, report: DeploymentReport
) -> _Origin:
    event_id = change.event_id if change else None
    grant = report.grant
    granted = grant.delivery_id if grant and grant.event_id == event_id else None
    return _Origin(
        present=present,
        transition_id=change.transition_id if change else None,
        event_id=event_id,
        delivery_id=report.delivery_id or granted,
    )


def _says_the_same(row: Deployment, report: DeploymentReport, origin: _Origin) -> bool:
    return (
        row.status == report.status
        and report.url in {None, row.url}
        and report.description in {None, row.description}
        and origin.delivery_id in {None, row.delivery_id}
    )


def _expect_unfinished(
    session: Session,
    row: Deployment | None,
    report: DeploymentReport,
    origin: _Origin,
) -> None:
    if row is None or row.status != DeploymentStatus.SUCCEEDED:
        return
    if report.status not in _UNFINISHED:
        return
    if not stored.was_sent_again(session, origin.event_id, since=row.updated_at):
        raise ConflictError(
            f"the deployment to {row.environment} has succeeded already; it can begin "
            "anew when its event is delivered again"
        )


def _new_row(
    version: ModelVersion, origin: _Origin, report: DeploymentReport
) -> Deployment:
    return Deployment(
        model_id=version.model_id,
        version_id=version.id,
        number=version.number,
        transition_id=origin.transition_id,
        environment=report.environment,
        description="",
    )


def _write(
    tx: Transaction,
    model: RegisteredModel,
    row: Deployment,
    *,
    report: DeploymentReport,
    origin: _Origin,
) -> None:
    at = touch(model, None, tx.now)
    if row.id is None:
        row.id = _new_id(at)
        row.created_at = at
        tx.session.add(row)
    row.status = report.status
    row.url = report.url or row.url
    if report.description is not None:
        text = names.clean_text(report.description, field="description")
        row.description = text
    row.delivery_id = origin.delivery_id or row.delivery_id
    row.reported_by = tx.caller.actor.name
    row.updated_at = at
    tx.session.flush()


def _new_id(at: datetime) -> str:
    """An id that sorts by time: 48 bits of milliseconds, 80 random bits."""
    return f"{int(at.timestamp() * 1000):012x}{secrets.token_hex(10)}"


def _due_rollback(
    policy: StagePolicy,
    version: ModelVersion,
    origin: _Origin,
    report: DeploymentReport,
) -> MoveRequest | None:
    if report.status is not DeploymentStatus.FAILED:
        return None
    failure = Failure(
        model=report.model,
        version=version,
        present=origin.present,
        transition_id=origin.transition_id,
        environment=report.environment,
    )
    return due_rollback(policy, failure)


def deployment_document(model: str, row: Deployment) -> Document:
    """A deployment as the API shows it."""
    return {
        "id": row.id,
        "model": model,
        "version": row.number,
        "transition_id": row.transition_id,
        "delivery_id": row.delivery_id,
        "environment": row.environment,
        "status": row.status,
        "url": row.url,
        "description": row.description,
        "reported_by": row.reported_by,
        "created_at": rfc3339(row.created_at),
        "updated_at": rfc3339(row.updated_at),
    }
