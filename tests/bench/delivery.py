"""How fast deliveries are, and what a dead endpoint costs the others."""

import itertools
import random
import statistics
import time

import click

from tests.bench.figures import (
    describe_machine,
    describe_seconds,
    describe_spread,
    percentile,
)
from tests.bench.outboxes import DATABASES, Outbox, opened_outbox
from tests.bench.receiving import BenchReceiver, running_receiver

RECEIVER_SECONDS = 0.005
PATIENCE_SECONDS = 120.0
HEALTHY_ENDPOINTS = 19

on_database = click.option(
    "--database", type=click.Choice(DATABASES), default="sqlite", show_default=True
)


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
@click.option("--events", default=60, show_default=True, help="events in a run")
@click.option("--runs", default=4, show_default=True, help="pairs of runs")
def dead_endpoint(database: str, events: int, runs: int) -> None:
    """Compare 19 live endpoints with the same 19 beside one that never answers.

    Alone they are measured before and after: a database that grows, or another
    program's load, is not put down to the dead one.
    """
    click.echo(describe_machine())
    costs: dict[str, list[float]] = {case: [] for case in _CASES}
    with (
        opened_outbox(database) as outbox,
        running_receiver(RECEIVER_SECONDS) as receiver,
    ):
        for number in range(HEALTHY_ENDPOINTS):
            outbox.subscribe(f"{receiver.url}/live/{number}")
        before = _load(outbox, receiver, events, "before")
        for run, case in itertools.product(range(runs), _CASES):
            name = f"{case} {run}"
            dead = outbox.subscribe(f"{receiver.url}/dead")
            if case == _KNOWN:
                outbox.trip(dead)
            beside = _load(outbox, receiver, events, name)
            outbox.unsubscribe(dead)
            # What hung was waited for, and everything went to sleep meanwhile.
            _load(outbox, receiver, events // 4, f"{name} warm")
            after = _load(outbox, receiver, events, f"{name} after")
            alone = (before + after) / 2
            costs[case].append(1 - beside / alone)
            click.echo(
                f"{database}: {alone:.0f} deliveries/s alone,"
                f" {beside:.0f} beside one {case}"
            )
            before = after
    for case, found in costs.items():
        click.echo(
            f"{database}: cost to the others, beside one {case}: median"
            f" {statistics.median(found):+.1%} ({min(found):+.1%} to {max(found):+.1%})"
        )


_KNOWN = "whose breaker is open"
_CASES = ("that begins to hang", _KNOWN)


def _load(outbox: Outbox, receiver: BenchReceiver, events: int, prefix: str) -> float:
    """Give the live endpoints' deliveries a second for a burst of events."""
    outbox.announce([f"{prefix}-{number}" for number in range(events)])
    dispatcher = outbox.dispatcher()
    began_at = time.monotonic()
    dispatcher.start()
    count = events * HEALTHY_ENDPOINTS
    found = receiver.wait_for(count, PATIENCE_SECONDS)
    live = [one.at for one in found if not one.path.startswith("/dead")]
    dispatcher.stop()
    return count / (percentile(live, 1.0) - began_at)
