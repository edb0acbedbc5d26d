"""Holds: what keeps a model's versions out of a stage until somebody says so.

Rules:

- A rollback by a person holds the stage, where the policy says so: an automation must
  not put the bad version back. It holds CI jobs alone, until a person puts a version
  there, lifts the hold, or a version newer than the one rolled back is approved.
- A hold that is set by hand holds everybody, until it ends or is lifted.
- A stage has one hold of each kind; a new one takes the place of the one before. Who
  may set one by hand does not do away with that of a rollback by it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Self, TypedDict

from registry.domain.timestamps import Instant, parse_rfc3339, rfc3339


class HoldDocument(TypedDict):
    """What keeps a model's versions out of a stage."""

    stage: str
    version: Annotated[int | None, "that was rolled back; null where set by hand"]
    reason: str
    by: str
    at: Instant
    until: Instant | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """What keeps versions out of a stage.

    Attributes:
        version: the version that was rolled back; None of a hold set by hand.
        by: who set it.
        until: when it ends by itself.
    """

    stage: str
    version: int | None = None
    reason: str
    by: str
    at: datetime
    until: datetime | None = None

    @property
    def sentence(self) -> str:
        """Return why nothing may enter the stage."""
        what = (
            f"{self.stage} is held after the rollback of version {self.version} by "
            f"{self.by}: a person lifts it, or approves a newer version"
            if self.version is not None
            else f"{self.stage} is held by {self.by}"
        )
        until = f" until {rfc3339(self.until)}" if self.until else ""
        return f"{what}{until}" + (f" ({self.reason})" if self.reason else "")

    def stands_at(self, now: datetime) -> bool:
        """Whether it has not ended by itself."""
        return self.until is None or now < self.until

    @property
    def document(self) -> HoldDocument:
        """Return it as it is shown and stored."""
        return {
            "stage": self.stage,
            "version": self.version,
            "reason": self.reason,
            "by": self.by,
            "at": rfc3339(self.at),
            "until": rfc3339(self.until) if self.until else None,
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Return a hold from its document."""
        until = document["until"]
        return cls(
            stage=document["stage"],
            version=document["version"],
            reason=document["reason"],
            by=document["by"],
            at=parse_rfc3339(document["at"], field="at"),
            until=parse_rfc3339(until, field="until") if until else None,
        )


def with_hold(
    holds: Sequence[Mapping[str, Any]], hold: Hold
) -> list[Mapping[str, Any]]:
    """Return a model's holds with one more; another of its stage and kind goes."""
    is_by_hand = hold.version is None
    others = [
        each
        for each in holds
        if each["stage"] != hold.stage or (each["version"] is None) != is_by_hand
    ]
    return [*others, hold.document]


def without_hold(
    holds: Sequence[Mapping[str, Any]], stage: str
) -> list[Mapping[str, Any]]:
    """Return a model's holds without those of a stage."""
    return [hold for hold in holds if hold["stage"] != stage]
