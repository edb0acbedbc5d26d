"""The queue that commits with the caller's change.

Rules:

- ``store`` runs in the caller's transaction and issues a fixed number of
  statements: one asks whether a subscription changed, one stores the events, one is for
  all queues and one for all deliveries that have the same bytes; where subscriptions
  want the latest only, two more. The first alone is waited for.
- Numbers of a queue are allocated under its row's lock, so their order is the order of
  the commits.
- Nothing here depends on whether a delivery may go: what is paused, resting or
  blocked is stored like any other.
- What a format has no words for makes no delivery. What it has words for and cannot
  express is given up at once, as a delivery is whose attempts are used up: announced,
  counted, and with ``hold`` it blocks its queue.
- An event about a subscription goes to the others that name its type.
- ``webhooks.queue.claim`` takes the deliveries from here on.

Locks are taken in one order: subscription, queues, deliveries.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    Connection,
    Insert,
    Integer,
    Table,
    Text,
    Update,
    bindparam,
    case,
    func,
    select,
    true,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from webhooks import formats
from webhooks.errors import RenderError
from webhooks.events import (
    OPERATIONAL_PREFIX,
    About,
    Event,
    GivenUp,
    OperationalType,
    compact_json,
    format_instant,
    is_asked_for,
    is_operational,
    matches_subject,
    matches_target,
    new_sortable_id,
    operational_key,
)
from webhooks.metrics import note_dead
from webhooks.queue.row import advance_named
from webhooks.roster.members import Member, read_members
from webhooks.roster.specs import OnPoison
from webhooks.statements import Rows, is_among, write
from webhooks.tables import (
    REASON_SUPERSEDED,
    Delivery,
    DeliveryKind,
    DeliveryState,
    EventRow,
    Queue,
    QueueState,
    Subscription,
    state_in,
)

logger = logging.getLogger(__name__)

_EVENTS: Table = EventRow.__table__  # type: ignore[assignment]
_DELIVERIES: Table = Delivery.__table__  # type: ignore[assignment]
_STORE_EVENTS = _EVENTS.insert().values(
    {
        column.name: bindparam(column.name)
        for column in _EVENTS.c
        if column.name != "position"
    }
)


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
    members = read_members(cx).values()
    told = [[member for member in members if _wants(member, e)] for e in events]
    stored = [
        _columns(event, fanout=len(chosen), now=now)
        for event, chosen in zip(events, told, strict=True)
    ]
    write(cx, _STORE_EVENTS, stored)
    planned = _plan(list(zip(events, told, strict=True)), now)
    if planned:
        _store_deliveries(cx, planned, now)
    return stored, [
        Delivery(id=delivery.id, subscription_id=delivery.owner, **delivery.shared)
        for delivery in planned
        if delivery.is_given_up
    ]


def listeners(cx: Connection, events: Sequence[Event]) -> list[Member]:
    """Return who would be told of one of the events; nothing is stored."""
    members = read_members(cx).values()
    return [member for member in members if any(_wants(member, e) for e in events)]


def give_up(session: Session, deliveries: Sequence[Delivery], *, now: datetime) -> None:
    """Do for what could not be rendered what is done when all attempts have failed."""
    for delivery in deliveries:
        log_given_up(delivery)
        if delivery.state == DeliveryState.DEAD:
            note_dead(session, delivery.subscription_id)
    for delivery in deliveries:
        subscription = session.get_one(Subscription, delivery.subscription_id)
        publish_given_up(session, delivery, subscription, now=now)


def log_given_up(delivery: Delivery) -> None:
    """Say in the log that a delivery will not be sent by itself any more."""
    is_blocked = delivery.state == DeliveryState.PENDING
    logger.error(
        "webhook_delivery_given_up delivery=%s subscription=%s state=%s",
        *(delivery.id, delivery.subscription_id, "blocked" if is_blocked else "dead"),
    )


def publish(
    session: Session,
    kind: OperationalType,
    subscription: Subscription,
    details: Mapping[str, Any],
    *,
    now: datetime,
) -> None:
    """Enqueue an event about a subscription."""
    session.flush()
    enqueue(session, _event_about(subscription, kind, details, now=now), now=now)


def _event_about(
    subscription: Subscription,
    kind: OperationalType,
    details: Mapping[str, Any],
    *,
    now: datetime,
) -> Event:
    """Make an event about a subscription."""
    about: About = {
        "subscription_id": subscription.id,
        "description": subscription.description,
    }
    return Event(
        type=kind,
        ordering_key=operational_key(subscription.id),
        subject="",
        target=None,
        data={**about, **details},
        occurred_at=now,
    )


def _describe(delivery: Delivery) -> GivenUp:
    """Return the facts of the delivery that an event is about."""
    return {
        "delivery_id": delivery.id,
        "event_id": delivery.event_id,
        "event_type": delivery.event_type,
        "ordering_key": delivery.ordering_key,
        "attempts": delivery.attempt_count,
        "reason": delivery.reason,
        "created_at": format_instant(delivery.created_at),
    }


def publish_given_up(
    session: Session, delivery: Delivery, subscription: Subscription, *, now: datetime
) -> None:
    """Publish that a delivery will not be sent by itself any more."""
    if is_operational(delivery.event_type):
        return
    details = _describe(delivery)
    publish(session, OperationalType.EXHAUSTED, subscription, details, now=now)
    if delivery.state == DeliveryState.PENDING:
        publish(session, OperationalType.KEY_BLOCKED, subscription, details, now=now)


def store_event(
    session: Session, event: Event, *, fanout: int, now: datetime
) -> EventRow:
    """Store the event alone, under a new message id."""
    stored = _columns(event, fanout=fanout, now=now)
    write(session.connection(), _STORE_EVENTS, [stored])
    return EventRow(**stored)


def given_up_as(on_poison: str, kind: str, reason: str) -> dict[str, Any]:
    """Return the state and reason of what is given up: it may have an order to keep."""
    keeps_order = kind == DeliveryKind.EVENT and on_poison == OnPoison.HOLD
    state = DeliveryState.PENDING if keeps_order else DeliveryState.DEAD
    return {"state": state, "reason": reason}


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


def _wants(member: Member, event: Event) -> bool:
    if not formats.takes(member.format, event, member.options):
        return False
    if event.type.startswith(OPERATIONAL_PREFIX):
        # Filters of models and stages say nothing about these.
        is_about_itself = event.ordering_key == operational_key(member.id)
        return not is_about_itself and is_asked_for(member.event_types, event)
    return (
        is_asked_for(member.event_types, event)
        and matches_subject(
            member.subject_pattern, event.subject, *event.former_subjects
        )
        and matches_target(member.targets, event.target)
    )


@dataclass(frozen=True)
class _Planned:
    """A delivery, but for its number.

    ``shared``: the columns that it has in common with those that say the same.
    """

    id: str
    owner: str
    shared: dict[str, Any]
    is_latest_only: bool

    @property
    def queue(self) -> tuple[str, str]:
        return self.owner, self.shared["ordering_key"]

    @property
    def is_live(self) -> bool:
        return bool(self.shared["state"] == DeliveryState.PENDING)

    @property
    def is_given_up(self) -> bool:
        return self.shared["reason"] not in (None, REASON_SUPERSEDED)


def _plan(
    told: Sequence[tuple[Event, Sequence[Member]]], now: datetime
) -> list[_Planned]:
    """Make the deliveries; subscriptions that say the same get the same bytes."""
    last_of = {
        (member.id, event.ordering_key, event.target): event.id
        for event, members in told
        for member in members
    }
    rendered: dict[tuple[str, str], tuple[dict[str, Any], str | None]] = {}
    shared: dict[tuple[str, ...], dict[str, Any]] = {}
    planned = []
    for event, members in told:
        for member in members:
            said = (event.id, compact_json([member.format, member.options]))
            if said not in rendered:
                rendered[said] = _render(member, event)
            content, trouble = rendered[said]
            is_latest_only = member.on_poison == OnPoison.LATEST_WINS
            state: Mapping[str, Any]
            what = member.id, event.ordering_key, event.target
            if is_latest_only and last_of[what] != event.id:
                state = _SUPERSEDED
            elif trouble is not None:
                state = given_up_as(member.on_poison, DeliveryKind.EVENT, trouble)
            else:
                state = _PENDING
            delay = (member.schedule_seconds or (0,))[0]
            alike = (*said, str(delay), state["state"], str(state["reason"]))
            if alike not in shared:
                due_at = now + timedelta(seconds=delay)
                shared[alike] = {**_shared(event, now, due_at), **content, **state}
            delivery_id = new_sortable_id("dlv", now)
            planned.append(
                _Planned(delivery_id, member.id, shared[alike], is_latest_only)
            )
    return planned


_PENDING: Mapping[str, Any] = {"state": DeliveryState.PENDING, "reason": None}
_SUPERSEDED: Mapping[str, Any] = {
    "state": DeliveryState.DEAD,
    "reason": REASON_SUPERSEDED,
}


def _render(member: Member, event: Event) -> tuple[dict[str, Any], str | None]:
    """Freeze the bytes, as columns, and say why there are none where there are none."""
    try:
        return formats.columns_for(member, event.id, event), None
    except RenderError as error:
        logger.exception(
            "webhook_render_failed event=%s format=%s", event.id, member.format
        )
        return formats.columns_of_nothing(event), f"not rendered: {error.message}"


def _shared(event: Event, now: datetime, due_at: datetime) -> dict[str, Any]:
    return {
        "event_id": event.id,
        "event_type": event.type,
        "target": event.target,
        "kind": DeliveryKind.EVENT,
        "ordering_key": event.ordering_key,
        "attempt_count": 0,
        "attempts_forgiven": 0,
        "next_attempt_at": due_at,
        "created_at": now,
        "updated_at": now,
    }


def _store_deliveries(
    cx: Connection, planned: Sequence[_Planned], now: datetime
) -> None:
    behind = _lengthen(cx, planned)
    latest = [delivery for delivery in planned if delivery.is_latest_only]
    _supersede(cx, latest, now)
    alike: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
    for delivery in planned:
        own = (delivery.id, delivery.owner, behind[delivery.queue])
        behind[delivery.queue] -= 1
        alike[id(delivery.shared)].append(own)
    shared = {id(delivery.shared): delivery.shared for delivery in planned}
    values = [
        {**shared[key], **_OWN.parameters(cx.dialect, rows)}
        for key, rows in alike.items()
    ]
    write(cx, _storing(cx.dialect.name), values)
    if latest:
        advance_named(cx, {delivery.queue for delivery in latest})


def _lengthen(cx: Connection, planned: Sequence[_Planned]) -> Counter[tuple[str, str]]:
    """Lock the queues, and take the numbers that each has deliveries for: how many."""
    counts = Counter(delivery.queue for delivery in planned)
    heads = {
        delivery.queue: delivery for delivery in reversed(planned) if delivery.is_live
    }
    # Sorted, so two transactions lock the rows in one order.
    rows = []
    for (owner, key), number in sorted(counts.items()):
        head = heads.get((owner, key))
        is_blocked = head is not None and head.is_given_up
        rows.append(
            (
                *(owner, key, number + 1),
                QueueState.BLOCKED if is_blocked else QueueState.OPEN,
                None if head is None else head.id,
                None if head is None else head.shared["next_attempt_at"],
            )
        )
    write(cx, _lengthening(cx.dialect.name), [_LENGTHENED.parameters(cx.dialect, rows)])
    return counts


_LENGTHENED = Rows(
    subscription_id=Text(),
    ordering_key=Text(),
    next_sequence=Integer(),
    state=Text(),
    head_id=Text(),
    next_at=Queue.next_at.type,
)


@cache
def _lengthening(database: str) -> postgresql.Insert | sqlite.Insert:
    """Add to the numbers of queues, beginning those that are new."""
    insert = postgresql.insert if database == "postgresql" else sqlite.insert
    # The condition is for SQLite, which takes ON for that of a join without it.
    rows = select(*_LENGTHENED.columns(database)).where(true())
    new = insert(Queue).from_select(list(_LENGTHENED.types), rows)
    had_head = Queue.head_id.is_not(None)
    return new.on_conflict_do_update(
        index_elements=["subscription_id", "ordering_key"],
        set_={
            "next_sequence": Queue.next_sequence + new.excluded.next_sequence - 1,
            "head_id": func.coalesce(Queue.head_id, new.excluded.head_id),
            "next_at": func.coalesce(Queue.next_at, new.excluded.next_at),
            "state": case((had_head, Queue.state), else_=new.excluded.state),
        },
    )


#: ``behind``: how far before the number that its queue gives next.
_OWN = Rows(id=Text(), subscription_id=Text(), behind=Integer())
_LATER = {"replay_of", "receipt"}


@cache
def _storing(database: str) -> Insert:
    """Store deliveries that have all in common but ``_OWN``, the body sent once."""
    own = dict(zip(_OWN.types, _OWN.columns(database), strict=True))
    following = (
        select(Queue.next_sequence)
        .where(
            Queue.subscription_id == own["subscription_id"],
            Queue.ordering_key == bindparam("ordering_key"),
        )
        .scalar_subquery()
    )
    own["sequence"] = following - own.pop("behind")
    columns = {
        column.name: own.get(column.name, bindparam(column.name, type_=column.type))
        for column in _DELIVERIES.c
        if column.name not in _LATER
    }
    return _DELIVERIES.insert().from_select(list(columns), select(*columns.values()))


def _supersede(cx: Connection, latest: Sequence[_Planned], now: datetime) -> None:
    """Drop what newer events of the same queue and target make pointless."""
    owners: dict[tuple[str, str | None], list[str]] = {}
    for delivery in latest:
        owner, key = delivery.queue
        owners.setdefault((key, delivery.shared["target"]), []).append(owner)
    for (key, target), chosen in owners.items():
        values = {"owners": chosen, "of_key": key, "of_target": target, "now": now}
        write(cx, _superseding(cx.dialect.name), [values])


@cache
def _superseding(database: str) -> Update:
    return (
        update(Delivery)
        .where(
            is_among(Delivery.subscription_id, "owners", database),
            Delivery.ordering_key == bindparam("of_key"),
            Delivery.target.is_not_distinct_from(bindparam("of_target")),
            state_in(Delivery.state, DeliveryState.PENDING),
        )
        .values(**_SUPERSEDED, updated_at=bindparam("now"))
    )
