"""What is read of deployments; each is one statement."""

from collections.abc import Sequence

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from registry.domain.rows import DeploymentRow
from registry.errors import VersionNotFoundError
from registry.persistence.statements import row_of, selected
from registry.persistence.tables import (
    Deployment,
    ModelVersion,
    RegisteredModel,
)


def list_deployments(
    session: Session,
    name: str,
    number: int,
    *,
    transition_id: str | None,
    before: str | None,
    limit: int,
) -> Sequence[DeploymentRow]:
    """The deployments of a version, newest first, from behind ``before`` on.

    Raises:
        NotFoundError: when model or version do not exist.
    """
    conditions = [Deployment.version_id == ModelVersion.id]
    if transition_id is not None:
        conditions.append(Deployment.transition_id == transition_id)
    if before is not None:
        conditions.append(Deployment.id < before)
    found = session.execute(
        select(*selected(DeploymentRow))
        .select_from(ModelVersion)
        .join(RegisteredModel, RegisteredModel.id == ModelVersion.model_id)
        .outerjoin(Deployment, and_(*conditions))
        .where(
            RegisteredModel.name == name,
            RegisteredModel.deleted_at.is_(None),
            ModelVersion.number == number,
            ModelVersion.deleted_at.is_(None),
        )
        .order_by(Deployment.id.desc())
        .limit(limit)
    ).all()
    if not found:
        raise VersionNotFoundError(name, number)
    return [row_of(DeploymentRow, row) for row in found if row.id is not None]
