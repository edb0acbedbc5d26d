"""What runs where: the last report of each environment, beside what should run there.

Rules:

- An environment is one of a model's. What it reported last counts, whatever came of it;
  what it reported last to have succeeded is what runs there.
- What should run there is who holds the stage that the deployment was for: the stage
  that its version entered, or left to be put away. Without a stage change, Production.
- In step is who said that what should run there does, or, of a version that was put
  away, that it was, where nothing took its place. All else is drift, and comes first.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    ScalarSelect,
    Select,
    Text,
    and_,
    bindparam,
    case,
    func,
    literal,
    or_,
    select,
    tuple_,
)

from registry.domain.documents import DeploymentStatus
from registry.domain.policy import ARCHIVED, NONE, PRODUCTION
from registry.persistence.aggregates import Position
from registry.persistence.readable import Readable, is_readable, readable_values
from registry.persistence.statements import CHANGES, DEPLOYMENTS, MODELS, VERSIONS
from webhooks.statements import Rows, fetch

#: 25 ms of a processor's time.
LOOKED_AT = 2_000
_FIRST_PLACE = (-1, "", "")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a list goes on.

    Attributes:
        window: model's id and environment behind which environments are looked at.
        last: of those, the one behind which they are shown.
    """

    window: tuple[str, str] = ("", "")
    last: tuple[int, str, str] = _FIRST_PLACE


class Consumer(NamedTuple):
    """An environment of a model: what it reported, what runs there and what should.

    Attributes:
        is_in_step: 1 where both are the same; where it drifts 0.
        number: of the version that it reported last.
        running: the version that it reported last to have succeeded; None without one.
        should: the version that holds ``stage``; None without one.
        since: when that entered the stage.
    """

    is_in_step: int
    model: str
    environment: str
    stage: str
    number: int
    digest: str | None
    status: str
    url: str | None
    description: str
    reported_by: str
    reported_at: datetime
    running: int | None
    running_digest: str | None
    running_since: datetime | None
    should: int | None
    should_digest: str | None
    since: datetime | None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which environments are looked for: by a part of the model's name, by theirs."""

    model: str = ""
    environment: str = ""


def list_consumers(
    cx: Connection,
    wanted: Wanted,
    *,
    place: Place,
    limit: int,
    readable: Readable = (),
) -> tuple[Sequence[Consumer], Place | None]:
    """Return environments, drift first, then by name, and where the list goes on."""
    form = bool(wanted.model), bool(wanted.environment), bool(readable)
    values: dict[str, Any] = {
        "model": wanted.model.lower(),
        "environment": wanted.environment,
        **(readable_values(readable) if readable else {}),
        **dict(zip(_WINDOW, place.window, strict=True)),
    }
    pairs = fetch(cx, _pairs(*form), {**values, "looked_at": LOOKED_AT})
    last = dict(zip(_AFTER, place.last, strict=True))
    rows = fetch(
        cx,
        _statement(cx.dialect.name),
        {"rows": json.dumps(list(map(list, pairs))), "most": limit + 1, **last},
    )
    shown = list(map(Consumer._make, rows[:limit]))
    if len(rows) > limit:
        end = shown[-1]
        behind = end.is_in_step, end.model, end.environment
        return shown, Place(window=place.window, last=behind)
    is_all = len(pairs) < LOOKED_AT
    return shown, None if is_all else Place(window=pairs[-1])


_WINDOW = ("after_id", "after_name")
_AFTER = ("after_rank", "after_model", "after_environment")
_PAIRS = Rows(model_id=Text(), environment=Text())
_REPORT = DEPLOYMENTS.alias("report")
_VERSION = VERSIONS.alias("reported")
_CAUSE = CHANGES.alias("cause")
_RUNNING = DEPLOYMENTS.alias("running")
_RUNNING_VERSION = VERSIONS.alias("running_version")
_HOLDER = VERSIONS.alias("holder")
_ENTERED = CHANGES.alias("entered")


def _last_of(pairs: Any, *, has_succeeded: bool) -> ScalarSelect[str]:  # noqa: ANN401  # a subquery
    """Return the id of what an environment reported last, or last to have succeeded."""
    report = DEPLOYMENTS.alias()
    query = select(report.c.id).where(
        report.c.model_id == pairs.c.model_id,
        report.c.environment == pairs.c.environment,
    )
    if has_succeeded:
        query = query.where(report.c.status == DeploymentStatus.SUCCEEDED.value)
    newest = query.order_by(report.c.updated_at.desc(), report.c.id.desc()).limit(1)
    return newest.correlate(pairs).scalar_subquery()


def _entered_last(version: Any) -> ScalarSelect[int]:  # noqa: ANN401  # an alias
    sequence = func.max(CHANGES.c.sequence)
    query = select(sequence).where(CHANGES.c.version_id == version.c.id)
    return query.correlate(version).scalar_subquery()


def _holder_of(model_id: Any, stage: Any) -> Select[str]:  # noqa: ANN401  # columns
    """Return the ids of who is in a stage, the one that entered last first."""
    version = VERSIONS.alias()
    return (
        select(version.c.id)
        .where(
            version.c.model_id == model_id,
            version.c.stage == stage,
            version.c.deleted_at.is_(None),
        )
        .order_by(_entered_last(version).desc())
        .correlate_except(version)
    )


_WAS_PUT_AWAY = _CAUSE.c.to_stage.in_([literal(NONE), literal(ARCHIVED)])
_STAGE = case(
    (_CAUSE.c.to_stage.is_(None), literal(PRODUCTION)),
    (_WAS_PUT_AWAY, _CAUSE.c.from_stage),
    else_=_CAUSE.c.to_stage,
)
_IS_THERE = and_(_VERSION.c.stage == _STAGE, _VERSION.c.deleted_at.is_(None))
_WENT_ON = and_(
    _VERSION.c.stage.not_in([literal(NONE), literal(ARCHIVED)]),
    _VERSION.c.deleted_at.is_(None),
)
_IS_IN_STEP = and_(
    _REPORT.c.status == DeploymentStatus.SUCCEEDED.value,
    or_(
        _IS_THERE,
        and_(
            or_(_WAS_PUT_AWAY, _WENT_ON),
            ~_holder_of(_REPORT.c.model_id, _STAGE).exists(),
        ),
    ),
)


@cache
def _pairs(of_model: bool, of_environment: bool, of_some: bool) -> Select[str, str]:  # noqa: FBT001  # of a cache
    """Name the next environments by their model's id, as the index has them."""
    columns = DEPLOYMENTS.c.model_id, DEPLOYMENTS.c.environment
    query = (
        select(*columns)
        .where(tuple_(*columns) > tuple_(*map(bindparam, _WINDOW)))
        .group_by(*columns)
        .order_by(*columns)
        .limit(bindparam("looked_at"))
    )
    if of_environment:
        query = query.where(columns[1] == bindparam("environment"))
    if of_model or of_some:
        query = query.where(columns[0].in_(_models(of_model=of_model, of_some=of_some)))
    return query


def _models(*, of_model: bool, of_some: bool) -> Select[str]:
    query = select(MODELS.c.id).where(MODELS.c.deleted_at.is_(None))
    if of_model:
        name = func.lower(MODELS.c.name)
        query = query.where(Position(name, bindparam("model")) > 0)
    return query.where(is_readable(MODELS.c.name)) if of_some else query


def _last_reports(database: str) -> Select[Any]:
    columns = zip(_PAIRS.types, _PAIRS.columns(database), strict=True)
    pairs = select(*(column.label(name) for name, column in columns)).cte("pairs")
    return (
        select(
            case((_IS_IN_STEP, 1), else_=0).label("rank"),
            MODELS.c.name.label("model"),
            _REPORT.c.environment,
            _STAGE.label("stage"),
            _REPORT.c.id,
            _REPORT.c.model_id,
        )
        .select_from(pairs)
        .join(_REPORT, _REPORT.c.id == _last_of(pairs, has_succeeded=False))
        .join(MODELS, MODELS.c.id == _REPORT.c.model_id)
        .join(_VERSION, _VERSION.c.id == _REPORT.c.version_id)
        .outerjoin(
            _CAUSE,
            and_(
                _CAUSE.c.transition_id == _REPORT.c.transition_id,
                _CAUSE.c.version_id == _REPORT.c.version_id,
            ),
        )
        .where(MODELS.c.deleted_at.is_(None))
    )


def _page(reports: Any) -> Any:  # noqa: ANN401  # subqueries
    place = reports.c.rank, reports.c.model, reports.c.environment
    names = "after_rank", "after_model", "after_environment"
    after = [
        bindparam(name, type_=c.type) for name, c in zip(names, place, strict=True)
    ]
    return (
        select(
            *reports.c,
            _last_of(reports, has_succeeded=True).label("running_id"),
            _holder_of(reports.c.model_id, reports.c.stage)
            .limit(1)
            .scalar_subquery()
            .label("holder_id"),
        )
        .where(tuple_(*place) > tuple_(*after))
        .order_by(*place)
        .limit(bindparam("most"))
        .subquery("page")
    )


@cache
def _statement(database: str) -> Select[Any]:
    reports = _last_reports(database)
    page = _page(reports.subquery("reports"))
    return (
        select(
            *(page.c.rank, page.c.model, page.c.environment, page.c.stage),
            *(_REPORT.c.number, _VERSION.c.artifact_digest, _REPORT.c.status),
            *(_REPORT.c.url, _REPORT.c.description, _REPORT.c.reported_by),
            _REPORT.c.updated_at,
            *(_RUNNING.c.number, _RUNNING_VERSION.c.artifact_digest),
            _RUNNING.c.updated_at,
            *(_HOLDER.c.number, _HOLDER.c.artifact_digest, _ENTERED.c.at),
        )
        .select_from(page)
        .join(_REPORT, _REPORT.c.id == page.c.id)
        .join(_VERSION, _VERSION.c.id == _REPORT.c.version_id)
        .outerjoin(_RUNNING, _RUNNING.c.id == page.c.running_id)
        .outerjoin(_RUNNING_VERSION, _RUNNING_VERSION.c.id == _RUNNING.c.version_id)
        .outerjoin(_HOLDER, _HOLDER.c.id == page.c.holder_id)
        .outerjoin(
            _ENTERED,
            and_(
                _ENTERED.c.version_id == _HOLDER.c.id,
                _ENTERED.c.sequence == _entered_last(_HOLDER),
            ),
        )
        .order_by(page.c.rank, page.c.model, page.c.environment)
    )
