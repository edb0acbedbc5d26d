"""What happened to one version: its stage changes, and what belongs to each.

Rules:

- A page is a window of the version's lines in the history, newest first. What belongs
  to them is found by the window, in a statement each, however many lines there are.
- A request that led nowhere stands beside the line after which it was made
  (``RequestRow.entered``), so it is in one window alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    Connection,
    ScalarSelect,
    Table,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
)

from registry.domain.actors import ActorKind
from registry.domain.requests import RequestState
from registry.domain.rows import ApprovalRow, RequestRow, StageChangeRow, VersionRow
from registry.domain.timestamps import rfc3339
from registry.persistence.statements import (
    APPROVALS,
    CHANGES,
    REQUESTS,
    row_of,
    selected,
)
from registry.persistence.tables import AuditEntry
from webhooks.statements import fetch, is_among
from webhooks.tables import (
    REASON_SUPERSEDED,
    Delivery,
    DeliveryKind,
    DeliveryState,
    is_given_up,
    state_in,
)

ABOVE_ALL = 2**31 - 1  #: no line of a history has that number
_MOST_REQUESTS = 100
_LOG = cast("Table", AuditEntry.__table__).c
_OTHERS = CHANGES.alias("others")


@dataclass(frozen=True, slots=True)
class Deliveries:
    """How far the deliveries of one event have come; ``lost`` wait for a person."""

    requested: int = 0
    delivered: int = 0
    superseded: int = 0
    lost: int = 0
    last_delivered_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A stage change.

    Attributes:
        made_room_for: who entered the stage that it left, in the same change.
        replaced: who left the stage that it entered, the last of them.
    """

    change: StageChangeRow
    made_room_for: int | None
    replaced: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A window of what happened to a version.

    Attributes:
        deliveries: by the event that announced a change.
        approvals: by request.
        entries: the sealed texts of what CI jobs did.
        older_than: the number below which the story goes on; None where it begins.
    """

    lines: Sequence[Line]
    deliveries: Mapping[str, Deliveries] = field(default_factory=dict)
    requests: Sequence[RequestRow] = ()
    approvals: Mapping[str, Sequence[ApprovalRow]] = field(default_factory=dict)
    entries: Sequence[str] = ()
    older_than: int | None = None


def _beside(condition: ColumnElement[bool]) -> ScalarSelect[int | None]:
    """The other version that the same change moved, where one did."""
    return (
        select(func.max(_OTHERS.c.number))
        .where(_OTHERS.c.transition_id == CHANGES.c.transition_id, condition)
        .correlate(CHANGES)
        .scalar_subquery()
    )


_IS_ITS = CHANGES.c.version_id == bindparam("version_id")
_LINES = (
    select(
        *selected(StageChangeRow),
        _beside(_OTHERS.c.to_stage == CHANGES.c.from_stage),
        _beside(_OTHERS.c.from_stage == CHANGES.c.to_stage),
    )
    .where(_IS_ITS, CHANGES.c.sequence < bindparam("below"))
    .order_by(CHANGES.c.sequence.desc())
    .limit(bindparam("most"))
)
_IN_WINDOW = and_(
    _IS_ITS,
    CHANGES.c.sequence < bindparam("below"),
    CHANGES.c.sequence >= bindparam("first"),
)
_IS_DELIVERED = state_in(Delivery.state, DeliveryState.DELIVERED)
_IS_DEAD = state_in(Delivery.state, DeliveryState.DEAD)
_IS_SUPERSEDED = and_(_IS_DEAD, Delivery.reason == REASON_SUPERSEDED)
_IS_LOST = or_(
    and_(_IS_DEAD, Delivery.reason != REASON_SUPERSEDED),
    is_given_up(Delivery.state, Delivery.reason),
)


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((condition, 1), else_=0))


_DELIVERIES = (
    select(
        Delivery.event_id,
        func.count(),
        _count(_IS_DELIVERED),
        _count(_IS_SUPERSEDED),
        _count(_IS_LOST),
        func.max(case((_IS_DELIVERED, Delivery.updated_at))),
    )
    .where(
        Delivery.kind == DeliveryKind.EVENT,
        Delivery.event_id.in_(select(CHANGES.c.event_id).where(_IN_WINDOW)),
    )
    .group_by(Delivery.event_id)
)
_OF_WINDOW = and_(
    REQUESTS.c.model_id == bindparam("model_id"),
    REQUESTS.c.version_id == bindparam("version_id"),
    or_(
        REQUESTS.c.transition_id.in_(select(CHANGES.c.transition_id).where(_IN_WINDOW)),
        and_(
            REQUESTS.c.state != RequestState.APPROVED.value,
            REQUESTS.c.entered < bindparam("below"),
            REQUESTS.c.entered >= bindparam("first"),
        ),
    ),
)
_REQUESTS = (
    select(*selected(RequestRow))
    .where(_OF_WINDOW)
    .order_by(REQUESTS.c.id.desc())
    .limit(_MOST_REQUESTS)
)
_APPROVALS = (
    select(*selected(ApprovalRow))
    .join(REQUESTS, REQUESTS.c.id == APPROVALS.c.request_id)
    .where(_OF_WINDOW)
    .order_by(APPROVALS.c.at)
)
#: Found by their instants: by the index of chains all that a model has would be read.
_ENTRIES = {
    database: select(_LOG.canonical).where(
        _LOG.chain + "" == bindparam("chain"), is_among(_LOG.at, "instants", database)
    )
    for database in ("sqlite", "postgresql")
}


def story_of(
    cx: Connection, version: VersionRow, *, below: int = ABOVE_ALL, most: int
) -> Story:
    """Return what happened to a version, newest first, its registration at the end."""
    values: dict[str, Any] = {"version_id": version.id, "below": below}
    rows = fetch(cx, _LINES, {**values, "most": most + 1})
    shown = [_line(row) for row in rows[:most]]
    if not shown:
        return Story(lines=())
    first = shown[-1].change.sequence
    values |= {"first": first, "model_id": version.model_id}
    requests = [row_of(RequestRow, row) for row in fetch(cx, _REQUESTS, values)]
    return Story(
        lines=shown,
        deliveries={
            event: Deliveries(*found)
            for event, *found in fetch(cx, _DELIVERIES, values)
        },
        requests=requests,
        approvals=_approvals(cx, values) if requests else {},
        entries=_entries(cx, version, shown, requests),
        older_than=first if len(rows) > most else None,
    )


def _line(row: Sequence[Any]) -> Line:
    *change, made_room_for, replaced = row
    return Line(row_of(StageChangeRow, change), made_room_for, replaced)


def _approvals(
    cx: Connection, values: Mapping[str, Any]
) -> Mapping[str, Sequence[ApprovalRow]]:
    found: dict[str, list[ApprovalRow]] = {}
    for row in fetch(cx, _APPROVALS, values):
        approval = row_of(ApprovalRow, row)
        found.setdefault(approval.request_id, []).append(approval)
    return found


def _entries(
    cx: Connection,
    version: VersionRow,
    lines: Sequence[Line],
    requests: Sequence[RequestRow],
) -> Sequence[str]:
    """Return the entries of what CI jobs did: those alone say more than the rows."""
    instants = [
        *(line.change.at for line in lines if line.change.actor_kind == ActorKind.CI),
        *(row.created_at for row in requests if row.requester_kind == ActorKind.CI),
    ]
    if not instants:
        return ()
    values = {
        "chain": f"model:{version.model_id}",
        "instants": sorted(map(rfc3339, instants)),
    }
    return [text for (text,) in fetch(cx, _ENTRIES[cx.dialect.name], values)]
