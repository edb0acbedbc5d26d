"""How fast deliveries are, and what a dead endpoint costs the others."""

import itertools
import random
import statistics
import time
from collections.abc import Callable, Sequence

import click

from tests.bench.databases import on_database
from tests.bench.figures import (
    describe_machine,
    describe_seconds,
    describe_spread,
)
from tests.bench.outboxes import Outbox, dispatching, opened_outbox
from tests.bench.receiving import BenchReceiver, running_receiver

RECEIVER_SECONDS = 0.005
PATIENCE_SECONDS = 120.0
HEALTHY_ENDPOINTS = 19
#: For PostgreSQL not to keep the plans of an empty database.
WARM_BURSTS = 5


@click.command()
@on_database
@click.option("--count", default=200, show_default=True, help="how many events")
@click.option("--lost-wake-ups", is_flag=True, help="leave it to the poll")
def latency(database: str, count: int, lost_wake_ups: bool) -> None:  # noqa: FBT001  # click's way.
    """Measure from the commit to the first byte at the receiver, idle."""
    click.echo(describe_machine())
    with opened_outbox(database) as outbox, running_receiver(0.0) as receiver:
        outbox.subscribe(receiver.url + "/live")
        dispatcher = outbox.dispatcher()
        dispatcher.start()
        waits = []
        for number in range(count):
            outbox.announce([f"model-{number}"])
            committed_at = time.monotonic()
            if not lost_wake_ups:
                dispatcher.wake()
            (arrival,) = receiver.wait_for(1, PATIENCE_SECONDS)
            waits.append(arrival.at - committed_at)
            time.sleep(random.uniform(0.3, 0.4 if not lost_wake_ups else 1.4))  # noqa: S311  # It guards nothing.
        dispatcher.stop()
    kind = "without wake-ups" if lost_wake_ups else "idle"
    click.echo(f"{database}: commit to first byte, {kind}: {describe_seconds(waits)}")


@click.command()
@on_database
@click.option("--count", default=2000, show_default=True, help="deliveries in a run")
@click.option("--runs", default=3, show_default=True)
def throughput(database: str, count: int, runs: int) -> None:
    """Measure deliveries a second to a receiver that takes 5 ms."""
    click.echo(describe_machine())
    with (
        opened_outbox(database) as outbox,
        running_receiver(RECEIVER_SECONDS) as receiver,
    ):
        outbox.subscribe(receiver.url + "/live")
        rates, costs = [], []
        for run in range(runs):
            for start in range(0, count, 200):
                keys = [f"run-{run}-{n % 200}" for n in range(start, start + 200)]
                outbox.announce(keys)
            used = time.process_time()
            rates.append(count / _drain(outbox, receiver, count))
            costs.append((time.process_time() - used) / count * 1000)
        assert outbox.count("delivered") == count * runs
    click.echo(
        f"{database}: {describe_spread(rates, 'deliveries/s')},"
        f" processor time {statistics.median(costs):.2f} ms a delivery"
    )


def _drain(outbox: Outbox, receiver: BenchReceiver, count: int) -> float:
    """Send what is stored; give the seconds until it is recorded as delivered."""
    dispatcher = outbox.dispatcher()
    began_at = time.monotonic()
    dispatcher.start()
    receiver.wait_for(count, PATIENCE_SECONDS)
    dispatcher.stop()
    return time.monotonic() - began_at


@click.command("dead-endpoint")
@on_database
@click.option("--events", default=20, show_default=True, help="events in a burst")
@click.option("--bursts", default=10, show_default=True, help="pairs in a run")
@click.option("--runs", default=3, show_default=True)
def dead_endpoint(*, database: str, events: int, bursts: int, runs: int) -> None:
    """Compare 19 live endpoints with 19 others beside one that never answers.

    Each have a database and a dispatcher of their own, and they get their bursts in
    turns, first the one and then the other: a machine that becomes slower meanwhile
    becomes so for both, and what a burst leaves to be recorded falls on both. Of a
    run counts the median of its pairs. Ten take less than the 20 s after which the
    first attempt at the dead one ends.
    """
    click.echo(describe_machine())
    costs: dict[str, list[float]] = {case: [] for case in _CASES}
    with (
        opened_outbox(database) as alone,
        opened_outbox(database) as beside,
        running_receiver(RECEIVER_SECONDS) as receiver,
    ):
        for outbox, number in itertools.product(
            (alone, beside), range(HEALTHY_ENDPOINTS)
        ):
            outbox.subscribe(f"{receiver.url}/live/{number}")
        with dispatching(alone) as wake_alone, dispatching(beside) as wake_beside:
            in_turns = [(alone, wake_alone), (beside, wake_beside)]
            for outbox, wake in in_turns:
                _warm(outbox, wake, receiver, events)
            for run, case in itertools.product(range(runs), _CASES):
                dead = beside.subscribe(f"{receiver.url}/dead")
                if case == _KNOWN:
                    beside.trip(dead)
                seconds: dict[Outbox, list[float]] = {alone: [], beside: []}
                for burst in range(bursts):
                    keys = [f"{case} {run} {burst} {n}" for n in range(events)]
                    for outbox, wake in in_turns:
                        seconds[outbox].append(_burst(outbox, wake, receiver, keys))
                    in_turns.reverse()
                beside.unsubscribe(dead)
                pairs = zip(seconds[alone], seconds[beside], strict=True)
                costs[case].append(1 - statistics.median(a / b for a, b in pairs))
                count = bursts * events * HEALTHY_ENDPOINTS
                click.echo(
                    f"{database}: {count / sum(seconds[alone]):.0f} deliveries/s alone,"
                    f" {count / sum(seconds[beside]):.0f} beside one {case}"
                )
    for case, found in costs.items():
        click.echo(
            f"{database}: cost to the others, beside one {case}: median"
            f" {statistics.median(found):+.1%} ({min(found):+.1%} to {max(found):+.1%})"
        )


_KNOWN = "whose breaker is open"
_CASES = ("that begins to hang", _KNOWN)


def _warm(
    outbox: Outbox, wake: Callable[[], None], receiver: BenchReceiver, events: int
) -> None:
    for burst in range(WARM_BURSTS):
        _burst(outbox, wake, receiver, [f"warm {burst} {n}" for n in range(events)])
    outbox.analyze()


def _burst(
    outbox: Outbox,
    wake: Callable[[], None],
    receiver: BenchReceiver,
    keys: Sequence[str],
) -> float:
    """Give the seconds from the commit of events to their last live arrival."""
    outbox.announce(keys)
    began_at = time.monotonic()
    wake()
    found = receiver.wait_for(len(keys) * HEALTHY_ENDPOINTS, PATIENCE_SECONDS)
    return max(one.at for one in found if "/live" in one.path) - began_at
