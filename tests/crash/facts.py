"""What the database says after a run, read by the test's own connection."""

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Engine, create_engine, select
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from registry.domain.audit_chain import VerificationReport
from registry.persistence.tables import AuditEntry, ModelVersion
from registry.services.audit import verify_database
from tests.waiting import wait_for
from webhooks.events import is_operational
from webhooks.tables import (
    Attempt,
    AttemptOutcome,
    Delivery,
    DeliveryState,
    EventRow,
    Subscription,
)


@dataclass(frozen=True, kw_only=True)
class StoredDelivery:
    """A delivery, its endpoint's path, and its attempts by outcome."""

    path: str
    event_id: str
    state: str
    body: bytes
    outcomes: Sequence[str]

    @property
    def unknown_count(self) -> int:
        """The attempts that a crash cut off."""
        return self.outcomes.count(AttemptOutcome.UNKNOWN)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The committed state.

    Operational events (``webhook.…``) are told apart: no change stands behind them,
    and subscriptions to everything do not include them.
    """

    events: Mapping[str, EventRow]
    deliveries: Sequence[StoredDelivery]
    entries: Sequence[dict[str, Any]]
    stages: Sequence[tuple[str, int, str]]
    audit: VerificationReport


def open_engine(url: str) -> Engine:
    """An engine that keeps no connection, so that the database can be dropped."""
    return create_engine(url, poolclass=NullPool)


def wait_until_delivered(
    engine: Engine, *, or_until: Callable[[], bool] = lambda: False
) -> None:
    """Wait until everything is delivered; the verdict names what is not."""

    def is_over() -> bool:
        return or_until() or connection.scalar(_UNDELIVERED) is None

    with engine.connect() as connection, contextlib.suppress(TimeoutError):
        connection.execution_options(isolation_level="AUTOCOMMIT")
        wait_for(is_over)


_UNDELIVERED = (
    select(Delivery.id).where(Delivery.state != DeliveryState.DELIVERED).limit(1)
)


def read_facts(engine: Engine) -> Facts:
    """Read everything that the verdict compares."""
    with Session(engine) as session:
        entries = session.scalars(select(AuditEntry.canonical).order_by(AuditEntry.id))
        return Facts(
            events={
                row.id: row
                for row in session.scalars(select(EventRow))
                if not is_operational(row.type)
            },
            deliveries=_deliveries(session),
            entries=[json.loads(text) for text in entries],
            stages=[
                (version.model_id, version.number, version.stage)
                for version in session.scalars(select(ModelVersion))
            ],
            audit=verify_database(session),
        )


def _deliveries(session: Session) -> list[StoredDelivery]:
    outcomes: dict[str, list[str]] = {}
    for attempt in session.scalars(select(Attempt)):
        outcomes.setdefault(attempt.delivery_id, []).append(attempt.outcome)
    rows = session.execute(
        select(Delivery, Subscription.url).join(
            Subscription, Subscription.id == Delivery.subscription_id
        )
    )
    return [
        StoredDelivery(
            path=urlsplit(url).path,
            event_id=row.event_id,
            state=row.state,
            body=row.body,
            outcomes=outcomes.get(row.id, []),
        )
        for row, url in rows
    ]
