"""Finding what may be sent: the first live delivery of each ordering key.

Rules:

- Rows are locked as they are found; what another dispatcher has locked is passed
  over, never waited for.
- An endpoint that rests is passed over. One whose breaker is open gets a single
  probe at a time, over all dispatchers: its subscription's row is the mutex.
- A probe is the head that is due first, whether it is due yet or not.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, or_, select
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


@dataclass(frozen=True)
class Head:
    """A delivery whose turn it is; ``follows_gap``: the one before was given up."""

    delivery: Delivery
    subscription: Subscription
    follows_gap: bool


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
    query = _heads().where(
        Delivery.next_attempt_at <= now,
        or_(Subscription.breaker_until.is_(None), Subscription.breaker_until <= now),
        Subscription.consecutive_failures < (1 if is_healthy_only else OPEN_AFTER),
    )
    if passed_over:
        query = query.where(Delivery.subscription_id.not_in(sorted(passed_over)))
    return _locked(session, query, limit)


def lock_probes(session: Session, *, now: datetime, limit: int) -> Iterator[Head]:
    """Lock one head each of up to ``limit`` endpoints whose breaker is half open."""
    half_open = (
        select(Subscription)
        .where(
            Subscription.deleted_at.is_(None),
            Subscription.state == SubscriptionState.ACTIVE,
            Subscription.consecutive_failures >= OPEN_AFTER,
            or_(
                Subscription.breaker_until.is_(None), Subscription.breaker_until <= now
            ),
            _has(DeliveryState.PENDING),
            ~_has(DeliveryState.SENDING),
        )
        .order_by(Subscription.breaker_until, Subscription.id)
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True)
        .execution_options(populate_existing=True)
    )
    for subscription in session.scalars(half_open).all():
        # Asked again under the lock: another dispatcher may have been quicker.
        query = _heads().where(
            Delivery.subscription_id == subscription.id, ~_has(DeliveryState.SENDING)
        )
        yield from _locked(session, query, 1)


def _heads() -> Select[Delivery, Subscription, bool]:
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
        select(Delivery, Subscription, follows_gap.exists())
        .join(Subscription, Subscription.id == Delivery.subscription_id)
        .where(state_in(Delivery.state, DeliveryState.PENDING), ~has_earlier.exists())
        .order_by(Delivery.next_attempt_at, Delivery.id)
    )


def _locked(
    session: Session, query: Select[Delivery, Subscription, bool], limit: int
) -> Sequence[Head]:
    rows = session.execute(
        query.limit(limit)
        .with_for_update(skip_locked=True, of=Delivery)
        .execution_options(populate_existing=True)
    )
    return [Head(*row) for row in rows]


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
