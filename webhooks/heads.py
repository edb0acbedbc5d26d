"""Finding what may be sent: the first live delivery of each ordering key.

Rules:

- Rows are locked as they are found; what another dispatcher has locked is passed
  over, never waited for.
- What is free is shared out among the receivers that have something due, and each
  gives what is due longest. So none is read past for the sake of another.
- A probe is the head that is due first, whether it is due yet or not.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Integer,
    Select,
    Text,
    any_,
    bindparam,
    select,
    true,
)
from sqlalchemy.orm import Session, aliased

from webhooks.endpoints import find_ready, has_come_to_rest, is_idle, lock_half_open
from webhooks.ordering import follows_gap, is_pending_head
from webhooks.tables import Delivery, Subscription


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
    """Lock up to ``limit`` heads that are due, an equal share of each receiver.

    They are given the longest due first. More may be due: a receiver gives no more
    than its share, even if others leave some of theirs.

    Args:
        session: the claim's transaction.
        now: what due is measured by.
        limit: how many at most.
        passed_over: subscriptions that get nothing.
        is_healthy_only: leave out receivers whose last answer was a failure.
    """
    ready = find_ready(
        session, now=now, passed_over=passed_over, is_healthy_only=is_healthy_only
    )
    query = _due_query(is_postgresql=session.get_bind().dialect.name == "postgresql")
    heads: list[Head] = []
    # Once, unless another dispatcher has locked what the first ones have.
    while ready and (free := limit - len(heads)):
        owners, ready = ready[:free], ready[free:]
        values = {"now": now, "ready": owners, "share": free // len(owners)}
        heads += _lock(session, query, values)
    fit = [head for head in heads if not has_come_to_rest(head.subscription, now)]
    return sorted(
        fit, key=lambda head: (head.delivery.next_attempt_at, head.delivery.id)
    )


def lock_probes(session: Session, *, now: datetime, limit: int) -> Iterator[Head]:
    """Lock one head each of up to ``limit`` receivers whose breaker is half open."""
    for subscription in lock_half_open(session, now=now, limit=limit):
        values = {"subscription": subscription.id}
        yield from _lock(session, _probe_query(), values)


def lock_one(session: Session, delivery_id: str) -> Sequence[Head]:
    """Lock one delivery, whatever state its subscription is in."""
    return _lock(session, _one_query(), {"delivery": delivery_id})


# Queries are built once: building one costs several times what executing it does.
@cache
def _due_query(*, is_postgresql: bool) -> Select[*tuple[Any, ...]]:
    """Build the query for the first ``share`` heads of each ``ready`` receiver."""
    head = aliased(Delivery)
    first = (
        select(head.id)
        .where(
            head.subscription_id == Subscription.id,
            head.next_attempt_at <= bindparam("now"),
            *is_pending_head(head),
        )
        .order_by(head.next_attempt_at, head.id)
        .limit(bindparam("share", type_=Integer))
        .correlate(Subscription)
    )
    if not is_postgresql:
        # SQLite has no LATERAL, and with its one writer no locks to pass over.
        return (
            select(*_columns(Delivery))
            .select_from(Subscription)
            .join(Delivery, Delivery.id.in_(first))
            .where(Subscription.id.in_(bindparam("ready", expanding=True)))
        )
    of_each = (
        first.with_only_columns(*_columns(head))
        .with_for_update(skip_locked=True, of=head)
        .lateral()
    )
    return (
        select(of_each)
        .select_from(Subscription)
        .join(of_each, true())
        .where(Subscription.id == any_(bindparam("ready", type_=ARRAY(Text))))
    )


@cache
def _probe_query() -> Select[*tuple[Any, ...]]:
    # It asks again whether one is being sent, now under the subscription's lock:
    # another dispatcher may have been quicker.
    return (
        select(*_columns(Delivery))
        .join(Subscription, Subscription.id == Delivery.subscription_id)
        .where(
            Subscription.id == bindparam("subscription"),
            is_idle(),
            *is_pending_head(Delivery),
        )
        .order_by(Delivery.next_attempt_at, Delivery.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=Delivery)
    )


@cache
def _one_query() -> Select[*tuple[Any, ...]]:
    return (
        select(*_columns(Delivery))
        .where(Delivery.id == bindparam("delivery"), *is_pending_head(Delivery))
        .with_for_update(skip_locked=True)
    )


def _columns(delivery: type[Delivery]) -> Iterator[ColumnElement[Any]]:
    """Yield what ``DueDelivery`` is made of.

    Rows, not entities: most of what a claim costs would be making objects that live
    for a millisecond.
    """
    for field in fields(DueDelivery):
        if field.name != follows_gap.__name__:
            yield getattr(delivery, field.name)
    yield follows_gap(delivery).label(follows_gap.__name__)


def _lock(
    session: Session, query: Select[*tuple[Any, ...]], values: Mapping[str, Any]
) -> Sequence[Head]:
    due = [DueDelivery(*row) for row in session.execute(query, values)]
    if not due:
        return []
    ids = {"ids": sorted({delivery.subscription_id for delivery in due})}
    owners = {row.id: row for row in session.scalars(_owners_query(), ids)}
    return [Head(delivery, owners[delivery.subscription_id]) for delivery in due]


@cache
def _owners_query() -> Select[Subscription]:
    return (
        select(Subscription)
        .where(Subscription.id.in_(bindparam("ids", expanding=True)))
        .execution_options(populate_existing=True)
    )
