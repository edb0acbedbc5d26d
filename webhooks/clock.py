"""The clock that leases and retries are measured by.

PostgreSQL's clock is the one that all dispatchers share. Asking it costs a round trip
in each transaction, so it is asked now and then, and carried on between by a clock
that only grows: a local clock that jumps changes nothing.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

#: In this time two clocks drift apart by microseconds.
REREAD_SECONDS = 5.0


def utc_now() -> datetime:
    """Read this machine's clock."""
    return datetime.now(UTC)


class DatabaseClock:
    """The database's clock, read every five seconds.

    Args:
        fallback: gives aware UTC with SQLite, which has no clock of its own.
    """

    def __init__(self, fallback: Callable[[], datetime]) -> None:
        self._fallback = fallback
        self._read: tuple[datetime, float] | None = None

    def now(self, session: Session) -> datetime:
        """Return the aware instant of a transaction's begin; any thread may ask."""
        # A session begins with its first statement, and on SQLite waits for its turn
        # there: an instant from before would leave out what was stored meanwhile.
        if session.connection().dialect.name != "postgresql":
            return self._fallback()
        read = self._read
        if read is None or time.monotonic() - read[1] >= REREAD_SECONDS:
            instant = session.execute(select(func.clock_timestamp())).scalar_one()
            read = self._read = (instant, time.monotonic())
        return read[0] + timedelta(seconds=time.monotonic() - read[1])
