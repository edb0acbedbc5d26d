"""The record of deliveries: read, looked for by many filters, removed at last.

Rules:

- Lists are newest first and go on behind an id; they load nothing of what is sent.
- What an index knows (endpoint, time, an event, given up or not) is asked of it; for
  the rest so many deliveries are looked at as ``LOOKED_AT`` says, and how far that was
  is told, so that whoever looks for something rare goes on from there instead of
  waiting.
- What is blocked or being sent is found among all that waits, which has an index.
- Ids of deliveries sort by time, which is how a time is looked for.
- Only final deliveries are removed, with their attempts, and queues that nothing is
  left of: what is live stays, however old.
- An event goes when nothing of it is left and consumers had it in the feed as long.
  How far the feed was cut off stands in its row: who comes back later is told.
- A removal is one batch and its caller commits it by itself, so that no lock is held
  long; rows that somebody else has locked are left for the next time.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    delete,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.orm import Session, defer

from webhooks.errors import UnknownDeliveryError
from webhooks.events import is_operational
from webhooks.statements import fetch, fetch_one, is_among, read_rows
from webhooks.tables import (
    FINAL_STATES,
    LIVE_STATES,
    Attempt,
    Delivery,
    DeliveryState,
    EventRow,
    Feed,
    Queue,
    ShownState,
    is_given_up,
    is_shown_as,
    state_in,
)

#: Of a delivery that is only told of, what is sent stays in the database.
WITHOUT_CONTENT = (defer(Delivery.body), defer(Delivery.headers))
LOOKED_AT = 5_000
REMOVED_AT_ONCE = 500
_BEHIND_ALL = "dlv_g"  #: ids go on with hexadecimal digits
_DEAD = {ShownState.DEAD, ShownState.SUPERSEDED}
_LIVE = {ShownState.BLOCKED, ShownState.SENDING}


def get(session: Session, delivery_id: str) -> Delivery:
    """Find a delivery.

    Raises:
        UnknownDeliveryError: there is none.
    """
    delivery = session.get(Delivery, delivery_id)
    if delivery is None:
        raise UnknownDeliveryError
    return delivery


def list_page(
    session: Session,
    *,
    subscription_id: str | None = None,
    event_id: str | None = None,
    state: ShownState | None = None,
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
        query = query.where(is_shown_as(state))
    if before is not None:
        query = query.where(Delivery.id < before)
    return session.scalars(query.order_by(Delivery.id.desc()).limit(limit)).all()


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


def newest_attempts(
    session: Session, delivery_id: str, *, below: int | None, limit: int
) -> Sequence[Attempt]:
    """List the attempts of a delivery, last one first, those below a number."""
    query = select(Attempt).where(Attempt.delivery_id == delivery_id)
    if below is not None:
        query = query.where(Attempt.number < below)
    return session.scalars(query.order_by(Attempt.number.desc()).limit(limit)).all()


class Shown(NamedTuple):
    """A delivery in a list."""

    id: str
    subscription_id: str
    event_id: str
    event_type: str
    kind: str
    target: str | None
    subject: str
    version: str | None
    state: str
    reason: str | None
    attempts: int
    next_attempt_at: datetime
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which deliveries are looked for.

    Attributes:
        subject: the event's.
        ordering_key: the event's; with a subject, either will do.
        event_ids: of these events alone.
    """

    subscription_id: str | None = None
    state: ShownState | None = None
    event_type: str | None = None
    subject: str | None = None
    ordering_key: str | None = None
    event_ids: Sequence[str] | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_looked_for(self) -> bool:
        """Whether deliveries must be looked at to know, with no end to it."""
        if self.event_ids is not None or self.state in _LIVE:
            return False
        return bool(self.state or self.event_type or self.subject)

    def values(self, before: str | None) -> dict[str, Any]:
        """Return what its statements are told, from behind ``before`` on."""
        until = _BEHIND_ALL if self.until is None else f"{_first_id(self.until)}g"
        values = {
            "before": min(before or _BEHIND_ALL, until),
            "from": "" if self.since is None else _first_id(self.since),
            "subscription": self.subscription_id,
            "type": self.event_type,
            "subject": self.subject,
            "key": None if self.subject is None else self.ordering_key or "",
            "events": self.event_ids,
        }
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class Page:
    """Some deliveries; ``next_before`` is where to go on, None at the end.

    Attributes:
        looked_back_to: how far was looked, where that ended before the page was full.
    """

    items: Sequence[Shown]
    next_before: str | None = None
    looked_back_to: datetime | None = None


def find(cx: Connection, wanted: Wanted, *, before: str | None, limit: int) -> Page:
    """Return a page of what is wanted, newest first, from behind ``before`` on."""
    values = wanted.values(before)
    form, edge = _Form(wanted.state, frozenset(values), cx.dialect.name), None
    if wanted.is_looked_for:
        found = fetch_one(cx, _edge(form), {**values, "skipped": LOOKED_AT})
        edge = found[0] if found and found[0] > values["from"] else None
    values["from"] = edge or values["from"]
    rows = fetch(cx, _page(form), {**values, "most": limit + 1})
    items = list(map(Shown._make, rows[:limit]))
    if len(rows) > limit:
        return Page(items, next_before=items[-1].id)
    return Page(items, edge, _instant_of(edge) if edge else None)


def _instant_of(delivery_id: str) -> datetime:
    milliseconds = int(delivery_id.removeprefix("dlv_")[:12], 16)
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _first_id(at: datetime) -> str:
    return f"dlv_{int(at.timestamp() * 1000):012x}"


class _Form(NamedTuple):
    """What the text of a statement goes by; ``given`` are the values that it has."""

    state: ShownState | None
    given: frozenset[str]
    database: str


def _id(form: _Form) -> ColumnElement[str]:
    """Return the id, by which nobody goes through all there is for what waits."""
    return Delivery.id.concat("") if form.state in _LIVE else Delivery.id.expression


def _by_index(form: _Form) -> ColumnElement[bool]:
    """Return what an index knows."""
    conditions: list[ColumnElement[bool]] = [_id(form) < bindparam("before")]
    if "subscription" in form.given:
        owner = Delivery.subscription_id.expression
        if form.state in _DEAD:  # little of what one was ever sent
            owner = owner.concat("")
        conditions.append(owner == bindparam("subscription"))
    if "events" in form.given:
        conditions.append(is_among(Delivery.event_id, "events", form.database))
    if form.state in _DEAD:
        conditions.append(state_in(Delivery.state, DeliveryState.DEAD))
    if form.state in _LIVE:
        conditions.append(state_in(Delivery.state, *LIVE_STATES))
    return and_(*conditions)


@cache
def _edge(form: _Form) -> Select[str]:
    """Return the last of as many as are looked at; there is none where all are."""
    return (
        select(Delivery.id)
        .where(_by_index(form))
        .order_by(Delivery.id.desc())
        .limit(1)
        .offset(bindparam("skipped"))
    )


@cache
def _page(form: _Form) -> Select[Any]:
    # Found first, so that the rest is read of a page alone.
    found = _found(form).subquery()
    return (
        select(
            *(Delivery.id, Delivery.subscription_id, Delivery.event_id),
            *(Delivery.event_type, Delivery.kind, Delivery.target, EventRow.subject),
            EventRow.data["version"].as_string(),
            *(Delivery.shown_state, Delivery.shown_reason, Delivery.attempt_count),
            *(Delivery.next_attempt_at, Delivery.created_at),
        )
        .select_from(found)
        .join(Delivery, Delivery.id == found.c.id)
        .join(EventRow, EventRow.id == Delivery.event_id)
        .order_by(Delivery.id.desc())
    )


def _found(form: _Form) -> Select[str]:
    conditions = [_by_index(form), _id(form) >= bindparam("from")]
    query = select(Delivery.id)
    if form.state == ShownState.BLOCKED:
        conditions.append(is_given_up(Delivery.state, Delivery.reason))
    elif form.state is not None:
        conditions.append(is_shown_as(form.state))
    if "type" in form.given:
        conditions.append(Delivery.event_type == bindparam("type"))
    if "subject" in form.given:
        query = query.join(EventRow, EventRow.id == Delivery.event_id)
        is_named = EventRow.subject == bindparam("subject")
        conditions.append(or_(is_named, EventRow.ordering_key == bindparam("key")))
    return query.where(*conditions).order_by(_id(form).desc()).limit(bindparam("most"))


def remove_deliveries(
    cx: Connection, *, before: datetime, limit: int = REMOVED_AT_ONCE
) -> int:
    """Remove deliveries that were settled before then; return how many."""
    rows = cx.execute(
        select(Delivery.id, Delivery.subscription_id, Delivery.ordering_key)
        .where(state_in(Delivery.state, *FINAL_STATES), Delivery.updated_at < before)
        .order_by(Delivery.updated_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    if rows:
        ids = [row.id for row in rows]
        cx.execute(delete(Attempt).where(Attempt.delivery_id.in_(ids)))
        cx.execute(delete(Delivery).where(Delivery.id.in_(ids)))
        _remove_queues(cx, {(row[1], row[2]) for row in rows})
    return len(rows)


def _remove_queues(cx: Connection, queues: Collection[tuple[str, str]]) -> None:
    """Remove those of the queues that nothing is left of; what comes begins anew."""
    empty = cx.scalars(
        select(Queue.id)
        .where(
            tuple_(Queue.subscription_id, Queue.ordering_key).in_(sorted(queues)),
            Queue.head_id.is_(None),
        )
        .with_for_update(skip_locked=True)
    ).all()
    # Asked under the lock: who stores a delivery holds its queue.
    has_delivery = (
        select(Delivery.id)
        .where(
            Delivery.subscription_id == Queue.subscription_id,
            Delivery.ordering_key == Queue.ordering_key,
        )
        .exists()
    )
    cx.execute(delete(Queue).where(Queue.id.in_(empty), ~has_delivery))


def remove_events(
    cx: Connection, *, before: datetime, limit: int = REMOVED_AT_ONCE
) -> int:
    """Remove events from before then that have no delivery; return how many."""
    has_delivery = select(Delivery.id).where(Delivery.event_id == EventRow.id).exists()
    ids = cx.scalars(
        select(EventRow.id)
        .where(
            EventRow.created_at < before, EventRow.position.is_not(None), ~has_delivery
        )
        .order_by(EventRow.created_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    if not ids:
        return 0
    # Asked once more under the lock: a copy may have been stored meanwhile.
    removed = cx.execute(
        delete(EventRow)
        .where(EventRow.id.in_(ids), ~has_delivery)
        .returning(EventRow.type, EventRow.position)
    ).all()
    shown = [
        position
        for event_type, position in removed
        if position and not is_operational(event_type)
    ]
    if shown:
        cx.execute(
            update(Feed)
            .where(Feed.removed_position < max(shown))
            .values(removed_position=max(shown))
        )
    return len(removed)
