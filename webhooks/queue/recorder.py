"""Keeps results until the database has them.

Rules:

- Everything that waits is recorded in one transaction, as far as it fits.
- A database that is away is asked again after a while. A result is offered until its
  lease ends; then the delivery is somebody else's.
- One result that cannot be recorded does not take others along.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from webhooks.queue.settle import Answered
from webhooks.sending.prepare import Claim
from webhooks.sending.sender import SendResult

logger = logging.getLogger(__name__)

MAX_AT_ONCE = 50
RETRY_SECONDS = 0.5

# The database is away or too busy: offering the results one by one would not help.
_DEADLOCK_DETECTED = "40P01"
_LOCK_NOT_AVAILABLE = "55P03"
_AWAY = (OperationalError, InterfaceError, PoolTimeoutError)


@dataclass(frozen=True)
class _Entry:
    claim: Claim
    result: SendResult
    give_up_at: float


def _is_contention(error: Exception) -> bool:
    """Whether PostgreSQL chose this transaction to end a wait."""
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    return state in (_DEADLOCK_DETECTED, _LOCK_NOT_AVAILABLE)


class Recorder:
    """Results on their way into the database.

    Any thread may add; one at a time may flush.

    Args:
        settle: settles claims in a transaction of its own.
    """

    def __init__(self, settle: Callable[[Sequence[Answered]], None]) -> None:
        self._settle = settle
        self._entries: deque[_Entry] = deque()
        self._not_before = 0.0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, claim: Claim, result: SendResult, give_up_at: float) -> None:
        """Keep a result, at most until ``give_up_at`` (monotonic seconds)."""
        self._entries.append(_Entry(claim, result, give_up_at))

    def flush(self) -> None:
        """Settle what waits, unless the database has just refused."""
        if time.monotonic() < self._not_before:
            return
        while self._entries:
            count = min(len(self._entries), MAX_AT_ONCE)
            batch = [self._entries.popleft() for _ in range(count)]
            if not self._offer(batch):
                self._not_before = time.monotonic() + RETRY_SECONDS
                return

    def flush_all(self) -> None:
        """Settle everything, however long the database takes to come back."""
        self.flush()
        while self._entries:
            time.sleep(RETRY_SECONDS)
            self.flush()

    def _offer(self, batch: Sequence[_Entry]) -> bool:
        """Settle a batch; False when something of it must be offered again."""
        try:
            self._settle([(entry.claim, entry.result) for entry in batch])
        except _AWAY as error:
            if len(batch) > 1 and _is_contention(error):
                return self._offer_around_locks(batch)
            return self._keep(batch, error)
        except Exception as error:
            if len(batch) > 1:
                taken = [self._offer([entry]) for entry in batch]
                return all(taken)
            if isinstance(error, SQLAlchemyError):
                return self._keep(batch, error)
            logger.exception(
                "webhook_record_failed delivery=%s", batch[0].claim.delivery_id
            )
        return True

    def _offer_around_locks(self, batch: Sequence[_Entry]) -> bool:
        """Offer one by one, and no other where one waited for a lock in vain.

        The lock is a subscription's; each wait is many seconds, in which nothing else
        is recorded.
        """
        put_back: dict[str, list[_Entry]] = {}
        for entry in batch:
            subscription_id = entry.claim.subscription_id
            if subscription_id in put_back:
                put_back[subscription_id].append(entry)
            elif not self._offer([entry]):
                put_back[subscription_id] = []
        for waiting in put_back.values():
            self._entries.extend(waiting)
        return not put_back

    def _keep(self, batch: Sequence[_Entry], error: Exception) -> bool:
        logger.warning(
            "webhook_database_failed step=record count=%d error=%s",
            *(len(batch), type(error).__name__),
        )
        for entry in batch:
            if time.monotonic() + RETRY_SECONDS < entry.give_up_at:
                self._entries.append(entry)
            else:
                logger.error("webhook_result_lost delivery=%s", entry.claim.delivery_id)
        return False
