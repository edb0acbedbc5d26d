"""What is done now and then so that the registry stays small and its feed short.

Each function makes its own transactions, one for a batch: none holds a lock long,
and what one run leaves over the next one finds. Safe to run in many processes.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta

from registry.services.transaction import Transaction
from webhooks import feed, retention, subscriptions

logger = logging.getLogger(__name__)

#: Opens a transaction, and commits it at the end.
Begin = Callable[[], AbstractContextManager[Transaction]]

#: A run ends after so many batches of each kind, however much is left.
MAX_BATCHES = 100


def place_events(begin: Begin) -> int:
    """Give committed events their places in the feed; return to how many."""
    return _in_batches(begin, lambda tx: feed.place(tx.session), feed.PLACED_AT_ONCE)


def forget_deliveries(begin: Begin, *, keep: timedelta) -> int:
    """Remove what was settled longer ago; return how many rows, attempts aside."""

    def deliveries(tx: Transaction) -> int:
        return retention.remove_deliveries(tx.session, before=tx.now - keep)

    def events(tx: Transaction) -> int:
        return retention.remove_events(tx.session, before=tx.now - keep)

    removed = _in_batches(begin, deliveries, retention.REMOVED_AT_ONCE)
    removed += _in_batches(begin, events, retention.REMOVED_AT_ONCE)
    if removed:
        logger.info("webhook_records_removed count=%d", removed)
    return removed


def bury_deliveries(begin: Begin) -> int:
    """Give up what deleted subscriptions still wait for; return how many."""
    return _in_batches(
        begin,
        lambda tx: subscriptions.bury(tx.session, now=tx.now),
        subscriptions.BURIED_AT_ONCE,
    )


def _in_batches(begin: Begin, work: Callable[[Transaction], int], full: int) -> int:
    total = 0
    for _ in range(MAX_BATCHES):
        with begin() as tx:
            done = work(tx)
        total += done
        if done < full:
            break
    return total
