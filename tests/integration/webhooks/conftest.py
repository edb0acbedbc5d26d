"""A database with the package's tables alone, once per kind of database."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, select
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from tests.receiver import Receiver
from tests.services.fresh_database import FreshDatabase
from tests.services.postgres import PostgresServer
from webhooks import outbox, subscriptions
from webhooks.events import Event
from webhooks.queue.claim import claim_due, claim_probes
from webhooks.queue.dispatcher import Dispatcher
from webhooks.queue.settle import settle_results
from webhooks.roster.secrets import SecretBox
from webhooks.roster.specs import SubscriptionSpec
from webhooks.sending.guard import AddressGuard
from webhooks.sending.prepare import Claim
from webhooks.sending.sender import Sender, SendResult
from webhooks.tables import AttemptOutcome, Base, Delivery, EventRow

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LEASE = timedelta(seconds=60)
DELIVERED = SendResult(AttemptOutcome.DELIVERED, status=200)
#: Deliveries in the order of creation within their keys.
IN_ORDER = (Delivery.created_at, Delivery.ordering_key, Delivery.sequence)
FAILED = SendResult(AttemptOutcome.FAILED, status=500, error="answered 500")


def embedded_engine(path: Path) -> Engine:
    """SQLite as the registry opens it: WAL, and every transaction IMMEDIATE."""
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA busy_timeout=10000")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        only_reads = connection.get_execution_options().get("only_reads")
        connection.exec_driver_sql("BEGIN" if only_reads else "BEGIN IMMEDIATE")

    return engine


@dataclass
class World:
    """Everything a test needs to enqueue, claim and record."""

    engine: Engine
    box: SecretBox = field(default_factory=lambda: SecretBox(["a key for tests"]))
    guard: AddressGuard = field(
        default_factory=lambda: AddressGuard(["127.0.0.0/8"], allow_http=True)
    )

    @contextmanager
    def begin(self) -> Iterator[Session]:
        with (
            Session(self.engine, autoflush=False, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    def subscribe(
        self,
        url: str = "https://example.com/hook",
        **choices: Any,  # noqa: ANN401  # Any field of SubscriptionSpec.
    ) -> tuple[str, str]:
        """Create a subscription; give its id and its secret."""
        with self.begin() as session:
            row, secret = subscriptions.create(
                session,
                self.box,
                self.guard,
                SubscriptionSpec(url, **choices),
                created_by="alice",
                now=NOW,
            )
            return row.id, secret

    def enqueue(
        self,
        *,
        now: datetime = NOW,
        **parts: Any,  # noqa: ANN401  # Any field of Event.
    ) -> EventRow:
        with self.begin() as session:
            return outbox.enqueue(session, make_event(**parts), now=now)

    def claim(self, *, now: datetime = NOW, limit: int = 10) -> list[Claim]:
        with self.begin() as session:
            due = claim_due(session, now=now, limit=limit, lease=LEASE)
            room = limit - len(due)
            return due + claim_probes(session, now=now, limit=room, lease=LEASE)

    def record(
        self, claim: Claim, result: SendResult = DELIVERED, *, now: datetime = NOW
    ) -> bool:
        with self.begin() as session:
            answered = [(claim, result)]
            settled = settle_results(session, answered, now=now, jitter=lambda: 0.5)
            return bool(settled)

    def deliveries(self) -> list[Delivery]:
        """Give every delivery as it is shown, by creation within its key."""
        with self.begin() as session:
            rows = session.query(Delivery).order_by(*IN_ORDER).all()
            session.expunge_all()
        for row in rows:
            row.state, row.reason = row.shown_state, row.shown_reason
        return rows

    def states(self) -> list[str]:
        """Give the state of each, and keep nobody from writing."""
        query = select(Delivery.shown_state).order_by(*IN_ORDER)
        with self.engine.connect().execution_options(only_reads=True) as connection:
            return list(connection.scalars(query))

    def dispatcher(
        self,
        **choices: Any,  # noqa: ANN401  # Any argument of Dispatcher.
    ) -> Dispatcher:
        choices.setdefault("poll", timedelta(seconds=0.05))
        choices.setdefault("concurrency", 4)
        timeouts = choices.pop("timeouts", None)
        return Dispatcher(
            choices.pop("begin", self.begin),
            choices.pop("box", self.box),
            Sender(self.guard, timeouts=timeouts),
            **choices,
        )


def make_event(
    **parts: Any,  # noqa: ANN401  # Any field of Event.
) -> Event:
    values: dict[str, Any] = {
        "type": "model_version.stage_changed",
        "ordering_key": "fraud",
        "subject": "fraud",
        "target": "Production",
        "data": {"model": "fraud", "version": 7},
        "occurred_at": NOW,
    }
    return Event(**(values | parts))


@pytest.fixture(scope="session")
def outbox_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database with the package's tables, to be copied."""
    file = tmp_path_factory.mktemp("outbox") / "outbox.db"
    Base.metadata.create_all(embedded_engine(file))
    return file


@pytest.fixture(scope="session")
def fresh_postgres(postgres_server: PostgresServer) -> Iterator[FreshDatabase]:
    """A database that has the package's empty tables whenever it is asked for."""
    template, copy = "outbox_template", "outbox"
    postgres_server.create_database(template)
    url = postgres_server.url(template)
    Base.metadata.create_all(create_engine(url, poolclass=NullPool))
    yield FreshDatabase(postgres_server, template, copy)
    for name in (copy, template):
        postgres_server.drop_database(name)


@pytest.fixture
def postgres_url(fresh_postgres: FreshDatabase) -> str:
    fresh_postgres.restore()
    return fresh_postgres.url


# What an engine has compiled of statements serves all tests: it takes longer than to
# execute them.


@pytest.fixture(scope="session")
def sqlite_engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return embedded_engine(tmp_path_factory.mktemp("embedded") / "outbox.db")


@pytest.fixture(scope="session")
def postgres_engine(fresh_postgres: FreshDatabase) -> Iterator[Engine]:
    """With a pool, as the registry has it: to connect takes longer than to read."""
    engine = create_engine(
        fresh_postgres.url,
        # Else a test would go by what was planned for the tables of another.
        connect_args={"prepare_threshold": None},
        pool_size=20,
        max_overflow=-1,
        pool_pre_ping=True,
    )
    yield engine
    engine.dispose()


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)]
)
def world(request: pytest.FixtureRequest) -> World:
    engine: Engine = request.getfixturevalue(
        "sqlite_engine" if request.param == "sqlite" else "postgres_engine"
    )
    if request.param == "sqlite":
        file = Path(str(engine.url.database))
        for left in file.parent.iterdir():
            left.unlink()
        shutil.copy(request.getfixturevalue("outbox_file"), file)
    else:
        request.getfixturevalue("postgres_url")
    return World(engine)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as started:
        yield started
