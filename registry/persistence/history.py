"""A model's history: each stage change, and what became of it, in one statement.

Rules:

- What was requested of receivers and what they took are counted over the event's
  own deliveries; replays and tests are not part of a change.
- Deployments are joined, not fetched change by change: a page of any length is one
  statement.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    ScalarSelect,
    Select,
    Subquery,
    and_,
    bindparam,
    func,
    select,
)
from sqlalchemy.orm import aliased

from registry.domain.rows import DeploymentRow, StageChangeRow
from registry.errors import ModelNotFoundError
from registry.persistence.statements import row_of, selected
from registry.persistence.tables import (
    Deployment,
    ModelVersion,
    RegisteredModel,
    StageChange,
)
from webhooks.statements import fetch, read_rows
from webhooks.tables import Delivery, DeliveryKind, DeliveryState, state_in

_CHANGE = len(fields(StageChangeRow))
_NEWEST = [StageChange.sequence.desc()]
_ABOVE_ALL = 2**63 - 1  #: no change has that number


@dataclass(kw_only=True)
class HistoryLine:
    """A stage change and what became of it.

    Attributes:
        requested: how many deliveries announce it.
        delivered: how many of them were acknowledged.
        last_delivered_at: when the last acknowledgement came; None without one.
    """

    change: StageChangeRow
    requested: int
    delivered: int
    last_delivered_at: datetime | None
    deployments: list[DeploymentRow] = field(default_factory=list)


def list_history(
    cx: Connection,
    name: str,
    *,
    below: int | None,
    stage: str | None,
    limit: int,
) -> Iterator[HistoryLine]:
    """Yield a model's stage changes, newest first; registrations are left out.

    Raises:
        NotFoundError: when there is no such model, as the first is asked for.
    """
    values = {"name": name, "below": below or _ABOVE_ALL, "most": limit}
    if stage is not None:
        values["stage"] = stage
    statement = _CHANGES if stage is None else _CHANGES_OF_STAGE
    rows = read_rows(cx, statement, limit=limit, joined_in=_NEWEST, values=values)
    is_there = False
    for change, of_change in groupby(rows, key=lambda row: row[:_CHANGE]):
        is_there = True
        if change[0] is not None:
            yield _line(of_change)
    if not is_there:
        raise ModelNotFoundError(name)


def _line(rows: Iterable[Sequence[Any]]) -> HistoryLine:
    """Return the line of one change, its deployments gathered."""
    lines = list(rows)
    requested, delivered, last_delivered_at = lines[0][_CHANGE : _CHANGE + 3]
    rows = [row[_CHANGE + 3 :] for row in lines]
    deployments = [row_of(DeploymentRow, row) for row in rows if row[0] is not None]
    return HistoryLine(
        change=row_of(StageChangeRow, lines[0][:_CHANGE]),
        requested=requested,
        delivered=delivered,
        last_delivered_at=last_delivered_at,
        deployments=sorted(deployments, key=lambda deployment: deployment.id),
    )


def _of_deliveries(
    aggregate: ColumnElement[Any], *conditions: ColumnElement[bool]
) -> ScalarSelect[Any]:
    """Return an aggregate over the deliveries of the change's event."""
    return (
        select(aggregate)
        .select_from(Delivery)
        .where(
            Delivery.event_id == StageChange.event_id,
            Delivery.kind == DeliveryKind.EVENT,
            *conditions,
        )
        .correlate(StageChange)
        .scalar_subquery()
    )


def _page(*conditions: ColumnElement[bool]) -> Subquery:
    """Return the changes of a page; for a model without any, one row that has none."""
    is_its = and_(
        StageChange.model_id == RegisteredModel.id,
        StageChange.from_stage.is_not(None),
        StageChange.sequence < bindparam("below", type_=BigInteger),
        *conditions,
    )
    return (
        select(StageChange.id.label("change_id"))
        .select_from(RegisteredModel)
        .outerjoin(StageChange, is_its)
        .where(
            RegisteredModel.name == bindparam("name"),
            RegisteredModel.deleted_at.is_(None),
        )
        .order_by(StageChange.sequence.desc())
        .limit(bindparam("most"))
        .subquery()
    )


def _changes(page: Subquery) -> Select[Any]:
    is_delivered = state_in(Delivery.state, DeliveryState.DELIVERED)
    return (
        select(
            *selected(StageChangeRow),
            _of_deliveries(func.count()),
            _of_deliveries(func.count(), is_delivered),
            _of_deliveries(func.max(Delivery.updated_at), is_delivered),
            *selected(DeploymentRow),
        )
        .select_from(page)
        .outerjoin(StageChange, StageChange.id == page.c.change_id)
        .outerjoin(
            Deployment,
            and_(
                Deployment.version_id == StageChange.version_id,
                Deployment.transition_id == StageChange.transition_id,
            ),
        )
    )


_CHANGES = _changes(_page())
_CHANGES_OF_STAGE = _changes(
    _page(
        (StageChange.to_stage == bindparam("stage"))
        | (StageChange.from_stage == bindparam("stage"))
    )
)


@dataclass(frozen=True, slots=True)
class Spell:
    """The time that a version was in a stage.

    Attributes:
        left_at: None as long as it is there.
        is_deleted: whether the version was deleted since.
    """

    change: StageChangeRow
    left_at: datetime | None
    is_deleted: bool


def _left_at() -> ScalarSelect[Any]:
    later = aliased(StageChange)
    return (
        select(later.at)
        .where(
            later.version_id == StageChange.version_id,
            later.sequence > StageChange.sequence,
        )
        .order_by(later.sequence)
        .limit(1)
        .correlate(StageChange)
        .scalar_subquery()
    )


_SPELLS = (
    select(*selected(StageChangeRow), _left_at(), ModelVersion.deleted_at.is_not(None))
    .select_from(StageChange)
    .join(RegisteredModel, RegisteredModel.id == StageChange.model_id)
    .join(ModelVersion, ModelVersion.id == StageChange.version_id)
    .where(
        RegisteredModel.name == bindparam("name"),
        RegisteredModel.deleted_at.is_(None),
        StageChange.to_stage == bindparam("stage"),
    )
    .order_by(StageChange.sequence.desc())
    .limit(bindparam("most"))
)


def spells(cx: Connection, name: str, stage: str, *, limit: int) -> list[Spell]:
    """Which versions were in a stage, the last to enter first."""
    found = fetch(cx, _SPELLS, {"name": name, "stage": stage, "most": limit})
    return [
        Spell(row_of(StageChangeRow, change), left_at, bool(is_deleted))
        for *change, left_at, is_deleted in found
    ]
