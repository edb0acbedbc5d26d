"""The clock that leases and retries are measured by."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from tests.integration.webhooks.conftest import NOW, World
from tests.waiting import STALL_SECONDS
from webhooks.queue.dispatcher import DatabaseClock, utc_now


def test_leases_go_by_the_database_clock_where_there_is_one(world: World) -> None:
    with world.begin() as session:
        instant = DatabaseClock(lambda: NOW).now(session)

    is_embedded = world.engine.dialect.name == "sqlite"
    assert (instant == NOW) == is_embedded
    assert instant.tzinfo is not None


@pytest.mark.parametrize("world", ["sqlite"], indirect=True)  # elsewhere none waits
def test_what_was_stored_while_a_transaction_waited_lies_in_its_past(
    world: World,
) -> None:
    clock, has_begun = DatabaseClock(utc_now), threading.Event()

    def read() -> datetime:
        with world.begin() as session:
            has_begun.set()
            return clock.now(session)

    with ThreadPoolExecutor() as pool:
        with world.begin() as writing:
            writing.connection()
            reading = pool.submit(read)
            assert has_begun.wait(STALL_SECONDS)
            time.sleep(0.2)
            stored_at = utc_now()

        assert reading.result() >= stored_at
