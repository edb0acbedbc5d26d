"""What is read of deployments; each is one statement."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from registry.errors import VersionNotFoundError
from registry.persistence.tables import (
    Deployment,
    ModelVersion,
    RegisteredModel,
    StageChange,
)
from webhooks.tables import Delivery, DeliveryKind


def standing_deployment(
    session: Session, version_id: str, transition_id: str | None, environment: str
) -> Deployment | None:
    """The last word on one version in one environment, because of one change."""
    return session.scalar(
        select(Deployment)
        .where(
            Deployment.version_id == version_id,
            Deployment.transition_id.is_not_distinct_from(transition_id),
            Deployment.environment == environment,
        )
        .execution_options(populate_existing=True)
    )


def present_change(session: Session, version_id: str) -> StageChange | None:
    """What put a version where it is; None when it was never moved."""
    return session.scalar(
        select(StageChange)
        .where(
            StageChange.version_id == version_id, StageChange.from_stage.is_not(None)
        )
        .order_by(StageChange.sequence.desc())
        .limit(1)
    )


def announced_change(
    session: Session,
    version_id: str,
    *,
    event_id: str | None,
    delivery_id: str | None,
) -> StageChange | None:
    """The change of a version that this event, and this delivery, announced."""
    query = select(StageChange).where(
        StageChange.version_id == version_id, StageChange.from_stage.is_not(None)
    )
    if event_id is not None:
        query = query.where(StageChange.event_id == event_id)
    if delivery_id is not None:
        query = query.join(Delivery, Delivery.event_id == StageChange.event_id).where(
            Delivery.id == delivery_id
        )
    return session.scalar(query)


def was_sent_again(session: Session, event_id: str | None, *, since: datetime) -> bool:
    """Whether somebody had an event delivered again after ``since``."""
    found = session.scalar(
        select(Delivery.id)
        .where(
            Delivery.event_id == event_id,
            Delivery.kind == DeliveryKind.REPLAY,
            Delivery.created_at > since,
        )
        .limit(1)
    )
    return found is not None


def list_deployments(
    session: Session,
    name: str,
    number: int,
    *,
    transition_id: str | None,
    before: str | None,
    limit: int,
) -> Sequence[Deployment]:
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
        select(ModelVersion.id, Deployment)
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
    return [row for _, row in found if row is not None]
