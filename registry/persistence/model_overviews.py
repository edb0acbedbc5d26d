"""What a list shows of models: what is where, what changed last, how it is with both.

Rules:

- A list has so many statements, however many models it shows: each reads one kind of
  fact of all of them, by indexes that begin with the model.
- Of a tag that says whose a model is no more is read than a list has room for.
- A delivery that waits is told of by its queue: its first one says how it stands.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    Connection,
    Select,
    and_,
    case,
    func,
    literal,
    literal_column,
    or_,
    select,
)

from registry.persistence.aggregates import JSONObjectAggregate
from registry.persistence.statements import (
    CHANGES,
    DEPLOYMENTS,
    MODEL_TAGS,
    MODELS,
    VERSIONS,
)
from webhooks.statements import fetch, is_among
from webhooks.tables import (
    Delivery,
    DeliveryState,
    Queue,
    QueueState,
    ShownState,
    Subscription,
    SubscriptionState,
    is_given_up,
    is_shown_as,
    state_in,
)

#: Tags that say whose a model is.
OWNER_TAGS = ("owner", "owners", "team", "maintainer")
_SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class LastChange:
    """The last line of a model's history; ``from_stage`` is None of a registration."""

    number: int
    from_stage: str | None
    to_stage: str
    cause: str
    reason: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Holders:
    """Who is in a stage: the highest number, and how many there are."""

    number: int
    count: int


@dataclass(kw_only=True)
class ModelOverview:
    """A model as a list shows it.

    Attributes:
        latest: the highest number of its versions.
        holders: by stage.
        deliveries: how many queues there are by how the first delivery in them
            stands: ``blocked``, ``held``, ``retrying``, ``waiting``, or ``delivered``
            where none waits; and how many of the last change are ``dead``.
        deployments: how many environments there are by their last report, for the
            versions that are in a stage now.
    """

    id: str
    name: str
    is_prompt: bool
    created_at: datetime
    created_by: str
    owners: Mapping[str, str]
    latest: int | None
    change: LastChange | None
    holders: dict[str, Holders] = field(default_factory=dict)
    deliveries: dict[str, int] = field(default_factory=dict)
    deployments: dict[str, int] = field(default_factory=dict)


def overviews(
    cx: Connection, ids: Sequence[str], stages: Sequence[str]
) -> list[ModelOverview]:
    """Return the models that are still there, in this order.

    Args:
        cx: to read with.
        ids: of models.
        stages: those whose versions count as in use.
    """
    rows = fetch(cx, _models(cx.dialect.name), {"ids": ids})
    found = {model.id: model for model in map(_overview, rows)}
    if not found:
        return []
    values = {"ids": list(found), "stages": stages}
    for id_, stage, *held in fetch(cx, _holders(cx.dialect.name), values):
        found[id_].holders[stage] = Holders(*held)
    for id_, state, count in fetch(cx, _deployments(cx.dialect.name), values):
        found[id_].deployments[state] = count
    for id_, state, count in fetch(cx, _queues(cx.dialect.name), {"ids": list(found)}):
        found[id_].deliveries[state] = count
    return [found[id_] for id_ in ids if id_ in found]


def _overview(row: Sequence[Any]) -> ModelOverview:
    id_, name, is_prompt, created_at, created_by, owners, latest, *change = row
    number, from_stage, to_stage, cause, reason, by, at, dead = change
    return ModelOverview(
        id=id_,
        name=name,
        is_prompt=is_prompt,
        created_at=created_at,
        created_by=created_by,
        owners=owners or {},
        latest=latest,
        change=None
        if number is None
        else LastChange(
            number=number,
            from_stage=from_stage,
            to_stage=to_stage,
            cause=cause,
            reason=reason,
            by=by,
            at=at,
        ),
        deliveries={"dead": dead} if dead else {},
    )


@cache
def _models(dialect: str) -> Select[*tuple[Any, ...]]:
    value = func.substr(MODEL_TAGS.c.value, 1, _SHOWN_CHARACTERS)
    owners = (
        select(JSONObjectAggregate(MODEL_TAGS.c.key, value))
        .where(
            MODEL_TAGS.c.model_id == MODELS.c.id,
            MODEL_TAGS.c.key.in_([literal(key) for key in OWNER_TAGS]),
        )
        .correlate(MODELS)
        .scalar_subquery()
    )
    latest = (
        select(func.max(VERSIONS.c.number))
        .where(VERSIONS.c.model_id == MODELS.c.id, VERSIONS.c.deleted_at.is_(None))
        .correlate(MODELS)
        .scalar_subquery()
    )
    dead = (
        select(func.count())
        .where(
            Delivery.event_id == CHANGES.c.event_id,
            is_shown_as(ShownState.DEAD),
        )
        .correlate(CHANGES)
        .scalar_subquery()
    )
    is_last = and_(
        CHANGES.c.model_id == MODELS.c.id, CHANGES.c.sequence == MODELS.c.last_history
    )
    return (
        select(
            *(MODELS.c.id, MODELS.c.name, MODELS.c.is_prompt),
            *(MODELS.c.created_at, MODELS.c.created_by, owners, latest),
            *(CHANGES.c.number, CHANGES.c.from_stage, CHANGES.c.to_stage),
            *(
                CHANGES.c.cause,
                CHANGES.c.reason,
                CHANGES.c.actor_name,
                CHANGES.c.at,
                dead,
            ),
        )
        .select_from(MODELS)
        .outerjoin(CHANGES, is_last)
        .where(is_among(MODELS.c.id, "ids", dialect), MODELS.c.deleted_at.is_(None))
    )


@cache
def _holders(dialect: str) -> Select[*tuple[Any, ...]]:
    return (
        select(
            VERSIONS.c.model_id,
            VERSIONS.c.stage,
            func.max(VERSIONS.c.number),
            func.count(),
        )
        .where(
            is_among(VERSIONS.c.model_id, "ids", dialect),
            is_among(VERSIONS.c.stage, "stages", dialect),
            VERSIONS.c.deleted_at.is_(None),
        )
        .group_by(VERSIONS.c.model_id, VERSIONS.c.stage)
    )


@cache
def _deployments(dialect: str) -> Select[*tuple[Any, ...]]:
    """Select what was reported because of the changes that versions stand by now."""
    present = (
        select(CHANGES.c.transition_id)
        .where(CHANGES.c.version_id == VERSIONS.c.id)
        .order_by(CHANGES.c.sequence.desc())
        .limit(1)
        .correlate(VERSIONS)
        .scalar_subquery()
    )
    return (
        select(VERSIONS.c.model_id, DEPLOYMENTS.c.status, func.count())
        .join(DEPLOYMENTS, DEPLOYMENTS.c.version_id == VERSIONS.c.id)
        .where(
            is_among(VERSIONS.c.model_id, "ids", dialect),
            is_among(VERSIONS.c.stage, "stages", dialect),
            VERSIONS.c.deleted_at.is_(None),
            DEPLOYMENTS.c.transition_id == present,
        )
        .group_by(VERSIONS.c.model_id, DEPLOYMENTS.c.status)
    )


@cache
def _queues(dialect: str) -> Select[*tuple[Any, ...]]:
    is_blocked = or_(
        Queue.state == QueueState.BLOCKED, is_given_up(Delivery.state, Delivery.reason)
    )
    is_retried = and_(
        state_in(Delivery.state, DeliveryState.PENDING), Delivery.attempt_count > 0
    )
    state = case(
        (Queue.head_id.is_(None), literal_column("'delivered'")),
        (is_blocked, literal_column("'blocked'")),
        (Subscription.state != SubscriptionState.ACTIVE, literal_column("'held'")),
        (is_retried, literal_column("'retrying'")),
        else_=literal_column("'waiting'"),
    )
    return (
        select(Queue.ordering_key, state, func.count())
        .join(Subscription, Subscription.id == Queue.subscription_id)
        .outerjoin(Delivery, Delivery.id == Queue.head_id)
        .where(
            is_among(Queue.ordering_key, "ids", dialect),
            Subscription.deleted_at.is_(None),
        )
        .group_by(Queue.ordering_key, state)
    )
