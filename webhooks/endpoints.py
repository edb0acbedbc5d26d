"""Which receivers may be sent to now: asked of their rows, not of what waits for them.

Rules:

- A receiver that rests, or that is sent to as fast as it may be, is passed over
  before anything that waits for it is looked at. So a dead one costs a claim the
  reading of its own row, however much it has waiting.
- One whose breaker is open gets a single probe at a time, over all dispatchers: its
  row is the mutex.
- What was deleted has nothing that waits: deleting settles it.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from functools import cache

from sqlalchemy import ColumnElement, Integer, Select, bindparam, or_, select
from sqlalchemy.orm import Session

from webhooks.ordering import is_pending_head
from webhooks.retry import OPEN_AFTER, Health
from webhooks.tables import (
    Delivery,
    DeliveryKind,
    DeliveryState,
    Subscription,
    SubscriptionState,
    state_in,
)


def find_ready(
    session: Session,
    *,
    now: datetime,
    passed_over: Collection[str] = (),
    is_healthy_only: bool = False,
) -> Sequence[str]:
    """Return the ids of those that have a head due, the longest due first.

    Args:
        session: the claim's transaction.
        now: what due is measured by.
        passed_over: those that are not looked at.
        is_healthy_only: leave out those whose last answer was a failure.
    """
    values = {
        "now": now,
        "passed_over": sorted(passed_over),
        "failures": 1 if is_healthy_only else OPEN_AFTER,
    }
    return session.scalars(_ready_query(), values).all()


def has_come_to_rest(subscription: Subscription, now: datetime) -> bool:
    """Whether a result that came meanwhile says to send nothing, or a probe."""
    health = Health(
        consecutive_failures=subscription.consecutive_failures,
        held_back_until=subscription.held_back_until,
    )
    return health.is_tripped or health.is_resting(now)


def lock_half_open(
    session: Session, *, now: datetime, limit: int
) -> Sequence[Subscription]:
    """Lock up to ``limit`` that may get a probe, the longest rested first."""
    values = {"now": now, "asked": limit}
    return session.scalars(_half_open_query(), values).all()


def is_idle() -> ColumnElement[bool]:
    """Whether, of a subscription, nothing is being sent to it, tests apart."""
    return ~_has(DeliveryState.SENDING)


# Queries are built once: building one costs several times what executing it does.
@cache
def _ready_query() -> Select[str]:
    due_since = (
        select(Delivery.next_attempt_at)
        .where(
            Delivery.subscription_id == Subscription.id,
            Delivery.next_attempt_at <= bindparam("now"),
            *is_pending_head(Delivery),
        )
        .order_by(Delivery.next_attempt_at)
        .limit(1)
        .correlate(Subscription)
        .scalar_subquery()
    )
    may_be_sent_to = (
        select(Subscription.id, due_since.label("due_since"))
        .where(
            Subscription.deleted_at.is_(None),
            Subscription.id.not_in(bindparam("passed_over", expanding=True)),
            Subscription.consecutive_failures < bindparam("failures", type_=Integer),
            *_is_open(),
        )
        # For PostgreSQL, which would else look twice, to choose and to sort.
        .offset(0)
        .subquery()
    )
    return (
        select(may_be_sent_to.c.id)
        .where(may_be_sent_to.c.due_since.is_not(None))
        .order_by(may_be_sent_to.c.due_since, may_be_sent_to.c.id)
    )


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
            is_idle(),
        )
        .order_by(Subscription.held_back_until, Subscription.id)
        .limit(bindparam("asked", type_=Integer))
        .with_for_update(skip_locked=True, key_share=True)
        .execution_options(populate_existing=True)
    )


def _is_open() -> Iterator[ColumnElement[bool]]:
    for until in (Subscription.held_back_until, Subscription.open_from):
        yield or_(until.is_(None), until <= bindparam("now"))


def _has(state: DeliveryState) -> ColumnElement[bool]:
    return (
        select(Delivery.id)
        .where(
            Delivery.subscription_id == Subscription.id,
            state_in(Delivery.state, state),
            Delivery.kind != DeliveryKind.TEST,
        )
        .correlate(Subscription)
        .exists()
    )
