"""Order under faults: receivers that fail, dispatchers that are killed.

- Two dispatchers, each a process of its own, are killed by SIGKILL again and again.
- The receiver refuses, resets and stalls at random, and judges each request as it
  comes: ahead of its turn is an inversion, behind it a repetition.
- In the end every delivery must have been acknowledged, in its order.
"""

import asyncio
import json
import logging
import multiprocessing
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import cast

import click

from tests.bench.databases import on_database
from tests.bench.figures import describe_machine
from tests.bench.outboxes import EVENT_TYPE, Outbox, opened_outbox
from tests.services.processes import free_port
from webhooks import outbox as queue
from webhooks.events import Event
from webhooks.queue.dispatcher import Dispatcher
from webhooks.sending.sender import Sender, Timeouts

SUBSCRIPTIONS = 10
KEYS = 200
#: A retry after a second, for ever as far as this test goes.
SCHEDULE_SECONDS = [0] + [1] * 49
LEASE = timedelta(seconds=4)
TIMEOUTS = Timeouts(connect_seconds=0.5, read_seconds=0.5, total_seconds=1.0)
STALL_SECONDS = 2.0
KILL_EVERY_SECONDS = (4.0, 12.0)
WAITING_AT_MOST = 20_000
PATIENCE_SECONDS = 600.0
_SPAWN = multiprocessing.get_context("spawn")


class Judge:
    """What one receiver saw, and whether it saw it in order.

    Args:
        seed: of the faults.
    """

    def __init__(self, seed: int) -> None:
        self.acknowledged: Counter[tuple[str, str]] = Counter()
        self.tally: Counter[str] = Counter()
        self._random = random.Random(seed)  # noqa: S311  # It guards nothing.

    def answer(self, path: str, key: str, number: int) -> str:
        """Judge a request, and say what to do with it."""
        self.tally["requests"] += 1
        last = self.acknowledged[path, key]
        if number > last + 1:
            self.tally["inversions"] += 1
        elif number <= last:
            self.tally["repetitions"] += 1
        fate = self._random.choices(
            ("take", "refuse", "reset", "stall", "take and reset"),
            (94.0, 3.0, 1.5, 0.1, 1.4),
        )[0]
        self.tally[fate] += 1
        if fate.startswith("take"):
            self.acknowledged[path, key] = max(last, number)
        return fate


class _Exchange(asyncio.Protocol):
    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        try:
            event = json.loads(body)
        except ValueError:
            return  # there is more to come
        path = head.split(b" ", 2)[1].decode()
        data_ = event["data"]
        self._obey(self._judge.answer(path, data_["key"], data_["number"]))

    def _obey(self, fate: str) -> None:
        if fate in ("take", "refuse"):
            status = b"200 OK" if fate == "take" else b"500 No"
            self._transport.write(
                b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n"
            )
            self._transport.close()
        elif fate == "stall":
            asyncio.get_running_loop().call_later(STALL_SECONDS, self._transport.abort)
        else:
            self._transport.abort()


def _serve(pipe: Connection, port: int, seed: int) -> None:
    judge = Judge(seed)

    async def run() -> None:
        loop = asyncio.get_running_loop()

        def obey() -> None:
            pipe.recv()
            pipe.send((sum(judge.acknowledged.values()), judge.tally))

        loop.add_reader(pipe.fileno(), obey)
        await loop.create_server(
            lambda: _Exchange(judge), "127.0.0.1", port, backlog=512
        )
        pipe.send("ready")
        await asyncio.Event().wait()

    asyncio.run(run())


class _Receiver:
    def __init__(self, pipe: Connection, port: int) -> None:
        self._pipe = pipe
        self.url = f"http://127.0.0.1:{port}"

    def look(self) -> tuple[int, Counter[str]]:
        """Give how many were acknowledged in order, and what was seen."""
        self._pipe.send("look")
        return cast("tuple[int, Counter[str]]", self._pipe.recv())


@contextmanager
def _running_receiver(seed: int) -> Iterator[_Receiver]:
    ours, theirs = _SPAWN.Pipe()
    port = free_port()
    process = _SPAWN.Process(target=_serve, args=(theirs, port, seed))
    process.start()
    try:
        ours.recv()
        yield _Receiver(ours, port)
    finally:
        process.kill()
        process.join()


def _dispatch(database_url: str) -> None:
    logging.disable(logging.WARNING)  # each lease that a kill leaves behind
    made = Outbox(database_url)
    sender = Sender(made.guard, timeouts=TIMEOUTS)
    Dispatcher(made.begin, made.box, sender, lease=LEASE).start()
    threading.Event().wait()


class _Dispatchers:
    """Two processes that are killed, and started again, until told to stop."""

    def __init__(self, database_url: str, seed: int) -> None:
        self.kills = 0
        self._url = database_url
        self._random = random.Random(seed)  # noqa: S311  # It guards nothing.
        self._processes = [self._start(), self._start()]
        self._next_kill_at = self._later()

    def kill_when_due(self) -> None:
        if time.monotonic() < self._next_kill_at:
            return
        victim = self._random.randrange(2)
        self._processes[victim].kill()
        self._processes[victim].join()
        self._processes[victim] = self._start()
        self.kills += 1
        self._next_kill_at = self._later()

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.join()

    def _start(self) -> SpawnProcess:
        process = _SPAWN.Process(target=_dispatch, args=(self._url,))
        process.start()
        return process

    def _later(self) -> float:
        return time.monotonic() + self._random.uniform(*KILL_EVERY_SECONDS)


@click.command()
@on_database
@click.option("--count", default=10_000, show_default=True, help="deliveries")
@click.option("--seed", default=1, show_default=True)
def order(database: str, count: int, seed: int) -> None:
    """Count deliveries out of order, while receivers fail and senders are killed."""
    click.echo(describe_machine())
    with opened_outbox(database) as outbox, _running_receiver(seed) as receiver:
        for number in range(SUBSCRIPTIONS):
            outbox.subscribe(
                f"{receiver.url}/{number}", schedule_seconds=SCHEDULE_SECONDS
            )
        dispatchers = _Dispatchers(outbox.database_url, seed)
        try:
            acknowledged, tally = _deliver(outbox, receiver, dispatchers, count)
        finally:
            dispatchers.stop()
        stored = outbox.total()
    click.echo(
        f"{database}, seed {seed}: {stored} deliveries, {acknowledged} acknowledged"
        f" in order, {tally['requests']} requests, {tally['repetitions']} repeated,"
        f" refused {tally['refuse']}, reset {tally['reset']},"
        f" taken and reset {tally['take and reset']}, stalled {tally['stall']},"
        f" dispatchers killed {dispatchers.kills};"
        f" lost {stored - acknowledged}, inversions {tally['inversions']}"
    )


def _deliver(
    outbox: Outbox, receiver: _Receiver, dispatchers: _Dispatchers, count: int
) -> tuple[int, Counter[str]]:
    """Announce at least ``count`` deliveries and wait for the last one."""
    numbers: Counter[str] = Counter()
    keys = [f"model-{number}" for number in range(KEYS)]
    stored = 0
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    acknowledged, tally = receiver.look()
    while stored < count or acknowledged < stored:
        if time.monotonic() > give_up_at:
            break
        while stored < min(count, acknowledged + WAITING_AT_MOST):
            _announce(outbox, keys, numbers)
            stored += KEYS * SUBSCRIPTIONS
            dispatchers.kill_when_due()
        dispatchers.kill_when_due()
        time.sleep(0.1)
        before, (acknowledged, tally) = acknowledged, receiver.look()
        if acknowledged > before:
            give_up_at = time.monotonic() + PATIENCE_SECONDS
    return acknowledged, tally


def _announce(outbox: Outbox, keys: list[str], numbers: Counter[str]) -> None:
    """Commit one event of each key."""
    now = datetime.now(UTC)
    numbers.update(keys)
    events = [
        Event(EVENT_TYPE, key, key, None, {"key": key, "number": numbers[key]}, now)
        for key in keys
    ]
    with outbox.begin() as session:
        queue.enqueue_all(session, events, now=now)
