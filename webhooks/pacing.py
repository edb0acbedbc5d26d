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

from sqlalchemy import select, update
from sqlalchemy.orm import Session

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
        session: the claim's transaction.
        now: what the pace is measured by.
    """

    def __init__(self, session: Session, now: datetime) -> None:
        self._session = session
        self._now = now
        self._open_from: dict[str, datetime | None] = {}
        self._taken: set[str] = set()
        self._waiting: set[str] = set()

    @property
    def passed_over(self) -> Collection[str]:
        """The subscriptions that get nothing more now."""
        return self._waiting

    def take(self, subscription: Subscription) -> bool:
        """Take a request, if the receiver may have one now."""
        rate, subscription_id = subscription.rate_per_minute, subscription.id
        if rate is None:
            return True
        if subscription_id in self._waiting or not self._is_open(subscription_id):
            self._waiting.add(subscription_id)
            return False
        self._open_from[subscription_id] = next_opening(
            self._open_from[subscription_id], rate, self._now
        )
        self._taken.add(subscription_id)
        return True

    def write(self) -> None:
        """Put down what was taken."""
        for subscription_id in sorted(self._taken):
            self._session.execute(
                update(Subscription)
                .where(Subscription.id == subscription_id)
                .values(open_from=self._open_from[subscription_id])
                .execution_options(synchronize_session=False)
            )
        self._taken.clear()

    def _is_open(self, subscription_id: str) -> bool:
        if subscription_id not in self._open_from:
            # Read anew under the lock: another dispatcher may have been quicker.
            row = self._session.execute(
                select(Subscription.open_from)
                .where(Subscription.id == subscription_id)
                .with_for_update(skip_locked=True, key_share=True)
            ).one_or_none()
            if row is None:
                return False
            self._open_from[subscription_id] = row.open_from
        open_from = self._open_from[subscription_id]
        return open_from is None or open_from <= self._now
