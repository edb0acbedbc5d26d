"""The latest version of each stage: the one with the highest number.

One statement each, whose cost grows with the stages and never with the versions:
the highest number of a stage is one step in ``model_versions_by_stage``.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, and_, func, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session, aliased, undefer, undefer_group
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType

from registry.errors import ModelNotFoundError
from registry.persistence.tables import DOCUMENT, ModelVersion, RegisteredModel


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


def is_latest_in(stages: Sequence[str]) -> ColumnElement[bool]:
    """Whether a version is a model's latest in one of these stages.

    For a join of ``ModelVersion`` to ``RegisteredModel``.
    """
    other = aliased(ModelVersion)
    return _has_number(*(_highest(other, other.stage == stage) for stage in stages))


def _has_number(*numbers: ScalarSelect[int]) -> ColumnElement[bool]:
    """Whether a version of the model has one of these numbers.

    A plain comparison of the models' ids would let PostgreSQL hash every version
    there is, to try the numbers on each.
    """
    return and_(
        _IsOneOf(ModelVersion.model_id, RegisteredModel.id),
        _IsOneOf(ModelVersion.number, *numbers),
    )


def _highest(
    other: type[ModelVersion], *conditions: ColumnElement[bool]
) -> ScalarSelect[int]:
    """The highest number of a model's versions; one step in an index."""
    return (
        select(func.max(other.number))
        .where(
            other.model_id == RegisteredModel.id,
            other.deleted_at.is_(None),
            *conditions,
        )
        .correlate(RegisteredModel)
        .scalar_subquery()
    )


def model_with_latest(
    session: Session, name: str, stages: Sequence[str]
) -> tuple[RegisteredModel, list[ModelVersion]]:
    """A model, and its latest version of each stage with their tags.

    Raises:
        ModelNotFoundError: when there is no model of this name.
    """
    found = session.execute(
        select(RegisteredModel, ModelVersion)
        .outerjoin(ModelVersion, is_latest_in(stages))
        .where(RegisteredModel.name == name, RegisteredModel.deleted_at.is_(None))
        .options(
            undefer(RegisteredModel.tags),
            undefer(RegisteredModel.aliases),
            undefer(ModelVersion.tags),
        )
        .execution_options(populate_existing=True)
    ).all()
    if not found:
        raise ModelNotFoundError(name)
    return found[0][0], _in_order([version for _, version in found], stages)


def latest_versions(
    session: Session, name: str, stages: Sequence[str]
) -> list[ModelVersion]:
    """The latest version of each of these stages, with their documents.

    Raises:
        ModelNotFoundError: when there is no model of this name.
    """
    found = session.execute(
        select(RegisteredModel.id, ModelVersion)
        .outerjoin(ModelVersion, is_latest_in(stages))
        .where(RegisteredModel.name == name, RegisteredModel.deleted_at.is_(None))
        .options(undefer_group(DOCUMENT))
    ).all()
    if not found:
        raise ModelNotFoundError(name)
    return _in_order([version for _, version in found], stages)


def newest_version(session: Session, name: str) -> ModelVersion | None:
    """The version with the highest number, whatever its stage; None when empty.

    Raises:
        ModelNotFoundError: when there is no model of this name.
    """
    found = session.execute(
        select(RegisteredModel.id, ModelVersion)
        .outerjoin(ModelVersion, _has_number(_highest(aliased(ModelVersion))))
        .where(RegisteredModel.name == name, RegisteredModel.deleted_at.is_(None))
        .options(undefer_group(DOCUMENT))
    ).one_or_none()
    if found is None:
        raise ModelNotFoundError(name)
    return found[1]


def _in_order(
    versions: Sequence[ModelVersion | None], stages: Sequence[str]
) -> list[ModelVersion]:
    """In the order of the stages; a model without versions comes with None."""
    return sorted(
        (version for version in versions if version is not None),
        key=lambda version: stages.index(version.stage),
    )
