"""A database with the outbox alone, opened as the registry opens it."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, func, select, text
from sqlalchemy.orm import Session

from registry.persistence.database import (
    engine_options,
    prepare_engine,
    write_transaction,
)
from tests.bench.databases import own_database
from webhooks import outbox, subscriptions
from webhooks.events import Event
from webhooks.queue.dispatcher import Dispatcher
from webhooks.roster.secrets import SecretBox
from webhooks.roster.specs import SubscriptionSpec
from webhooks.sending.guard import AddressGuard
from webhooks.sending.sender import Sender
from webhooks.tables import Base, Delivery

EVENT_TYPE = "model_version.stage_changed"
_KEYS = ["a key for the bench"]


class Outbox:
    """The parts that a bench puts together."""

    def __init__(self, database_url: str) -> None:
        self.database_url = database_url
        self.engine = create_engine(database_url, **engine_options(database_url))
        prepare_engine(self.engine)
        self.box = SecretBox(_KEYS)
        self.guard = AddressGuard(["127.0.0.0/8"], allow_http=True)

    def begin(self) -> AbstractContextManager[Session]:
        return write_transaction(self.engine)

    def dispatcher(self) -> Dispatcher:
        """One as the application makes it."""
        return Dispatcher(self.begin, self.box, Sender(self.guard))

    def subscribe(
        self,
        url: str,
        **choices: Any,  # noqa: ANN401  # Any field of SubscriptionSpec.
    ) -> str:
        with self.begin() as session:
            row, _ = subscriptions.create(
                session,
                self.box,
                self.guard,
                SubscriptionSpec(url, **choices),
                created_by="bench",
                now=datetime.now(UTC),
            )
            return row.id

    def unsubscribe(self, subscription_id: str) -> None:
        with self.begin() as session:
            subscriptions.delete(session, subscription_id, now=datetime.now(UTC))

    def announce(self, keys: Sequence[str]) -> list[str]:
        """Commit one event for each key in one transaction; give their ids."""
        now = datetime.now(UTC)
        events = [
            Event(
                EVENT_TYPE,
                key,
                key,
                "Production",
                {"model": key, "note": "x" * 300},
                now,
            )
            for key in keys
        ]
        with self.begin() as session:
            outbox.enqueue_all(session, events, now=now)
        return [event.id for event in events]

    def trip(self, subscription_id: str) -> None:
        """Open the breaker of a subscription for a quarter of an hour."""
        with self.begin() as session:
            row = subscriptions.get(session, subscription_id)
            row.consecutive_failures = 10
            row.held_back_until = datetime.now(UTC) + timedelta(minutes=15)
            session.flush()

    def analyze(self) -> None:
        """Have the planner know the tables' sizes, as autovacuum does each minute."""
        with self.engine.begin() as connection:
            connection.execute(text("ANALYZE"))

    def count(self, state: str) -> int:
        with self.begin() as session:
            query = select(func.count()).where(Delivery.state == state)
            return session.scalars(query).one()

    def total(self) -> int:
        with self.begin() as session:
            return session.scalars(select(func.count()).select_from(Delivery)).one()


@contextmanager
def opened_outbox(database: str) -> Iterator[Outbox]:
    """A fresh outbox; PostgreSQL waits for the disk here, as it does in earnest."""
    with _database_url(database) as url:
        made = Outbox(url)
        Base.metadata.create_all(made.engine)
        yield made
        made.engine.dispose()


@contextmanager
def dispatching(outbox: Outbox) -> Iterator[Callable[[], None]]:
    """Run a dispatcher; give what wakes it."""
    dispatcher = outbox.dispatcher()
    dispatcher.start()
    yield dispatcher.wake
    dispatcher.stop(timedelta(seconds=1))


@contextmanager
def _database_url(database: str) -> Iterator[str]:
    if database == "sqlite":
        with tempfile.TemporaryDirectory(prefix="stagegate-bench-") as directory:
            yield f"sqlite:///{Path(directory) / 'outbox.db'}"
        return
    with own_database(database) as settings:
        yield settings["DATABASE_URL"]
