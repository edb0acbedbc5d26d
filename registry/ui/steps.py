"""A change step by step: requested, approved, committed, delivered, deployed.

Rules:

- Each change has all five steps, so that they stand below each other. A step that was
  not needed, or that nobody reported, says so.
- A step names its evidence; where that is to be seen is the template's.
- A request that led to no change ends where it was left.

Pure: rows in, words out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from registry.domain.audit_chain import member, members_of
from registry.domain.documents import DeploymentStatus
from registry.domain.requests import RequestState
from registry.domain.rows import (
    ApprovalRow,
    DeploymentRow,
    RequestRow,
    StageChangeRow,
)
from registry.persistence.version_story import Deliveries, Line, Story


@dataclass(frozen=True, slots=True)
class Evidence:
    """What shows that a step was taken.

    Attributes:
        kind: ``request``, ``audit``, ``deliveries``, or ``web`` for a place elsewhere.
        target: its id or address.
    """

    kind: str
    text: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a change.

    Attributes:
        tone: good, bad, waiting or plain.
    """

    name: str
    tone: str = "plain"
    text: str
    at: datetime | None = None
    evidence: Sequence[Evidence] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """A change of the version, or a request that led to none.

    Attributes:
        line: None for a request.
    """

    at: datetime
    line: Line | None = None
    request: RequestRow | None = None
    steps: Sequence[Step] = ()


def happenings(
    story: Story,
    deployments: Sequence[DeploymentRow],
    states: Mapping[str, RequestState],
    counted: Mapping[str, int],
) -> list[Happening]:
    """Return what happened to a version, newest first.

    Args:
        story: a window of it.
        deployments: those of the version.
        states: how each request of the story stands.
        counted: how many approvals count of those that are open, as far as is known.
    """
    used = {line.change.request_id for line in story.lines}
    jobs = _jobs(story.entries)
    found = [_changed(story, line, deployments, jobs) for line in story.lines]
    found += [
        _asked(row, states[row.id], counted.get(row.id), jobs)
        for row in story.requests
        if row.id not in used
    ]
    return sorted(found, key=lambda each: each.at, reverse=True)


def _changed(
    story: Story,
    line: Line,
    deployments: Sequence[DeploymentRow],
    jobs: Mapping[str, str],
) -> Happening:
    change = line.change
    if change.from_stage is None:
        return Happening(at=change.at, line=line)
    asked = [row for row in story.requests if row.id == change.request_id]
    request = asked[0] if asked else None
    told = story.deliveries.get(change.event_id or "", Deliveries())
    return Happening(
        at=change.at,
        line=line,
        request=request,
        steps=(
            _requested(request, jobs),
            _approved(
                request, story.approvals.get(change.request_id or "", ()), change
            ),
            _committed(change, jobs),
            _delivered(told, change),
            _deployed(
                [r for r in deployments if r.transition_id == change.transition_id]
            ),
        ),
    )


def _asked(
    request: RequestRow,
    state: RequestState,
    counted: int | None,
    jobs: Mapping[str, str],
) -> Happening:
    return Happening(
        at=request.created_at,
        request=request,
        steps=(_requested(request, jobs), _left(request, state, counted)),
    )


def _requested(request: RequestRow | None, jobs: Mapping[str, str]) -> Step:
    if request is None:
        return Step(name="Requested", text="not needed")
    return Step(
        name="Requested",
        tone="good",
        text=f"by {request.requested_by}",
        at=request.created_at,
        evidence=(
            Evidence("request", "request", request.id),
            *_run(jobs, request.id),
        ),
    )


def _approved(
    request: RequestRow | None, given: Sequence[ApprovalRow], change: StageChangeRow
) -> Step:
    if request is None:
        text = "gone past: glass broken" if change.broke_glass else "not needed"
        tone = "bad" if change.broke_glass else "plain"
        return Step(name="Approved", tone=tone, text=text)
    return Step(
        name="Approved",
        tone="good",
        text=f"by {_names(given) or request.closed_by}",
        at=request.closed_at,
        evidence=(Evidence("request", "approvals", request.id),),
    )


def _left(request: RequestRow, state: RequestState, counted: int | None) -> Step:
    """Return how a request that led to no change was left."""
    if state is RequestState.OPEN:
        needed = request.needed
        text = f"needs {needed}" if counted is None else f"{counted} of {needed}"
        return Step(name="Approved", tone="waiting", text=text)
    is_rejected = state is RequestState.REJECTED
    return Step(
        name=state.value.capitalize(),
        tone="bad" if is_rejected else "plain",
        text=f"by {request.closed_by}" if request.closed_by else "",
        at=request.closed_at,
        evidence=(Evidence("request", "request", request.id),),
    )


def _committed(change: StageChangeRow, jobs: Mapping[str, str]) -> Step:
    return Step(
        name="Committed",
        tone="good",
        text=f"by {change.actor_name}",
        at=change.at,
        evidence=(
            Evidence("audit", "audit entry", change.transition_id),
            *_run(jobs, change.transition_id),
        ),
    )


def _delivered(told: Deliveries, change: StageChangeRow) -> Step:
    if not told.requested:
        return Step(name="Delivered", text="no deliveries on record")
    settled = told.delivered + told.superseded
    tone = "bad" if told.lost else "good" if settled == told.requested else "waiting"
    beside = [
        f"{count} {word}"
        for count, word in ((told.superseded, "superseded"), (told.lost, "failed"))
        if count
    ]
    return Step(
        name="Delivered",
        tone=tone,
        text=", ".join([f"{told.delivered} of {told.requested}", *beside]),
        at=told.last_delivered_at,
        evidence=(Evidence("deliveries", "deliveries", change.transition_id),),
    )


def _deployed(reported: Sequence[DeploymentRow]) -> Step:
    if not reported:
        return Step(name="Deployed", text="nothing reported")
    statuses = {row.status for row in reported}
    tone = "good" if statuses == {DeploymentStatus.SUCCEEDED} else "waiting"
    return Step(
        name="Deployed",
        tone="bad" if DeploymentStatus.FAILED in statuses else tone,
        text="\n".join(
            f"{row.environment}: {row.status.replace('_', ' ')}" for row in reported
        ),
        at=max(row.updated_at for row in reported),
        evidence=[
            Evidence("web", row.environment, row.url) for row in reported if row.url
        ],
    )


def _names(given: Sequence[ApprovalRow]) -> str:
    return ", ".join(row.name for row in given)


def _run(jobs: Mapping[str, str], id_: str) -> Iterator[Evidence]:
    if id_ in jobs:
        yield Evidence("web", "CI run", jobs[id_])


def _jobs(entries: Sequence[str]) -> dict[str, str]:
    """Return the CI run behind each change and request, by its id."""
    found: dict[str, str] = {}
    for entry in map(members_of, entries):
        run = member(entry, "on_behalf_of.run_url")
        id_ = member(entry, "transition_id") or member(entry, "after.id")
        if isinstance(run, str) and isinstance(id_, str):
            found[id_] = run
    return found
