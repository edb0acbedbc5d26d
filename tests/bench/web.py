"""``python -m tests.bench web``: what the pages weigh, and how long they take.

- The registry is large: models stored in bulk, and ``bench-big``, whose versions were
  registered and moved by the API, with metrics and a history.
- Server time is that of one request at a time over loopback, with a session's cookie.
- Chromium's figures are those of a fresh profile (the first visit) and of the same
  profile afterwards: bytes as they came over the wire, headers included.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click
import requests
from playwright.sync_api import BrowserContext, Page
from sqlalchemy import create_engine

from registry.settings import packaged_config
from tests.bench import registries
from tests.bench.databases import on_database, own_database, vacuum
from tests.bench.figures import Table, describe_machine, percentile
from tests.browser.chromium import WIDE, chromium
from tests.server import RunningServer, started_server

BIG = "bench-big"
PAGES = {
    "now": "/",
    "models": "/models",
    "models, a word": "/models?q=model-012",
    "models, a tag": "/models?q=tags.team+%3D+%27team-3%27",
    "one model": f"/models/{registries.model_name(1234)}",
    "a model of many versions": f"/models/{BIG}",
    "one version": f"/models/{BIG}/versions/400",
    "compare": f"/models/{BIG}/compare?v=400&v=401&v=402",
    "change of stage": f"/models/{BIG}/versions/401/move?to=Staging",
    "rollback": f"/models/{BIG}/rollback",
    "requests": "/requests",
    "consumers": "/consumers",
    "webhooks": "/webhooks",
    "deliveries": "/deliveries",
    "audit": "/audit",
    "policy": "/policy",
    "tokens": "/admin/tokens",
}
PAINT = """
() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? null
"""


@click.command(name="web")
@on_database
@click.option("--models", default=20_000, show_default=True)
@click.option("--versions", default=500, show_default=True, help=f"of {BIG}")
@click.option("--requests", "count", default=40, show_default=True, help="of each page")
@click.option(
    "--visits", default=3, show_default=True, help="of each page, in Chromium"
)
def web(*, database: str, models: int, versions: int, count: int, visits: int) -> None:
    """Weigh the pages of a large registry, and time them."""
    click.echo(f"{describe_machine()}\n")
    with _registry(database, models, versions) as server:
        click.echo(f"{database}, {models:,} models, one of {versions} versions")
        _time_server(server, count)
        _visit(server, visits)


@contextmanager
def _registry(database: str, models: int, versions: int) -> Iterator[RunningServer]:
    with (
        tempfile.TemporaryDirectory(prefix="stagegate-bench-") as directory,
        own_database(database) as settings,
        started_server(
            Path(directory),
            POLICY_FILE=str(packaged_config("policy-open.toml")),
            **settings,
        ) as server,
    ):
        url = settings.get("DATABASE_URL") or f"sqlite:///{directory}/data/stagegate.db"
        engine = create_engine(url)
        registries.seed(engine, models)
        engine.dispose()
        _fill(server, versions)
        if settings:
            vacuum(url)
        yield server


def _fill(server: RunningServer, versions: int) -> None:
    """Register and move the versions of one model; every tenth goes to Production."""
    with server.http() as http:
        base = f"{server.url}/api/v1"
        _sent(http, "POST", f"{base}/models", {"name": BIG})
        for number in range(1, versions + 1):
            run_id = f"{number:032x}"
            facts = {
                "source": f"s3://models/1/{run_id}/artifacts/model",
                "run_id": run_id,
                "description": f"Nightly training {number}",
                "tags": {"framework": "sklearn"},
                "params": {"max_depth": str(number % 9), "learning_rate": "0.1"},
                "metrics": {"auc": 0.5 + number / 2000, "loss": 1 / number},
            }
            _sent(http, "POST", f"{base}/models/{BIG}/versions", facts)
            if number % 10 == 0:
                move = {"to_stage": "Production", "reason": "better"}
                path = f"{base}/models/{BIG}/versions/{number}/transitions"
                _sent(http, "POST", path, move)


def _sent(http: requests.Session, method: str, url: str, body: dict[str, Any]) -> None:
    answer = http.request(method, url, json=body, timeout=60)
    if not answer.ok:
        raise click.ClickException(
            f"{method} {url}: {answer.status_code} {answer.text}"
        )


def _time_server(server: RunningServer, count: int) -> None:
    table = Table({"page": 26, "p50 ms": 7, "p95 ms": 7, "304 ms": 7, "sent KB": 8})
    with server.http() as http:
        http.post(f"{server.url}/auth/session", timeout=60).raise_for_status()
        del http.headers["Authorization"]
        for name, path in PAGES.items():
            first = http.get(f"{server.url}{path}", timeout=60)
            first.raise_for_status()
            seconds = [_timed(http, server.url + path) for _ in range(count)]
            same = {"If-None-Match": first.headers["ETag"]}
            unchanged = [
                _timed(http, server.url + path, headers=same) for _ in range(count // 4)
            ]
            table.add(
                name,
                f"{median(seconds) * 1000:.1f}",
                f"{percentile(seconds, 0.95) * 1000:.1f}",
                f"{median(unchanged) * 1000:.1f}",
                f"{int(first.headers['Content-Length']) / 1000:.1f}",
            )
    click.echo()


def _timed(http: requests.Session, url: str, **how: Any) -> float:  # noqa: ANN401
    before = time.perf_counter()
    http.get(url, timeout=60, **how)
    return time.perf_counter() - before


@dataclass
class Weight:
    """What came over the wire for a page; what the browser had kept did not."""

    bytes: int = 0
    requests: int = 0

    def add(self, loaded: dict[str, Any]) -> None:
        """Count what Chromium says has been loaded (``Network.loadingFinished``)."""
        if loaded["encodedDataLength"]:
            self.bytes += int(loaded["encodedDataLength"])
            self.requests += 1


def _visit(server: RunningServer, visits: int) -> None:
    table = Table(
        {
            "page": 26,
            "first KB": 8,
            "requests": 8,
            "later KB": 8,
            "later requests": 14,
            "first content ms": 22,
        }
    )
    with chromium() as browser:
        for name, path in PAGES.items():
            firsts, laters, paints = [], [], []
            for _ in range(visits):
                context = browser.new_context(viewport={"width": WIDE, "height": 900})
                _sign_in(context, server)
                first, paint = _load(context.new_page(), server.url + path)
                later, _ = _load(context.new_page(), server.url + path)
                context.close()
                firsts.append(first)
                laters.append(later)
                paints.append(paint)
            table.add(
                name,
                f"{max(weight.bytes for weight in firsts) / 1000:.1f}",
                f"{max(weight.requests for weight in firsts)}",
                f"{max(weight.bytes for weight in laters) / 1000:.1f}",
                f"{max(weight.requests for weight in laters)}",
                f"{median(paints):.0f} ({min(paints):.0f} to {max(paints):.0f})",
            )


def _sign_in(context: BrowserContext, server: RunningServer) -> None:
    token = {"Authorization": f"Bearer {server.token}"}
    answer = context.request.post(f"{server.url}/auth/session", headers=token)
    if not answer.ok:
        raise click.ClickException(answer.text())


def _load(page: Page, url: str) -> tuple[Weight, float]:
    """Open a page; returns what came for it, and when its first content was drawn."""
    weight = Weight()
    network = page.context.new_cdp_session(page)
    network.send("Network.enable")
    network.on("Network.loadingFinished", weight.add)
    page.goto(url, wait_until="networkidle")
    paint = page.evaluate(PAINT)
    page.close()
    return weight, float(paint or 0)
