"""Reading the record of deliveries, and the two things a person may do to one.

Rules:

- Lists are newest first and paged by key; they load nothing of what is sent.
- ``redeliver`` sends a final delivery again with the same id and bytes, as a new
  row of kind ``replay`` outside the order. A blocked head goes back to pending
  with a fresh budget instead: it is still its key's turn. What was never rendered is
  rendered now, as its subscription has it now.
- ``skip`` gives a blocked head up, so that its key goes on.
- Functions work in the caller's transaction, flush, and never commit.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session, defer

from webhooks.blocking import open_key
from webhooks.errors import DeliveryStateError, RenderError, UnknownDeliveryError
from webhooks.events import new_sortable_id
from webhooks.portions import read_rows
from webhooks.rendering import render, stored_event
from webhooks.tables import (
    LIVE_STATES,
    Attempt,
    Delivery,
    DeliveryKind,
    DeliveryState,
    EventRow,
    OrderingKey,
    Subscription,
    state_in,
)

REASON_SKIPPED = "skipped on request"
#: Of a delivery that is only told of, what is sent stays in the database.
WITHOUT_CONTENT = (defer(Delivery.body), defer(Delivery.headers))


def list_page(
    session: Session,
    *,
    subscription_id: str | None = None,
    event_id: str | None = None,
    state: DeliveryState | None = None,
    limit: int,
    before: str | None = None,
) -> Sequence[Delivery]:
    """List deliveries by id, newest first, those before ``before``."""
    query = select(Delivery).options(*WITHOUT_CONTENT)
    if subscription_id is not None:
        query = query.where(Delivery.subscription_id == subscription_id)
    if event_id is not None:
        query = query.where(Delivery.event_id == event_id)
    if state is not None:
        query = query.where(state_in(Delivery.state, state))
    if before is not None:
        query = query.where(Delivery.id < before)
    return session.scalars(query.order_by(Delivery.id.desc()).limit(limit)).all()


def get(session: Session, delivery_id: str) -> Delivery:
    """Find a delivery.

    Raises:
        UnknownDeliveryError: there is none.
    """
    delivery = session.get(Delivery, delivery_id)
    if delivery is None:
        raise UnknownDeliveryError
    return delivery


def list_attempts(
    session: Session,
    delivery_id: str,
    *,
    after: int | None = None,
    limit: int = 1000,
) -> Iterator[Attempt]:
    """List the attempts of a delivery, first one first, those after number ``after``.

    Raises:
        UnknownDeliveryError: there is no such delivery.
    """
    get(session, delivery_id)
    query = (
        select(Attempt)
        .where(Attempt.delivery_id == delivery_id, Attempt.number > (after or 0))
        .order_by(Attempt.number)
        .limit(limit)
    )
    return (row for (row,) in read_rows(session, query, limit=limit))


def redeliver(
    session: Session, delivery_id: str, *, now: datetime, due: datetime | None = None
) -> Delivery:
    """Send again, at ``due`` or at once; return the delivery that will be sent.

    Raises:
        UnknownDeliveryError: there is none.
        DeliveryStateError: it is still on its way, its subscription is gone, or its
            format cannot express the event.
    """
    delivery, subscription = _lock(session, delivery_id)
    if subscription.deleted_at is not None:
        raise DeliveryStateError("the subscription was deleted")
    is_blocked = delivery.state == DeliveryState.BLOCKED
    if delivery.state in LIVE_STATES and not is_blocked:
        raise DeliveryStateError(
            f"the delivery is still on its way: it is {delivery.state}"
        )
    if not delivery.content_type:
        render_now(session, delivery, subscription)
    if is_blocked:
        open_key(session, delivery, subscription, now=now)
    chosen = _retry(delivery, now) if is_blocked else _replay(delivery, now)
    chosen.next_attempt_at = due or now
    chosen.state = DeliveryState.PENDING if subscription.is_open else DeliveryState.HELD
    session.add(chosen)
    session.flush()
    return chosen


def skip(session: Session, delivery_id: str, *, now: datetime) -> Delivery:
    """Give a blocked head up and let its key go on.

    Raises:
        UnknownDeliveryError: there is none.
        DeliveryStateError: it is not blocked.
    """
    delivery, subscription = _lock(session, delivery_id)
    if delivery.state != DeliveryState.BLOCKED:
        raise DeliveryStateError(
            f"only a blocked delivery can be skipped, this one is {delivery.state}"
        )
    delivery.state = DeliveryState.DEAD
    delivery.reason = REASON_SKIPPED
    delivery.updated_at = now
    session.flush()
    open_key(session, delivery, subscription, now=now)
    return delivery


def count_live(session: Session) -> Mapping[DeliveryState, int]:
    """Count the deliveries that are not final, by state."""
    rows = session.execute(
        select(Delivery.state, func.count())
        .where(state_in(Delivery.state, *LIVE_STATES))
        .group_by(Delivery.state)
    )
    counts = dict.fromkeys(LIVE_STATES, 0)
    return counts | {DeliveryState(state): count for state, count in rows}


def oldest_pending_at(session: Session) -> datetime | None:
    """Return since when the longest-waiting pending delivery exists."""
    return session.scalars(
        select(Delivery.created_at)
        .where(state_in(Delivery.state, DeliveryState.PENDING))
        .order_by(Delivery.created_at)
        .limit(1)
    ).one_or_none()


def _lock(session: Session, delivery_id: str) -> tuple[Delivery, Subscription]:
    """Lock as enqueuing does: whom it goes to, its key, the delivery itself."""
    delivery = get(session, delivery_id)
    subscription = session.get_one(
        Subscription,
        delivery.subscription_id,
        populate_existing=True,
        with_for_update={"read": True, "key_share": True},
    )
    key = (delivery.subscription_id, delivery.ordering_key)
    session.get(OrderingKey, key, populate_existing=True, with_for_update=True)
    session.refresh(delivery, with_for_update=True)
    return delivery, subscription


def _retry(delivery: Delivery, now: datetime) -> Delivery:
    delivery.attempts_forgiven = delivery.attempt_count
    delivery.reason = None
    delivery.updated_at = now
    return delivery


def render_now(
    session: Session, delivery: Delivery, subscription: Subscription
) -> None:
    """Give the delivery the bytes that it never had: none of them has been sent.

    Raises:
        DeliveryStateError: the subscription's format cannot express the event.
    """
    row = session.get_one(EventRow, delivery.event_id)
    event = stored_event(row, delivery.headers)
    try:
        columns = render(subscription, row.id, event)
    except RenderError as error:
        raise DeliveryStateError(
            f"the delivery still cannot be rendered: {error.message}"
        ) from error
    for name, value in columns.items():
        setattr(delivery, name, value)


def _replay(delivery: Delivery, now: datetime) -> Delivery:
    delivery_id = new_sortable_id("dlv", now)
    return Delivery(
        id=delivery_id,
        subscription_id=delivery.subscription_id,
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        target=delivery.target,
        kind=DeliveryKind.REPLAY,
        replay_of=delivery.id,
        # A key of its own: a replay waits for nothing and stops nothing.
        ordering_key=delivery_id,
        sequence=1,
        body=delivery.body,
        content_type=delivery.content_type,
        headers=delivery.headers,
        rendered_as=delivery.rendered_as,
        created_at=now,
        updated_at=now,
    )
