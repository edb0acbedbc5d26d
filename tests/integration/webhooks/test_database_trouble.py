"""What a database does at a bad moment: nothing is lost, invented or out of order."""

import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from tests.integration.webhooks.conftest import World, embedded_engine, make_event
from tests.receiver import ReceivedRequest, Receiver
from tests.waiting import STALL_SECONDS, wait_for
from webhooks import outbox
from webhooks.queue.dispatcher import Dispatcher, utc_now
from webhooks.sending.sender import Timeouts

ON_SQLITE = pytest.mark.parametrize("world", ["sqlite"], indirect=True)


@pytest.fixture
def on_postgresql(postgres_url: str) -> Iterator[World]:
    """A world of connections that are made anew each time: the test's own."""
    engine = create_engine(postgres_url, poolclass=NullPool)
    yield World(engine)
    engine.dispose()


@pytest.fixture
def pooled(postgres_url: str) -> Iterator[World]:
    """A pool of connections, as a registry has; a statement may take 200 ms."""
    engine = create_engine(
        postgres_url, connect_args={"options": "-c statement_timeout=200"}
    )
    yield World(engine)
    engine.dispose()


def file_of(world: World) -> Path:
    """Where SQLite has it."""
    return Path(str(world.engine.url.database))


@contextmanager
def running(dispatcher: Dispatcher) -> Iterator[None]:
    dispatcher.start()
    try:
        yield
    finally:
        assert dispatcher.stop()


def wait_until_delivered(world: World) -> None:
    wait_for(world.states, lambda states: set(states) == {"delivered"})


def first_arrivals(requests: tuple[ReceivedRequest, ...]) -> list[str]:
    return list(dict.fromkeys(request.message_id for request in requests))


def test_a_savepoint_that_is_rolled_back_takes_its_event_along(world: World) -> None:
    world.subscribe()

    with world.begin() as session:
        undone = session.begin_nested()
        outbox.enqueue(session, make_event(), now=utc_now())
        undone.rollback()
        kept = outbox.enqueue(session, make_event(), now=utc_now())

    (delivery,) = world.deliveries()
    assert (delivery.event_id, delivery.sequence) == (kept.id, 1)


@pytest.mark.service
def test_connections_that_the_server_ends_lose_nothing(
    on_postgresql: World, pooled: World, postgres_url: str
) -> None:
    world = on_postgresql
    ended = text(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with Receiver(delay_seconds=0.02) as receiver:
        world.subscribe(receiver.url)
        rows = [world.enqueue(now=utc_now()) for _ in range(15)]
        killer = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
        dispatcher = world.dispatcher(begin=pooled.begin)
        with running(dispatcher), killer.connect() as connection:
            for number in range(1, 4):
                receiver.wait_for(number * 3)
                assert connection.execute(ended).scalar_one() > 0
            wait_for(
                lambda: len(first_arrivals(receiver.requests)),
                lambda arrived: arrived == len(rows),
            )
        killer.dispose()
        wait_until_delivered(world)

        assert first_arrivals(receiver.requests) == [row.id for row in rows]


@pytest.mark.service
def test_statements_that_time_out_are_made_again(
    on_postgresql: World, pooled: World, caplog: pytest.LogCaptureFixture
) -> None:
    world = on_postgresql
    with Receiver() as receiver, world.engine.connect() as locking:
        world.subscribe(receiver.url)
        rows = [world.enqueue(now=utc_now()) for _ in range(3)]
        locking.execute(text("LOCK TABLE webhook_deliveries IN ACCESS EXCLUSIVE MODE"))
        with running(world.dispatcher(begin=pooled.begin)):
            wait_for(lambda: "webhook_database_failed" in caplog.text)
            assert receiver.requests == ()
            locking.rollback()
            receiver.wait_for(3)
        wait_until_delivered(world)

        assert first_arrivals(receiver.requests) == [row.id for row in rows]


@ON_SQLITE
def test_a_database_that_is_locked_for_long_is_waited_for(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    impatient = embedded_engine(file_of(world))

    @event.listens_for(impatient, "connect")
    def give_up_soon(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA busy_timeout=20")

    with Receiver() as receiver:
        world.subscribe(receiver.url)
        rows = [world.enqueue(now=utc_now()) for _ in range(3)]
        locking = sqlite3.connect(file_of(world), isolation_level=None)
        locking.execute("BEGIN IMMEDIATE")
        dispatcher = world.dispatcher(begin=World(impatient).begin)
        with running(dispatcher):
            wait_for(lambda: "webhook_database_failed" in caplog.text)
            locking.execute("ROLLBACK")
            locking.close()
            receiver.wait_for(3)
        wait_until_delivered(world)

        assert first_arrivals(receiver.requests) == [row.id for row in rows]


@dataclass
class Disk:
    """How many pages a database may have; 0 for any number."""

    pages: int = 0


@ON_SQLITE
def test_a_full_disk_undoes_the_change_and_delivery_goes_on_afterwards(
    world: World,
) -> None:
    disk = Disk()
    world.engine = embedded_engine(file_of(world))

    @event.listens_for(world.engine, "connect")
    def limit(connection: sqlite3.Connection, _record: object) -> None:
        if disk.pages:
            connection.execute(f"PRAGMA max_page_count={disk.pages}")

    with Receiver() as receiver:
        world.subscribe(receiver.url)
        first = world.enqueue(now=utc_now())
        with world.engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        disk.pages = int(pages)

        with pytest.raises(OperationalError, match="full"):
            world.enqueue(now=utc_now(), data={"much": "x" * 1_000_000})
        assert [row.event_id for row in world.deliveries()] == [first.id]

        disk.pages = 0
        second = world.enqueue(now=utc_now())
        while world.dispatcher().run_once():
            pass

        arrived = first_arrivals(receiver.requests)
    assert arrived == [first.id, second.id]
    assert [row.sequence for row in world.deliveries()] == [1, 2]


class Gate:
    """Keeps a receiver's answer back from one request on, until it is opened."""

    def __init__(self, closed_at: int) -> None:
        self._closed_at = closed_at
        self.reached, self.opened = threading.Event(), threading.Event()

    def pass_on(self, request: ReceivedRequest) -> int:
        if request.number == self._closed_at:
            self.reached.set()
            self.opened.wait(STALL_SECONDS)
        return 200


def copy_as_after_a_power_cut(source: Path, target: Path) -> None:
    """Copy database and log between two writes, the last write torn off halfway."""
    holding = sqlite3.connect(source, isolation_level=None)
    holding.execute("PRAGMA busy_timeout=10000")
    # One write that stays in the log, because the database is not closed after it.
    holding.execute("UPDATE webhook_subscriptions SET description = 'in the log'")
    holding.execute("BEGIN IMMEDIATE")
    shutil.copy(source, target)
    log = source.with_name(source.name + "-wal").read_bytes()
    assert len(log) > 2000
    target.with_name(target.name + "-wal").write_bytes(log + log[32:2000])
    holding.execute("ROLLBACK")
    holding.close()


@ON_SQLITE
def test_what_a_power_cut_leaves_is_whole_and_goes_on(
    world: World, tmp_path: Path
) -> None:
    gate = Gate(closed_at=8)
    with Receiver(answers=gate.pass_on) as receiver:
        world.subscribe(receiver.url)
        rows = [world.enqueue(now=utc_now()) for _ in range(12)]
        # Longer than the copy takes, however busy the machine is.
        patient = Timeouts(30, 30, 60)
        with running(world.dispatcher(timeouts=patient)):
            assert gate.reached.wait(STALL_SECONDS)
            copy_as_after_a_power_cut(file_of(world), tmp_path / "copy.db")
            gate.opened.set()
        receiver.clear()

        after = World(embedded_engine(tmp_path / "copy.db"), world.box, world.guard)
        with after.engine.connect() as connection:
            check = connection.exec_driver_sql("PRAGMA integrity_check").scalar_one()
        done = [row.event_id for row in after.deliveries() if row.state == "delivered"]
        # What was being sent is sent again once its lease is over.
        later = after.dispatcher(clock=lambda: utc_now() + timedelta(minutes=2))
        while later.run_once():
            pass
        again = first_arrivals(receiver.requests)

    assert check == "ok"
    assert len(done) == 8
    assert done + again == [row.id for row in rows]
    assert set(after.states()) == {"delivered"}
    after.engine.dispose()


def test_an_endpoint_added_while_a_change_commits_gets_all_that_comes_after(
    world: World,
) -> None:
    """No cache: what a change tells is who was there when it was committed."""
    stop = threading.Event()
    ids: list[str] = []

    def change() -> None:
        while not stop.is_set():
            ids.append(world.enqueue(now=utc_now()).id)

    changing = threading.Thread(target=change)
    changing.start()
    identity, _ = world.subscribe()
    count = len(ids)
    while len(ids) < count + 5:
        time.sleep(0.01)
    stop.set()
    changing.join()

    told = [row.event_id for row in world.deliveries()]
    assert told == ids[len(ids) - len(told) :]
    assert len(told) >= len(ids) - count - 1
    assert {row.subscription_id for row in world.deliveries()} == {identity}
