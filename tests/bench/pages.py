"""What lists of very large rows cost: the answer, the time, and the server's memory.

The rows are as large as the API takes them: versions with a megabyte of tags, and
the audit entries and events that tell of them.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import click
import requests

from tests.bench.databases import on_database, own_database
from tests.bench.figures import describe_machine
from tests.server import RunningServer, started_server

_TAGS = {f"note-{number}": "n" * 100_000 for number in range(9)}
_LISTS = (
    "/api/v1/models?limit=200",
    "/api/v1/models/m/versions?limit=200",
    "/api/v1/models/m/history?limit=200",
    "/api/v1/audit?limit=200",
    "/api/v1/audit/verify",
    "/api/v1/events?limit=200",
    "/api/2.0/mlflow/model-versions/search?max_results=1000",
)


@click.command()
@on_database
@click.option("--versions", default=100, show_default=True)
@click.option("--at-once", default=(1, 4), show_default=True, multiple=True)
def pages(*, database: str, versions: int, at_once: Sequence[int]) -> None:
    """Ask for pages of rows of a megabyte, alone and several at once."""
    click.echo(describe_machine())
    with _server(database) as server, server.http() as http:
        _fill(http, server.url, versions)
        click.echo(f"{database}, {versions} versions of {_size(_TAGS)} MB of tags")
        for path in _LISTS:
            for count in at_once:
                _measure(server, path, count)


@contextmanager
def _server(database: str) -> Iterator[RunningServer]:
    with (
        own_database(database) as settings,
        tempfile.TemporaryDirectory(prefix="stagegate-bench-") as directory,
        started_server(Path(directory), **settings) as server,
    ):
        yield server


def _size(tags: dict[str, str]) -> float:
    return sum(map(len, tags.values())) / 1_000_000


def _fill(http: requests.Session, url: str, versions: int) -> None:
    made = http.post(f"{url}/api/v1/models", json={"name": "m", "tags": _TAGS})
    made.raise_for_status()
    for number in range(1, versions + 1):
        body = {"source": "s3://elsewhere/m", "tags": _TAGS}
        http.post(f"{url}/api/v1/models/m/versions", json=body).raise_for_status()
        reason = {"to_stage": "Staging", "reason": "r" * 20_000}
        path = f"/api/v1/models/m/versions/{number}/transitions"
        http.post(url + path, json=reason).raise_for_status()


def _measure(server: RunningServer, path: str, count: int) -> None:
    before = _forget_peak(server.pid)
    began = time.perf_counter()
    with ThreadPoolExecutor(count) as asking:
        answers = list(asking.map(lambda _: _length_of(server, path), range(count)))
    seconds = time.perf_counter() - began
    peak = _status(server.pid, "VmHWM")
    click.echo(
        f"{path.partition('?')[0]:40} {count} at once: {max(answers) / 1e6:6.1f} MB"
        f" each, {seconds:6.2f} s, memory {before:.0f} -> {peak:.0f} MB"
    )


def _length_of(server: RunningServer, path: str) -> int:
    with server.http() as http:
        answer = http.get(server.url + path, timeout=120)
        while answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            time.sleep(0.5)  # the audit log is verified for two at a time
            answer = http.get(server.url + path, timeout=120)
    answer.raise_for_status()
    return len(answer.content)


def _forget_peak(pid: int) -> float:
    """Begin the peak of a process anew; say what it holds now, in MB."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
    return _status(pid, "VmRSS")


def _status(pid: int, name: str) -> float:
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    line = next(line for line in text.splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) / 1000
