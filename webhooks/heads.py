"""Finding what may be sent: the first live delivery of each ordering key.

Rules:

- Rows are locked as they are found; what another dispatcher has locked is passed
  over, never waited for.
- An endpoint that rests, or that is sent to as fast as it may be, is passed over.
- One whose breaker is open gets a single probe at a time, over all dispatchers: its
  subscription's row is the mutex.
- A probe is the head that is due first, whether it is due yet or not.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, bindparam, or_, select
from sqlalchemy.orm import Session, aliased

from webhooks.breaker import OPEN_AFTER
from webhooks.tables import (
    LIVE_STATES,
    Delivery,
    DeliveryKind,
    DeliveryState,
    Subscription,
    SubscriptionState,
    state_in,
)

#: What of a delivery is needed to send it. Rows, not entities: most of what a claim
#: costs would be making objects that live for a millisecond.
_COLUMNS = (
    Delivery.id,
    Delivery.subscription_id,
    Delivery.event_id,
    Delivery.event_type,
    Delivery.kind,
    Delivery.body,
    Delivery.content_type,
    Delivery.headers,
    Delivery.rendered_as,
    Delivery.attempt_count,
    Delivery.next_attempt_at,
    Delivery.created_at,
)


@dataclass(frozen=True)
class DueDelivery:
    """A delivery whose turn it is, as far as sending it needs it.

    ``follows_gap``: the one before it in its order was given up.
    """

    id: str
    subscription_id: str
    event_id: str
    event_type: str
    kind: str
    body: bytes
    content_type: str
    headers: Mapping[str, str]
    rendered_as: Mapping[str, Any] | None
    attempt_count: int
    next_attempt_at: datetime
    created_at: datetime
    follows_gap: bool


@dataclass(frozen=True)
class Head:
    """A delivery whose turn it is, and whom it goes to."""

    delivery: DueDelivery
    subscription: Subscription


def lock_due(
    session: Session,
    *,
    now: datetime,
    limit: int,
    passed_over: Collection[str] = (),
    is_healthy_only: bool = False,
) -> Sequence[Head]:
    """Lock up to ``limit`` heads that are due, the longest due first.

    Args:
        session: the claim's transaction.
        now: what due is measured by.
        limit: how many at most.
        passed_over: subscriptions that get nothing.
        is_healthy_only: leave out endpoints whose last answer was a failure.
    """
    query = _due_query(is_healthy_only=is_healthy_only, passes_over=bool(passed_over))
    values = {"now": now, "asked": limit, "passed_over": sorted(passed_over)}
    return _locked(session, query, values)


def lock_probes(session: Session, *, now: datetime, limit: int) -> Iterator[Head]:
    """Lock one head each of up to ``limit`` endpoints whose breaker is half open."""
    values = {"now": now, "asked": limit}
    for subscription in session.scalars(_half_open_query(), values).all():
        values = {"asked": 1, "subscription": subscription.id}
        yield from _locked(session, _probe_query(), values)


def lock_one(session: Session, delivery_id: str) -> Sequence[Head]:
    """Lock one delivery, whatever state its subscription is in."""
    query = _heads().where(Delivery.id == bindparam("delivery"))
    return _locked(session, query, {"asked": 1, "delivery": delivery_id})


# Queries are built once: building one costs several times what executing it does.
@cache
def _due_query(*, is_healthy_only: bool, passes_over: bool) -> Select[*tuple[Any, ...]]:
    query = _heads().where(
        Delivery.next_attempt_at <= bindparam("now"),
        *_is_open(),
        Subscription.consecutive_failures < (1 if is_healthy_only else OPEN_AFTER),
    )
    if passes_over:
        query = query.where(
            Delivery.subscription_id.not_in(bindparam("passed_over", expanding=True))
        )
    return query


@cache
def _half_open_query() -> Select[Subscription]:
    return (
        select(Subscription)
        .where(
            Subscription.deleted_at.is_(None),
            Subscription.state == SubscriptionState.ACTIVE,
            Subscription.consecutive_failures >= OPEN_AFTER,
            *_is_open(),
            _has(DeliveryState.PENDING),
            ~_has(DeliveryState.SENDING),
        )
        .order_by(Subscription.breaker_until, Subscription.id)
        .limit(bindparam("asked", type_=Integer))
        .with_for_update(skip_locked=True, key_share=True)
        .execution_options(populate_existing=True)
    )


@cache
def _probe_query() -> Select[*tuple[Any, ...]]:
    # It asks again whether one is being sent, now under the subscription's lock:
    # another dispatcher may have been quicker.
    return _heads().where(
        Delivery.subscription_id == bindparam("subscription"),
        ~_has(DeliveryState.SENDING),
    )


def _is_open() -> Iterator[ColumnElement[bool]]:
    for until in (Subscription.breaker_until, Subscription.open_from):
        yield or_(until.is_(None), until <= bindparam("now"))


def _heads() -> Select[*tuple[Any, ...]]:
    other = aliased(Delivery)
    of_this_key: tuple[ColumnElement[bool], ...] = (
        other.subscription_id == Delivery.subscription_id,
        other.ordering_key == Delivery.ordering_key,
    )
    has_earlier = select(other.id).where(
        *of_this_key,
        other.sequence < Delivery.sequence,
        state_in(other.state, *LIVE_STATES),
    )
    follows_gap = select(other.id).where(
        *of_this_key,
        other.sequence == Delivery.sequence - 1,
        state_in(other.state, DeliveryState.DEAD, DeliveryState.EXPIRED),
    )
    return (
        select(*_COLUMNS, follows_gap.exists())
        .join(Subscription, Subscription.id == Delivery.subscription_id)
        .where(state_in(Delivery.state, DeliveryState.PENDING), ~has_earlier.exists())
        .order_by(Delivery.next_attempt_at, Delivery.id)
        .limit(bindparam("asked", type_=Integer))
        .with_for_update(skip_locked=True, of=Delivery)
    )


def _locked(
    session: Session, query: Select[*tuple[Any, ...]], values: Mapping[str, Any]
) -> Sequence[Head]:
    due = [DueDelivery(*row) for row in session.execute(query, values)]
    if not due:
        return []
    ids = {"ids": sorted({each.subscription_id for each in due})}
    owners = {row.id: row for row in session.scalars(_owners_query(), ids)}
    return [Head(each, owners[each.subscription_id]) for each in due]


@cache
def _owners_query() -> Select[Subscription]:
    return (
        select(Subscription)
        .where(Subscription.id.in_(bindparam("ids", expanding=True)))
        .execution_options(populate_existing=True)
    )


def _has(state: DeliveryState) -> ColumnElement[bool]:
    """Tell whether the subscription has a delivery in the state, tests apart."""
    any_of_it = aliased(Delivery)
    return (
        select(any_of_it.id)
        .where(
            any_of_it.subscription_id == Subscription.id,
            state_in(any_of_it.state, state),
            any_of_it.kind != DeliveryKind.TEST,
        )
        .exists()
    )
