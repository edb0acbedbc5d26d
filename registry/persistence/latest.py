"""The latest version of each stage: the one with the highest number.

One statement each, whose cost grows with the stages and never with the versions:
the highest number of a stage is one step in ``model_versions_by_stage``. Without a
model of that name each raises ``ModelNotFoundError``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    ScalarSelect,
    Select,
    bindparam,
    select,
    true,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType

from registry.domain.rows import VersionRow
from registry.errors import ModelNotFoundError
from registry.persistence.statements import (
    MODELS,
    TAGS_AND_ALIASES,
    VERSIONS,
    row_of,
    selected,
    version_tags,
)
from webhooks.statements import fetch, fetch_one


class _IsOneOf(FunctionElement[Any]):
    """Whether the first expression is among the others.

    PostgreSQL turns ``IN`` over correlated subqueries into comparisons that no
    index serves, and an array of them not.
    """

    type = NullType()  # SQLAlchemy compares a Boolean with 1, which no index serves
    inherit_cache = True


@compiles(_IsOneOf)
def _in_list(element: _IsOneOf, compiler: SQLCompiler, **kw: object) -> str:
    tested, *others = [compiler.process(each, **kw) for each in element.clauses]
    return f"{tested} IN ({', '.join(others)})"


@compiles(_IsOneOf, "postgresql")
def _in_array(element: _IsOneOf, compiler: SQLCompiler, **kw: object) -> str:
    tested, *others = [compiler.process(each, **kw) for each in element.clauses]
    return f"{tested} = ANY (ARRAY[{', '.join(others)}])"


class ShownVersion(NamedTuple):
    """What MLflow's documents show of a version, by columns and tags."""

    number: int
    stage: str
    status: str
    status_message: str
    source: str
    run_id: str | None
    run_link: str
    logged_model_id: str | None
    description: str
    created_at: datetime
    created_by: str
    mlflow_updated_at: datetime
    tags: Mapping[str, str] | None


class ShownModel(NamedTuple):
    """What MLflow's documents show of a model."""

    name: str
    id: str
    description: str
    created_at: datetime
    created_by: str
    mlflow_updated_at: datetime
    tags: Mapping[str, str] | None
    aliases: Mapping[str, int] | None


#: A model, and its latest version of each stage.
ModelAndLatest = tuple[ShownModel, list[ShownVersion]]

_OF_MODEL = len(ShownModel._fields)
_OF_VERSION = len(ShownVersion._fields)


def model_with_latest(
    cx: Connection, name: str, stages: Sequence[str]
) -> ModelAndLatest:
    """A model, and its latest version of each stage."""
    statement = _model_with_latest(tuple(stages), cx.dialect.name)
    row = fetch_one(cx, statement, {"name": name})
    if row is None:
        raise ModelNotFoundError(name)
    return shown_model(row)


def shown_model(row: Sequence[Any]) -> ModelAndLatest:
    """What ``select_shown`` selected."""
    latest = [
        ShownVersion._make(row[at : at + _OF_VERSION])
        for at in range(_OF_MODEL, len(row), _OF_VERSION)
        if row[at] is not None  # the model has a version in that stage
    ]
    return ShownModel._make(row[:_OF_MODEL]), latest


def select_shown(
    source: Any,  # noqa: ANN401  # a table or a join
    stages: Sequence[str],
    dialect: str,
    *before: Any,  # noqa: ANN401  # columns
) -> Select[Any]:
    """Select models of a source, each in one row with its latest version of each stage.

    One join for each stage leaves no planner the choice to read all versions there
    are: a lateral one on PostgreSQL, which would hash them; by an id on SQLite, which
    has no lateral joins and goes from row to row in any case.
    """
    columns: list[Any] = []
    for stage in stages:
        version: Any
        if dialect == "postgresql":
            version = _latest(
                VERSIONS.c.stage == stage, *columns_of(VERSIONS)
            ).lateral()
            source = source.outerjoin(version, true())
            columns += version.c
        else:
            version = VERSIONS.alias()
            source = source.outerjoin(version, version.c.id == _latest_in(stage))
            columns += columns_of(version)
    return select(
        *before,
        *(MODELS.c[name] for name in ShownModel._fields[:-2]),
        *TAGS_AND_ALIASES,
        *columns,
    ).select_from(source)


def columns_of(version: Any) -> Iterator[Any]:  # noqa: ANN401  # an alias of VERSIONS
    """What to select for a ``ShownVersion``."""
    yield from (version.c[name] for name in ShownVersion._fields[:-1])
    yield version_tags(version)


def _latest_in(stage: str) -> ScalarSelect[str]:
    """Select the id of a model's latest version in a stage: one step in an index."""
    return _latest(VERSIONS.c.stage == stage, VERSIONS.c.id).scalar_subquery()


def _latest(condition: ColumnElement[bool], *columns: Any) -> Select[Any]:  # noqa: ANN401  # SQLAlchemy's
    return (
        select(*columns)
        .where(
            VERSIONS.c.model_id == MODELS.c.id,
            VERSIONS.c.deleted_at.is_(None),
            condition,
        )
        .order_by(VERSIONS.c.number.desc())
        .limit(1)
        .correlate(MODELS)
    )


def latest_versions(
    cx: Connection, name: str, stages: Sequence[str]
) -> list[VersionRow]:
    """The latest version of each of these stages, with their documents."""
    statement = _latest_versions(tuple(stages))
    found = fetch(cx, statement, {"name": name})
    if not found:
        raise ModelNotFoundError(name)
    return _in_order(found, stages)


def newest_version(cx: Connection, name: str) -> VersionRow | None:
    """The version with the highest number, whatever its stage; None when empty."""
    found = fetch_one(cx, _NEWEST, {"name": name})
    if found is None:
        raise ModelNotFoundError(name)
    return None if found[0] is None else row_of(VersionRow, found)


_NAMED = (MODELS.c.name == bindparam("name"), MODELS.c.deleted_at.is_(None))


@cache
def _model_with_latest(stages: tuple[str, ...], dialect: str) -> Select[Any]:
    return select_shown(MODELS, stages, dialect).where(*_NAMED)


def _versions(*ids: ScalarSelect[str]) -> Select[Any]:
    return (
        select(*selected(VersionRow))
        .select_from(MODELS)
        .outerjoin(VERSIONS, _IsOneOf(VERSIONS.c.id, *ids))
        .where(*_NAMED)
    )


@cache
def _latest_versions(stages: tuple[str, ...]) -> Select[Any]:
    return _versions(*map(_latest_in, stages))


_NEWEST = _versions(_latest(true(), VERSIONS.c.id).scalar_subquery())


def _in_order(
    found: Iterable[Sequence[Any]], stages: Sequence[str]
) -> list[VersionRow]:
    """In the order of the stages; a model without versions comes with None."""
    rows = [row_of(VersionRow, each) for each in found if each[0] is not None]
    return sorted(rows, key=lambda row: stages.index(row.stage))
