"""How searching holds up as a registry grows: the same pages, twenty times the rows.

Both registries are asked in turn, in this process, so that what else the machine does
meets both alike. A ratio is of the medians.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
from flask.testing import FlaskClient

from registry.persistence.database import db
from tests.bench.databases import on_database, own_database, vacuum
from tests.bench.figures import describe_machine, percentile
from tests.bench.registries import model_name, seed
from tests.integration.conftest import close_app, make_app, signed_in

_ROOT = "/api/2.0/mlflow"
_MODELS, _VERSIONS = "registered-models/search", "model-versions/search"
_LATE_PAGES = 9  # pages before the one that is timed as late
_ROUNDS_BEFORE = 3
_NAME = model_name(777)

Fields = Mapping[str, str]
#: What is timed, its path, its fields, and whether a late page of it too.
_CASES: tuple[tuple[str, str, Fields, bool], ...] = (
    ("models, default order", _MODELS, {}, True),
    ("models by update", _MODELS, {"order_by": "timestamp DESC"}, True),
    ("models, name LIKE prefix", _MODELS, {"filter": "name LIKE 'model-00%'"}, True),
    ("models, name LIKE %frequent%", _MODELS, {"filter": "name LIKE '%7%'"}, False),
    ("models, name LIKE %rare%", _MODELS, {"filter": "name LIKE '%00777%'"}, False),
    ("models, tag = frequent", _MODELS, {"filter": "tags.team = 't3'"}, False),
    ("models, tag = rare", _MODELS, {"filter": "tags.owner = 'owner-777'"}, False),
    ("versions, default order", _VERSIONS, {}, True),
    ("versions by creation", _VERSIONS, {"order_by": "creation_timestamp"}, True),
    ("versions by name", _VERSIONS, {"order_by": "name"}, True),
    ("versions by number", _VERSIONS, {"order_by": "version_number DESC"}, False),
    ("versions of a model", _VERSIONS, {"filter": f"name = '{_NAME}'"}, False),
    ("versions, run_id =", _VERSIONS, {"filter": "run_id = 'nobody'"}, False),
    ("versions, number >", _VERSIONS, {"filter": "version_number > 3"}, True),
    (
        "versions, tag = frequent",
        _VERSIONS,
        {"filter": "tags.framework = 'torch'"},
        True,
    ),
    ("versions, tag = rare", _VERSIONS, {"filter": "tags.git_sha = 'nobody'"}, False),
    ("get a model", "registered-models/get", {"name": _NAME}, False),
    ("get a version", "model-versions/get", {"name": _NAME, "version": "3"}, False),
    (
        "latest of a stage",
        "registered-models/get-latest-versions",
        {"name": _NAME, "stages": "Production"},
        False,
    ),
)


@click.command()
@on_database
@click.option("--models", default=20_000, show_default=True, help="in the large one")
@click.option("--compared-with", default=1_000, show_default=True)
@click.option("--rounds", default=40, show_default=True, help="requests of each kind")
@click.option("--only", default="", help="what the labels to time begin with")
def search(
    *, database: str, models: int, compared_with: int, rounds: int, only: str
) -> None:
    """Time pages of a search, of 100 each, in a small and a large registry."""
    with _registries(database, (compared_with, models)) as clients:
        click.echo(describe_machine())
        click.echo(
            f"{database}, {compared_with} and {models} models of 5 versions,"
            f" {rounds} requests each: median (5th to 95th percentile)"
        )
        for label, path, fields, has_late_page in _CASES:
            if not label.startswith(only):
                continue
            _time(label, [_request(each, path, fields) for each in clients], rounds)
            if has_late_page:
                late = [_late_request(each, path, fields) for each in clients]
                _time(f"{label}, page {_LATE_PAGES + 1}", late, rounds)


@contextmanager
def _registries(database: str, sizes: tuple[int, ...]) -> Iterator[list[FlaskClient]]:
    with ExitStack() as stack:
        clients = []
        for size in sizes:
            directory = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="stagegate-bench-")
            )
            settings = stack.enter_context(own_database(database))
            app = make_app(Path(directory), **settings)
            stack.callback(close_app, app)
            with app.app_context():
                seed(db.engine, size)
            if settings:
                vacuum(settings["DATABASE_URL"])
            clients.append(signed_in(app))
        yield clients


def _request(client: FlaskClient, path: str, fields: Fields) -> Callable[[], None]:
    sent = {"max_results": "100", **fields} if path in {_MODELS, _VERSIONS} else fields

    def send() -> None:
        answer = client.get(f"{_ROOT}/{path}", query_string=sent)
        assert answer.status_code == 200, answer.text

    return send


def _late_request(client: FlaskClient, path: str, fields: Fields) -> Callable[[], None]:
    sent = {"max_results": "100", **fields}
    for _ in range(_LATE_PAGES):
        answer = client.get(f"{_ROOT}/{path}", query_string=sent).get_json()
        if "next_page_token" not in answer:
            break
        sent["page_token"] = answer["next_page_token"]
    return _request(client, path, sent)


def _time(label: str, requests: list[Callable[[], None]], rounds: int) -> None:
    waits: list[list[float]] = [[] for _ in requests]
    for number in range(-_ROUNDS_BEFORE, rounds):
        for send, seconds in zip(requests, waits, strict=True):
            started = time.perf_counter()
            send()
            if number >= 0:
                seconds.append(time.perf_counter() - started)
    medians = [statistics.median(seconds) for seconds in waits]
    shown = "  ".join(_describe(seconds) for seconds in waits)
    click.echo(f"{label:38}{shown}  {medians[-1] / medians[0]:5.2f}")


def _describe(seconds: list[float]) -> str:
    low, high = (percentile(seconds, share) * 1000 for share in (0.05, 0.95))
    return f"{statistics.median(seconds) * 1000:7.1f} ms ({low:.1f} to {high:.1f})"
