"""``python -m tests.bench mlflow``: Stagegate beside MLflow's own server.

- Both servers are started here, on one PostgreSQL that waits for its disk, or each on a
  SQLite file; both under policies that allow any move, and seeded with the same data.
- Each operation is driven in turns, ours and theirs, then theirs and ours: a ratio is
  of two runs beside each other in time. Its median is given with its extremes.
"""

import os
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from tests.bench.figures import describe_machine
from tests.bench.load import OPERATIONS, Address, Figures, Registry, drive, seed
from tests.mlflow import environment
from tests.mlflow.servers import POLICY_FILES, mlflow_server
from tests.server import running_server
from tests.services import postgres

MLFLOW_WORKERS = "2"
_FIELDS = (
    "operation",
    "clients",
    "req/s",
    "MLflow",
    "ratio",
    "p50 ratio",
    "p99 ms",
    "ms CPU",
    "MLflow",
)


@dataclass(frozen=True)
class Side:
    """One of the two servers; ``session`` is the id of its processes' session."""

    address: Address
    session: int

    def cpu_seconds(self) -> float:
        """The processor time of all its processes so far."""
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:  # it has ended meanwhile
                continue
            if int(fields[3]) == self.session:
                ticks += sum(map(int, fields[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Turn:
    """One server under one load."""

    figures: Figures
    cpu_seconds: float

    @property
    def cpu_milliseconds(self) -> float:
        """Of one request."""
        return 1000 * self.cpu_seconds / max(1, len(self.figures.times))


@click.command(name="mlflow")
@click.option(
    "--database",
    type=click.Choice(["postgresql", "sqlite"]),
    default="postgresql",
    show_default=True,
)
@click.option("--clients", default="16,1", show_default=True)
@click.option("--workers", type=int, help="of ours  [default: 2, with SQLite 1]")
@click.option("--models", default=1000, show_default=True)
@click.option("--seconds", default=3.0, show_default=True, help="of each turn")
@click.option("--rounds", default=3, show_default=True)
@click.option("--only", default="", help="what the operations begin with")
def compare(
    *,
    database: str,
    clients: str,
    workers: int | None,
    models: int,
    seconds: float,
    rounds: int,
    only: str,
) -> None:
    """Compare with MLflow's own server, in turns."""
    click.echo(describe_machine())
    registry = Registry(models=models)
    processes = workers or (1 if database == "sqlite" else 2)
    with _both(database, processes) as (ours, theirs):
        for side in (ours, theirs):
            seed(side.address, registry)
        click.echo(_line(_FIELDS))
        for count in map(int, clients.split(",")):
            for operation in OPERATIONS:
                if operation.startswith(only):
                    load = (operation, registry, count, seconds)
                    turns = _turns((ours, theirs), load, rounds)
                    click.echo(_line([operation, str(count), *_compared(turns)]))


@contextmanager
def _both(database: str, workers: int) -> Iterator[tuple[Side, Side]]:
    found = environment.provide()
    if found is None:
        raise click.ClickException(environment.WITHOUT_MLFLOW)
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings: dict[str, str] = {}
        backend = None
        if database == "postgresql":
            binaries = postgres.find_binaries()
            if binaries is None:
                raise click.ClickException("PostgreSQL is not here")
            server = stack.enter_context(
                postgres.run_server(
                    binaries,
                    fsync="on",
                    full_page_writes="on",
                    shared_buffers="512MB",
                )
            )
            settings["DATABASE_URL"] = stack.enter_context(server.fresh_database())
            backend = stack.enter_context(server.fresh_database())
        ours_in, theirs_in = base / "stagegate", base / "mlflow"
        ours_in.mkdir()
        theirs_in.mkdir()
        ours = stack.enter_context(
            running_server(
                ours_in,
                *("--workers", str(workers)),
                POLICY_FILE=str(POLICY_FILES["open"]),
                **settings,
            )
        )
        theirs = stack.enter_context(
            mlflow_server(
                found,
                theirs_in,
                backend_store_uri=backend,
                workers=MLFLOW_WORKERS,
            )
        )
        yield (
            Side(Address(ours.port, ours.token), ours.pid),
            Side(Address(int(theirs.url.rpartition(":")[2])), theirs.process.pid),
        )


def _turns(
    sides: tuple[Side, Side], load: tuple[str, Registry, int, float], rounds: int
) -> Mapping[Side, list[Turn]]:
    turns: dict[Side, list[Turn]] = {side: [] for side in sides}
    for number in range(rounds):
        for side in sides if number % 2 == 0 else reversed(sides):
            turns[side].append(_turn(side, load))
    return turns


def _turn(side: Side, load: tuple[str, Registry, int, float]) -> Turn:
    operation, registry, clients, seconds = load
    before = 0.0

    def start() -> None:
        nonlocal before
        before = side.cpu_seconds()

    figures = drive(
        side.address,
        operation,
        registry,
        clients=clients,
        seconds=seconds,
        on_start=start,
    )
    for failure in figures.failures[:1]:
        click.echo(f"{len(figures.failures)} failed: {failure}", err=True)
    return Turn(figures, side.cpu_seconds() - before)


def _compared(turns: Mapping[Side, list[Turn]]) -> list[str]:
    ours, theirs = turns.values()
    ratios = [
        mine.figures.per_second / other.figures.per_second
        for mine, other in zip(ours, theirs, strict=True)
    ]
    p50 = statistics.median(
        mine.figures.milliseconds(0.5) / other.figures.milliseconds(0.5)
        for mine, other in zip(ours, theirs, strict=True)
    )
    return [
        f"{statistics.median(turn.figures.per_second for turn in ours):.0f}",
        f"{statistics.median(turn.figures.per_second for turn in theirs):.0f}",
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})",
        f"{p50:.2f}",
        f"{statistics.median(turn.figures.milliseconds(0.99) for turn in ours):.0f}",
        f"{statistics.median(turn.cpu_milliseconds for turn in ours):.2f}",
        f"{statistics.median(turn.cpu_milliseconds for turn in theirs):.2f}",
    ]


def _line(cells: Sequence[str]) -> str:
    widths = (22, 7, 7, 7, 19, 9, 7, 7, 7)
    return " ".join(
        cell.ljust(width) if index == 0 else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
