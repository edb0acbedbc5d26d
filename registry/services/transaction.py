"""What every change is given: the one transaction it runs in, by whom and when."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from registry.domain.actors import Caller
from registry.domain.policy import StagePolicy
from registry.persistence.database import change
from webhooks import metrics


@dataclass(frozen=True, kw_only=True)
class Transaction:
    """One transaction that changes something.

    Attributes:
        cx: the connection that it runs on.
        now: the instant of the change, aware.
        fanouts: how many subscriptions want each event that was published.
    """

    cx: Connection
    caller: Caller
    policy: StagePolicy
    now: datetime
    fanouts: list[int] = field(default_factory=list)

    @property
    def is_told_to_nobody(self) -> bool:
        """Whether all that was done was to publish events that nobody wants."""
        return bool(self.fanouts) and not any(self.fanouts)

    @cached_property
    def session(self) -> Session:
        """The same transaction, for what is changed through the ORM."""
        return Session(self.cx, autoflush=False, expire_on_commit=False)


@contextmanager
def begin(
    engine: Engine, *, caller: Caller, policy: StagePolicy, now: datetime | None = None
) -> Iterator[Transaction]:
    """A transaction that is committed at the end, once; after an error, nothing is."""
    with change(engine) as cx:
        now = datetime.now(UTC) if now is None else now
        tx = Transaction(cx=cx, caller=caller, policy=policy, now=now)
        yield tx
        if "session" in vars(tx):
            tx.session.flush()
    if "session" in vars(tx):
        metrics.count_noted(tx.session)
