"""The queue that commits with the caller's change.

Rules:

- ``enqueue_all`` runs in the caller's transaction and issues a fixed number of
  statements: one to read the subscriptions, one to store the events, and at most
  three for the deliveries of each event.
- Numbers of an ordering key are allocated under its row's lock, so their order is
  the order of the commits.
- A subscription that is not active gets its deliveries held, not dropped; so does a
  key whose head is blocked.
- What a format has no words for makes no delivery. What it has words for and cannot
  express is given up at once, as a delivery is whose attempts are used up: announced,
  counted, and with ``hold`` it blocks its key.
- An event about a subscription goes to the others that name its type.
- ``webhooks.claims`` takes the deliveries from here on.

Locks are taken in one order: subscription, ordering keys, deliveries.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from webhooks import formats
from webhooks.blocking import REASON_BEHIND, block_key, given_up_state
from webhooks.errors import RenderError
from webhooks.events import (
    OPERATIONAL_PREFIX,
    Event,
    compact_json,
    is_asked_for,
    matches_subject,
    matches_target,
    new_event_id,
    new_sortable_id,
    operational_key,
)
from webhooks.metrics import note_dead
from webhooks.operational import (
    OperationalType,
    describe_delivery,
    event_about,
    is_operational,
)
from webhooks.rendering import nothing_rendered, render
from webhooks.tables import (
    Delivery,
    DeliveryKind,
    DeliveryState,
    EventRow,
    OnPoison,
    Ordering,
    OrderingKey,
    Subscription,
    state_in,
)

logger = logging.getLogger(__name__)

REASON_SUPERSEDED = "a newer event took its place"


def enqueue(session: Session, event: Event, *, now: datetime) -> EventRow:
    """Store the event and a delivery for each subscription that wants it.

    Nothing is sent and nothing is committed here. A format that cannot express
    the event makes a dead delivery, never an error.
    """
    return enqueue_all(session, [event], now=now)[0]


def enqueue_all(
    session: Session, events: Sequence[Event], *, now: datetime
) -> list[EventRow]:
    """Store the events of one change, in their order, as ``enqueue`` does one."""
    subscriptions = _live(session)
    wanted = [[entry for entry in subscriptions if _wants(entry, e)] for e in events]
    rows = [
        _event_row(event, fanout=len(chosen), now=now)
        for event, chosen in zip(events, wanted, strict=True)
    ]
    session.add_all(rows)
    session.flush()
    given_up = [
        lost
        for event, chosen, row in zip(events, wanted, rows, strict=True)
        if chosen
        for lost in _store_deliveries(session, chosen, event, row, now=now)
    ]
    for subscription, delivery in given_up:
        announce_given_up(session, delivery, subscription, now=now)
    return rows


def announce(
    session: Session,
    kind: OperationalType,
    subscription: Subscription,
    details: Mapping[str, Any],
    *,
    now: datetime,
) -> None:
    """Enqueue an event about a subscription."""
    # Subscriptions are read anew to enqueue; what was set must be there by then.
    session.flush()
    enqueue(session, event_about(subscription, kind, details, now=now), now=now)


def announce_given_up(
    session: Session, delivery: Delivery, subscription: Subscription, *, now: datetime
) -> None:
    """Announce that a delivery will not be sent by itself any more."""
    if is_operational(delivery.event_type):
        return
    details = describe_delivery(delivery)
    announce(session, OperationalType.EXHAUSTED, subscription, details, now=now)
    if delivery.state == DeliveryState.BLOCKED:
        announce(session, OperationalType.KEY_BLOCKED, subscription, details, now=now)


def store_event(
    session: Session, event: Event, *, fanout: int, now: datetime
) -> EventRow:
    """Store the event alone, under a new message id."""
    row = _event_row(event, fanout=fanout, now=now)
    session.add(row)
    session.flush()
    return row


def _event_row(event: Event, *, fanout: int, now: datetime) -> EventRow:
    return EventRow(
        id=new_event_id(),
        type=event.type,
        ordering_key=event.ordering_key,
        subject=event.subject,
        former_subjects=compact_json(event.former_subjects)
        if event.former_subjects
        else None,
        target=event.target,
        data=dict(event.data),
        fanout=fanout,
        sequence=event.sequence,
        occurred_at=event.occurred_at,
        created_at=now,
    )


def _live(session: Session) -> Sequence[Subscription]:
    """Read the subscriptions afresh, and keep their states until the commit."""
    query = (
        select(Subscription)
        .where(Subscription.deleted_at.is_(None))
        .order_by(Subscription.id)
        .with_for_update(read=True, key_share=True)
        .execution_options(populate_existing=True)
    )
    return session.scalars(query).all()


def _wants(subscription: Subscription, event: Event) -> bool:
    if not formats.takes(subscription.format, event, subscription.options):
        return False
    if event.type.startswith(OPERATIONAL_PREFIX):
        # Filters of models and stages say nothing about these.
        is_about_itself = event.ordering_key == operational_key(subscription.id)
        return not is_about_itself and is_asked_for(subscription.event_types, event)
    return (
        is_asked_for(subscription.event_types, event)
        and matches_subject(
            subscription.subject_pattern, event.subject, *event.former_subjects
        )
        and matches_target(subscription.targets, event.target)
    )


def _store_deliveries(
    session: Session,
    subscriptions: Sequence[Subscription],
    event: Event,
    row: EventRow,
    *,
    now: datetime,
) -> list[tuple[Subscription, Delivery]]:
    """Store them, and give those that could not be rendered."""
    places = _allocate(session, subscriptions, event.ordering_key)
    _supersede(session, subscriptions, event, now=now)
    rendered: dict[str, _Rendering] = {}
    values = []
    given_up = []
    for subscription in subscriptions:
        place = places.get(subscription.id)
        # Subscriptions that say the same get the same bytes, rendered once.
        kind = json.dumps([subscription.format, subscription.options], sort_keys=True)
        if kind not in rendered:
            rendered[kind] = _render(subscription, row.id, event)
        columns = (
            _delivery_values(subscription, row, place, now)
            | _birth_state(subscription, place, rendered[kind].trouble)
            | rendered[kind].columns
        )
        values.append(columns)
        if rendered[kind].trouble is not None:
            given_up.append((subscription, Delivery(**columns)))
    session.execute(insert(Delivery), values)
    for subscription, delivery in given_up:
        _give_up(session, delivery, subscription, now)
    return given_up


def _give_up(
    session: Session, delivery: Delivery, subscription: Subscription, now: datetime
) -> None:
    """Do for what could not be rendered what is done when all attempts have failed."""
    logger.error(
        "webhook_delivery_given_up delivery=%s subscription=%s state=%s",
        *(delivery.id, subscription.id, delivery.state),
    )
    if delivery.state == DeliveryState.BLOCKED:
        block_key(session, delivery, now=now)
    else:
        note_dead(session, subscription.id)


@dataclass(frozen=True)
class _Place:
    """A delivery's number within its key, and whether the key's head is blocked."""

    sequence: int
    is_behind_blocked: bool


def _allocate(
    session: Session, subscriptions: Sequence[Subscription], ordering_key: str
) -> Mapping[str, _Place]:
    """Take the next number of the key for each ordered subscription."""
    ordered = [entry for entry in subscriptions if entry.ordering == Ordering.KEY]
    if not ordered:
        return {}
    # Sorted by id already, so two transactions lock the rows in one order.
    values = [
        {
            "subscription_id": entry.id,
            "ordering_key": ordering_key,
            "next_sequence": 2,
        }
        for entry in ordered
    ]
    # The other database's dialect would hold 2 MB for nothing.
    dialect = import_module(f"sqlalchemy.dialects.{session.get_bind().dialect.name}")
    statement = (
        dialect.insert(OrderingKey)
        .values(values)
        .on_conflict_do_update(
            index_elements=["subscription_id", "ordering_key"],
            set_={"next_sequence": OrderingKey.next_sequence + 1},
        )
        .returning(
            OrderingKey.subscription_id,
            OrderingKey.next_sequence,
            OrderingKey.is_blocked,
        )
    )
    rows = session.execute(statement).all()
    return {
        subscription_id: _Place(following - 1, is_blocked)
        for subscription_id, following, is_blocked in rows
    }


def _supersede(
    session: Session,
    subscriptions: Sequence[Subscription],
    event: Event,
    *,
    now: datetime,
) -> None:
    """Drop what a newer event of the same key and target makes pointless."""
    chosen = [
        entry.id
        for entry in subscriptions
        if entry.on_poison == OnPoison.LATEST_WINS and entry.ordering == Ordering.KEY
    ]
    if not chosen:
        return
    session.execute(
        update(Delivery)
        .where(
            Delivery.subscription_id.in_(chosen),
            Delivery.ordering_key == event.ordering_key,
            Delivery.target.is_not_distinct_from(event.target),
            state_in(
                Delivery.state,
                DeliveryState.PENDING,
                DeliveryState.HELD,
                DeliveryState.BLOCKED,
            ),
        )
        .values(
            state=DeliveryState.SUPERSEDED, reason=REASON_SUPERSEDED, updated_at=now
        )
        .execution_options(synchronize_session=False)
    )


@dataclass(frozen=True)
class _Rendering:
    """Columns of a delivery, and why they say nothing where they do."""

    columns: dict[str, Any]
    trouble: str | None = None


def _render(subscription: Subscription, event_id: str, event: Event) -> _Rendering:
    """Freeze the bytes, as far as the format can express the event."""
    try:
        return _Rendering(render(subscription, event_id, event))
    except RenderError as error:
        logger.exception(
            "webhook_render_failed event=%s format=%s", event_id, subscription.format
        )
        return _Rendering(nothing_rendered(event), f"not rendered: {error.message}")


def _delivery_values(
    subscription: Subscription,
    row: EventRow,
    place: _Place | None,
    now: datetime,
) -> dict[str, Any]:
    # Without an order, each event is a key of its own.
    due_at = now + timedelta(seconds=(subscription.schedule_seconds or (0,))[0])
    return {
        "id": new_sortable_id("dlv", now),
        "subscription_id": subscription.id,
        "event_id": row.id,
        "event_type": row.type,
        "target": row.target,
        "kind": DeliveryKind.EVENT,
        "ordering_key": row.id if place is None else row.ordering_key,
        "sequence": 1 if place is None else place.sequence,
        "attempt_count": 0,
        "next_attempt_at": due_at,
        "created_at": now,
        "updated_at": now,
    }


def _birth_state(
    subscription: Subscription, place: _Place | None, trouble: str | None
) -> dict[str, Any]:
    if trouble is not None:
        state = given_up_state(subscription, DeliveryKind.EVENT)
        return {"state": state, "reason": trouble}
    holds = subscription.on_poison == OnPoison.HOLD
    if place is not None and place.is_behind_blocked and holds:
        return {"state": DeliveryState.HELD, "reason": REASON_BEHIND}
    if subscription.is_open:
        return {"state": DeliveryState.PENDING, "reason": None}
    return {"state": DeliveryState.HELD, "reason": str(subscription.state)}
