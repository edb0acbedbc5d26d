"""``python -m tests.bench promotion``: what the outbox takes of a promotion."""

import contextlib
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click
from flask.testing import FlaskClient

from tests.bench.databases import on_database, own_database
from tests.bench.figures import describe_machine
from tests.integration.conftest import close_app, make_app, signed_in

SUBSCRIPTIONS = (0, 1, 20)
MODEL = "models/fraud"
MOVES_IN_A_TURN = 5


@dataclass
class _World:
    """An application in this process, with so many subscriptions to everything."""

    client: FlaskClient
    milliseconds: dict[str, list[float]] = field(
        default_factory=lambda: {"wall": [], "processor": []}
    )

    def post(self, path: str, **body: object) -> None:
        answer = self.client.post(f"/api/v1/{path}", json=body)
        assert answer.status_code in {200, 201}, answer.text

    def move(self) -> None:
        """Let the version before serve again, which archives the one that serves."""
        began_at, used_before = time.perf_counter(), time.process_time()
        self.post(f"{MODEL}/rollback")
        used = time.process_time() - used_before
        self.milliseconds["processor"].append(used * 1000)
        self.milliseconds["wall"].append((time.perf_counter() - began_at) * 1000)


@click.command()
@on_database
@click.option("--turns", default=40, show_default=True)
def promotion(database: str, turns: int) -> None:
    """Compare promotions with 0, 1 and 20 subscriptions, in turns of five.

    What is more than without subscriptions is the outbox's. Processor time is this
    process's, so on PostgreSQL without that of the server.
    """
    click.echo(describe_machine())
    with contextlib.ExitStack() as stack:
        worlds = {
            count: stack.enter_context(_opened(database, count))
            for count in SUBSCRIPTIONS
        }
        for _ in range(turns):
            for world in worlds.values():
                for _ in range(MOVES_IN_A_TURN):
                    world.move()
    for kind in ("wall", "processor"):
        times = {count: world.milliseconds[kind] for count, world in worlds.items()}
        alone = statistics.median(times[0])
        for count, values in times.items():
            whole = statistics.median(values)
            click.echo(
                f"{database}, {count} subscriptions, {kind} time: {whole:.2f} ms, of it"
                f" the outbox {whole - alone:.2f} ({1 - alone / whole:.0%})"
            )


@contextmanager
def _opened(database: str, subscriptions: int) -> Iterator[_World]:
    with (
        tempfile.TemporaryDirectory(prefix="stagegate-bench-") as name,
        own_database(database) as settings,
    ):
        directory = Path(name)
        artifact = directory / "data" / "artifacts" / "given"
        artifact.mkdir(parents=True)
        (artifact / "model.bin").write_bytes(b"weights")
        app = make_app(directory, **settings)
        world = _World(signed_in(app))
        world.post("models", name="fraud")
        for number in (1, 2):
            world.post(f"{MODEL}/versions", source=artifact.as_uri())
            for stage in ("Staging", "Production"):
                path = f"{MODEL}/versions/{number}/transitions"
                world.post(path, to_stage=stage)
        for number in range(subscriptions):
            url = f"http://127.0.0.1:9/{number}"
            world.post("webhooks", url=url, event_types=["*"])
        yield world
        close_app(app)
