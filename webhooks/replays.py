"""Sending a range of events again to one subscription, at a measured pace.

Rules:

- A replay is a row: it survives every process, and any process may go on with it.
- What is sent again are deliveries of this subscription that were settled when the
  replay was asked for. Events from before the subscription are not part of it, nor
  is what is still on its way or was never rendered.
- A step stores deliveries and moves the cursor in one transaction: a process that
  is killed between two steps repeats nothing and leaves nothing out. The unique
  numbers of the ordering keys would refuse a second copy besides.
- Copies keep id, bytes and, among themselves, their order; each replay has ordering
  keys of its own, so it neither waits for new events nor keeps them waiting.
- A subscription that is paused, disabled or unreachable makes the replay wait, so
  that its pace still holds afterwards.

Locks are taken in one order: feed, replay, subscription.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, func, insert, literal_column, select
from sqlalchemy.orm import Session

from webhooks import feed, subscriptions
from webhooks.clock import database_now
from webhooks.errors import (
    InvalidReplayError,
    ReplayStateError,
    UnknownReplayError,
)
from webhooks.events import EVENT_TYPE_FILTER, matches_subject, new_sortable_id
from webhooks.tables import (
    FINAL_STATES,
    Delivery,
    DeliveryKind,
    DeliveryState,
    EventRow,
    Replay,
    ReplayState,
    Subscription,
    state_in,
)

MIN_PER_SECOND = 0.01
MAX_PER_SECOND = 100.0
DEFAULT_PER_SECOND = 10.0
#: How long a replay waits before it looks at a closed subscription again.
PATIENCE = timedelta(seconds=5)
#: How many deliveries a step looks at to find those whose subject matches.
LOOKED_AT_ONCE = 2000


@dataclass(frozen=True)
class ReplaySpec:
    """Which deliveries to send again; both ends of the range belong to it."""

    since: datetime | None = None
    until: datetime | None = None
    event_types: Sequence[str] | None = None
    subject_pattern: str | None = None
    delivery_states: Sequence[str] | None = None
    per_second: float = DEFAULT_PER_SECOND


def count(
    session: Session, subscription_id: str, spec: ReplaySpec, *, now: datetime
) -> int:
    """Say how many deliveries a replay would send again now.

    Raises:
        UnknownSubscriptionError: there is none.
        InvalidReplayError: names the field at fault.
    """
    return _planned(session, subscription_id, spec, created_by="", now=now).total


def create(
    session: Session,
    subscription_id: str,
    spec: ReplaySpec,
    *,
    created_by: str,
    now: datetime,
) -> Replay:
    """Store a replay; ``step`` carries it out.

    Raises:
        UnknownSubscriptionError: there is none.
        InvalidReplayError: names the field at fault.
    """
    replay = _planned(session, subscription_id, spec, created_by=created_by, now=now)
    session.add(replay)
    session.flush()
    return replay


def get(session: Session, subscription_id: str, replay_id: str) -> Replay:
    """Find a replay of a subscription.

    Raises:
        UnknownReplayError: there is none.
    """
    found = session.get(Replay, replay_id)
    if found is None or found.subscription_id != subscription_id:
        raise UnknownReplayError
    return found


def list_page(
    session: Session, subscription_id: str, *, limit: int, before: str | None = None
) -> Sequence[Replay]:
    """List a subscription's replays by id, newest first, those before ``before``."""
    query = select(Replay).where(Replay.subscription_id == subscription_id)
    if before is not None:
        query = query.where(Replay.id < before)
    return session.scalars(query.order_by(Replay.id.desc()).limit(limit)).all()


def cancel(
    session: Session, subscription_id: str, replay_id: str, *, now: datetime
) -> Replay:
    """Send nothing more; what was stored already is still delivered.

    Raises:
        UnknownReplayError: there is none.
        ReplayStateError: it is done or cancelled.
    """
    replay = session.get(Replay, replay_id, populate_existing=True, with_for_update={})
    if replay is None or replay.subscription_id != subscription_id:
        raise UnknownReplayError
    if replay.state != ReplayState.RUNNING:
        raise ReplayStateError(f"the replay is {replay.state} already")
    _end(replay, ReplayState.CANCELLED, now)
    session.flush()
    return replay


def has_running(session: Session) -> bool:
    """Tell whether any replay has something left to do."""
    return bool(session.scalar(select(_running(select(Replay.id)).exists())))


def step(session: Session, *, now: datetime) -> int | None:
    """Go on with one replay that is due; say how many deliveries were stored.

    None means that none is due. The caller commits, and wakes the dispatcher.
    """
    now = database_now(session, now)
    replay = session.scalars(
        _running(select(Replay))
        .where(Replay.next_at <= now)
        .order_by(Replay.next_at, Replay.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if replay is None:
        return None
    subscription = session.get_one(
        Subscription,
        replay.subscription_id,
        populate_existing=True,
        with_for_update={"read": True, "key_share": True},
    )
    stored = 0
    if subscription.deleted_at is not None:
        _end(replay, ReplayState.CANCELLED, now)
    elif not subscription.is_open or (subscription.breaker_until or now) > now:
        replay.next_at = now + PATIENCE
    else:
        stored = _advance(session, replay, now)
    replay.updated_at = now
    session.flush()
    return stored


def _running(query: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    # A literal, so that the partial index serves the query.
    return query.where(Replay.state == literal_column(f"'{ReplayState.RUNNING}'"))


def _end(replay: Replay, state: ReplayState, now: datetime) -> None:
    replay.state = state
    replay.updated_at = now


def _planned(
    session: Session,
    subscription_id: str,
    spec: ReplaySpec,
    *,
    created_by: str,
    now: datetime,
) -> Replay:
    """Make the row of a replay, counted and not stored."""
    subscriptions.get(session, subscription_id)
    _check(spec)
    # Every event that is committed gets its place: the cursor goes by them.
    while feed.place(session):
        pass
    at = database_now(session, now)
    replay = Replay(
        id=new_sortable_id("rpl", at),
        subscription_id=subscription_id,
        since=spec.since,
        until=spec.until or max(at, now),
        event_types=None if spec.event_types is None else list(spec.event_types),
        subject_pattern=spec.subject_pattern,
        delivery_states=(
            None if spec.delivery_states is None else list(spec.delivery_states)
        ),
        per_second=spec.per_second,
        state=ReplayState.RUNNING,
        done=0,
        next_at=at,
        created_at=at,
        created_by=created_by,
        updated_at=at,
    )
    replay.total = _count(session, replay)
    if replay.total == 0:
        replay.state = ReplayState.DONE
    return replay


def _check(spec: ReplaySpec) -> None:
    if not MIN_PER_SECOND <= spec.per_second <= MAX_PER_SECOND:
        raise InvalidReplayError(
            "per_second", f"must be {MIN_PER_SECOND} to {MAX_PER_SECOND:.0f}"
        )
    if spec.since and spec.until and spec.until < spec.since:
        raise InvalidReplayError("until", "must not lie before the beginning")
    for entry in spec.event_types or ():
        if not EVENT_TYPE_FILTER.fullmatch(entry):
            raise InvalidReplayError(
                "event_types", f"{entry!r} is not an event type, 'prefix.*' or '*'"
            )
    for state in spec.delivery_states or ():
        if state not in FINAL_STATES:
            raise InvalidReplayError(
                "delivery_states", f"must be of {', '.join(FINAL_STATES)}"
            )


def _count(session: Session, replay: Replay) -> int:
    names = (EventRow.subject, EventRow.former_subjects)
    by_subject = session.execute(
        _chosen(replay, select(*names, func.count())).group_by(*names).order_by(*names)
    )
    return sum(found for *subjects, found in by_subject if _is_about(replay, *subjects))


def _is_about(replay: Replay, subject: str, former: str | None) -> bool:
    return matches_subject(replay.subject_pattern, subject, *json.loads(former or "[]"))


def _chosen(
    replay: Replay, query: Select[*tuple[Any, ...]]
) -> Select[*tuple[Any, ...]]:
    """Restrict a query to what the replay sends, but for the subjects' pattern."""
    states = replay.delivery_states or FINAL_STATES
    query = (
        query.select_from(Delivery)
        .join(EventRow, EventRow.id == Delivery.event_id)
        .where(
            Delivery.subscription_id == replay.subscription_id,
            Delivery.kind == DeliveryKind.EVENT,
            state_in(Delivery.state, *(DeliveryState(state) for state in states)),
            # What is settled later was not counted, and is not sent.
            Delivery.updated_at <= replay.created_at,
            Delivery.content_type != "",
            EventRow.position.is_not(None),
            EventRow.occurred_at <= replay.until,
        )
    )
    if replay.since is not None:
        query = query.where(EventRow.occurred_at >= replay.since)
    if replay.event_types is not None:
        query = query.where(feed.is_of_types(replay.event_types))
    return query


def _advance(session: Session, replay: Replay, now: datetime) -> int:
    """Store the next copies, move the cursor, and set when to go on."""
    wanted = max(1, int(replay.per_second))
    seen = session.execute(
        _chosen(
            replay,
            select(
                *(EventRow.position, Delivery.id),
                *(EventRow.subject, EventRow.former_subjects),
            ),
        )
        .where(EventRow.position > int(replay.cursor or 0))
        .order_by(EventRow.position)
        .limit(LOOKED_AT_ONCE)
    ).all()
    matching = [
        (position, delivery_id)
        for position, delivery_id, *subjects in seen
        if _is_about(replay, *subjects)
    ]
    chosen = matching[:wanted]
    is_all = len(matching) <= wanted
    if chosen:
        _store(session, replay, [delivery_id for _, delivery_id in chosen], now)
        replay.done += len(chosen)
        replay.next_at = now + timedelta(seconds=len(chosen) / replay.per_second)
    if is_all and len(seen) < LOOKED_AT_ONCE:
        _end(replay, ReplayState.DONE, now)
    if seen:
        replay.cursor = str(seen[-1][0] if is_all else chosen[-1][0])
    return len(chosen)


def _store(
    session: Session, replay: Replay, delivery_ids: Sequence[str], now: datetime
) -> None:
    originals = session.scalars(
        select(Delivery)
        .join(EventRow, EventRow.id == Delivery.event_id)
        .where(Delivery.id.in_(delivery_ids))
        .order_by(EventRow.position)
    ).all()
    pause = timedelta(seconds=1 / replay.per_second)
    session.execute(
        insert(Delivery),
        [
            _copy(replay, original, now, due=now + number * pause)
            for number, original in enumerate(originals)
        ],
    )


def _copy(
    replay: Replay, original: Delivery, now: datetime, *, due: datetime
) -> Mapping[str, Any]:
    return {
        "id": new_sortable_id("dlv", now),
        "subscription_id": original.subscription_id,
        "event_id": original.event_id,
        "event_type": original.event_type,
        "target": original.target,
        "kind": DeliveryKind.REPLAY,
        "replay_of": original.id,
        "ordering_key": f"{replay.id}:{original.ordering_key}",
        "sequence": original.sequence,
        "state": DeliveryState.PENDING,
        "body": original.body,
        "content_type": original.content_type,
        "headers": original.headers,
        "rendered_as": original.rendered_as,
        "next_attempt_at": due,
        "created_at": now,
        "updated_at": now,
    }
