"""``python -m tests.bench sizes``: whether what is there makes anything slower.

- Two servers of ours on one PostgreSQL, one with a hundred times the versions and a
  million audit entries, are driven in turns.
- Then more and more clients move the versions of one model, whose row each locks.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import click
from sqlalchemy import create_engine, text

from tests.bench import registries
from tests.bench.databases import running_postgresql, vacuum
from tests.bench.figures import Table, describe_machine, describe_ratios
from tests.bench.operations import Registry, model_name
from tests.bench.servers import our_server, side_of
from tests.bench.turns import Load, Side, in_turns, median, paired
from tests.services.postgres import PostgresServer

OPERATIONS = (
    *("get model", "get version", "latest by stage", "search versions", "search LIKE"),
    *("page of 100 models", "create version", "transition"),
)
#: All writes go to the last fifth of them.
ONE_MODEL = Registry(models=5)
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
    *, models: int, times: int, entries: int, clients: str, seconds: float, rounds: int
) -> None:
    """Compare a small registry with a large one, and few clients with many."""
    click.echo(f"{describe_machine()}\n")
    with ExitStack() as stack:
        server = stack.enter_context(running_postgresql())
        small, large = (
            stack.enter_context(_seeded(server, Registry(models=count), its_entries))
            for count, its_entries in ((models, 0), (models * times, entries))
        )
        table = Table(
            {"operation": 18, "small/s": 7, "large/s": 7, "large / small": 16}
        )
        for name in OPERATIONS:
            turns = in_turns([(small, name), (large, name)], Load(16, seconds, rounds))
            per_second = (f"{median('per_second', each):.0f}" for each in turns)
            ratios = describe_ratios(paired("per_second", *reversed(turns)))
            table.add(name, *per_second, ratios)
    with running_postgresql() as server, _seeded(server, ONE_MODEL) as side:
        click.echo()
        table = Table(
            {"clients of one model": 20, "moves/s": 7, "p50 ms": 6, "p99 ms": 6}
        )
        for count in map(int, clients.split(",")):
            (moves,) = in_turns([(side, "transition")], Load(count, seconds, rounds))
            figures = (
                f"{median(each, moves):.0f}" for each in ("per_second", "p50", "p99")
            )
            table.add(str(count), *figures)


@contextmanager
def _seeded(
    postgresql: PostgresServer, registry: Registry, entries: int = 0
) -> Iterator[Side]:
    """A server of ours whose rows were stored in bulk."""
    with postgresql.fresh_database() as url, our_server(url, workers=2) as running:
        engine = create_engine(url)
        registries.seed(engine, registry.models, name=model_name)
        with engine.begin() as connection:
            connection.execute(_ENTRIES, {"entries": entries})
        engine.dispose()
        vacuum(url)
        yield side_of(running, registry, postgresql)
