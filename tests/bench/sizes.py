"""``python -m tests.bench sizes``: whether what is there makes anything slower.

- Two servers of ours on one PostgreSQL, one with a hundred times the versions and a
  million audit entries, are driven in turns.
- Then more and more clients move the versions of one model, whose row each locks.
"""

import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import click
from sqlalchemy import create_engine, text

from tests.bench import registries
from tests.bench.compared import Load, Side, turn
from tests.bench.figures import describe_machine
from tests.bench.load import Address, Registry, model_name
from tests.mlflow.servers import POLICY_FILES
from tests.server import running_server
from tests.services import postgres

OPERATIONS = (
    *("get model", "get version", "latest by stage", "search versions", "search LIKE"),
    *("page of 100 models", "create version", "transition"),
)
_ENTRIES = text(
    "INSERT INTO audit_entries"
    " (chain, n, at, action, actor, prev_hash, hash, canonical)"
    " SELECT 'bench', n, '2026-01-01T00:00:00Z', 'bench', 'bench', '', md5(n::text),"
    " repeat('x', 500) FROM generate_series(1, :entries) n"
)


@click.command(name="sizes")
@click.option("--models", default=200, show_default=True, help="of the small one")
@click.option("--times", default=100, show_default=True, help="as many: large")
@click.option(
    "--entries", default=1_000_000, show_default=True, help="of its audit log"
)
@click.option("--clients", default="1,4,16,64", show_default=True, help="of one model")
@click.option("--seconds", default=3.0, show_default=True, help="of each turn")
@click.option("--rounds", default=3, show_default=True)
def sizes(
    *,
    models: int,
    times: int,
    entries: int,
    clients: str,
    seconds: float,
    rounds: int,
) -> None:
    """Compare a small registry with a large one, and few clients with many."""
    click.echo(describe_machine())
    binaries = postgres.find_binaries()
    if binaries is None:
        raise click.ClickException("PostgreSQL is not here")
    with ExitStack() as stack:
        server = stack.enter_context(
            postgres.run_server(
                binaries, fsync="on", full_page_writes="on", shared_buffers="512MB"
            )
        )
        small = _registry(stack, server, models)
        large = _registry(stack, server, models * times, entries)
        click.echo(f"{'operation':22} {'small/s':>8} {'large/s':>8}  large / small")
        for operation in OPERATIONS:
            first: list[float] = []
            second: list[float] = []
            for number in range(rounds):
                pairs = [(small, models, first), (large, models * times, second)]
                for side, count, found in pairs if number % 2 == 0 else pairs[::-1]:
                    load = Load(
                        registry=Registry(models=count), clients=16, seconds=seconds
                    )
                    found.append(turn(side, operation, load).figures.per_second)
            click.echo(f"{operation:22} {_row(first, second)}")
        click.echo("one model")
        alone = _registry(stack, server, 5)
        for count in map(int, clients.split(",")):
            load = Load(registry=Registry(models=5), clients=count, seconds=seconds)
            figures = [turn(alone, "transition", load).figures for _ in range(rounds)]
            per_second = statistics.median(each.per_second for each in figures)
            p99 = statistics.median(each.milliseconds(0.99) for each in figures)
            click.echo(f"{count:4} clients {per_second:8.0f}/s  p99 {p99:.0f} ms")


def _row(first: Sequence[float], second: Sequence[float]) -> str:
    ratios = [large / small for small, large in zip(first, second, strict=True)]
    return (
        f"{statistics.median(first):8.0f} {statistics.median(second):8.0f}"
        f"  {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
    )


def _registry(
    stack: ExitStack,
    server: postgres.PostgresServer,
    models: int,
    entries: int = 0,
) -> Side:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    url = stack.enter_context(server.fresh_database())
    running = stack.enter_context(
        running_server(
            directory,
            *("--workers", "2"),
            POLICY_FILE=str(POLICY_FILES["open"]),
            DATABASE_URL=url,
        )
    )
    engine = create_engine(url)
    registries.seed(engine, models, name=model_name)
    with engine.begin() as connection:
        connection.execute(_ENTRIES, {"entries": entries})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as plain:
        plain.execute(text("VACUUM ANALYZE"))
    engine.dispose()
    return Side("ours", Address(running.port, running.token), running.pid)
