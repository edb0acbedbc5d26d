"""A model's history: each stage change, and what became of it, in one statement.

Rules:

- What was requested of receivers and what they took are counted over the event's
  own deliveries; replays and tests are not part of a change.
- Deployments are joined, not fetched change by change: a page of any length is one
  statement.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import (
    ColumnElement,
    ScalarSelect,
    Subquery,
    and_,
    func,
    select,
)
from sqlalchemy.orm import Session

from registry.errors import ModelNotFoundError
from registry.persistence.tables import Deployment, RegisteredModel, StageChange
from webhooks.portions import read_rows
from webhooks.tables import Delivery, DeliveryKind, DeliveryState, state_in


@dataclass(kw_only=True)
class HistoryLine:
    """A stage change and what became of it.

    Attributes:
        requested: how many deliveries announce it.
        delivered: how many of them were acknowledged.
        last_delivered_at: when the last acknowledgement came; None without one.
    """

    change: StageChange
    requested: int
    delivered: int
    last_delivered_at: datetime | None
    deployments: list[Deployment] = field(default_factory=list)


def list_history(
    session: Session,
    name: str,
    *,
    below: int | None,
    stage: str | None,
    limit: int,
) -> Iterator[HistoryLine]:
    """A model's stage changes, newest first; registrations are left out.

    Raises:
        NotFoundError: when there is no such model, as the first is asked for.
    """
    shown = _shown(name, below=below, stage=stage, limit=limit)
    is_delivered = state_in(Delivery.state, DeliveryState.DELIVERED)
    query = (
        select(
            StageChange,
            _of_deliveries(func.count()),
            _of_deliveries(func.count(), is_delivered),
            _of_deliveries(func.max(Delivery.updated_at), is_delivered),
            Deployment,
        )
        .select_from(shown)
        .outerjoin(StageChange, StageChange.id == shown.c.change_id)
        .outerjoin(
            Deployment,
            and_(
                Deployment.version_id == StageChange.version_id,
                Deployment.transition_id == StageChange.transition_id,
            ),
        )
    )
    newest_first = [StageChange.sequence.desc()]
    rows = read_rows(session, query, limit=limit, joined_in=newest_first)
    is_there = False
    for change, of_change in groupby(rows, key=lambda row: row[0]):
        is_there = True
        if change is not None:
            yield _line(of_change)
    if not is_there:
        raise ModelNotFoundError(name)


def _shown(name: str, *, below: int | None, stage: str | None, limit: int) -> Subquery:
    """The changes of a page; for a model without any, one row that has none."""
    conditions = [
        StageChange.model_id == RegisteredModel.id,
        StageChange.from_stage.is_not(None),
    ]
    if below is not None:
        conditions.append(StageChange.sequence < below)
    if stage is not None:
        conditions.append(
            (StageChange.to_stage == stage) | (StageChange.from_stage == stage)
        )
    return (
        select(StageChange.id.label("change_id"))
        .select_from(RegisteredModel)
        .outerjoin(StageChange, and_(*conditions))
        .where(RegisteredModel.name == name, RegisteredModel.deleted_at.is_(None))
        .order_by(StageChange.sequence.desc())
        .limit(limit)
        .subquery()
    )


def _line(rows: Iterable[Sequence[Any]]) -> HistoryLine:
    """The line of one change, its deployments gathered."""
    found = list(rows)
    change, requested, delivered, last_delivered_at, _ = found[0]
    deployments = [row[-1] for row in found if row[-1] is not None]
    return HistoryLine(
        change=change,
        requested=requested,
        delivered=delivered,
        last_delivered_at=last_delivered_at,
        deployments=sorted(deployments, key=lambda each: each.id),
    )


def _of_deliveries(
    aggregate: ColumnElement[Any], *conditions: ColumnElement[bool]
) -> ScalarSelect[Any]:
    """An aggregate over the deliveries of the change's event."""
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
