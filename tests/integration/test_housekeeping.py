"""The periodic jobs: the feed is filled, the old goes, and losses are named."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import text, update
from sqlalchemy.orm import Session

from registry.services import housekeeping
from registry.services.reconcile import Reconciler
from registry.worker import BackgroundWork
from tests.integration.api.driver import Driver
from tests.integration.conftest import close_app, make_app, signed_in
from webhooks.tables import EventRow


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
    monkeypatch.setattr(housekeeping, "MAX_BATCHES", 2)
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


def test_a_registry_in_order_has_nothing_missing(
    api: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    api.post("/webhooks", {"url": "http://127.0.0.1:9/hook"})
    api.ready_versions(2)
    api.serve(1, 2)
    api.rollback()

    with caplog.at_level(logging.ERROR):
        BackgroundWork(api.app).reconcile()

    assert caplog.messages == []


def test_a_stage_change_without_its_event_is_named(
    api: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    api.ready_versions(1)
    transition_id = api.moved(1, "Staging")["transition_id"]
    execute(api, "UPDATE stage_changes SET event_id = 'msg_absent'")

    with caplog.at_level(logging.ERROR):
        BackgroundWork(api.app).reconcile()

    assert caplog.messages == [
        f"stage_changes_without_event count=1 transitions={transition_id}"
    ]


def test_an_event_without_its_deliveries_is_named(
    api: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    api.post("/webhooks", {"url": "http://127.0.0.1:9/hook"})
    api.create_model()
    execute(api, "DELETE FROM webhook_deliveries")
    event_id = api.read("/events")["items"][0]["id"]

    with caplog.at_level(logging.ERROR):
        BackgroundWork(api.app).reconcile()

    assert caplog.messages == [f"events_without_deliveries count=1 events={event_id}"]


def test_each_hour_of_the_day_is_looked_at(api: Driver) -> None:
    api.post("/webhooks", {"url": "http://127.0.0.1:9/hook"})
    for number in range(3):
        api.create_model(f"model-{number}")
    execute(api, "DELETE FROM webhook_deliveries")
    events = api.read("/events")["items"]
    now = datetime.now(UTC)
    for event, hours in zip(events, (23, 12, 0), strict=True):
        at = now - timedelta(hours=hours)
        with api.engine.begin() as connection:
            connection.execute(
                update(EventRow).where(EventRow.id == event["id"]).values(created_at=at)
            )

    with Session(api.engine) as session:
        found = Reconciler(keep=timedelta(days=90)).look(session, now=now)

    assert list(found.event_ids) == [event["id"] for event in events]


def test_what_retention_may_have_removed_is_not_missed(
    api: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    api.ready_versions(1)
    api.moved(1, "Staging")
    execute(api, "UPDATE stage_changes SET event_id = 'msg_absent'")

    with caplog.at_level(logging.ERROR):
        BackgroundWork(api.app, clock=lambda: later(2)).reconcile()

    assert caplog.messages == []


def test_what_was_found_is_remembered_until_the_whole_day_is_looked_at_again(
    api: Driver,
) -> None:
    api.ready_versions(1)
    api.moved(1, "Staging")
    start = datetime.now(UTC)
    reconciler = Reconciler(keep=timedelta(days=90))

    def missing_after(minutes: int) -> int:
        with Session(api.engine) as session:
            now = start + timedelta(minutes=minutes)
            return len(reconciler.look(session, now=now).transition_ids)

    whole = missing_after(0)
    execute(api, "UPDATE stage_changes SET event_id = 'msg_absent'")
    recent = missing_after(5)
    remembered = missing_after(30)
    execute(api, "UPDATE stage_changes SET at = '2026-01-01 00:00:00.000000'")
    forgotten = missing_after(61)

    assert (whole, recent, remembered, forgotten) == (0, 1, 1, 0)


def test_an_old_change_is_looked_at_once_an_hour(api: Driver) -> None:
    api.ready_versions(1)
    api.moved(1, "Staging")
    start = datetime.now(UTC) + timedelta(hours=2)
    reconciler = Reconciler(keep=timedelta(days=90))

    def missing_after(minutes: int) -> int:
        with Session(api.engine) as session:
            now = start + timedelta(minutes=minutes)
            return len(reconciler.look(session, now=now).transition_ids)

    missing_after(0)
    execute(api, "UPDATE stage_changes SET event_id = 'msg_absent'")

    assert [missing_after(30), missing_after(60)] == [0, 1]
