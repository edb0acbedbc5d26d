"""How much each receiver may have: a fair share of the senders, and its pace.

Rules:

- A slot is a thread's worth of sending. A send counts against the slots of the fresh
  only while it is young, so that one which hangs makes room for the next.
- One receiver has at most half of the fresh slots; less when its sends hang, and
  least when its last answer was a failure. So a dead or slow one leaves most of
  the slots to the others, whatever number of models it is told about.
- All failing receivers together have at most half of the threads, probes a quarter.
  This is a matter of one process; the database keeps order and mutual exclusion.
- ``open_from`` of a subscription is when the next request may be sent; each one moves
  it on by the interval. It stands in the database, so the pace holds over all
  dispatchers and over their restarts.
- Time that goes unused is lost, but for ``SLACK``: so much a look for due deliveries
  may come late. In no minute are there more requests than ``rate_per_minute`` and
  what falls into the slack.
- Whoever takes a request for a paced receiver holds its subscription's row; what
  another dispatcher holds is passed over, never waited for.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from sqlalchemy import Connection, Select, Update, bindparam, select, update

from webhooks.roster.members import Member
from webhooks.sending.prepare import Claim
from webhooks.statements import fetch, write
from webhooks.tables import Subscription

#: A send that is older does not count as fresh.
FRESH_SECONDS = 0.25
#: A send that is older makes its receiver a slow one.
SLOW_SECONDS = 1.0
MIN_PER_SUBSCRIPTION = 4
MAX_PER_FAILING = 2


@dataclass(frozen=True)
class _Send:
    claim: Claim
    started_at: float


class Slots:
    """Counts the sends under way; safe from any thread.

    Args:
        fresh: how many young sends there may be.
        threads: how many sends there may be in all.
        clock: seconds that only grow.
    """

    def __init__(
        self, fresh: int, threads: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fresh = fresh
        self._threads = max(fresh, threads)
        self._clock = clock
        self._lock = threading.Lock()
        # By delivery and attempt: a lease may end before its send does.
        self._sends: dict[tuple[str, int], _Send] = {}

    def begin(self, claim: Claim) -> None:
        """A send begins."""
        with self._lock:
            send = _Send(claim, self._clock())
            self._sends[claim.delivery_id, claim.attempt] = send

    def end(self, claim: Claim) -> None:
        """It has ended."""
        with self._lock:
            del self._sends[claim.delivery_id, claim.attempt]

    @property
    def count(self) -> int:
        """How many sends are under way."""
        return len(self._sends)

    def free(self) -> int:
        """Return how many may begin now."""
        sends = self._snapshot()
        young = sum(self._age(send) < FRESH_SECONDS for send in sends)
        return max(0, min(self._fresh - young, self._threads - len(sends)))

    def free_probes(self) -> int:
        """Return how many probes may begin now."""
        sends = self._snapshot()
        probing = sum(send.claim.is_endpoint_failing for send in sends)
        room = min(self._threads // 4 - probing, self._threads - len(sends))
        return max(0, room)

    def quota(self) -> "Quota":
        """Return what each receiver may have of the next claim."""
        sends = self._snapshot()
        failing = sum(send.claim.is_endpoint_failing for send in sends)
        return Quota(
            most=min(self._fresh, max(MIN_PER_SUBSCRIPTION, self._fresh // 2)),
            taken=Counter(send.claim.subscription_id for send in sends),
            slow={
                send.claim.subscription_id
                for send in sends
                if self._age(send) >= SLOW_SECONDS
            },
            is_healthy_only=failing >= self._threads // 2,
        )

    def _snapshot(self) -> list[_Send]:
        with self._lock:
            return list(self._sends.values())

    def _age(self, send: _Send) -> float:
        return self._clock() - send.started_at


class Quota:
    """What each receiver may have of one claim.

    Args:
        most: what a good one may have under way.
        taken: what each has under way.
        slow: those whose sends hang.
        is_healthy_only: whether failing ones get nothing.
    """

    def __init__(
        self,
        *,
        most: int,
        taken: Counter[str],
        slow: Collection[str],
        is_healthy_only: bool,
    ) -> None:
        self._most = most
        self._taken = taken
        self._slow = slow
        self.is_healthy_only = is_healthy_only
        self.passed_over: set[str] = {
            subscription_id
            for subscription_id in taken
            if not self._has_room(subscription_id, is_failing=False)
        }

    def take(self, subscription_id: str, *, is_failing: bool) -> bool:
        """Take one, if the receiver may have one more."""
        if not self._has_room(subscription_id, is_failing=is_failing):
            self.passed_over.add(subscription_id)
            return False
        self._taken[subscription_id] += 1
        return True

    def _has_room(self, subscription_id: str, *, is_failing: bool) -> bool:
        most = self._most
        if subscription_id in self._slow:
            most = max(1, most // 2)
        if is_failing:
            most = min(most, MAX_PER_FAILING)
        return self._taken[subscription_id] < most


#: The longest time between two looks of an idle dispatcher.
SLACK = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


def next_opening(
    open_from: datetime | None, rate_per_minute: int, now: datetime
) -> datetime:
    """Return when the request after the one that is sent now may be sent."""
    earliest = now - SLACK
    return max(open_from or earliest, earliest) + MINUTE / rate_per_minute


class Pace:
    """What paced receivers may still have of one claim.

    Args:
        cx: the claim's transaction.
        now: what the pace is measured by.
    """

    def __init__(self, cx: Connection, now: datetime) -> None:
        self._cx = cx
        self._now = now
        self._open_from: dict[str, datetime | None] = {}
        self._taken: set[str] = set()
        self._waiting: set[str] = set()

    @property
    def passed_over(self) -> Collection[str]:
        """The subscriptions that get nothing more now."""
        return self._waiting

    def take(self, member: Member) -> bool:
        """Take a request, if the receiver may have one now."""
        if member.rate_per_minute is None:
            return True
        if member.id in self._waiting or not self._is_open(member.id):
            self._waiting.add(member.id)
            return False
        self._open_from[member.id] = next_opening(
            self._open_from[member.id], member.rate_per_minute, self._now
        )
        self._taken.add(member.id)
        return True

    def write(self) -> None:
        """Put down what was taken."""
        if self._taken:
            rows = [
                {"of_subscription": taken, "opens": self._open_from[taken]}
                for taken in sorted(self._taken)
            ]
            write(self._cx, _moving(), rows)
            self._taken.clear()

    def _is_open(self, subscription_id: str) -> bool:
        if subscription_id not in self._open_from:
            # Read anew under the lock: another dispatcher may have been quicker.
            rows = fetch(self._cx, _locking(), {"subscription": subscription_id})
            if not rows:
                return False
            self._open_from[subscription_id] = rows[0][0]
        open_from = self._open_from[subscription_id]
        return open_from is None or open_from <= self._now


@cache
def _locking() -> Select[datetime | None]:
    return (
        select(Subscription.open_from)
        .where(Subscription.id == bindparam("subscription"))
        .with_for_update(skip_locked=True, key_share=True)
    )


@cache
def _moving() -> Update:
    return (
        update(Subscription)
        .where(Subscription.id == bindparam("of_subscription"))
        .values(open_from=bindparam("opens"))
    )
