"""No more requests in a minute than a subscription's owner allows.

Rules:

- ``open_from`` of a subscription is when the next request may be sent; each one moves
  it on by the interval. It stands in the database, so the pace holds over all
  dispatchers and over their restarts.
- Time that goes unused is lost, but for ``SLACK``: so much a look for due deliveries
  may come late. In no minute are there more requests than ``rate_per_minute`` and
  what falls into the slack.
- What has to wait stays where it is in the queue, and no sender waits with it.
- Whoever takes a request for a paced receiver holds its subscription's row; what
  another dispatcher holds is passed over, never waited for.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from functools import cache

from sqlalchemy import Connection, Select, Update, bindparam, select, update

from webhooks.compiled import fetch, write
from webhooks.roster.members import Member
from webhooks.tables import Subscription

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
