"""What a page of an artifact's files costs, of few and of many; and to write them.

No file lies in a store: only what is known of them is asked for, in this process.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path

import click

from registry.domain.actors import SYSTEM, Caller
from registry.domain.commands.versions import SealVersion
from registry.domain.manifests import FileEntry, Manifest
from registry.services.commands import execute
from registry.services.transaction import begin
from tests.bench.databases import on_database, own_database
from tests.bench.figures import describe_machine
from tests.integration.api.driver import MODEL, Driver
from tests.integration.conftest import close_app, make_app, signed_in

_IN_A_DIRECTORY = 50
_LISTS = "/api/2.0/mlflow-artifacts/artifacts?path="


@click.command()
@on_database
@click.option("--count", default=(50, 50_000), show_default=True, multiple=True)
@click.option("--rounds", default=40, show_default=True, help="requests of each kind")
def files(*, database: str, count: tuple[int, ...], rounds: int) -> None:
    """Time a page of 50 files, one file and a directory of artifacts of each size."""
    click.echo(describe_machine())
    with _registry(database) as api:
        api.create_model()
        click.echo(f"{database}, median of {rounds} requests, in ms")
        for size in count:
            number, manifest = api.register(), _manifest(size)
            click.echo(
                f"{size} files: written in {_seal(api, number, manifest):.0f} ms"
            )
            for label, url, headers in _requests(api, number, manifest):
                seconds = _time(lambda: api.client.get(url, headers=headers), rounds)  # noqa: B023  # called at once
                click.echo(f"  {label:24} {seconds * 1000:7.1f}")


@contextmanager
def _registry(database: str) -> Iterator[Driver]:
    with ExitStack() as stack:
        settings = stack.enter_context(own_database(database))
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        app = make_app(Path(directory), **settings)
        stack.callback(close_app, app)
        yield Driver(app, signed_in(app))


def _manifest(size: int) -> Manifest:
    return Manifest(
        tuple(
            FileEntry(
                f"data/{number // _IN_A_DIRECTORY:05}/{number:06}.bin",
                number,
                sha256(b"%d" % number).hexdigest(),
            )
            for number in range(size)
        )
    )


def _seal(api: Driver, number: int, manifest: Manifest) -> float:
    """Complete a version, as the background does; for so long its model is locked."""
    assert manifest.digest  # taken before, with nothing locked
    caller = Caller(actor=SYSTEM)
    began = time.perf_counter()
    with begin(api.engine, caller=caller, policy=api.parts.policy) as tx:
        execute(tx, SealVersion(model=MODEL, number=number, manifest=manifest))
    return (time.perf_counter() - began) * 1000


def _requests(
    api: Driver, number: int, manifest: Manifest
) -> Iterator[tuple[str, str, Mapping[str, str]]]:
    files = f"/api/v1/models/{MODEL}/versions/{number}/artifacts"
    first = api.client.get(f"{files}?limit=49").get_json()
    last = manifest.files[-1]
    known = {"If-None-Match": f'"{last.sha256}"'}
    place = api.client.get(
        f"/api/2.0/mlflow/model-versions/get-download-uri?name={MODEL}&version={number}"
    ).get_json()["artifact_uri"]
    version_id = place.rpartition("/")[2]
    yield "first page", f"{files}?limit=50", {}
    if first["next_cursor"]:
        yield "next page", f"{files}?limit=50&cursor={first['next_cursor']}", {}
    yield "one file, unchanged", f"{files}/{last.path}", known
    yield "MLflow, a directory", f"{_LISTS}{version_id}/data/00000", {}
    yield "MLflow, its directories", f"{_LISTS}{version_id}/data", {}


def _time(send: Callable[[], object], rounds: int) -> float:
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        send()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)
