"""``make bench``: Stagegate beside MLflow's own server, and beside what limits it.

- All servers are started here, on one PostgreSQL that waits for its disk, or each on a
  SQLite file; both registries under policies that allow any move, with the same data.
- Each operation is driven in turns, ours and theirs, then theirs and ours: a ratio is
  of two runs beside each other in time. Its median is given with its extremes.
- "delivered" is ours with one subscription, its time ending with the last delivery;
  beside MLflow's without one, which has no event for a change of stage.
- A share is of the trivial route's requests a second, under the same server program.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click
import requests

from tests.bench.figures import describe_machine
from tests.bench.limits import flask_route, promotions
from tests.bench.load import (
    OPERATIONS,
    TRIVIAL,
    Address,
    Figures,
    Registry,
    drive,
    seed,
)
from tests.bench.plot import Point, draw
from tests.bench.receiving import running_receiver
from tests.mlflow import environment
from tests.mlflow.servers import POLICY_FILES, mlflow_server
from tests.server import running_server
from tests.services import postgres

MLFLOW_WORKERS = "2"
DELIVERED = ("create version", "transition")
_FIELDS = (
    *("operation", "clients", "req/s", "MLflow", "ratio", "p50 ratio"),
    *("p50 ms", "p99 ms", "ms CPU", "MLflow", "share"),
)


@dataclass(frozen=True)
class Side:
    """A server; ``session`` is the id of its processes' session."""

    name: str
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


@dataclass(frozen=True, kw_only=True)
class Load:
    """What each turn is."""

    registry: Registry
    clients: int
    seconds: float
    rounds: int = 3


@dataclass
class Servers:
    """What is compared; ``after`` waits until ours has nothing left to do."""

    ours: Side
    theirs: Side
    route: Side
    bare: Callable[[int, float], tuple[float, float]] | None
    after: Callable[[], None] = field(default=lambda: None)


@click.command(name="mlflow")
@click.option(
    "--database",
    type=click.Choice(["postgresql", "sqlite"]),
    default="postgresql",
    show_default=True,
)
@click.option("--clients", help="how many at a time  [default: 16,1, with SQLite 8,1]")
@click.option("--workers", type=int, help="of ours  [default: 2, with SQLite 1]")
@click.option("--models", default=1000, show_default=True)
@click.option("--seconds", default=3.0, show_default=True, help="of each turn")
@click.option("--rounds", default=3, show_default=True)
@click.option("--only", default="", help="what the operations begin with")
@click.option("--plot", type=click.Path(path_type=Path), help="an SVG file to write")
def compare(
    *,
    database: str,
    clients: str | None,
    workers: int | None,
    models: int,
    seconds: float,
    rounds: int,
    only: str,
    plot: Path | None,
) -> None:
    """Compare with MLflow's own server, in turns."""
    machine = describe_machine()
    click.echo(machine)
    is_embedded = database == "sqlite"
    registry = Registry(models=models)
    counts = clients or ("8,1" if is_embedded else "16,1")
    points: list[Point] = []
    with _servers(database, workers or (1 if is_embedded else 2)) as servers:
        for side in (servers.ours, servers.theirs):
            seed(side.address, registry)
        click.echo(_line(_FIELDS))
        loads = [
            Load(registry=registry, clients=count, seconds=seconds, rounds=rounds)
            for count in map(int, counts.split(","))
        ]
        for load in loads:
            points += _compare_all(servers, load, only)
        with running_receiver(0.0) as receiver:
            _subscribe(servers, receiver.url)
            for load in loads:
                points += _compare_all(servers, load, only, delivered=True)
    if plot is not None:
        draw(plot, f"Stagegate beside MLflow on {database}", machine, points)


def _compare_all(
    servers: Servers, load: Load, only: str, *, delivered: bool = False
) -> Iterator[Point]:
    """Measure and print every operation that ``only`` names."""
    names = DELIVERED if delivered else [each for each in OPERATIONS if each != TRIVIAL]
    names = [each for each in names if each.startswith(only)]
    if not names:
        return
    route = [turn(servers.route, TRIVIAL, load) for _ in range(load.rounds)]
    most = statistics.median(turn.figures.per_second for turn in route)
    if not delivered:
        click.echo(_line(["a trivial Flask route", str(load.clients), f"{most:.0f}"]))
        if servers.bare is not None:
            per_second, latency = servers.bare(load.clients, load.seconds)
            cells = ["bare promotions", str(load.clients), f"{per_second:.0f}"]
            click.echo(_line([*cells, "", "", "", f"{latency:.1f}"]))
    for name in names:
        ours, theirs = _turns(servers, name, load)
        label = f"{name}, delivered" if delivered else name
        click.echo(_line([label, str(load.clients), *_compared(ours, theirs, most)]))
        yield Point(f"{label}, {load.clients}", _ratios(ours, theirs))


@contextmanager
def _servers(database: str, workers: int) -> Iterator[Servers]:
    found = environment.provide()
    if found is None:
        raise click.ClickException(environment.WITHOUT_MLFLOW)
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings: dict[str, str] = {}
        backend = bare = None
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
            bare = _bare(binaries, stack.enter_context(server.fresh_database()))
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
        port, session = stack.enter_context(flask_route(base))
        yield Servers(
            Side("ours", Address(ours.port, ours.token), ours.pid),
            Side(
                "MLflow",
                Address(int(theirs.url.rpartition(":")[2])),
                theirs.process.pid,
            ),
            Side("route", Address(port), session),
            bare,
        )


def _bare(
    binaries: postgres.PostgresBinaries, url: str
) -> Callable[[int, float], tuple[float, float]]:
    def measure(clients: int, seconds: float) -> tuple[float, float]:
        return promotions(binaries, url, clients=clients, seconds=seconds)

    return measure


def _subscribe(servers: Servers, url: str) -> None:
    """Have all events of ours delivered, and wait for that after each turn."""
    address = servers.ours.address
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {address.token}"
    webhooks = f"http://127.0.0.1:{address.port}/api/v1/webhooks"
    made = session.post(webhooks, json={"url": url}, timeout=10)
    made.raise_for_status()
    deliveries = f"{webhooks}/{made.json()['id']}/deliveries"

    def wait() -> None:
        for state in ("pending", "sending"):
            asked = {"state": state, "limit": "1"}
            while session.get(deliveries, params=asked, timeout=60).json()["items"]:
                time.sleep(0.05)

    servers.after = wait


def _turns(servers: Servers, operation: str, load: Load) -> list[list[Turn]]:
    sides = (servers.ours, servers.theirs)
    turns: Mapping[str, list[Turn]] = {side.name: [] for side in sides}
    for number in range(load.rounds):
        for side in sides if number % 2 == 0 else reversed(sides):
            after = servers.after if side is servers.ours else None
            turns[side.name].append(turn(side, operation, load, after=after))
    return list(turns.values())


def turn(
    side: Side,
    operation: str,
    load: Load,
    *,
    after: Callable[[], None] | None = None,
) -> Turn:
    """Put a server under a load; its time ends when ``after`` returns."""
    before = 0.0

    def start() -> None:
        nonlocal before
        before = side.cpu_seconds()

    figures = drive(
        side.address,
        operation,
        load.registry,
        clients=load.clients,
        seconds=load.seconds,
        on_start=start,
    )
    if after is not None:
        ended = time.monotonic()
        after()
        figures.seconds += time.monotonic() - ended
    for failure in figures.failures[:1]:
        click.echo(f"{len(figures.failures)} failed: {failure}", err=True)
    return Turn(figures, side.cpu_seconds() - before)


def _ratios(ours: Sequence[Turn], theirs: Sequence[Turn]) -> list[float]:
    return [
        mine.figures.per_second / other.figures.per_second
        for mine, other in zip(ours, theirs, strict=True)
    ]


def _compared(ours: Sequence[Turn], theirs: Sequence[Turn], most: float) -> list[str]:
    ratios = _ratios(ours, theirs)
    p50 = statistics.median(
        mine.figures.milliseconds(0.5) / other.figures.milliseconds(0.5)
        for mine, other in zip(ours, theirs, strict=True)
    )
    mine = statistics.median(turn.figures.per_second for turn in ours)
    return [
        f"{mine:.0f}",
        f"{statistics.median(turn.figures.per_second for turn in theirs):.0f}",
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})",
        f"{p50:.2f}",
        f"{statistics.median(turn.figures.milliseconds(0.5) for turn in ours):.1f}",
        f"{statistics.median(turn.figures.milliseconds(0.99) for turn in ours):.0f}",
        f"{statistics.median(turn.cpu_milliseconds for turn in ours):.2f}",
        f"{statistics.median(turn.cpu_milliseconds for turn in theirs):.2f}",
        f"{mine / most:.2f}",
    ]


def _line(cells: Sequence[str]) -> str:
    widths = (26, 7, 7, 7, 21, 9, 7, 7, 7, 7, 6)
    return " ".join(
        cell.ljust(width) if index == 0 else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=False))
    )
