"""What consumers report of the versions that they deploy.

Rules:

- There is one row for each (version, stage change, environment); it holds the last
  word. The audit log has an entry, and consumers get an event, for every report
  that changes it; a report that repeats the last word changes nothing.
- ``succeeded`` is final against ``pending`` and ``in_progress``, which may come late,
  until the event has been delivered again. ``failed`` is not: a pipeline may be run
  again. Of ``succeeded`` and ``failed`` the last one counts.
- A failure may roll back, in the same transaction. Who may not move versions moves none
  by a report either: that takes the token of the very delivery that announced the
  change, or a promoter. Anybody else's report stands, and does not keep a later one
  that says the same from rolling back.
- Only the version's present stage counts, and only a deployment of the change that put
  it there: a late report about an earlier one rolls nothing back. What an automatic
  rollback put there is left alone, so that nothing goes round in circles.
- A report is about the change that its delivery announced; one that names no
  delivery is about the change that put the version where it is.
"""

import secrets
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from registry.domain import names
from registry.domain.actors import SYSTEM, Actor, ActorKind, CredentialKind, may
from registry.domain.commands.change import (
    Context,
    Outcome,
    Reported,
    Snapshot,
    Want,
    outcome,
    version_event,
)
from registry.domain.commands.moves import MoveVersion
from registry.domain.documents import DeploymentStatus, Document, deployment_document
from registry.domain.entries import Change
from registry.domain.events import DEPLOYMENT_UPDATED, Deployment
from registry.domain.policy import Cause, StagePolicy
from registry.domain.roles import Action
from registry.domain.rows import DeploymentRow, VersionRow
from registry.errors import ConflictError, NotFoundError

_UNFINISHED = frozenset({DeploymentStatus.PENDING, DeploymentStatus.IN_PROGRESS})


@dataclass(frozen=True, kw_only=True)
class DeploymentGrant:
    """The one version that may be reported on, and why.

    Attributes:
        event_id: the event that was delivered; its ``webhook-id``.
        delivery_id: the delivery that was sent last.
    """

    model: str
    number: int
    transition_id: str
    event_id: str
    subscription_id: str
    delivery_id: str

    @property
    def actor(self) -> Actor:
        """Return who reports, without a role: the grant says what is allowed."""
        return Actor(
            kind=ActorKind.DELIVERY,
            name=f"webhook {self.subscription_id}",
            principal=f"{self.event_id}.{self.subscription_id}",
            credential=CredentialKind.DELIVERY_TOKEN,
            credential_id=f"{self.event_id}.{self.subscription_id}",
        )

    def allows(self, model: object, number: object) -> bool:
        """Whether this version may be reported on."""
        return (model, number) == (self.model, self.number)


class _Origin(NamedTuple):
    """What a deployment is a consequence of."""

    transition_id: str | None
    event_id: str | None
    delivery_id: str | None


@dataclass(frozen=True, kw_only=True)
class ReportDeployment:
    """Take a report down.

    Attributes:
        url: where more is to be read; None keeps what was said before.
        description: as ``url``.
        delivery_id: the delivery that made the consumer deploy, if it says so.
        webhook_id: the ``webhook-id`` that it came with, if it says so.
        grant: what the consumer may report, where it signed in with a delivery's
            token; None where it has a token of its own.
        details: what its audit entry says besides, of the rollback that it causes.
        rolls_back: whether it does: then it is a change even if it repeats itself.
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
    details: Document = field(default_factory=dict)
    rolls_back: bool = False

    def want(self, _: StagePolicy) -> Want:
        """Ask for the version, and for what is known of the deployment."""
        grant = self.grant
        return Want(
            number=self.number,
            reported=Reported(
                environment=names.environment_name(self.environment),
                event_id=self.webhook_id,
                delivery_id=self.delivery_id,
                transition_id=grant.transition_id if grant else None,
                granted_event_id=grant.event_id if grant else None,
            ),
        )

    def decide(self, seen: Snapshot, context: Context) -> Outcome[DeploymentRow]:
        """Decide what the last word is from now on.

        Raises:
            NotFoundError: when version or delivery do not exist.
            InvalidInputError: for an environment or text that breaks the rules.
            ConflictError: when the deployment has succeeded already.
        """
        version, origin = seen.require_version(self.number), self._origin(seen)
        before = seen.deployment.rows.get(origin.transition_id)
        if before and self._says_the_same(before, origin) and not self.rolls_back:
            return Outcome(answer=before)
        self._expect_unfinished(before, origin, seen)
        model = seen.model.touched(context.now)
        at = model.updated_at
        row = self._row(before or self._new(version, origin, at), origin, context, at)
        document = deployment_document(model.name, row)
        told: Deployment = {
            "transition_id": row.transition_id,
            "deployment": document,
        }
        return outcome(
            seen,
            context,
            model,
            Change(
                action=DEPLOYMENT_UPDATED,
                version=version.number,
                before=None
                if before is None
                else deployment_document(model.name, before),
                after=document,
                details=self.details,
            ),
            data={**version_event(context, model, version), **told},
            changed=[row] if before else [],
            added=[] if before else [row],
            answer=row,
        )

    def due_rollback(
        self, seen: Snapshot, policy: StagePolicy, reporter: Actor
    ) -> tuple[MoveVersion | None, str | None]:
        """Return the rollback that the policy asks for, or why it is not made."""
        version, origin = seen.require_version(self.number), self._origin(seen)
        present = seen.deployment.present
        if self.status is not DeploymentStatus.FAILED or present is None:
            return None, None
        if version.stage not in policy.for_model(self.model).automatic_rollback:
            return None, None
        was_automatic = (
            present.cause == Cause.ROLLBACK and present.actor_kind == SYSTEM.kind
        )
        if origin.transition_id != present.transition_id or was_automatic:
            return None, None
        if not self._may_move(reporter, origin):
            return None, (
                f"{reporter.name} moves no version by a report: that takes the token "
                f"of the change's own delivery, or who may {Action.PROMOTE} it"
            )
        move = MoveVersion(
            model=self.model,
            number=None,
            to_stage=version.stage,
            reason=f"deployment to {names.environment_name(self.environment)} failed",
            is_rollback=True,
            expects_incumbent=True,
            expected_incumbent=version.number,
        )
        return move, None

    def _may_move(self, reporter: Actor, origin: _Origin) -> bool:
        if self.grant is not None:
            return self.grant.transition_id == origin.transition_id
        return may(reporter, Action.PROMOTE, self.model)

    def _origin(self, seen: Snapshot) -> _Origin:
        known, grant = seen.deployment, self.grant
        change = known.present
        if self.delivery_id is not None or self.webhook_id is not None:
            change = known.announced
            if change is None:
                raise NotFoundError(
                    "no such delivery announced a stage change of version "
                    f"{self.number}"
                )
        elif grant is not None:
            return _Origin(grant.transition_id, grant.event_id, grant.delivery_id)
        event_id = change.event_id if change else None
        granted = grant.delivery_id if grant and grant.event_id == event_id else None
        return _Origin(
            transition_id=change.transition_id if change else None,
            event_id=event_id,
            delivery_id=self.delivery_id or granted,
        )

    def _says_the_same(self, row: DeploymentRow, origin: _Origin) -> bool:
        return (
            row.status == self.status
            and self.url in {None, row.url}
            and self.description in {None, row.description}
            and origin.delivery_id in {None, row.delivery_id}
        )

    def _expect_unfinished(
        self, row: DeploymentRow | None, origin: _Origin, seen: Snapshot
    ) -> None:
        if row is None or row.status != DeploymentStatus.SUCCEEDED:
            return
        if self.status not in _UNFINISHED:
            return
        sent_again = seen.deployment.sent_again.get(origin.event_id or "")
        if sent_again is None or sent_again <= row.updated_at:
            raise ConflictError(
                f"the deployment to {row.environment} has succeeded already; it can "
                "begin anew when its event is delivered again"
            )

    def _new(self, version: VersionRow, origin: _Origin, at: datetime) -> DeploymentRow:
        # The id sorts by time: 48 bits of milliseconds, 80 random bits.
        return DeploymentRow(
            id=f"{int(at.timestamp() * 1000):012x}{secrets.token_hex(10)}",
            model_id=version.model_id,
            version_id=version.id,
            number=version.number,
            transition_id=origin.transition_id,
            environment=names.environment_name(self.environment),
            status=self.status,
            description="",
            reported_by="",
            created_at=at,
            updated_at=at,
        )

    def _row(
        self, row: DeploymentRow, origin: _Origin, context: Context, at: datetime
    ) -> DeploymentRow:
        text = row.description
        if self.description is not None:
            text = names.prose(self.description, field="description")
        return replace(
            row,
            status=self.status,
            url=self.url or row.url,
            description=text,
            delivery_id=origin.delivery_id or row.delivery_id,
            reported_by=context.caller.actor.name,
            updated_at=at,
        )
