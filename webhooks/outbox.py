"""The queue that commits with the caller's change.

Rules:

- ``store`` runs in the caller's transaction and issues a fixed number of
  statements: one to read the subscriptions, one to store the events, one for the
  numbers of all deliveries and one for each thousand of them; where subscriptions
  want the latest only, one for each target.
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
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, make_dataclass
from datetime import datetime, timedelta
from functools import cache
from itertools import count, repeat
from typing import Any

from sqlalchemy import Connection, Row, Table, bindparam, false, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningInsert

from webhooks import formats
from webhooks.blocking import REASON_BEHIND, block_key, given_up_state
from webhooks.compiled import fetch, write
from webhooks.errors import RenderError
from webhooks.events import (
    OPERATIONAL_PREFIX,
    Event,
    compact_json,
    is_asked_for,
    matches_subject,
    matches_target,
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
from webhooks.roster.specs import OnPoison
from webhooks.tables import (
    Delivery,
    DeliveryKind,
    DeliveryState,
    EventRow,
    OrderingKey,
    Subscription,
    SubscriptionState,
    state_in,
)

logger = logging.getLogger(__name__)

_DELIVERIES_AT_ONCE = 1_000
_EVENTS: Table = EventRow.__table__  # type: ignore[assignment]
_DELIVERIES: Table = Delivery.__table__  # type: ignore[assignment]
_STORE_EVENTS = _EVENTS.insert().values(
    {each.name: bindparam(each.name) for each in _EVENTS.c if each.name != "position"}
)
_LATER = {"replay_of", "receipt", "lease_until", "lease_token"}
_STORE_DELIVERIES = _DELIVERIES.insert().values(
    {
        each.name: bindparam(each.name)
        for each in _DELIVERIES.c
        if each.name not in _LATER
    }
)
#: The subscriptions, whose states stay what they are until the commit.
_LIVE = (
    select(Subscription.__table__)
    .where(Subscription.deleted_at.is_(None))
    .order_by(Subscription.id)
    .with_for_update(read=True, key_share=True)
)
_Subscribed = make_dataclass("_Subscribed", _LIVE.selected_columns.keys())
REASON_SUPERSEDED = "a newer event took its place"


def enqueue(session: Session, event: Event, *, now: datetime) -> EventRow:
    """Store the event and a delivery for each subscription that wants it.

    Nothing is sent and nothing is committed here. A format that cannot express
    the event makes a dead delivery, never an error.
    """
    (stored,) = enqueue_all(session, [event], now=now)
    return EventRow(**stored)


def enqueue_all(
    session: Session, events: Sequence[Event], *, now: datetime
) -> list[dict[str, Any]]:
    """Store the events of one change, in their order; give their columns."""
    stored, unsendable = store(session.connection(), events, now=now)
    give_up(session, unsendable, now=now)
    return stored


def store(
    cx: Connection, events: Sequence[Event], *, now: datetime
) -> tuple[list[dict[str, Any]], list[Delivery]]:
    """Store the events of one change, in their order, and their deliveries.

    Returns the events' columns, and the deliveries that ``give_up`` is to be told.
    """
    subscriptions: list[Any] = [_Subscribed(*row) for row in fetch(cx, _LIVE, {})]
    wanted = [[entry for entry in subscriptions if _wants(entry, e)] for e in events]
    stored = [
        _columns(event, fanout=len(chosen), now=now)
        for event, chosen in zip(events, wanted, strict=True)
    ]
    write(cx, _STORE_EVENTS, stored)
    wishes = [
        _Wish(subscription, event)
        for event, chosen in zip(events, wanted, strict=True)
        for subscription in chosen
    ]
    return stored, _store_deliveries(cx, wishes, now=now) if wishes else []


def give_up(session: Session, deliveries: Sequence[Delivery], *, now: datetime) -> None:
    """Do for what could not be rendered what is done when all attempts have failed."""
    for delivery in deliveries:
        logger.error(
            "webhook_delivery_given_up delivery=%s subscription=%s state=%s",
            *(delivery.id, delivery.subscription_id, delivery.state),
        )
        if delivery.state == DeliveryState.BLOCKED:
            block_key(session, delivery, now=now)
        else:
            note_dead(session, delivery.subscription_id)
    for delivery in deliveries:
        subscription = session.get_one(Subscription, delivery.subscription_id)
        announce_given_up(session, delivery, subscription, now=now)


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
    stored = _columns(event, fanout=fanout, now=now)
    write(session.connection(), _STORE_EVENTS, [stored])
    return EventRow(**stored)


def _columns(event: Event, *, fanout: int, now: datetime) -> dict[str, Any]:
    former = event.former_subjects
    return {
        "id": event.id,
        "type": event.type,
        "ordering_key": event.ordering_key,
        "subject": event.subject,
        "former_subjects": compact_json(former) if former else None,
        "target": event.target,
        "data": dict(event.data),
        "fanout": fanout,
        "sequence": event.sequence,
        "occurred_at": event.occurred_at,
        "created_at": now,
    }


def _wants(subscription: Row[Any], event: Event) -> bool:
    if not formats.takes(subscription.format, event, subscription.options):
        return False
    if event.type.startswith(OPERATIONAL_PREFIX):
        # Filters of models and stages say nothing about these.
        is_about_itself = event.ordering_key == operational_key(subscription.id)
        return not is_about_itself and is_asked_for(subscription.event_types, event)
    return bool(
        is_asked_for(subscription.event_types, event)
        and matches_subject(
            subscription.subject_pattern, event.subject, *event.former_subjects
        )
        and matches_target(subscription.targets, event.target)
    )


@dataclass(frozen=True)
class _Wish:
    """A subscription that wants an event."""

    subscription: Row[Any]
    event: Event

    @property
    def wants_latest_only(self) -> bool:
        return bool(self.subscription.on_poison == OnPoison.LATEST_WINS)

    @property
    def key(self) -> tuple[str, str]:
        """The queue that the delivery stands in."""
        return self.subscription.id, self.event.ordering_key

    @property
    def what(self) -> tuple[str, str, str | None]:
        """What only the latest is wanted of."""
        return (*self.key, self.event.target)


def _store_deliveries(
    cx: Connection, wishes: Sequence[_Wish], *, now: datetime
) -> list[Delivery]:
    """Store them, and give those that could not be rendered."""
    places = _allocate(cx, wishes)
    latest = [wish for wish in wishes if wish.wants_latest_only]
    _supersede(cx, latest, now=now)
    last_of = {wish.what: wish for wish in latest}
    rendered: dict[tuple[str, str], _Rendering] = {}
    values: list[dict[str, Any]] = []
    given_up: list[Delivery] = []
    for wish in wishes:
        # Subscriptions that say the same get the same bytes, rendered once.
        subscription = wish.subscription
        said = json.dumps([subscription.format, subscription.options], sort_keys=True)
        event = wish.event
        if (event.id, said) not in rendered:
            rendered[event.id, said] = _render(subscription, event.id, event)
        rendering = rendered[event.id, said]
        place = next(places[wish.key])
        is_last = last_of.get(wish.what, wish) is wish
        columns = (
            _delivery_values(subscription, event, place, now)
            | _birth_state(subscription, place, rendering.trouble, is_last=is_last)
            | rendering.columns
        )
        values.append(columns)
        if is_last and rendering.trouble is not None:
            given_up.append(Delivery(**columns))
    for start in range(0, len(values), _DELIVERIES_AT_ONCE):
        write(cx, _STORE_DELIVERIES, values[start : start + _DELIVERIES_AT_ONCE])
    return given_up


@dataclass(frozen=True)
class _Place:
    """A delivery's number within its key, and whether the key's head is blocked."""

    sequence: int
    is_behind_blocked: bool


def _allocate(
    cx: Connection, wishes: Sequence[_Wish]
) -> Mapping[tuple[str, str], Iterator[_Place]]:
    """Take the next numbers of each key, as many as it has deliveries."""
    counts = Counter(wish.key for wish in wishes)
    # Sorted, so two transactions lock the rows in one order.
    values: dict[str, Any] = {}
    for place, ((owner, key), number) in enumerate(sorted(counts.items())):
        values[f"owner{place}"], values[f"key{place}"] = owner, key
        values[f"next{place}"] = number + 1
    rows = fetch(cx, _numbering(cx.dialect.name, len(counts)), values)
    return {
        (owner, key): map(
            _Place, count(following - counts[owner, key]), repeat(is_blocked)
        )
        for owner, key, following, is_blocked in rows
    }


@cache
def _numbering(database: str, keys: int) -> ReturningInsert[str, str, int, bool]:
    """Add to the numbers of so many keys, beginning those that are new."""
    insert = postgresql.insert if database == "postgresql" else sqlite.insert
    new = insert(OrderingKey).values(
        [
            {
                "subscription_id": bindparam(f"owner{place}"),
                "ordering_key": bindparam(f"key{place}"),
                "next_sequence": bindparam(f"next{place}"),
                "is_blocked": false(),
            }
            for place in range(keys)
        ]
    )
    following = OrderingKey.next_sequence + new.excluded.next_sequence - 1
    return new.on_conflict_do_update(
        index_elements=["subscription_id", "ordering_key"],
        set_={"next_sequence": following},
    ).returning(
        OrderingKey.subscription_id,
        OrderingKey.ordering_key,
        OrderingKey.next_sequence,
        OrderingKey.is_blocked,
    )


def _supersede(cx: Connection, latest: Sequence[_Wish], *, now: datetime) -> None:
    """Drop what newer events of the same key and target make pointless."""
    owners: dict[tuple[str, str | None], list[str]] = {}
    for owner, key, target in sorted({wish.what for wish in latest}, key=str):
        owners.setdefault((key, target), []).append(owner)
    for (key, target), chosen in owners.items():
        cx.execute(
            _SUPERSEDE,
            {"owners": chosen, "of_key": key, "of_target": target, "now": now},
        )


_SUPERSEDE = (
    update(_DELIVERIES)
    .where(
        Delivery.subscription_id.in_(bindparam("owners", expanding=True)),
        Delivery.ordering_key == bindparam("of_key"),
        Delivery.target.is_not_distinct_from(bindparam("of_target")),
        state_in(
            Delivery.state,
            DeliveryState.PENDING,
            DeliveryState.HELD,
            DeliveryState.BLOCKED,
        ),
    )
    .values(
        state=DeliveryState.SUPERSEDED,
        reason=REASON_SUPERSEDED,
        updated_at=bindparam("now"),
    )
)


@dataclass(frozen=True)
class _Rendering:
    """Columns of a delivery, and why they say nothing where they do."""

    columns: dict[str, Any]
    trouble: str | None = None


def _render(subscription: Row[Any], event_id: str, event: Event) -> _Rendering:
    """Freeze the bytes, as far as the format can express the event."""
    try:
        return _Rendering(render(subscription, event_id, event))
    except RenderError as error:
        logger.exception(
            "webhook_render_failed event=%s format=%s", event_id, subscription.format
        )
        return _Rendering(nothing_rendered(event), f"not rendered: {error.message}")


def _delivery_values(
    subscription: Row[Any], event: Event, place: _Place, now: datetime
) -> dict[str, Any]:
    due_at = now + timedelta(seconds=(subscription.schedule_seconds or (0,))[0])
    return {
        "id": new_sortable_id("dlv", now),
        "subscription_id": subscription.id,
        "event_id": event.id,
        "event_type": event.type,
        "target": event.target,
        "kind": DeliveryKind.EVENT,
        "ordering_key": event.ordering_key,
        "sequence": place.sequence,
        "attempt_count": 0,
        "attempts_forgiven": 0,
        "next_attempt_at": due_at,
        "created_at": now,
        "updated_at": now,
    }


def _birth_state(
    subscription: Row[Any], place: _Place, trouble: str | None, *, is_last: bool
) -> dict[str, Any]:
    if not is_last:  # a later event of the same change took its place
        return {"state": DeliveryState.SUPERSEDED, "reason": REASON_SUPERSEDED}
    if trouble is not None:
        state = given_up_state(subscription.on_poison, DeliveryKind.EVENT)
        return {"state": state, "reason": trouble}
    holds = subscription.on_poison == OnPoison.HOLD
    if place.is_behind_blocked and holds:
        return {"state": DeliveryState.HELD, "reason": REASON_BEHIND}
    if subscription.state == SubscriptionState.ACTIVE:
        return {"state": DeliveryState.PENDING, "reason": None}
    return {"state": DeliveryState.HELD, "reason": str(subscription.state)}
