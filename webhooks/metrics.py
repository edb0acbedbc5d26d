"""What came of attempts and of deliveries, counted, and what still waits.

Rules:

- What happens counts once it is committed; what is rolled back and done again counts
  once.
- Prometheus' counters are of this process, which counts what it sent, and what it gave
  up as it stored it: sum over processes. Their labels have few values: outcomes, and
  ids of subscriptions.
- Days are counted in the database. One is a day of UTC, and what counts is an attempt
  at an event or at a resend of it; one whose end nobody saw counts as failed. Their
  rows are written last in their transaction and in one order, so that nobody waits
  for anybody in a circle.
- What waits is no counter, but read when it is asked for (``read_backlogs``).
"""

import collections
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cache

from prometheus_client import Counter, Histogram
from sqlalchemy import (
    Connection,
    Insert,
    Select,
    and_,
    bindparam,
    delete,
    event,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from webhooks.statements import fetch, is_among, write
from webhooks.tables import (
    LIVE_STATES,
    AttemptDay,
    AttemptOutcome,
    Delivery,
    DeliveryKind,
    DeliveryState,
    Queue,
    ShownState,
    Subscription,
    shown_state,
    state_in,
)

ATTEMPTS = Counter(
    "stagegate_webhook_attempts",
    "Attempts to deliver, by what came of them",
    ["webhook", "outcome"],
)
ATTEMPT_SECONDS = Histogram(
    "stagegate_webhook_attempt_seconds",
    "How long attempts took, from the name's resolution to the last byte",
    ["outcome"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20),
)
DELIVERY_SECONDS = Histogram(
    "stagegate_webhook_delivery_seconds",
    "From the change to its acknowledgement, retries and holds included",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300, 3600, 86400),
)
DEAD = Counter(
    "stagegate_webhook_dead",
    "Deliveries that were given up",
    ["webhook"],
)
SHOWN_DAYS = 14

_NOTED = "webhook_counts_noted"


def note_attempt(
    session: Session,
    *,
    subscription_id: str,
    kind: str,
    state: str,
    outcome: AttemptOutcome,
    duration_seconds: float | None,
    waited: timedelta,
) -> None:
    """Count an attempt, and what its delivery became, once that is committed.

    ``state`` is the delivery's after it, ``waited`` the time since it was stored.
    """

    def count() -> None:
        ATTEMPTS.labels(subscription_id, str(outcome)).inc()
        if duration_seconds is not None:
            ATTEMPT_SECONDS.labels(str(outcome)).observe(duration_seconds)
        if kind == DeliveryKind.EVENT and state == DeliveryState.DELIVERED:
            DELIVERY_SECONDS.observe(max(0.0, waited.total_seconds()))

    _count_once_committed(session, count)
    if state == DeliveryState.DEAD and kind != DeliveryKind.TEST:
        note_dead(session, subscription_id)


def note_dead(session: Session, subscription_id: str) -> None:
    """Count a delivery that was given up, once that is committed."""
    _count_once_committed(session, lambda: DEAD.labels(subscription_id).inc())


def _count_once_committed(session: Session, count: Callable[[], None]) -> None:
    noted = session.info.get(_NOTED)
    if noted is None:
        noted = session.info[_NOTED] = []
        event.listen(session, "after_commit", count_noted, once=True)
        event.listen(session, "after_rollback", _forget, once=True)
    noted.append(count)


def count_noted(session: Session) -> None:
    """Count what was noted; for a session whose transaction another has committed."""
    for count in session.info.pop(_NOTED, ()):
        count()


def _forget(session: Session) -> None:
    session.info.pop(_NOTED, None)


@dataclass(frozen=True)
class Day:
    """The attempts of one day."""

    day: date
    delivered: int = 0
    failed: int = 0


def count_by_day(
    cx: Connection, ended: Collection[tuple[str, bool]], now: datetime
) -> None:
    """Count attempts, each by its subscription and whether it was acknowledged."""
    counted = collections.Counter(ended)
    rows = [
        {
            "subscription_id": subscription_id,
            "day": now.date(),
            "delivered": counted[subscription_id, True],
            "failed": counted[subscription_id, False],
        }
        for subscription_id in sorted({subscription_id for subscription_id, _ in ended})
    ]
    if rows:
        write(cx, _adding(cx.dialect.name), rows)


def read_days(
    cx: Connection, subscription_ids: Sequence[str], today: date
) -> Mapping[str, Sequence[Day]]:
    """Return the last days of each subscription, oldest first, days of rest too."""
    span = [today - timedelta(days=back) for back in reversed(range(SHOWN_DAYS))]
    values = {"ids": list(subscription_ids), "since": span[0]}
    found = {
        (row[0], row[1]): Day(*row[1:])
        for row in fetch(cx, _since(cx.dialect.name), values)
    }
    return {
        subscription_id: [found.get((subscription_id, day), Day(day)) for day in span]
        for subscription_id in subscription_ids
    }


def remove_days(cx: Connection, *, before: date) -> None:
    """Remove what was counted on days before that one."""
    cx.execute(delete(AttemptDay).where(AttemptDay.day < before))


@cache
def _adding(database: str) -> Insert:
    insert = postgresql.insert if database == "postgresql" else sqlite.insert
    columns = AttemptDay.__table__.c
    new = insert(AttemptDay).values({c.name: bindparam(c.name) for c in columns})
    return new.on_conflict_do_update(
        index_elements=["subscription_id", "day"],
        set_={
            "delivered": AttemptDay.delivered + new.excluded.delivered,
            "failed": AttemptDay.failed + new.excluded.failed,
        },
    )


@cache
def _since(database: str) -> Select[str, date, int, int]:
    return select(
        AttemptDay.subscription_id,
        AttemptDay.day,
        AttemptDay.delivered,
        AttemptDay.failed,
    ).where(
        is_among(AttemptDay.subscription_id, "ids", database),
        AttemptDay.day >= bindparam("since"),
    )


@dataclass(frozen=True)
class Backlog:
    """What waits for one subscription."""

    subscription_id: str
    state: str
    is_breaker_open: bool
    counts: Mapping[ShownState, int] = field(default_factory=dict)
    oldest_pending_at: datetime | None = None


def read_backlogs(session: Session, *, now: datetime) -> Sequence[Backlog]:
    """Read the backlog of every subscription that was not deleted."""
    state = shown_state(
        Delivery.state, Delivery.reason, Queue.state, Subscription.state
    )
    rows = session.execute(
        select(
            Delivery.subscription_id,
            state,
            func.count(),
            func.min(Delivery.created_at),
        )
        .join(Subscription, Subscription.id == Delivery.subscription_id)
        .join(
            Queue,
            and_(
                Queue.subscription_id == Delivery.subscription_id,
                Queue.ordering_key == Delivery.ordering_key,
            ),
        )
        .where(state_in(Delivery.state, *LIVE_STATES))
        .group_by(Delivery.subscription_id, state)
    )
    counts: dict[str, dict[ShownState, int]] = {}
    oldest: dict[str, datetime] = {}
    for subscription_id, shown, number, since in rows:
        counts.setdefault(subscription_id, {})[ShownState(shown)] = number
        if shown == ShownState.PENDING:
            oldest[subscription_id] = since
    subscriptions = session.execute(
        select(Subscription.id, Subscription.state, Subscription.held_back_until)
        .where(Subscription.deleted_at.is_(None))
        .order_by(Subscription.id)
    )
    return [
        Backlog(
            subscription_id,
            state,
            held_back_until is not None and held_back_until > now,
            counts.get(subscription_id, {}),
            oldest.get(subscription_id),
        )
        for subscription_id, state, held_back_until in subscriptions
    ]
