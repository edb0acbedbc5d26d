"""Receivers at a glance: which of them are in trouble, and what waits for them.

Rules:

- Those in trouble come first: disabled, failing or blocked, paused, then all others.
- What waits is counted up to a bound, and never walked whole.
- Late is what could go and does not: its retries, its rest and its pause are others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    bindparam,
    case,
    func,
    literal_column,
    select,
    tuple_,
)

from webhooks.statements import fetch, fetch_one, is_among
from webhooks.tables import (
    LIVE_STATES,
    Delivery,
    Queue,
    QueueState,
    Subscription,
    SubscriptionState,
    state_in,
)

#: Up to how many are counted: of one receiver among others, and of one alone.
COUNTED = 1_000
COUNTED_ALONE = 10_000
LATE_AFTER = timedelta(minutes=5)


class Endpoint(NamedTuple):
    """A receiver in a list; what is between its rank and ``blocked`` is stored."""

    rank: int
    id: str
    url: str
    description: str
    format: str
    event_types: Sequence[str]
    subject_pattern: str | None
    targets: Sequence[str] | None
    state: str
    failing_since: datetime | None
    blocked: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How a receiver stands.

    Attributes:
        held_back_until: as long as the breaker is open.
        due_since: when the oldest of what may be sent became due; None without any.
        blocked: how many ordering keys wait for a person.
    """

    id: str
    description: str
    state: str
    state_reason: str | None
    failing_since: datetime | None
    held_back_until: datetime | None
    due_since: datetime | None
    blocked: int

    @property
    def name(self) -> str:
        """Return what its owner calls it, else its id; never its address."""
        return self.description or self.id

    def is_resting(self, now: datetime) -> bool:
        """Whether the breaker is open."""
        return self.held_back_until is not None and now < self.held_back_until

    def is_late(self, now: datetime) -> bool:
        """Whether something waits that should have gone."""
        is_active = self.state == SubscriptionState.ACTIVE
        is_due = self.due_since is not None and self.due_since < now - LATE_AFTER
        return is_active and is_due

    def is_in_trouble(self, now: datetime) -> bool:
        """Whether a person should look; a pause is somebody's wish."""
        is_off = self.state == SubscriptionState.DISABLED
        is_failing = self.failing_since is not None or self.is_resting(now)
        return is_off or is_failing or bool(self.blocked) or self.is_late(now)


def read_standings(cx: Connection) -> Sequence[Standing]:
    """Return how all receivers stand that were not deleted, the oldest first."""
    return [Standing(*row) for row in fetch(cx, _STANDINGS, {})]


def list_endpoints(
    cx: Connection, *, after: tuple[int, str] | None, limit: int
) -> Sequence[Endpoint]:
    """Return receivers that were not deleted, those in trouble first."""
    rank, last = after or (-1, "")
    values = {"after_rank": rank, "after": last, "most": limit}
    return list(map(Endpoint._make, fetch(cx, _ENDPOINTS, values)))


def list_names(cx: Connection) -> Sequence[tuple[str, str, str]]:
    """Return id, description and URL of all receivers that were not deleted."""
    return fetch(cx, _NAMES, {})


def blocked(cx: Connection, subscription_id: str) -> int:
    """Count the ordering keys of a subscription that wait for a person."""
    found = fetch_one(cx, _BLOCKED_OF_ONE, {"subscription": subscription_id})
    return found[0] if found else 0


def waiting(cx: Connection, subscription_ids: Sequence[str]) -> Mapping[str, int]:
    """Count what waits for each subscription, up to ``COUNTED``."""
    statement = _waiting(cx.dialect.name)
    return dict(fetch(cx, statement, {"ids": list(subscription_ids)}))


def backlog(
    cx: Connection, subscription_id: str, *, most: int
) -> Sequence[tuple[str, int]]:
    """Count what waits for a subscription by ordering key, most first.

    Of the first ``COUNTED_ALONE`` deliveries.
    """
    return fetch(cx, _BACKLOG, {"subscription": subscription_id, "most": most})


def _of_queues(value: Any, state: QueueState, *further: ColumnElement[bool]) -> Any:  # noqa: ANN401  # of any type
    """Return what is asked of the queues in a state, with their subscription."""
    return (
        select(value)
        .select_from(Queue)
        .where(
            Queue.subscription_id == Subscription.id,
            state_in(Queue.state, state),
            *further,
        )
        .correlate(Subscription)
        .scalar_subquery()
    )


def _waiting_for(subscription_id: Any) -> Select[str]:  # noqa: ANN401  # a column or a parameter
    return select(Delivery.ordering_key).where(
        Delivery.subscription_id == subscription_id,
        state_in(Delivery.state, *LIVE_STATES),
    )


_BLOCKED = _of_queues(func.count(), QueueState.BLOCKED)
_DUE_SINCE = _of_queues(
    func.min(Queue.next_at),
    QueueState.OPEN,
    Queue.lease_token.is_(None),
    Queue.next_at.is_not(None),
)
_RANK = case(
    (Subscription.state == SubscriptionState.DISABLED, 0),
    (Subscription.failing_since.is_not(None), 1),
    (_BLOCKED > 0, 1),
    (Subscription.state == SubscriptionState.PAUSED, 2),
    else_=3,
)
_STANDINGS = (
    select(
        *(Subscription.id, Subscription.description),
        *(Subscription.state, Subscription.state_reason),
        *(Subscription.failing_since, Subscription.held_back_until),
        *(_DUE_SINCE, _BLOCKED),
    )
    .where(Subscription.deleted_at.is_(None))
    .order_by(Subscription.id)
)
_BLOCKED_OF_ONE = select(_BLOCKED).where(Subscription.id == bindparam("subscription"))
_ENDPOINTS = (
    select(
        _RANK.label("rank"),
        *(getattr(Subscription, name) for name in Endpoint._fields[1:-1]),
        _BLOCKED,
    )
    .where(
        Subscription.deleted_at.is_(None),
        tuple_(_RANK, Subscription.id)
        > tuple_(bindparam("after_rank"), bindparam("after")),
    )
    .order_by(literal_column("rank"), Subscription.id)
    .limit(bindparam("most"))
)
_NAMES = (
    select(Subscription.id, Subscription.description, Subscription.url)
    .where(Subscription.deleted_at.is_(None))
    .order_by(Subscription.id)
)
_FIRST = (
    _waiting_for(bindparam("subscription"))
    .order_by(Delivery.ordering_key)
    .limit(COUNTED_ALONE)
    .subquery()
)
_COUNT = func.count().label("waiting")
_BACKLOG = (
    select(_FIRST.c.ordering_key, _COUNT)
    .group_by(_FIRST.c.ordering_key)
    .order_by(_COUNT.desc(), _FIRST.c.ordering_key)
    .limit(bindparam("most"))
)


@cache
def _waiting(database: str) -> Select[str, int]:
    some = _waiting_for(Subscription.id).limit(COUNTED).correlate(Subscription)
    count = select(func.count()).select_from(some.subquery()).scalar_subquery()
    return select(Subscription.id, count).where(
        is_among(Subscription.id, "ids", database)
    )
