"""Keys that are blocked: their head was given up, and holds what comes after it.

Rules:

- The row of the ordering key says so. It is locked when that changes, as it is when an
  event takes its number there: whichever comes second knows of the other.
- What waits behind a blocked head is held, so that no claim reads past it, however
  much it is. The order itself does not depend on this (``webhooks.ordering``).
- What is held for this reason stays so while its subscription is paused and resumed.
- What no format could express is blocked where it stands: what comes before it in its
  key is sent. So several of a key may be blocked, and only what comes before the
  first of them is let go.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import func, select, true, update
from sqlalchemy.orm import Session

from webhooks.roster.specs import OnPoison
from webhooks.tables import (
    Delivery,
    DeliveryKind,
    DeliveryState,
    OrderingKey,
    Subscription,
    state_in,
)

REASON_BEHIND = "an earlier delivery is blocked"


def given_up_state(on_poison: str, kind: str) -> DeliveryState:
    """Return what a delivery that is given up becomes: it may have an order to keep."""
    keeps_order = kind == DeliveryKind.EVENT and on_poison == OnPoison.HOLD
    return DeliveryState.BLOCKED if keeps_order else DeliveryState.DEAD


def block_key(session: Session, head: Delivery, *, now: datetime) -> None:
    """Hold what waits behind a head that was just blocked."""
    _mark(session, head, is_blocked=True)
    session.execute(
        update(Delivery)
        .where(
            Delivery.subscription_id == head.subscription_id,
            Delivery.ordering_key == head.ordering_key,
            Delivery.sequence > head.sequence,
            state_in(Delivery.state, DeliveryState.PENDING),
        )
        .values(state=DeliveryState.HELD, reason=REASON_BEHIND, updated_at=now)
        .execution_options(synchronize_session=False)
    )


def open_key(
    session: Session, head: Delivery, subscription: Subscription, *, now: datetime
) -> None:
    """Let go what waits behind a head that is blocked no more."""
    of_key = (
        Delivery.subscription_id == head.subscription_id,
        Delivery.ordering_key == head.ordering_key,
    )
    next_blocked = session.scalar(
        select(func.min(Delivery.sequence)).where(
            *of_key,
            Delivery.id != head.id,
            state_in(Delivery.state, DeliveryState.BLOCKED),
        )
    )
    _mark(session, head, is_blocked=next_blocked is not None)
    session.execute(
        update(Delivery)
        .where(
            *of_key,
            state_in(Delivery.state, DeliveryState.HELD),
            Delivery.reason == REASON_BEHIND,
            true() if next_blocked is None else Delivery.sequence < next_blocked,
        )
        .values(**_freed(subscription, now))
        .execution_options(synchronize_session=False)
    )


def open_every_key(
    session: Session, subscription: Subscription, *, now: datetime
) -> None:
    """Let go all that waits behind blocked heads, which stay what they are.

    For a subscription that is to hold nothing any more: a newer event may take the
    place of a blocked head then.
    """
    session.execute(
        update(OrderingKey)
        .where(
            OrderingKey.subscription_id == subscription.id,
            OrderingKey.is_blocked.is_(True),
        )
        .values(is_blocked=False)
        .execution_options(synchronize_session=False)
    )
    session.execute(
        update(Delivery)
        .where(
            Delivery.subscription_id == subscription.id,
            state_in(Delivery.state, DeliveryState.HELD),
            Delivery.reason == REASON_BEHIND,
        )
        .values(**_freed(subscription, now))
        .execution_options(synchronize_session=False)
    )


def _freed(subscription: Subscription, now: datetime) -> dict[str, Any]:
    """Due now, whatever they waited for before they were held."""
    is_open = subscription.is_open
    return {
        "state": DeliveryState.PENDING if is_open else DeliveryState.HELD,
        "reason": None if is_open else str(subscription.state),
        "next_attempt_at": now,
        "updated_at": now,
    }


def _mark(session: Session, head: Delivery, *, is_blocked: bool) -> None:
    session.execute(
        update(OrderingKey)
        .where(
            OrderingKey.subscription_id == head.subscription_id,
            OrderingKey.ordering_key == head.ordering_key,
        )
        .values(is_blocked=is_blocked)
        .execution_options(synchronize_session=False)
    )
