"""How long a server takes to answer, first and again, and a command of its client.

Beside the time of the clock stands that of the processor, which other work on the
machine lengthens less.
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import click

from registry.domain.token_format import new_token
from tests.bench.figures import describe_machine, describe_spread
from tests.bench.turns import cpu_seconds
from tests.server import RunningServer, server_environment
from tests.services.processes import free_port

Times = tuple[float, float]  # of the clock and of the processor, in seconds

_COMMANDS = ("--help", "models list", "models list -o json", "versions show fraud 1")


@click.command()
@click.option("--rounds", default=5, show_default=True)
def start(*, rounds: int) -> None:
    """Time `serve` on the embedded database, twice, and commands against it."""
    click.echo(describe_machine())
    figures: dict[str, list[Times]] = defaultdict(list)
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as directory:
            for name, times in _round(Path(directory)):
                figures[name].append(times)
    for name, taken in figures.items():
        clock, processor = (
            describe_spread([seconds * 1e3 for seconds in column], "ms")
            for column in zip(*taken, strict=True)
        )
        click.echo(f"{name:22} clock {clock}; processor {processor}")


def _round(directory: Path) -> Iterator[tuple[str, Times]]:
    token, port = new_token(), free_port()
    environment = server_environment(directory, BOOTSTRAP_TOKEN=token)
    server = RunningServer(
        directory=directory, environment=environment, token=token, port=port
    )
    yield "serve, no database yet", _started(server)
    server.stop()
    yield "serve", _started(server)
    try:
        with server.http() as http:
            model = f"{server.url}/api/v1/models"
            http.post(model, json={"name": "fraud"}).raise_for_status()
            version = {"source": "s3://elsewhere/1"}
            http.post(f"{model}/fraud/versions", json=version).raise_for_status()
        for command in _COMMANDS:
            yield command, _commanded(server, command.split())
    finally:
        server.stop()


def _started(server: RunningServer) -> Times:
    before = time.monotonic()
    server.start()
    seconds = time.monotonic() - before
    return seconds, cpu_seconds(server.pid)


def _commanded(server: RunningServer, command: list[str]) -> Times:
    before, used_before = time.monotonic(), _of_ended_children()
    subprocess.run(
        [sys.executable, "-m", "registry.cli.main", *command],
        env={
            **server.environment,
            "STAGEGATE_URL": server.url,
            "STAGEGATE_TOKEN": server.token,
        },
        cwd=server.directory,
        check=True,
        capture_output=True,
    )
    return time.monotonic() - before, _of_ended_children() - used_before


def _of_ended_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
