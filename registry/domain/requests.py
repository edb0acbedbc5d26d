"""Transition requests: when one stands, and who may approve it.

Rules:

- A request is for one version, its artifact's digest, two stages and one revision of
  the policy; when one of them is another, it is void. It expires. A version that has
  left its stage and come back is not where it was: what was asked for is over.
- An approval is bound to all that, and to what the gates looked at (``binding``): a
  check that is reported again ends it, until it is given again.
- Nobody approves what they asked for: neither under another name, nor by a credential
  that they made, or that one of those made, nor the person behind a CI job.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, auto
from typing import Self

from registry.domain.actors import BETWEEN_MAKERS, Actor
from registry.domain.gates import Gate
from registry.domain.rows import ApprovalRow, RequestRow, VersionRow


class RequestState(StrEnum):
    """How a transition request stands."""

    OPEN = auto()
    APPROVED = auto()  #: and carried out, in the same transaction
    REJECTED = auto()
    CANCELLED = auto()
    EXPIRED = auto()
    VOID = auto()  #: what it was for is not there any more


@dataclass(frozen=True, slots=True)
class Person:
    """Who somebody is, as far as nobody may be two of a request's persons."""

    principal: str
    human: str
    made_by: str

    @classmethod
    def of(cls, actor: Actor) -> Self:
        """Return who an actor is."""
        return cls(actor.principal, actor.human, actor.made_by)

    @classmethod
    def asking(cls, request: RequestRow) -> Self:
        """Return who asks."""
        return cls(
            request.requester, request.requester_human, request.requester_made_by
        )

    @classmethod
    def approving(cls, approval: ApprovalRow) -> Self:
        """Return who approved."""
        return cls(approval.approver, approval.human, approval.made_by)

    def is_also(self, other: "Person") -> bool:
        """Whether one is the other, or one's credential was made by the other."""
        mine, others = self.names, other.names
        return bool(mine & others or self.makers & others or other.makers & mine)

    @property
    def names(self) -> set[str]:
        """Return the principals that it goes by."""
        return {self.principal, self.human} - {""}

    @property
    def makers(self) -> set[str]:
        """Return the principals that made its credential."""
        return set(self.made_by.split(BETWEEN_MAKERS)) - {""}


#: The digest of a version's artifact, its stage, and its last line in the history.
There = tuple[str | None, str, int]


def what_is_there(version: VersionRow) -> There:
    """Return what a request for the version is bound to."""
    return version.artifact_digest, version.stage, version.entered


def standing(
    request: RequestRow, there: There | None, policy_digest: str, now: datetime
) -> RequestState:
    """Return how a request stands; ``there`` is its version's, None if deleted."""
    state = RequestState(request.state)
    if state is not RequestState.OPEN:
        return state
    if there is None or _bound(request) != (*there, policy_digest):
        return RequestState.VOID
    return RequestState.EXPIRED if request.expires_at <= now else RequestState.OPEN


def _bound(request: RequestRow) -> tuple[str | None, str, int, str]:
    return (
        request.artifact_digest,
        request.from_stage,
        request.entered,
        request.policy_digest,
    )


def binding(request: RequestRow, gates: Iterable[Gate]) -> str:
    """Return the SHA-256 of what an approval is for, in hex."""
    looked_at = [(g.kind, g.name, g.evidence) for g in gates if g.evidence]
    what = (request.id, request.to_stage, *_bound(request), sorted(looked_at))
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def valid(approvals: Sequence[ApprovalRow], bound_to: str) -> list[ApprovalRow]:
    """Return the approvals that are for what is there now, one for each person."""
    kept: list[ApprovalRow] = []
    for approval in approvals:
        person = Person.approving(approval)
        if approval.binding == bound_to and not any(
            person.is_also(Person.approving(other)) for other in kept
        ):
            kept.append(approval)
    return kept
