"""``/metrics``: requests by route, the state of deliveries, and proofs that stay 0."""

import contextlib
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import click
import pytest
import requests
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from registry import worker
from registry.cli.metrics_server import metrics_served
from registry.services import state_metrics
from registry.web.parts import Parts
from registry.worker import BackgroundWork
from tests.integration.api.driver import MODEL, Driver, document_of
from tests.integration.conftest import close_app, make_app, signed_in
from tests.receiver import Receiver
from tests.services.processes import free_port
from tests.waiting import wait_for

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(autouse=True)
def always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the gauges anew for every request."""
    monkeypatch.setattr(state_metrics, "FRESH", timedelta(0))


@pytest.fixture
def api(tmp_path: Path, database: dict[str, str]) -> Iterator[Driver]:
    """An application of its own, whose proofs know of nothing yet."""
    app = make_app(tmp_path, **database)
    yield Driver(app, signed_in(app))
    close_app(app)


def parsed(exposition: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
    }


def scrape(api: Driver) -> Samples:
    answer = api.app.test_client().get("/metrics")
    assert answer.status_code == 200
    return parsed(answer.get_data(as_text=True))


def value(samples: Samples, metric: str, **labels: str) -> float | None:
    return samples.get((f"stagegate_{metric}", frozenset(labels.items())))


def execute(api: Driver, statement: str) -> None:
    with api.engine.begin() as connection:
        connection.execute(text(statement))


def test_requests_are_counted_by_the_template_of_their_route(api: Driver) -> None:
    route = {"method": "GET", "route": "/api/v1/models/<name:name>"}
    before = value(scrape(api), "http_requests_total", status="404", **route) or 0

    api.get("/models/absent")
    api.get("/models/missing")

    after = scrape(api)
    assert value(after, "http_requests_total", status="404", **route) == before + 2
    assert value(after, "http_request_seconds_count", **route)


def test_what_clients_make_up_is_no_label(api: Driver) -> None:
    anonymous = api.app.test_client()
    anonymous.get("/no/such/path-brewed")
    anonymous.open("/healthz", method="BREWED")
    anonymous.get("/api/v1/models/made-up-brewed")

    answer = anonymous.get("/metrics")

    assert "brewed" not in answer.get_data(as_text=True).lower()
    samples = parsed(answer.get_data(as_text=True))
    assert value(
        samples, "http_requests_total", method="GET", route="none", status="404"
    )


def test_deliveries_are_counted_by_endpoint_and_state(api: Driver) -> None:
    webhook = document_of(api.post("/webhooks", {"url": "http://127.0.0.1:9/hook"}))
    idle = value(
        scrape(api), "webhook_oldest_pending_age_seconds", webhook=webhook["id"]
    )
    api.create_model("churn")
    api.patch(f"/webhooks/{webhook['id']}", {"state": "paused"})
    api.patch(f"/webhooks/{webhook['id']}", {"state": "active"})
    api.create_model()
    execute(
        api,
        "UPDATE webhook_deliveries SET created_at = '2026-01-01 00:00:00.000000'",
    )

    samples = scrape(api)

    def waiting(state: str) -> float | None:
        return value(samples, "webhook_deliveries", webhook=webhook["id"], state=state)

    assert (waiting("pending"), waiting("held"), waiting("blocked")) == (2, 0, 0)
    age = value(samples, "webhook_oldest_pending_age_seconds", webhook=webhook["id"])
    assert idle == 0
    assert age is not None
    assert age > 0
    assert value(samples, "webhook_active", webhook=webhook["id"]) == 1
    assert value(samples, "webhook_breakers_open") == 0


def test_what_dies_as_a_change_is_stored_is_counted(api: Driver) -> None:
    # Twenty-five times an event with so long an address is more than GitHub takes.
    body = {
        "url": "http://127.0.0.1:9/hook",
        "event_types": ["model_version.stage_changed"],
        "format": "github",
        "options": {
            "dispatch": "workflow",
            "ref": "main",
            "inputs": {f"input_{n}": "event" for n in range(25)},
        },
        "credentials": {"token": "token-of-the-receiver"},
        "on_poison": "skip",
    }
    webhook = document_of(api.post("/webhooks", body))
    api.create_model()
    source = {"source": "s3://elsewhere/" + "a" * 1900}
    api.post(f"/models/{MODEL}/versions", source)

    api.post(f"/models/{MODEL}/versions/1/transitions", {"to_stage": "Staging"})

    assert value(scrape(api), "webhook_dead_total", webhook=webhook["id"]) == 1


def test_what_is_sent_is_counted(api: Driver, receiver: Receiver) -> None:
    receiver.answers = [500]
    webhook = document_of(api.post("/webhooks", {"url": receiver.url}))
    api.create_model()

    parts: Parts = api.app.extensions["stagegate"]
    parts.dispatcher.run_once()

    labels = {"webhook": webhook["id"], "outcome": "failed"}
    assert value(scrape(api), "webhook_attempts_total", **labels) == 1


def test_a_paused_endpoint_and_an_open_breaker_show(api: Driver) -> None:
    webhook = document_of(api.post("/webhooks", {"url": "http://127.0.0.1:9/hook"}))
    api.patch(f"/webhooks/{webhook['id']}", {"state": "paused"})
    execute(
        api,
        "UPDATE webhook_subscriptions SET breaker_until = '2999-01-01 00:00:00.000000'",
    )

    samples = scrape(api)

    assert value(samples, "webhook_active", webhook=webhook["id"]) == 0
    assert value(samples, "webhook_breakers_open") == 1


def test_a_database_that_does_not_answer_shows_and_hides_nothing_else(
    api: Driver,
) -> None:
    execute(api, "ALTER TABLE webhook_subscriptions RENAME TO elsewhere")

    samples = scrape(api)

    assert value(samples, "database_up") == 0
    assert value(samples, "webhook_breakers_open") is None
    assert ("python_info", frozenset()) not in samples
    assert any(name == "python_info" for name, _ in samples)


def test_a_reading_serves_for_a_while(
    api: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_metrics, "FRESH", timedelta(hours=1))
    before = scrape(api)
    execute(api, "ALTER TABLE webhook_subscriptions RENAME TO elsewhere")

    after = scrape(api)

    assert value(before, "database_up") == value(after, "database_up") == 1


@contextlib.contextmanager
def listening(app: Flask) -> Iterator[int]:
    port = free_port()
    with metrics_served(app, "127.0.0.1", port):
        yield port


def test_a_worker_serves_its_metrics_where_it_is_told_to(app: Flask) -> None:
    with listening(app) as port:
        address = f"http://127.0.0.1:{port}/metrics"
        with urllib.request.urlopen(address, timeout=30) as answer:
            samples = parsed(answer.read().decode())

    assert value(samples, "database_up") == 1


def test_a_worker_tells_by_its_heartbeats_whether_it_lives(
    api: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = BackgroundWork(api.app)
    with listening(api.app) as port:

        def pulse() -> tuple[int, str]:
            answer = requests.get(f"http://127.0.0.1:{port}/healthz", timeout=30)
            return answer.status_code, answer.json()["status"]

        assert pulse() == (200, "ok")
        work.start()
        assert pulse() == (200, "ok")
        assert api.app.test_client().get("/readyz").status_code == 200

        # A database that is away is no reason to restart.
        execute(api, "ALTER TABLE alembic_version RENAME TO elsewhere")
        assert pulse() == (200, "ok")
        execute(api, "ALTER TABLE elsewhere RENAME TO alembic_version")

        monkeypatch.setattr(worker, "DEAD_AFTER", timedelta(0))

        def look() -> tuple[int, int, str]:
            ready = api.app.test_client().get("/readyz")
            return ready.status_code, *pulse()

        # A beat of just now is none too old even for this.
        _, _, said = wait_for(look, lambda seen: seen[:2] == (503, 503))
    monkeypatch.undo()
    work.stop()

    assert said.startswith(("webhooks were not looked for", "the periodic jobs"))


def test_a_worker_without_a_port_serves_nothing(app: Flask) -> None:
    with metrics_served(app, "127.0.0.1", None):
        pass


def test_an_address_that_is_taken_is_said_in_one_line(app: Flask) -> None:
    with (
        listening(app) as port,
        pytest.raises(click.ClickException, match=f"127.0.0.1:{port}"),
        metrics_served(app, "127.0.0.1", port),
    ):
        pytest.fail("the port is taken")
