"""Servers put under one load in turns: what is compared ran side by side in time."""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path

import click

from tests.bench.load import Address, Figures, drive
from tests.bench.operations import Registry
from tests.services.postgres import PostgresServer

#: Of one processor: a load that takes more is what is measured.
_BUSY = 0.85
#: A turn in which nothing is answered is taken again, twice as long, up to this.
_LONGEST_SECONDS = 20.0


@dataclass(frozen=True, kw_only=True)
class Side:
    """A server that is compared.

    ``session`` is the id of its first process, and so of the session of all of them.
    ``finish`` waits until nothing is left to do and gives the instant it was done.
    """

    address: Address
    session: int
    registry: Registry
    postgresql: PostgresServer | None = None
    finish: Callable[[], float] | None = None


@dataclass(frozen=True)
class Turn:
    """One server under one load, and the processor time that it took meanwhile."""

    figures: Figures
    server_seconds: float
    database_seconds: float

    @property
    def per_second(self) -> float:
        return self.figures.per_second

    @property
    def p50(self) -> float:
        return self.figures.milliseconds(0.5)

    @property
    def p99(self) -> float:
        return self.figures.milliseconds(0.99)

    @property
    def server_cpu(self) -> float:
        """Milliseconds of one request, as the other figures."""
        return 1000 * self.server_seconds / len(self.figures.times)

    @property
    def database_cpu(self) -> float:
        return 1000 * self.database_seconds / len(self.figures.times)


def paired(figure: str, first: Sequence[Turn], second: Sequence[Turn]) -> list[float]:
    """The ratio of a figure in each two turns that ran beside each other."""
    of = attrgetter(figure)
    return [of(one) / of(other) for one, other in zip(first, second, strict=True)]


def median(figure: str, turns: Sequence[Turn]) -> float:
    values: list[float] = [getattr(turn, figure) for turn in turns]
    return statistics.median(values)


@dataclass(frozen=True)
class Load:
    """How many clients, how long a turn, and how many turns."""

    clients: int
    seconds: float
    rounds: int


def in_turns(asked: Sequence[tuple[Side, str]], load: Load) -> list[list[Turn]]:
    """Give the turns of each side; every other round goes backwards."""
    turns: list[list[Turn]] = [[] for _ in asked]
    order = list(zip(turns, asked, strict=True))
    for _ in range(load.rounds):
        for found, (side, operation) in order:
            found.append(_turn(side, operation, load))
        order.reverse()
    return turns


def _turn(side: Side, operation: str, load: Load) -> Turn:
    began, before = 0.0, (0.0, 0.0)

    def start() -> None:
        nonlocal began, before
        began, before = time.monotonic(), _used(side)

    figures = drive(
        side.address,
        operation,
        side.registry,
        clients=load.clients,
        seconds=load.seconds,
        # What it left to do would be counted as left by what is counted.
        warm_up=side.finish is None,
        on_start=start,
    )
    if side.finish is not None:
        figures.seconds = max(figures.seconds, side.finish() - began)
    if figures.failed:
        click.echo(f"{figures.failed} failed: {figures.failure}", err=True)
    if figures.busy > _BUSY:
        click.echo(f"the load itself was busy: {figures.busy:.2f}", err=True)
    if not figures.times:
        if load.seconds > _LONGEST_SECONDS:
            raise click.ClickException(f"nothing was answered: {operation}")
        return _turn(side, operation, replace(load, seconds=2 * load.seconds))
    server, database = _used(side)
    return Turn(figures, server - before[0], database - before[1])


def _used(side: Side) -> tuple[float, float]:
    database = side.postgresql
    return (
        cpu_seconds(side.session),
        cpu_seconds(database.process.pid) if database else 0.0,
    )


def cpu_seconds(first: int) -> float:
    """The processor time so far of a process, its children and its session."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        parent, session = int(fields[1]), int(fields[3])
        if first in {int(stat.parent.name), parent, session}:
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")
