"""The order within an ordering key, as conditions on a delivery's row.

A live delivery is whatever is not settled; the first one of its key is the head, and
all that come after it wait.
"""

from collections.abc import Iterator

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import aliased

from webhooks.tables import LIVE_STATES, Delivery, DeliveryState, state_in


def is_pending_head(delivery: type[Delivery]) -> Iterator[ColumnElement[bool]]:
    """Whether nothing of its key comes before it, and it is not being sent."""
    other = aliased(Delivery)
    first_live = (
        select(other.sequence)
        .where(
            *_is_of_same_key(other, delivery),
            state_in(other.state, *LIVE_STATES),
        )
        .order_by(other.sequence)
        .limit(1)
    )
    yield state_in(delivery.state, DeliveryState.PENDING)
    # Not NOT EXISTS: of that PostgreSQL would make a join in an order of its choice,
    # and before it has statistics read all that waits for the receiver. Not an
    # equality: it would think that few rows pass, and plan for reading many.
    yield delivery.sequence <= first_live.scalar_subquery()


def follows_gap(delivery: type[Delivery]) -> ColumnElement[bool]:
    """Whether the one before it in its key was given up."""
    other = aliased(Delivery)
    given_up = select(other.id).where(
        *_is_of_same_key(other, delivery),
        other.sequence == delivery.sequence - 1,
        state_in(other.state, DeliveryState.DEAD),
    )
    return given_up.exists()


def _is_of_same_key(
    other: type[Delivery], delivery: type[Delivery]
) -> Iterator[ColumnElement[bool]]:
    yield other.subscription_id == delivery.subscription_id
    yield other.ordering_key == delivery.ordering_key
