"""The latest version of each stage: the one with the highest number.

One statement each, whose cost grows with the stages and never with the versions:
the highest number of a stage is one step in ``model_versions_by_stage``.
"""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session, aliased, undefer, undefer_group

from registry.errors import ModelNotFoundError
from registry.persistence.tables import DOCUMENT, ModelVersion, RegisteredModel


def is_latest_in(stages: Sequence[str]) -> ColumnElement[bool]:
    """Whether a version is a model's latest in one of these stages.

    For a join of ``ModelVersion`` to ``RegisteredModel``.
    """
    other = aliased(ModelVersion)
    numbers = [
        select(func.max(other.number))
        .where(
            other.model_id == RegisteredModel.id,
            other.stage == stage,
            other.deleted_at.is_(None),
        )
        .correlate(RegisteredModel)
        .scalar_subquery()
        for stage in stages
    ]
    return and_(
        ModelVersion.model_id == RegisteredModel.id, ModelVersion.number.in_(numbers)
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
        .outerjoin(
            ModelVersion,
            and_(
                ModelVersion.model_id == RegisteredModel.id,
                ModelVersion.deleted_at.is_(None),
            ),
        )
        .where(RegisteredModel.name == name, RegisteredModel.deleted_at.is_(None))
        .order_by(ModelVersion.number.desc())
        .limit(1)
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
