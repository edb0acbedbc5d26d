"""What is to be seen over all models at once: the last moves, trouble, holds.

Rules:

- Each is one statement over a bounded window of an index, whatever the tables hold:
  what lies behind the window is not shown.
- Where ``readable`` says which models may be read, those of the window alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Connection,
    Integer,
    Select,
    Text,
    and_,
    bindparam,
    cast,
    func,
    literal_column,
    or_,
    select,
)

from registry.domain.documents import DeploymentStatus
from registry.domain.holds import Hold
from registry.domain.policy import Cause
from registry.domain.rows import DeploymentRow, StageChangeRow
from registry.persistence.readable import Readable, is_readable, readable_values
from registry.persistence.statements import (
    CHANGES,
    DEPLOYMENTS,
    MODELS,
    VERSIONS,
    row_of,
    selected,
)
from webhooks.statements import fetch

#: Moves that are looked at, for who may read all models and for others.
_WINDOW, _WINDOW_OF_SOME = 200, 2_000
_UNFINISHED_WINDOW = 200
#: Models with holds that are looked at: some of those have ended.
_HELD_WINDOW = 200
UNFINISHED_DAYS = timedelta(days=30)
#: Who has not said anything of a deployment for so long is not expected to.
STUCK_AFTER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class LastMove:
    """A stage change of a model.

    Attributes:
        is_deleted: whether the version was deleted since.
        superseded: the version that moved aside.
    """

    model: str
    change: StageChangeRow
    is_deleted: bool
    superseded: int | None


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A deployment that failed or is stuck, of a version that is where it was then."""

    model: str
    stage: str
    row: DeploymentRow


@dataclass(frozen=True, slots=True)
class HeldModel:
    """A model whose stages are held."""

    model: str
    holds: Sequence[Hold]


_SUPERSEDED = CHANGES.c.cause == literal_column(f"'{Cause.SUPERSEDED}'")
_LIVE = MODELS.c.deleted_at.is_(None)


def _aside() -> Any:  # noqa: ANN401  # SQLAlchemy's
    other = CHANGES.alias("other")
    return (
        select(func.max(other.c.number))
        .where(
            other.c.transition_id == CHANGES.c.transition_id,
            other.c.sequence < CHANGES.c.sequence,
        )
        .correlate(CHANGES)
        .scalar_subquery()
    )


_LAST = (
    select(CHANGES.c.id)
    .where(CHANGES.c.from_stage.is_not(None), ~_SUPERSEDED)
    .order_by(CHANGES.c.at.desc(), CHANGES.c.id.desc())
    .limit(bindparam("window"))
    .subquery()
)
_LAST_MOVES = (
    select(
        MODELS.c.name,
        VERSIONS.c.deleted_at.is_not(None),
        _aside(),
        *selected(StageChangeRow),
    )
    .select_from(_LAST)
    .join(CHANGES, CHANGES.c.id == _LAST.c.id)
    .join(MODELS, MODELS.c.id == CHANGES.c.model_id)
    .join(VERSIONS, VERSIONS.c.id == CHANGES.c.version_id)
    .where(_LIVE)
    .order_by(CHANGES.c.at.desc(), CHANGES.c.id.desc())
    .limit(bindparam("most"))
)

_IS_UNFINISHED = DEPLOYMENTS.c.status != literal_column(
    f"'{DeploymentStatus.SUCCEEDED}'"
)
_LAST_UNFINISHED = (
    select(DEPLOYMENTS.c.id)
    .where(_IS_UNFINISHED, DEPLOYMENTS.c.updated_at > bindparam("since"))
    .order_by(DEPLOYMENTS.c.updated_at.desc())
    .limit(_UNFINISHED_WINDOW)
    .subquery()
)
#: What put the version where it is; the empty text where it was never moved.
_PRESENT = func.coalesce(
    select(CHANGES.c.transition_id)
    .where(CHANGES.c.version_id == VERSIONS.c.id, CHANGES.c.from_stage.is_not(None))
    .order_by(CHANGES.c.sequence.desc())
    .limit(1)
    .correlate(VERSIONS)
    .scalar_subquery(),
    "",
)
_UNFINISHED = (
    select(MODELS.c.name, VERSIONS.c.stage, *selected(DeploymentRow))
    .select_from(_LAST_UNFINISHED)
    .join(DEPLOYMENTS, DEPLOYMENTS.c.id == _LAST_UNFINISHED.c.id)
    .join(MODELS, and_(MODELS.c.id == DEPLOYMENTS.c.model_id, _LIVE))
    .join(VERSIONS, VERSIONS.c.id == DEPLOYMENTS.c.version_id)
    .where(
        VERSIONS.c.deleted_at.is_(None),
        or_(
            DEPLOYMENTS.c.status == DeploymentStatus.FAILED.value,
            DEPLOYMENTS.c.updated_at < bindparam("stuck_before"),
        ),
        func.coalesce(DEPLOYMENTS.c.transition_id, "") == _PRESENT,
    )
    .order_by(DEPLOYMENTS.c.updated_at.desc())
    .limit(bindparam("most"))
)
_HELD = (
    select(MODELS.c.name, MODELS.c.holds)
    .where(_LIVE, cast(MODELS.c.holds, Text) != literal_column("'[]'"))
    .order_by(MODELS.c.name)
    .limit(literal_column(str(_HELD_WINDOW), Integer))
)


def _of_some(statement: Select[Any]) -> Select[Any]:
    return statement.where(is_readable(MODELS.c.name))


_LAST_MOVES_OF_SOME = _of_some(_LAST_MOVES)
_UNFINISHED_OF_SOME = _of_some(_UNFINISHED)
_HELD_OF_SOME = _of_some(_HELD)


def last_moves(
    cx: Connection, *, limit: int, readable: Readable = ()
) -> list[LastMove]:
    """The last stage changes, newest first; who only moved aside is not one of them."""
    window = _WINDOW_OF_SOME if readable else _WINDOW
    found = _fetch(
        cx,
        (_LAST_MOVES, _LAST_MOVES_OF_SOME),
        readable,
        {"window": window, "most": limit},
    )
    return [
        LastMove(model, row_of(StageChangeRow, change), bool(is_deleted), aside)
        for model, is_deleted, aside, *change in found
    ]


def unfinished_deployments(
    cx: Connection, now: datetime, *, limit: int, readable: Readable = ()
) -> list[Unfinished]:
    """Deployments that failed, or of which nothing is said any more, newest first.

    One counts as long as its version is where the change put it that it is of.
    """
    values = {"since": now - UNFINISHED_DAYS, "stuck_before": now - STUCK_AFTER}
    found = _fetch(
        cx,
        (_UNFINISHED, _UNFINISHED_OF_SOME),
        readable,
        {**values, "most": limit},
    )
    return [
        Unfinished(model, stage, row_of(DeploymentRow, row))
        for model, stage, *row in found
    ]


def held_models(
    cx: Connection, now: datetime, *, limit: int, readable: Readable = ()
) -> list[HeldModel]:
    """Models whose stages are held, by name."""
    found = _fetch(cx, (_HELD, _HELD_OF_SOME), readable, {})
    held = [(model, [Hold.of(each) for each in holds]) for model, holds in found]
    standing = [
        HeldModel(model, [hold for hold in holds if hold.stands_at(now)])
        for model, holds in held
    ]
    return [each for each in standing if each.holds][:limit]


def _fetch(
    cx: Connection,
    statements: tuple[Select[Any], Select[Any]],
    readable: Readable,
    values: dict[str, Any],
) -> list[Any]:
    if not readable:
        return fetch(cx, statements[0], values)
    return fetch(cx, statements[1], values | readable_values(readable))
