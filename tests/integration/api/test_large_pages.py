"""A page ends early once it holds much, in every list of the API."""

import json
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event
from sqlalchemy.orm import Session

from registry.persistence.tables import (
    AuditEntry,
    ModelVersion,
    RegisteredModel,
    StageChange,
)
from registry.services import subscriptions
from registry.web import paging
from tests.ci_jobs import publisher
from tests.integration.api.driver import MODEL, ON_BOTH_DATABASES, Driver, document_of
from tests.integration.world import made_once
from tests.receiver import Receiver
from webhooks import feed, statements
from webhooks.queue.dispatcher import utc_now
from webhooks.tables import Attempt, AttemptOutcome, EventRow, Subscription

MUCH = 600
MANY = 6
ROOM = 400  # one large item, or two small ones
LISTS = (
    "/models",
    f"/models/{MODEL}/versions",
    f"/models/{MODEL}/history",
    f"/models/{MODEL}/versions/1/artifacts",
    f"/models/{MODEL}/versions/1/deployments",
    "/audit",
    f"/audit?model={MODEL}",
    "/events",
    f"/events?model={MODEL}",
    "/tokens",
    "/role-bindings",
    "/trusted-publishers",
    "/webhooks",
    "/webhooks/{webhook}/deliveries",
    "/deliveries?transition_id={transition}",
    "/deliveries/{delivery}/attempts",
)
#: Those whose rows may have a megabyte, or nearly.
BOUNDED = ("/tokens", "/role-bindings", "/trusted-publishers", "/deliveries?")
LARGE = [path for path in LISTS if not path.startswith(BOUNDED)]


@pytest.fixture
def api(app: Flask, client: FlaskClient) -> Driver:
    return Driver(app, client)


@pytest.fixture
def names(api: Driver) -> dict[str, str]:
    """A registry in which every list has several items, and what they are called."""
    return made_once(full, api)


def full(api: Driver) -> dict[str, str]:
    with Receiver(answers=[500] * MANY) as receiver:
        return fill(api, receiver.url)


def fill(api: Driver, url: str) -> dict[str, str]:
    body = {"url": url, "description": "d" * MUCH}
    made = [document_of(api.post("/webhooks", body)) for _ in range(MANY)]
    for name in (MODEL, "spam", "churn", "price", "fares", "leads"):
        api.create_model(name, description="d" * MUCH)
    files = {f"{'f' * 200}-{number}": b"" for number in range(5)}
    for _ in range(MANY):
        number = api.register(tags={"note": "n" * MUCH})
        api.upload(number, files)
    moved = api.moved(1, "Staging")
    api.parts.dispatcher.run_once()
    for number in range(2, MANY + 1):
        api.move(number, "Staging", reason="r" * MUCH)
    for place in ("a", "b", "c"):
        report = {
            "status": "succeeded",
            "environment": place,
            "description": "d" * MUCH,
        }
        api.post(f"/models/{MODEL}/versions/1/deployments", report)
    for name in ("x", "y", "z"):
        api.post("/tokens", {"name": name * 250, "role": "viewer"})
        bound = {"subject_kind": "group", "subject": name * 250, "role": "viewer"}
        api.post("/role-bindings", bound)
        trusted = publisher("kubernetes", f"https://{name}.example.com")
        api.post("/trusted-publishers", {**trusted, "name": name * 250})
    (first, *_) = api.read(f"/webhooks/{made[0]['id']}/deliveries?limit=200")["items"]
    with Session(api.engine) as session, session.begin():
        for number in range(2, MANY + 2):
            session.add(
                Attempt(
                    delivery_id=first["id"],
                    number=number,
                    outcome=AttemptOutcome.FAILED,
                    error="e" * MUCH,
                    started_at=utc_now(),
                )
            )
    return {
        "webhook": made[0]["id"],
        "transition": moved["transition_id"],
        "delivery": first["id"],
    }


def pages(api: Driver, path: str) -> list[list[Any]]:
    """The items of every page."""
    ask, cursor = f"{path}{'&' if '?' in path else '?'}limit=200", ""
    found: list[list[Any]] = []
    name = "after" if path.startswith("/events") else "cursor"
    while True:
        page = api.read(f"{ask}{cursor}")
        if not page["items"] and path.startswith("/events"):
            return found
        found.append(page["items"])
        if page["next_cursor"] is None:
            return found
        cursor = f"&{name}={page['next_cursor']}"


@ON_BOTH_DATABASES
def test_page_of_any_list_ends_early_and_nothing_is_left_out(
    api: Driver, names: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {path: pages(api, path.format(**names)) for path in LISTS}
    monkeypatch.setattr(paging, "MAX_CHARACTERS", ROOM)
    monkeypatch.setattr(feed, "MAX_CHARACTERS", ROOM)

    for path, (items, *_) in whole.items():
        parted = pages(api, path.format(**names))

        assert [item for page in parted for item in page] == items, path
        assert len(parted) > 1, path
        for page in parted:
            *all_but_last, _ = page
            assert len(json.dumps(all_but_last)) < ROOM + 50, path


@ON_BOTH_DATABASES
@pytest.mark.parametrize(
    ("path", "table"),
    [
        ("/models", RegisteredModel),
        (f"/models/{MODEL}/versions", ModelVersion),
        (f"/models/{MODEL}/history", StageChange),
        ("/audit", AuditEntry),
        (f"/audit?model={MODEL}", AuditEntry),
        ("/events", EventRow),
        ("/webhooks", Subscription),
        ("/deliveries/{delivery}/attempts", Attempt),
    ],
)
def test_large_page_is_not_read_to_its_end(
    api: Driver,
    names: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    path: str,
    table: type,
) -> None:
    ask = path.format(**names)
    assert len(pages(api, ask)[0]) >= MANY
    few = dict.fromkeys(("sqlite", "postgresql"), 2)
    monkeypatch.setattr(statements, "PORTIONS", few)
    monkeypatch.setattr(subscriptions, "_SHOWN_AT_ONCE", 2)
    monkeypatch.setattr(paging, "MAX_CHARACTERS", 1)
    monkeypatch.setattr(feed, "MAX_CHARACTERS", 1)
    read: list[object] = []

    def note(row: object, _context: object) -> None:
        read.append(row)

    event.listen(table, "load", note)
    try:
        page = api.read(f"{ask}{'&' if '?' in ask else '?'}limit=12")
    finally:
        event.remove(table, "load", note)

    assert len(page["items"]) == 1
    assert page["next_cursor"]
    # Two portions at most: a line of the history ends where the next one begins.
    assert len(read) <= 4


def test_no_list_is_sorted_with_all_that_it_shows(
    api: Driver, names: dict[str, str]
) -> None:
    asked: list[tuple[str, Any]] = []

    def note(*given: Any) -> None:  # noqa: ANN401  # as the event has them
        _, _, statement, values, *_ = given
        asked.append((statement, values))

    api.read("/events")  # gives the events their positions
    event.listen(api.engine, "before_cursor_execute", note)
    for path in LARGE:
        api.read(path.format(**names))
    event.remove(api.engine, "before_cursor_execute", note)

    reads = [each for each in asked if each[0].startswith(("SELECT", "WITH"))]
    assert len(reads) >= len(LARGE)
    with api.engine.connect() as connection:
        for statement, values in reads:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
            outermost = [row.detail for row in plan if row.parent == 0]
            assert "USE TEMP B-TREE FOR ORDER BY" not in outermost, statement
