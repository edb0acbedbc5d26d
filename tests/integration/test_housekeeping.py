"""The periodic jobs: the feed is filled, and the old goes."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import text

from registry import worker
from registry.worker import BackgroundWork
from tests.integration.api.driver import Driver
from tests.integration.conftest import close_app, make_app, signed_in


def tables(api: Driver) -> dict[str, int]:
    """How many rows each table of webhooks has."""
    dump = api.dump()
    return {name: len(rows) for name, rows in dump.items() if name.startswith("webho")}


@pytest.fixture
def api(app: Flask) -> Driver:
    return Driver(app, signed_in(app))


def execute(api: Driver, statement: str) -> None:
    with api.engine.begin() as connection:
        connection.execute(text(statement))


def later(days: int) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def test_events_are_placed_without_a_reader(api: Driver) -> None:
    api.ready_versions(1)

    BackgroundWork(api.app).place_events()

    with api.engine.connect() as connection:
        unplaced = connection.execute(
            text("SELECT count(*) FROM webhook_events WHERE position IS NULL")
        )
        assert unplaced.scalar() == 0


def test_what_a_deleted_webhook_waits_for_is_given_up_in_the_end(
    api: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhooks.subscriptions.BURIED_AT_ONCE", 1)
    webhook = api.post("/webhooks", {"url": "http://127.0.0.1:9/"}).get_json()["id"]
    api.ready_versions(1)
    assert api.delete(f"/webhooks/{webhook}").status_code == 204
    assert states_of_deliveries(api) == {"dead", "pending"}

    BackgroundWork(api.app).bury_deliveries()
    BackgroundWork(api.app).bury_deliveries()  # nothing is left to do

    assert states_of_deliveries(api) == {"dead"}


def states_of_deliveries(api: Driver) -> set[str]:
    with api.engine.connect() as connection:
        return set(connection.scalars(text("SELECT state FROM webhook_deliveries")))


def test_a_run_ends_after_so_many_batches(
    api: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "MAX_BATCHES", 2)
    monkeypatch.setattr("webhooks.feed.PLACED_AT_ONCE", 1)
    batches: list[object] = []

    def place(session: object) -> int:
        batches.append(session)
        return 1

    monkeypatch.setattr("webhooks.feed.place", place)
    api.create_model()

    BackgroundWork(api.app).place_events()

    assert len(batches) == 2


def test_what_was_settled_is_kept_as_long_as_the_operator_says(tmp_path: Path) -> None:
    app = make_app(tmp_path, WEBHOOK_RETENTION_DAYS="7")
    api = Driver(app, signed_in(app))
    api.post("/webhooks", {"url": "http://127.0.0.1:9/hook"})
    api.create_model()
    execute(api, "UPDATE webhook_deliveries SET state = 'delivered'")
    BackgroundWork(app).place_events()
    before = tables(api)

    BackgroundWork(app, clock=lambda: later(6)).forget_deliveries()
    kept = tables(api)
    BackgroundWork(app, clock=lambda: later(8)).forget_deliveries()
    gone = tables(api)

    assert kept == before
    assert (gone["webhook_deliveries"], gone["webhook_events"]) == (0, 0)
    assert gone["webhook_subscriptions"] == 1
    close_app(app)
