"""The row of a queue: what moves when something of it is settled.

Rules:

- Whoever makes a delivery of a queue live, or takes that away, holds the queue's row
  and calls ``advance`` afterwards: a statement of its own, since one that waits for the
  row sees the deliveries as they were before it waited.
- Rows are locked in the order of (subscription, ordering key).
"""

from collections.abc import Collection
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    Connection,
    Text,
    Update,
    bindparam,
    case,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.orm import aliased

from webhooks.statements import Rows, fetch, is_among, write
from webhooks.tables import (
    LIVE_STATES,
    Delivery,
    DeliveryKind,
    DeliveryState,
    Queue,
    QueueState,
    is_untried_copy,
    state_in,
)


def advance(cx: Connection, ids: Collection[int]) -> None:
    """Have the queues know their first live deliveries."""
    write(cx, _advance(cx.dialect.name), [{"ids": list(ids)}])


def advance_named(cx: Connection, queues: Collection[tuple[str, str]]) -> None:
    """As ``advance``, by subscription and ordering key."""
    values = _NAMED.parameters(cx.dialect, sorted(queues))
    write(cx, _advance_named(cx.dialect.name), [values])


def release(cx: Connection, ids: Collection[int]) -> None:
    """End the leases of queues, and advance them."""
    write(cx, _release(cx.dialect.name), [{"ids": list(ids)}])


def try_now(
    cx: Connection, subscription_id: str, *, now: datetime, is_fresh: bool
) -> None:
    """Have all that waits for a retry tried now, or for the first time.

    What is sent again on request keeps its pace until it was tried.

    Args:
        cx: holds the subscription's row.
        subscription_id: whose queues.
        now: when.
        is_fresh: with every attempt before it; else this one alone is free.
    """
    values = {"of_subscription": subscription_id, "now": now}
    fetch(cx, _LOCK_WAITING, {"of_subscription": subscription_id})
    write(cx, _try_heads(is_fresh=is_fresh), [values])
    write(cx, _follow_heads(), [values])


_NAMED = Rows(subscription_id=Text(), ordering_key=Text())


@cache
def _advance(database: str) -> Update:
    return _advancing().where(is_among(Queue.id, "ids", database))


@cache
def _advance_named(database: str) -> Update:
    name = tuple_(Queue.subscription_id, Queue.ordering_key)
    return _advancing().where(name.in_(select(*_NAMED.columns(database))))


@cache
def _release(database: str) -> Update:
    return _advance(database).values(lease_token=None, lease_until=None)


def _advancing() -> Update:
    return update(Queue).values(
        head_id=first_live("id"),
        next_at=first_live("next_attempt_at"),
        state=case(
            (first_live("reason").is_not(None), QueueState.BLOCKED),
            else_=QueueState.OPEN,
        ),
    )


def first_live(name: str) -> Any:  # noqa: ANN401  # of any of its columns
    """Return a column of a queue's first live delivery, to be asked with the queue."""
    first = aliased(Delivery)
    return (
        select(getattr(first, name))
        .where(
            first.subscription_id == Queue.subscription_id,
            first.ordering_key == Queue.ordering_key,
            state_in(first.state, *LIVE_STATES),
        )
        .order_by(first.sequence)
        .limit(1)
        .correlate(Queue)
        .scalar_subquery()
    )


_WAITING = (
    select(Queue.head_id)
    .where(
        Queue.subscription_id == bindparam("of_subscription"),
        Queue.lease_token.is_(None),
        Queue.head_id.is_not(None),
    )
    .order_by(Queue.ordering_key)
)
_LOCK_WAITING = _WAITING.with_for_update()


@cache
def _try_heads(*, is_fresh: bool) -> Update:
    was_tried = Delivery.attempt_count > Delivery.attempts_forgiven
    forgiven = (
        Delivery.attempt_count
        if is_fresh
        else Delivery.attempts_forgiven + case((was_tried, 1), else_=0)
    )
    return (
        update(Delivery)
        .where(
            Delivery.id.in_(_WAITING.order_by(None)),
            state_in(Delivery.state, DeliveryState.PENDING),
            Delivery.kind != DeliveryKind.TEST,
            Delivery.reason.is_(None),
            ~is_untried_copy(),
            true() if is_fresh else Delivery.next_attempt_at > bindparam("now"),
        )
        .values(next_attempt_at=bindparam("now"), attempts_forgiven=forgiven)
    )


@cache
def _follow_heads() -> Update:
    due = (
        select(Delivery.next_attempt_at)
        .where(Delivery.id == Queue.head_id)
        .correlate(Queue)
        .scalar_subquery()
    )
    return (
        update(Queue)
        .where(
            Queue.subscription_id == bindparam("of_subscription"),
            Queue.lease_token.is_(None),
            Queue.next_at > bindparam("now"),
        )
        .values(next_at=due)
    )
