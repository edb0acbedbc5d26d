"""``make bench``: Stagegate beside MLflow's own server, and beside what limits it.

- All servers are started here, on one PostgreSQL that waits for its disk, or each on a
  SQLite file; both registries under policies that allow any move, with the same data.
- Each operation is driven in turns, ours and theirs, then theirs and ours: a ratio is
  of two turns beside each other in time. Its median is given with its extremes.
- "delivered" is ours with one subscription, its time ending with the last delivery;
  beside MLflow's without one, which has no event for a change of stage.
- A share is of the requests a second of a trivial route, which has its turns too, but
  for one client, where most of what either takes is waiting.
- Processor time is the server's and, where it is another process, the database's.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from tests.bench.databases import DATABASES
from tests.bench.figures import Table, describe_machine, describe_ratios
from tests.bench.limits import bare_promotions
from tests.bench.operations import OPERATIONS, TRIVIAL, Registry
from tests.bench.plot import Point, draw
from tests.bench.receiving import running_receiver
from tests.bench.servers import (
    MLFLOW_WORKERS,
    WORKERS,
    Servers,
    running_servers,
    subscribed,
)
from tests.bench.turns import Load, Turn, in_turns, median, paired
from tests.mlflow import environment

CLIENTS = {"sqlite": "8,1", "postgresql": "16,1"}
MOVED, DELIVERED = "transition", "transition, delivered"
_COLUMNS = {
    "operation": 25,
    "clients": 7,
    "requests/s": 11,
    "ratio": 19,
    "p50 ms": 14,
    "ratio of p50": 16,
    "p99 ms": 13,
    "CPU ms": 30,
    "share of the route": 18,
}


@click.command(name="mlflow")
@click.option(
    "--database",
    "databases",
    type=click.Choice(DATABASES),
    default=DATABASES[::-1],
    show_default=True,
    multiple=True,
)
@click.option("--clients", help="at a time  [default: 16,1, on SQLite 8,1]")
@click.option("--workers", type=int, help="of ours  [default: 2, on SQLite 1]")
@click.option("--models", default=200, show_default=True)
@click.option("--seconds", default=0.8, show_default=True, help="of each turn")
@click.option("--rounds", default=3, show_default=True)
@click.option("--only", multiple=True, help="what the operations begin with")
@click.option("--plot", type=click.Path(path_type=Path), help=".svg or .png, to draw")
def compare(
    *,
    databases: Sequence[str],
    clients: str | None,
    workers: int | None,
    models: int,
    seconds: float,
    rounds: int,
    only: tuple[str, ...],
    plot: Path | None,
) -> None:
    """Compare with MLflow's own server, in turns."""
    machine = describe_machine()
    click.echo(f"{machine}; {models} models, {rounds} turns of {seconds} s each")
    panels = {}
    for database in databases:
        loads = [
            Load(int(count), seconds, rounds)
            for count in (clients or CLIENTS[database]).split(",")
        ]
        ours = workers or WORKERS[database]
        title = (
            f"{database}: Stagegate (--workers {ours}) : "
            f"MLflow {environment.VERSION} (--workers {MLFLOW_WORKERS})"
        )
        with running_servers(database, Registry(models=models), workers=ours) as found:
            click.echo(f"\n{title}\n")
            panels[title] = list(_compare(found, loads, only or ("",)))
    if plot is not None:
        draw(plot, machine, panels)


def _compare(
    servers: Servers, loads: Sequence[Load], only: tuple[str, ...]
) -> Iterator[Point]:
    table = Table(_COLUMNS)
    for load in loads:
        _add_limits(table, servers, load)
        for name in OPERATIONS:
            if name.startswith(only) and name != TRIVIAL:
                yield _measure(table, servers, load, (name, name))
    if not DELIVERED.startswith(only):
        return
    with running_receiver(0.0) as receiver:
        finish = subscribed(servers.stagegate, receiver)
        ours = dataclasses.replace(servers.ours, finish=finish)
        servers = dataclasses.replace(servers, ours=ours)
        for load in loads:
            yield _measure(table, servers, load, (DELIVERED, MOVED))


def _add_limits(table: Table, servers: Servers, load: Load) -> None:
    """Measure and print what nothing of ours could be faster than."""
    route = in_turns([(servers.route, TRIVIAL)], load)
    table.add("a trivial Flask route", str(load.clients), *_cells(route))
    if servers.ours.postgresql is not None:
        table.add(
            "bare promotions (pgbench)",
            str(load.clients),
            *bare_promotions(servers.ours.postgresql, load),
        )


def _measure(
    table: Table, servers: Servers, load: Load, named: tuple[str, str]
) -> Point:
    """Measure and print an operation, under a label."""
    label, name = named
    asked = [(servers.ours, name), (servers.theirs, name), (servers.route, TRIVIAL)]
    if load.clients == 1:
        asked.pop()
    ours, theirs, *route = in_turns(asked, load)
    shares = [describe_ratios(paired("per_second", ours, each)) for each in route]
    table.add(label, str(load.clients), *_cells([ours, theirs]), *shares)
    return Point(f"{label}, {load.clients}", paired("per_second", ours, theirs))


def _cells(sides: Sequence[Sequence[Turn]]) -> Iterator[str]:
    """The figures of each side, and the ratios where there are two."""

    def of_each(figure: str, digits: int) -> str:
        return " : ".join(f"{median(figure, turns):.{digits}f}" for turns in sides)

    def ratio(figure: str) -> str:
        return describe_ratios(paired(figure, *sides)) if len(sides) > 1 else ""

    yield from (of_each("per_second", 0), ratio("per_second"))
    yield from (of_each("p50", 1), ratio("p50"), of_each("p99", 0))
    yield " : ".join(map(_processor_time, sides))


def _processor_time(turns: Sequence[Turn]) -> str:
    server, database = median("server_cpu", turns), median("database_cpu", turns)
    return f"{server:.2f}" + (f" + {database:.2f}" if database else "")
