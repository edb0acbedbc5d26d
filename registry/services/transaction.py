"""What every change is given: the one transaction it runs in, by whom and when."""

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from registry.domain.actors import Caller
from registry.domain.policy import StagePolicy


@dataclass(frozen=True, kw_only=True)
class Transaction:
    """One transaction that changes something.

    Whoever made the transaction commits, once.

    Attributes:
        session: begun by ``persistence.database.begin_write``.
        now: the instant of the change, aware.
        fanouts: how many subscriptions want each event that was published.
    """

    session: Session
    caller: Caller
    policy: StagePolicy
    now: datetime
    fanouts: list[int] = field(default_factory=list)

    @property
    def is_told_to_nobody(self) -> bool:
        """Whether all that was done was to publish events that nobody wants."""
        return bool(self.fanouts) and not any(self.fanouts)

    @cached_property
    def cx(self) -> Connection:
        """The connection that the transaction runs on."""
        return self.session.connection()
