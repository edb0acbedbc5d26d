"""Deliveries as people look for them: by many filters, a bounded look at a time.

Rules:

- A page is newest first and goes on behind an id. What an index knows (endpoint, time,
  an event, given up or not) is asked of it; for the rest so many deliveries are looked
  at as ``LOOKED_AT`` says, and how far that was is told, so that whoever looks for
  something rare goes on from there instead of waiting.
- What is blocked or being sent is found among all that waits, which has an index.
- Ids of deliveries sort by time, which is how a time is looked for.
"""

from collections.abc import Sequence
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
    or_,
    select,
)

from webhooks.statements import fetch, fetch_one, is_among
from webhooks.tables import (
    LIVE_STATES,
    Delivery,
    DeliveryState,
    EventRow,
    ShownState,
    is_given_up,
    is_shown_as,
    state_in,
)

LOOKED_AT = 5_000
_BEHIND_ALL = "dlv_g"  #: ids go on with hexadecimal digits
_DEAD = {ShownState.DEAD, ShownState.SUPERSEDED}
_LIVE = {ShownState.BLOCKED, ShownState.SENDING}


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
    updated_at: datetime


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
    values = _values(wanted, before)
    form, edge = _form(wanted, cx.dialect.name), None
    if wanted.is_looked_for:
        found = fetch_one(cx, _edge(form), {**values, "skipped": LOOKED_AT})
        edge = found[0] if found and found[0] > values["from"] else None
    values["from"] = edge or values["from"]
    rows = fetch(cx, _page(form), {**values, "most": limit + 1})
    items = list(map(Shown._make, rows[:limit]))
    if len(rows) > limit:
        return Page(items, next_before=items[-1].id)
    return Page(items, edge, instant_of(edge) if edge else None)


def instant_of(delivery_id: str) -> datetime:
    """Return when a delivery was made, by its id."""
    milliseconds = int(delivery_id.removeprefix("dlv_")[:12], 16)
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _first_id(at: datetime) -> str:
    return f"dlv_{int(at.timestamp() * 1000):012x}"


def _values(wanted: Wanted, before: str | None) -> dict[str, Any]:
    until = _BEHIND_ALL if wanted.until is None else f"{_first_id(wanted.until)}g"
    values = {
        "before": min(before or _BEHIND_ALL, until),
        "from": "" if wanted.since is None else _first_id(wanted.since),
        "subscription": wanted.subscription_id,
        "type": wanted.event_type,
        "subject": wanted.subject,
        "key": wanted.ordering_key or "",
        "events": wanted.event_ids,
    }
    return {
        name: value
        for name, value in values.items()
        if value is not None and (name != "key" or wanted.subject is not None)
    }


class _Form(NamedTuple):
    """What the text of a statement goes by."""

    state: ShownState | None
    of_subscription: bool
    of_type: bool
    of_subject: bool
    of_events: bool
    database: str


def _form(wanted: Wanted, database: str) -> _Form:
    return _Form(
        state=wanted.state,
        of_subscription=wanted.subscription_id is not None,
        of_type=wanted.event_type is not None,
        of_subject=wanted.subject is not None,
        of_events=wanted.event_ids is not None,
        database=database,
    )


def _id(form: _Form) -> ColumnElement[str]:
    """Return the id, by which nobody goes through all there is for what waits."""
    return Delivery.id.concat("") if form.state in _LIVE else Delivery.id.expression


def _by_index(form: _Form) -> ColumnElement[bool]:
    """Return what an index knows."""
    conditions: list[ColumnElement[bool]] = [_id(form) < bindparam("before")]
    if form.of_subscription:
        owner = Delivery.subscription_id.expression
        if form.state in _DEAD:  # little of what one was ever sent
            owner = owner.concat("")
        conditions.append(owner == bindparam("subscription"))
    if form.of_events:
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
            *(Delivery.next_attempt_at, Delivery.created_at, Delivery.updated_at),
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
    if form.of_type:
        conditions.append(Delivery.event_type == bindparam("type"))
    if form.of_subject:
        query = query.join(EventRow, EventRow.id == Delivery.event_id)
        is_named = EventRow.subject == bindparam("subject")
        conditions.append(or_(is_named, EventRow.ordering_key == bindparam("key")))
    return query.where(*conditions).order_by(_id(form).desc()).limit(bindparam("most"))
