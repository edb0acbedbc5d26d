"""What the page of one model shows of its versions: a board, a table, a plot.

Rules:

- A page of a model with many versions reads a few columns of those that it shows, and
  never whole documents: tags and params of a hundred versions are megabytes.
- What is read of all versions is a number each: how many are in a stage, one metric.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Float,
    Integer,
    Select,
    Text,
    and_,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    type_coerce,
    union_all,
)
from sqlalchemy.types import NullType

from registry.domain.rows import StageChangeRow
from registry.persistence.statements import (
    CHANGES,
    DEPLOYMENTS,
    VERSIONS,
    row_of,
    selected,
    version_entered,
)
from webhooks.statements import fetch, is_among

#: What is shown of a description; its version has all of it.
SHOWN_CHARACTERS = 240
#: Of how many of the newest versions a metric may be chosen.
_ASKED_FOR_METRICS = 100
#: How many of the newest versions are looked through for one metric.
_ASKED_FOR_POINTS = 5_000
#: How far back it is looked for who stood in a stage when a part of history begins.
_ASKED_FOR_STANDING = 100
METRIC = "metric:"
_ORDERS: dict[str, ColumnElement[Any]] = {
    "number": VERSIONS.c.number,
    "stage": VERSIONS.c.stage,
    "activity": VERSIONS.c.updated_at,
    "registered": VERSIONS.c.created_at,
    "run": VERSIONS.c.run_id,
    "commit": VERSIONS.c.git_commit,
    "description": func.substr(VERSIONS.c.description, 1, SHOWN_CHARACTERS),
}
_MAY_BE_MISSING = {"run", "commit", METRIC}
#: What a table of versions can be ordered by, besides metrics.
ORDERS = tuple(_ORDERS)


class VersionLine(NamedTuple):
    """A version as a board or a table shows it.

    Attributes:
        description: its beginning.
        entered_at: since when it is in its stage, with who put it there, and why.
    """

    id: str
    number: int
    stage: str
    status: str
    artifact_state: str
    run_id: str | None
    run_link: str
    git_commit: str | None
    description: str
    metrics: dict[str, float]
    created_at: datetime
    created_by: str
    updated_at: datetime
    entered_at: datetime | None
    entered_by: str | None
    cause: str | None
    reason: str | None
    transition_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The order of a table: by one of ``ORDERS``, or by ``metric:NAME``."""

    by: str = "number"
    is_descending: bool = True

    @property
    def metric(self) -> str | None:
        """Return the metric that it goes by, if it does."""
        return self.by.removeprefix(METRIC) if self.by.startswith(METRIC) else None


class Point(NamedTuple):
    """A metric of one version."""

    number: int
    stage: str
    value: float


def stage_counts(cx: Connection, model_id: str) -> dict[str, int]:
    """How many versions there are in each stage that has some."""
    return dict(fetch(cx, _COUNTS, {"model_id": model_id}))


def board(
    cx: Connection, model_id: str, stages: Sequence[str], *, most: int
) -> list[VersionLine]:
    """The versions of each stage with the highest numbers, the highest first."""
    values = {"model_id": model_id, "most": most}
    return [VersionLine._make(row) for row in fetch(cx, _board(tuple(stages)), values)]


def deployment_counts(
    cx: Connection, lines: Sequence[VersionLine]
) -> dict[str, dict[str, int]]:
    """How many environments reported what of the present change of each version.

    By its id, then by the status.
    """
    values = {
        "ids": [line.id for line in lines],
        "transitions": [line.transition_id for line in lines if line.transition_id],
    }
    found: dict[str, dict[str, int]] = {}
    for id_, status, count in fetch(cx, _deployments(cx.dialect.name), values):
        found.setdefault(id_, {})[status] = count
    return found


def version_lines(
    cx: Connection,
    model_id: str,
    order: Order,
    *,
    stage: str | None,
    skip: int,
    limit: int,
) -> list[VersionLine]:
    """Versions of a model in an order; what has no such value comes last."""
    by_metric = order.metric is not None
    statement = _lines(
        cx.dialect.name,
        METRIC if by_metric else order.by,
        is_descending=order.is_descending,
        of_stage=stage is not None,
    )
    values: dict[str, Any] = {"model_id": model_id, "most": limit, "skip": skip}
    values |= {"metric": order.metric} if by_metric else {}
    values |= {"stage": stage} if stage is not None else {}
    return [VersionLine._make(row) for row in fetch(cx, statement, values)]


def metric_names(cx: Connection, model_id: str) -> list[str]:
    """The metrics that the newest versions have, by name."""
    return [name for (name,) in fetch(cx, _METRICS, {"model_id": model_id})]


def metric_points(
    cx: Connection, model_id: str, metric: str, *, most: int
) -> list[Point]:
    """A metric of the newest versions that have it, the oldest of them first."""
    values = {"model_id": model_id, "metric": metric, "most": most}
    rows = fetch(cx, _points(cx.dialect.name), values)
    return [Point._make(row) for row in reversed(rows)]


def standing(
    cx: Connection, model_id: str, stages: Sequence[str], *, before: int
) -> list[StageChangeRow]:
    """The changes by which versions stood in these stages before that line."""
    values = {"model_id": model_id, "stages": stages, "before": before}
    rows = fetch(cx, _standing(cx.dialect.name), values)
    return [row_of(StageChangeRow, row) for row in rows]


def deletions(
    cx: Connection, model_id: str, numbers: Sequence[int]
) -> dict[int, datetime]:
    """When those of these versions that are gone were deleted."""
    values = {"model_id": model_id, "numbers": numbers}
    return dict(fetch(cx, _deletions(cx.dialect.name), values))


_OF_MODEL = and_(
    VERSIONS.c.model_id == bindparam("model_id"), VERSIONS.c.deleted_at.is_(None)
)
_COUNTS: Select[*tuple[Any, ...]] = (
    select(VERSIONS.c.stage, func.count()).where(_OF_MODEL).group_by(VERSIONS.c.stage)
)
_LINES: Select[*tuple[Any, ...]] = (
    select(
        *(VERSIONS.c[name] for name in ("id", "number", "stage", "status")),
        *(VERSIONS.c[name] for name in ("artifact_state", "run_id", "run_link")),
        VERSIONS.c.git_commit,
        func.substr(VERSIONS.c.description, 1, SHOWN_CHARACTERS),
        *(VERSIONS.c[name] for name in ("metrics", "created_at", "created_by")),
        VERSIONS.c.updated_at,
        *(CHANGES.c[name] for name in ("at", "actor_name", "cause", "reason")),
        CHANGES.c.transition_id,
    )
    .select_from(VERSIONS)
    .outerjoin(
        CHANGES,
        and_(
            CHANGES.c.version_id == VERSIONS.c.id,
            CHANGES.c.sequence == version_entered(),
        ),
    )
)


@cache
def _board(stages: tuple[str, ...]) -> Select[*tuple[Any, ...]]:
    newest = (
        select(VERSIONS.c.id)
        .where(_OF_MODEL, VERSIONS.c.stage == literal_column(f"'{stage}'", Text))
        .order_by(VERSIONS.c.number.desc())
        .limit(bindparam("most"))
        .subquery()
        for stage in stages  # identifiers, as the policy file is held to
    )
    ids = union_all(*(select(each.c.id) for each in newest))
    return _LINES.where(VERSIONS.c.id.in_(ids)).order_by(VERSIONS.c.number.desc())


@cache
def _deployments(dialect: str) -> Select[*tuple[Any, ...]]:
    """Select by both: a move aside is part of another version's transition."""
    return (
        select(DEPLOYMENTS.c.version_id, DEPLOYMENTS.c.status, func.count())
        .where(
            is_among(DEPLOYMENTS.c.version_id, "ids", dialect),
            is_among(DEPLOYMENTS.c.transition_id, "transitions", dialect),
        )
        .group_by(DEPLOYMENTS.c.version_id, DEPLOYMENTS.c.status)
    )


@cache
def _lines(
    dialect: str, by: str, *, is_descending: bool, of_stage: bool
) -> Select[*tuple[Any, ...]]:
    value = _metric(dialect) if by == METRIC else _ORDERS[by]
    order = [
        value.desc() if is_descending else value,
        *([] if by == "number" else [VERSIONS.c.number.desc()]),
    ]
    if by in _MAY_BE_MISSING:
        order.insert(0, value.is_(None))
    conditions = [_OF_MODEL]
    if of_stage:
        conditions.append(VERSIONS.c.stage == bindparam("stage"))
    # Found by their ids first: what else is shown is read of those alone.
    ids = (
        select(VERSIONS.c.id)
        .where(*conditions)
        .order_by(*order)
        .limit(bindparam("most"))
        .offset(bindparam("skip"))
    )
    return _LINES.where(VERSIONS.c.id.in_(select(ids.subquery().c.id))).order_by(*order)


def _metric(dialect: str) -> ColumnElement[Any]:
    """Return a metric of a row: whatever its name has in it, no path is made of it."""
    each = func.json_each(VERSIONS.c.metrics).table_valued("key", "value")
    number: ColumnElement[Any] = each.c.value
    if dialect == "postgresql":  # JSON; as a float as it comes, converted by nobody
        number = type_coerce(cast(cast(number, Text), Float), NullType())
    return (
        select(number)
        .where(each.c.key == bindparam("metric", type_=Text))
        .correlate(VERSIONS)
        .scalar_subquery()
    )


@cache
def _points(dialect: str) -> Select[*tuple[Any, ...]]:
    newest = (
        select(VERSIONS.c.number, VERSIONS.c.stage, _metric(dialect).label("value"))
        .where(_OF_MODEL)
        .order_by(VERSIONS.c.number.desc())
        .limit(literal_column(str(_ASKED_FOR_POINTS), Integer))
        .subquery()
    )
    return (
        select(newest)
        .where(newest.c.value.is_not(None))
        .order_by(newest.c.number.desc())
        .limit(bindparam("most"))
    )


def _metric_names() -> Select[*tuple[Any, ...]]:
    newest = (
        select(VERSIONS.c.metrics)
        .where(_OF_MODEL)
        .order_by(VERSIONS.c.number.desc())
        .limit(literal_column(str(_ASKED_FOR_METRICS), Integer))
        .subquery()
    )
    each = func.json_each(newest.c.metrics).table_valued("key")
    names = select(each.c.key).select_from(newest).join(each, literal_column("true"))
    return names.distinct().order_by(each.c.key)


_METRICS = _metric_names()


@cache
def _standing(dialect: str) -> Select[*tuple[Any, ...]]:
    """Select who entered a stage and had entered no other by then."""
    before = bindparam("before", type_=BigInteger)
    recent = (
        select(CHANGES.c.id)
        .where(
            CHANGES.c.model_id == bindparam("model_id"),
            CHANGES.c.sequence < before,
            is_among(CHANGES.c.to_stage, "stages", dialect),
        )
        .order_by(CHANGES.c.sequence.desc())
        .limit(literal_column(str(_ASKED_FOR_STANDING), Integer))
        .subquery()
    )
    later = CHANGES.alias()
    left = (
        select(later.c.id)
        .where(
            later.c.version_id == CHANGES.c.version_id,
            later.c.sequence > CHANGES.c.sequence,
            later.c.sequence < before,
        )
        .correlate(CHANGES)
        .exists()
    )
    return (
        select(*selected(StageChangeRow))
        .join(recent, recent.c.id == CHANGES.c.id)
        .where(~left)
        .order_by(CHANGES.c.sequence)
    )


@cache
def _deletions(dialect: str) -> Select[*tuple[Any, ...]]:
    return select(VERSIONS.c.number, VERSIONS.c.deleted_at).where(
        VERSIONS.c.model_id == bindparam("model_id"),
        VERSIONS.c.deleted_at.is_not(None),
        is_among(VERSIONS.c.number, "numbers", dialect),
    )
