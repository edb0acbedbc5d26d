"""What is read of deployments; each is one statement."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, select

from registry.domain.rows import DeploymentRow
from registry.errors import VersionNotFoundError
from registry.persistence.statements import row_of, selected
from registry.persistence.tables import (
    Deployment,
    ModelVersion,
    RegisteredModel,
)

_BEHIND_ALL = "g"  #: ids are hexadecimal


def _deployments(*conditions: ColumnElement[bool]) -> Select[Any]:
    is_its = and_(
        Deployment.version_id == ModelVersion.id,
        Deployment.id < bindparam("before"),
        *conditions,
    )
    return (
        select(*selected(DeploymentRow))
        .select_from(ModelVersion)
        .join(RegisteredModel, RegisteredModel.id == ModelVersion.model_id)
        .outerjoin(Deployment, is_its)
        .where(
            RegisteredModel.name == bindparam("name"),
            RegisteredModel.deleted_at.is_(None),
            ModelVersion.number == bindparam("number"),
            ModelVersion.deleted_at.is_(None),
        )
        .order_by(Deployment.id.desc())
        .limit(bindparam("most"))
    )


_DEPLOYMENTS = _deployments()
_OF_TRANSITION = _deployments(Deployment.transition_id == bindparam("transition"))


def list_deployments(
    cx: Connection,
    name: str,
    number: int,
    *,
    transition_id: str | None,
    before: str | None,
    limit: int,
) -> Sequence[DeploymentRow]:
    """Return the deployments of a version, newest first, from behind ``before`` on.

    Raises:
        NotFoundError: when model or version do not exist.
    """
    values = {"name": name, "number": number, "most": limit}
    values |= {"before": _BEHIND_ALL if before is None else before}
    if transition_id is not None:
        values["transition"] = transition_id
    statement = _DEPLOYMENTS if transition_id is None else _OF_TRANSITION
    rows = cx.execute(statement, values).all()
    if not rows:
        raise VersionNotFoundError(name, number)
    return [row_of(DeploymentRow, row) for row in rows if row.id is not None]
