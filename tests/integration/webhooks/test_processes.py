"""Processes that are stopped, continued and told to end while they send."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tests.deploy.places import CHECKOUT
from tests.integration.webhooks.conftest import World, make_event
from tests.receiver import ReceivedRequest, Receiver
from tests.services.processes import stop
from tests.waiting import STALL_SECONDS, wait_for
from webhooks import outbox, record

CHILD = "tests.integration.webhooks.dispatcher_child"
LEASE_SECONDS = 1.5


@contextmanager
def sending(world: World, log_file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a dispatcher of its own for the time of the block."""
    url = world.engine.url.render_as_string(hide_password=False)
    with log_file.open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", CHILD, url, str(LEASE_SECONDS)],
            cwd=CHECKOUT,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield child
    finally:
        child.send_signal(signal.SIGCONT)
        stop(child)


class Signaller:
    """Answers 200, and sends a signal to a process while it answers the first."""

    def __init__(self, number: signal.Signals) -> None:
        self._number = number
        self._known = threading.Event()
        self.sent = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    def aim_at(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._known.set()

    def answer(self, request: ReceivedRequest) -> int:
        if request.number == 0:
            self._known.wait(STALL_SECONDS)
            assert self._process is not None
            self._process.send_signal(self._number)
            self.sent.set()
        return 200


def wait_for_line(log_file: Path, words: str) -> None:
    wait_for(lambda: log_file.read_text(encoding="utf-8"), lambda log: words in log)


def test_a_process_that_was_stopped_changes_nothing_when_it_goes_on(
    world: World, tmp_path: Path
) -> None:
    """Its lease ran out meanwhile, and another process has sent the delivery."""
    log_file = tmp_path / "child.log"
    stopping = Signaller(signal.SIGSTOP)
    with Receiver(answers=stopping.answer) as receiver:
        # Without a delay before the second attempt.
        world.subscribe(receiver.url, schedule_seconds=[0, 0, 0])
        row = world.enqueue(now=datetime.now(UTC))
        with sending(world, log_file) as stopped:
            stopping.aim_at(stopped)
            assert stopping.sent.wait(STALL_SECONDS)
            again = world.dispatcher()
            wait_for(again.run_once)
            stopped.send_signal(signal.SIGCONT)
            wait_for_line(log_file, "webhook_result_fenced")

        first, second = receiver.requests
    assert (first.message_id, second.message_id) == (row.id, row.id)
    assert first.body == second.body
    assert world.states() == ["delivered"]
    with world.begin() as session:
        (delivery,) = world.deliveries()
        attempts = record.list_attempts(session, delivery.id)
    assert [one.outcome for one in attempts] == ["unknown", "delivered"]


def test_a_process_that_is_told_to_end_records_what_it_sends(
    world: World, tmp_path: Path
) -> None:
    ending = Signaller(signal.SIGTERM)
    with Receiver(answers=ending.answer) as receiver:
        world.subscribe(receiver.url)
        with world.begin() as session:
            events = [make_event() for _ in range(100)]
            outbox.enqueue_all(session, events, now=datetime.now(UTC))
        with sending(world, tmp_path / "child.log") as child:
            ending.aim_at(child)
            code = child.wait(STALL_SECONDS)
        sent = len(receiver.requests)

    assert code == 0
    assert 1 <= sent < 100
    assert world.states() == ["delivered"] * sent + ["pending"] * (100 - sent)
