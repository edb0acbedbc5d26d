"""What every change is given: the one transaction it runs in, by whom and when."""

from dataclasses import dataclass
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
    """

    session: Session
    caller: Caller
    policy: StagePolicy
    now: datetime

    @cached_property
    def cx(self) -> Connection:
        """The connection that the transaction runs on."""
        return self.session.connection()
