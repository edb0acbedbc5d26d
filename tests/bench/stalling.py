"""``python -m tests.bench stalled``: what clients that stall cost those who do not.

Each sort is there in turns with nobody, in one run, so that what else the machine does
meets both alike.
"""

import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import click

from tests.bench.figures import describe_machine, percentile
from tests.server import RunningServer, started_server
from tests.stalled_clients import SORTS, Target, prepare, stalled

READERS = 4
#: Some of them ask for something first: that many at once are a load, and no stall.
BURST_SECONDS = 1.0


@click.command(name="stalled")
@click.option("--clients", default=200, show_default=True, help="of each sort")
@click.option("--seconds", default=6.0, show_default=True, help="of each turn")
@click.option("--rounds", default=2, show_default=True)
@click.option("--only", default="", help="what the sorts begin with")
def stalled_clients(*, clients: int, seconds: float, rounds: int, only: str) -> None:
    """Read a version while clients of each sort stall, and while none do."""
    click.echo(describe_machine())
    with (
        tempfile.TemporaryDirectory() as directory,
        started_server(Path(directory)) as server,
    ):
        with server.http() as http:
            prepare(http, server.url)
        target = Target(port=server.port, token=server.token)
        for sort in SORTS:
            if sort.startswith(only):
                _compare(sort, target, server, (clients, rounds, seconds))


def _compare(
    sort: str, target: Target, server: RunningServer, size: tuple[int, int, float]
) -> None:
    clients, rounds, seconds = size
    alone: list[float] = []
    beside: list[float] = []
    closed = 0
    for _ in range(rounds):
        alone += _read(server, seconds)
        with stalled(sort, target, count=clients) as others:
            time.sleep(BURST_SECONDS)
            beside += _read(server, seconds)
            closed += others.closed
    figures = [
        f"{name} {percentile(alone, share) * 1e3:.1f} -> "
        f"{percentile(beside, share) * 1e3:.1f} ms"
        f" (x {percentile(beside, share) / percentile(alone, share):.2f})"
        for name, share in (("p50", 0.5), ("p99", 0.99))
    ]
    click.echo(
        f"{sort:20} {', '.join(figures)}, {len(alone)} and {len(beside)} reads,"
        f" {closed} closed"
    )


def _read(server: RunningServer, seconds: float) -> list[float]:
    """The time of each read, by a few readers at once."""
    times: list[float] = []
    until = time.monotonic() + seconds

    def read() -> None:
        with server.http() as http:
            while time.monotonic() < until:
                times.append(_timed(lambda: http.get(_version_url(server)).content))

    readers = [threading.Thread(target=read) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    return times


def _version_url(server: RunningServer) -> str:
    return f"{server.url}/api/v1/models/stalled/versions/1"


def _timed(work: Callable[[], object]) -> float:
    before = time.perf_counter()
    work()
    return time.perf_counter() - before
