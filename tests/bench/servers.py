"""The servers that are compared, on one PostgreSQL or each on a SQLite file."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from tests.bench.databases import running_postgresql, vacuum
from tests.bench.limits import flask_route
from tests.bench.load import Address, seed
from tests.bench.operations import Registry
from tests.bench.receiving import BenchReceiver
from tests.bench.turns import Side
from tests.mlflow import environment
from tests.mlflow.servers import POLICY_FILES, mlflow_server
from tests.server import RunningServer, started_server
from tests.services.postgres import PostgresServer
from tests.waiting import wait_for

MLFLOW_WORKERS = 2
#: Of ours: on SQLite as ``serve`` starts it.
WORKERS = {"sqlite": 1, "postgresql": 2}
_POLL_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class Servers:
    """What is compared."""

    ours: Side
    theirs: Side
    route: Side
    stagegate: RunningServer


@contextmanager
def running_servers(
    database: str, registry: Registry, *, workers: int
) -> Iterator[Servers]:
    """Both registries, with the same data, and the trivial route."""
    with ExitStack() as stack:
        server = our_url = their_url = None
        if database == "postgresql":
            server = stack.enter_context(running_postgresql())
            our_url = stack.enter_context(server.fresh_database())
            their_url = stack.enter_context(server.fresh_database())
        running = stack.enter_context(our_server(our_url, workers=workers))
        ours = side_of(running, registry, server)
        theirs = stack.enter_context(_their_side(their_url, registry, server))
        for side in (ours, theirs):
            seed(side.address, registry)
        for url in filter(None, (our_url, their_url)):
            vacuum(url)
        port, session = stack.enter_context(flask_route(workers))
        route = Side(address=Address(port), session=session, registry=registry)
        yield Servers(ours=ours, theirs=theirs, route=route, stagegate=running)


@contextmanager
def our_server(url: str | None, *, workers: int) -> Iterator[RunningServer]:
    """Ours, under the policy that allows any move; SQLite where there is no URL."""
    settings = {"DATABASE_URL": url} if url else {}
    with (
        tempfile.TemporaryDirectory(prefix="stagegate-bench-") as directory,
        started_server(
            Path(directory),
            *("--workers", str(workers)),
            POLICY_FILE=str(POLICY_FILES["open"]),
            **settings,
        ) as running,
    ):
        yield running


def side_of(
    running: RunningServer, registry: Registry, postgresql: PostgresServer | None
) -> Side:
    """A server of ours and what it holds, or will."""
    return Side(
        address=Address(running.port, running.token),
        session=running.pid,
        registry=registry,
        postgresql=postgresql,
    )


@contextmanager
def _their_side(
    url: str | None, registry: Registry, postgresql: PostgresServer | None
) -> Iterator[Side]:
    found = environment.provide()
    if found is None:
        raise click.ClickException(environment.WITHOUT_MLFLOW)
    with (
        tempfile.TemporaryDirectory(prefix="stagegate-bench-") as directory,
        mlflow_server(
            found, Path(directory), backend_store_uri=url, workers=str(MLFLOW_WORKERS)
        ) as running,
    ):
        yield Side(
            address=Address(int(running.url.rpartition(":")[2])),
            session=running.process.pid,
            registry=registry,
            postgresql=postgresql,
        )


def subscribed(server: RunningServer, receiver: BenchReceiver) -> Callable[[], float]:
    """Have all events delivered; give what waits until they are, and the instant."""
    session = server.http()
    webhooks = f"{server.url}/api/v1/webhooks"
    made = session.post(webhooks, json={"url": receiver.url}, timeout=10)
    made.raise_for_status()
    deliveries = f"{webhooks}/{made.json()['id']}/deliveries"

    def are_left() -> bool:
        asked = ({"state": state, "limit": "1"} for state in ("pending", "sending"))
        answers = (session.get(deliveries, params=each, timeout=60) for each in asked)
        return any(answer.json()["items"] for answer in answers)

    def look() -> tuple[bool, int]:
        time.sleep(_POLL_SECONDS)  # to ask is work for the server
        return are_left(), receiver.count()

    def finish() -> float:
        wait_for(look, lambda seen: not seen[0])
        return max(each.at for each in receiver.take())

    return finish
