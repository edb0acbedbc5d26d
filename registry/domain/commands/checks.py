"""Checks: what CI found out about a version, by the name of what it ran.

The last result of each name counts; the audit log has every one.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from registry.domain import names
from registry.domain.commands.change import (
    Context,
    Outcome,
    Snapshot,
    Want,
    outcome,
    version_event,
)
from registry.domain.documents import check_document
from registry.domain.entries import Change
from registry.domain.events import CHECK_REPORTED, Check
from registry.domain.policy import StagePolicy
from registry.domain.rows import CheckRow, CheckStatus
from registry.errors import ConflictError

MAX_CHECKS = 100
MAX_NAME_CHARACTERS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportCheck:
    """Take the result of a check down.

    Attributes:
        url: where more is to be read.
    """

    model: str
    number: int
    name: str
    status: CheckStatus
    url: str | None = None
    description: str = ""

    def want(self, _: StagePolicy) -> Want:
        """Ask for the version and its checks."""
        return Want(number=self.number, checks=True)

    def decide(self, seen: Snapshot, context: Context) -> Outcome[CheckRow]:
        """Decide what the check says from now on.

        Raises:
            VersionNotFoundError: when there is no such version.
            InvalidInputError: for a name or text that breaks the rules.
            ConflictError: when the version has as many checks as it may have.
        """
        version = seen.require_version(self.number)
        name = names.filled_text(self.name, field="name", most=MAX_NAME_CHARACTERS)
        before = seen.checks.get(name)
        if before is None and len(seen.checks) >= MAX_CHECKS:
            raise ConflictError(
                f"version {version.number} has {MAX_CHECKS} checks, as many as it may"
            )
        model = seen.model.touched(context.now)
        row = CheckRow(
            version_id=version.id,
            name=name,
            status=self.status.value,
            url=self.url,
            description=names.prose(self.description, field="description"),
            reported_by=context.caller.actor.name,
            created_at=before.created_at if before else model.updated_at,
            updated_at=_later(model.updated_at, before),
        )
        document = check_document(row)
        told: Check = {"check": document}
        return outcome(
            seen,
            context,
            model,
            Change(
                action=CHECK_REPORTED,
                version=version.number,
                before=check_document(before) if before else None,
                after=document,
            ),
            data={**version_event(context, model, version), **told},
            changed=[row] if before else [],
            added=[] if before else [row],
            answer=row,
        )


def _later(at: datetime, before: CheckRow | None) -> datetime:
    """Return when a check is reported: later than it was before, by any clock.

    Approvals tell by it that it was reported again (``domain.requests.binding``).
    """
    tick = timedelta(microseconds=1)
    return max(at, before.updated_at + tick) if before else at
