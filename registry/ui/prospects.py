"""What a move would do, as a page shows it, and whether that is still so.

Rules:

- A form carries the facts that its page showed. One that comes back when they are
  others is refused, and shown anew with what is different.
- What changes between that look and the lock is refused by the command: it is told the
  entity tag, the incumbent, the gates, and what an approval is for.
- Who would be told is what the command itself decides, on what was looked at.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import NamedTuple

from registry.auth.sign_in import current_caller
from registry.domain.commands.asking import Approved
from registry.domain.commands.moves import MoveVersion
from registry.domain.gates import Gate, GateKind
from registry.domain.holds import Hold
from registry.domain.policy import StagePolicy
from registry.domain.requests import binding
from registry.domain.rows import ApprovalRow, RequestRow, VersionRow
from registry.persistence.database import reading
from registry.services import previews
from registry.services.previews import Foreseen
from registry.ui.comparison import Row, compared, compared_metrics
from registry.web.commands import parts
from webhooks.endpoints import Standing, read_standings

_MOST_ENDPOINTS = 20
#: What is decided on, but by nobody: only who would be told is asked for.
_SAID = "-"
_ENTITY = "version "


class Change(NamedTuple):
    """A fact that is another than the page showed; None where there was none."""

    what: str
    before: str | None
    now: str | None


@dataclass(frozen=True)
class Prospect:
    """A move as it would be made now.

    Attributes:
        told: the webhooks that would be told of it.
        is_told_on_broken_glass: whether nobody is told unless that is done.
    """

    foreseen: Foreseen
    told: Sequence[Standing]
    is_told_on_broken_glass: bool = False

    @property
    def rules(self) -> StagePolicy:
        """Return the rules that hold for the model."""
        return self.foreseen.context.policy.for_model(self.foreseen.move.model)

    @property
    def version(self) -> VersionRow:
        """Return the version that would move."""
        return self.foreseen.version

    @property
    def incumbent(self) -> VersionRow | None:
        """Return the version to compare with: who leaves, the last to enter of them."""
        rows = self.foreseen.leaving
        return max(rows, key=lambda row: row.entered) if rows else None

    @property
    def aside(self) -> str | None:
        """Return where incumbents go."""
        return self.rules.exclusive.get(self.foreseen.to_stage)

    @property
    def outlook(self) -> str:
        """Return what pressing the button would lead to."""
        if self.foreseen.found.reasons:
            return "refused"
        if self.foreseen.needed == 0:
            return "moved"
        return "waiting" if self.foreseen.request else "asked"

    @property
    def breakable(self) -> list[str]:
        """Return what breaking the glass would go past; nothing where it may not."""
        found = self.foreseen.found
        failing = [gate for gate in found.gates if not gate.passes]
        is_stuck = any(gate.kind is GateKind.STATUS for gate in failing)
        if found.move is None or found.problems or is_stuck:
            return []
        needed = self.foreseen.needed
        approvals = f"{needed} {'approval' if needed == 1 else 'approvals'}"
        return [*(gate.message for gate in failing), *([approvals] if needed else [])]

    @property
    def bound_aliases(self) -> list[str]:
        """Return the aliases that are bound to the stage, as the policy names them."""
        stage = self.foreseen.to_stage
        return [rule.pattern for rule in self.rules.aliases if rule.stage == stage]

    @property
    def sets_hold(self) -> bool:
        """Whether CI jobs are kept out of the stage afterwards."""
        move, stage = self.foreseen.move, self.foreseen.to_stage
        is_held = stage in self.rules.held_after_rollback
        return move.is_rollback and is_held and self.incumbent is not None

    @property
    def ends_holds(self) -> list[Hold]:
        """Return the holds of rollbacks that a person's move there ends for good."""
        if self.sets_hold:
            return []
        holds = map(Hold.of, self.foreseen.seen.model.holds)
        mine = [hold for hold in holds if hold.stage == self.foreseen.to_stage]
        return [hold for hold in mine if hold.version is not None]

    @cached_property
    def differing_metrics(self) -> Sequence[Row]:
        """Return the metrics in which it differs from the incumbent."""
        before = self.incumbent
        sides = [before.metrics, self.version.metrics] if before else [{}, {}]
        return compared_metrics(sides).differing

    @cached_property
    def differing_params(self) -> Sequence[Row]:
        """Return the params in which it differs from the incumbent."""
        before = self.incumbent
        sides = [before.params, self.version.params] if before else [{}, {}]
        return compared(sides).differing

    @cached_property
    def facts(self) -> Mapping[str, str]:
        """Return what the decision is made on, by what it is called."""
        foreseen, version = self.foreseen, self.version
        leaving = foreseen.leaving
        return {
            f"{_ENTITY}{version.number}": version.etag,
            **{f"{_ENTITY}{row.number}": row.etag for row in leaving},
            "its stage": version.stage,
            f"in {foreseen.to_stage}": _versions(leaving),
            "the policy": foreseen.context.policy.digest[:12],
            **{gate_name(gate): _looked_at(gate) for gate in foreseen.found.gates},
            "approvals that count": str(len(foreseen.valid)),
            "the request": foreseen.request.id if foreseen.request else "none",
            "who is told": _names(self.told),
        }

    @property
    def shown(self) -> str:
        """Return the facts, as the form carries them."""
        return json.dumps(self.facts)

    def changes_since(self, shown: str) -> list[Change]:
        """Return how the facts differ from those that a form carried."""
        before = _facts_in(shown)
        names = dict.fromkeys([*self.facts, *before])
        found = (Change(n, before.get(n), self.facts.get(n)) for n in names)
        return [_told(change) for change in found if change.before != change.now]

    def bound(self, move: MoveVersion) -> MoveVersion:
        """Return a move that is made of nothing else than was looked at."""
        return replace(
            move,
            if_match=self.version.etag,
            expects_incumbent=True,
            expected_incumbent=self.foreseen.seen.last_in,
            expected_gates=self.foreseen.found.gates,
        )

    @property
    def binding(self) -> str | None:
        """Return what an approval would be for."""
        request = self.foreseen.request
        return binding(request, self.foreseen.found.gates) if request else None


def look(move: MoveVersion, *, asked: RequestRow | None = None) -> Prospect:
    """Look at a move, as it is or as the one that a request asks for.

    Raises:
        RegistryError: as ``services.previews.foresee``.
    """
    cx, policy, caller = reading(), parts().policy, current_caller()
    # Neither what is said of it nor how it is forced makes it another.
    plain = replace(move, reason="", breaks_glass=False)
    watched = replace(plain, expects_incumbent=True)
    foreseen = previews.foresee(cx, policy, caller, watched, asked=asked)
    approved = _approved(asked, foreseen.context.now) if asked else None
    told = previews.listeners(cx, foreseen, replace(plain, approved=approved))
    is_broken = not told and bool(foreseen.found.reasons) and foreseen.can_break_glass
    if is_broken:
        broken = replace(plain, breaks_glass=True, reason=_SAID)
        told = previews.listeners(cx, foreseen, broken)
    ids = {member.id for member in told}
    endpoints = [each for each in read_standings(cx) if each.id in ids] if ids else []
    return Prospect(foreseen, endpoints, is_told_on_broken_glass=is_broken)


def _approved(request: RequestRow, now: datetime) -> Approved:
    """Return a request as it would be by its last approval, to see what that tells."""
    approval = ApprovalRow(
        request_id=request.id,
        approver="",
        human="",
        made_by="",
        name=_SAID,
        comment="",
        at=now,
        binding="",
    )
    return Approved(request=request, approval=approval, is_new=True, names=())


def gate_name(gate: Gate) -> str:
    """Return what a gate is called."""
    kind = gate.kind.replace("_", " ")
    return f"{kind} {gate.name}" if gate.name else kind


def _looked_at(gate: Gate) -> str:
    return f"{gate.state} ({gate.evidence})" if gate.evidence else str(gate.state)


def _versions(rows: Sequence[VersionRow]) -> str:
    return ", ".join(f"version {row.number}" for row in rows) or "nobody leaves"


def _names(endpoints: Sequence[Standing]) -> str:
    names = [f"{each.name} ({each.state})" for each in endpoints[:_MOST_ENDPOINTS]]
    more = len(endpoints) - len(names)
    return ", ".join([*names, *([f"{more} more"] if more else [])]) or "nobody"


def _facts_in(shown: str) -> dict[str, str]:
    """Return the facts that a form carried; none where it is not as it was made."""
    try:
        facts = json.loads(shown)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(facts, dict):
        return {}
    return {name: value for name, value in facts.items() if isinstance(value, str)}


def _told(change: Change) -> Change:
    """Return a change without what says nothing to people."""
    is_entity = change.what.startswith(_ENTITY)
    return Change(change.what, None, None) if is_entity else change
