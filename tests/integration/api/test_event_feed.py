"""``GET /events``: what a consumer that was away has missed, and nothing else."""

import base64
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.persistence.database import db, session_factory
from tests.integration.api.driver import (
    ON_BOTH_DATABASES,
    Document,
    Driver,
    cursor_of,
    problem_of,
)
from tests.integration.statements import statements_of
from webhooks import outbox, record
from webhooks.events import Event
from webhooks.tables import EventRow

DAY = timedelta(days=1)


def read(api: Driver, after: str | None = None, **query: object) -> Document:
    chosen = {**query, **({"after": after} if after else {})}
    text = "&".join(f"{name}={quote(str(value))}" for name, value in chosen.items())
    return api.read(f"/events?{text}")


def types(page: Document) -> list[str]:
    return [item["type"] for item in page["items"]]


@ON_BOTH_DATABASES
def test_a_consumer_sees_each_event_once_in_its_order(api: Driver) -> None:
    api.ready_versions(2)
    api.serve(1)
    first = read(api)
    api.serve(2)

    second = read(api, first["next_cursor"])
    nothing = read(api, second["next_cursor"])

    items = first["items"] + second["items"]
    assert [item["data"]["sequence"] for item in items] == list(
        range(1, len(items) + 1)
    )
    assert types(second) == ["model_version.stage_changed"] * 3
    assert nothing == {"items": [], "next_cursor": second["next_cursor"]}
    assert api.read("/events?limit=200")["items"] == items


def test_each_event_says_where_to_go_on_behind_it(api: Driver) -> None:
    api.ready_versions(2)
    everything = read(api)["items"]

    behind = read(api, everything[1]["cursor"])["items"]

    assert behind == everything[2:]


def test_an_event_is_what_the_webhook_says(api: Driver) -> None:
    api.create_model(tags={"team": "risk"})

    (event,) = read(api)["items"]

    assert set(event) == {"id", "type", "timestamp", "data", "cursor"}
    assert event["id"].startswith("msg_")
    assert event["type"] == "registered_model.created"
    assert event["data"]["model"] == "fraud"
    assert event["data"]["sequence"] == 1


def test_pages_are_as_long_as_was_asked_for(api: Driver) -> None:
    api.ready_versions(3)
    everything = read(api, limit=200)["items"]
    found, cursor = [], None

    while page := read(api, cursor, limit=2):
        if not page["items"]:
            break
        assert len(page["items"]) <= 2
        found += page["items"]
        cursor = page["next_cursor"]

    assert found == everything


def test_events_are_chosen_by_type_and_model(api: Driver) -> None:
    api.ready_versions(1)
    api.create_model("churn")

    assert types(read(api, model="churn")) == ["registered_model.created"]
    assert types(read(api, type="registered_model.*")) == (
        ["registered_model.created"] * 2
    )
    assert types(read(api, type="model_version.registered", model="churn")) == []


def test_every_role_may_read_events(api: Driver) -> None:
    api.create_model()

    assert len(read(api.with_role("viewer"))["items"]) == 1


@pytest.mark.parametrize(
    "cursor",
    [
        "no cursor",
        cursor_of('"a"'),
        cursor_of("-1"),
        cursor_of("9999"),
        base64.b64encode(b"[]").decode(),
    ],
)
def test_a_cursor_of_something_else_is_refused(api: Driver, cursor: str) -> None:
    api.create_model()

    answer = api.get(f"/events?after={quote(cursor)}")

    assert "after" in problem_of(answer, 422, "invalid")["errors"]


@pytest.mark.parametrize("query", ["type=a*", "limit=0", "limit=201", "cursor=abc"])
def test_a_query_that_breaks_a_rule_is_refused(api: Driver, query: str) -> None:
    assert api.get(f"/events?{query}").status_code == 422


@pytest.mark.parametrize(
    "database", [pytest.param("postgresql", marks=pytest.mark.service)], indirect=True
)
def test_a_change_that_commits_late_is_not_skipped(api: Driver, app: Flask) -> None:
    with app.app_context():
        sessions = session_factory(db.engine)
    with sessions() as slow:
        late = enqueue(slow)
        api.create_model("quick")
        seen = read(api)
        slow.commit()

    behind = read(api, seen["next_cursor"])

    assert types(seen) == ["registered_model.created"]
    assert [item["id"] for item in behind["items"]] == [late]


def enqueue(session: Session) -> str:
    """Store an event as a change does that takes its time to commit."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    event = Event(
        type="model_version.registered",
        ordering_key="slow",
        subject="slow",
        target=None,
        data={},
        occurred_at=now,
    )
    return outbox.enqueue(session, event, now=now).id


@ON_BOTH_DATABASES
def test_a_read_of_what_is_placed_issues_two_statements(
    api: Driver, app: Flask
) -> None:
    api.ready_versions(3)
    cursor = read(api, limit=2)["next_cursor"]

    for query in ("", f"?after={cursor}", "?limit=200", "?model=fraud&type=a.*"):
        with statements_of(app) as seen:
            assert api.get(f"/events{query}").status_code == 200
        assert len(seen) == 2, "\n".join(seen)


@ON_BOTH_DATABASES
def test_a_cursor_from_before_what_is_kept_is_refused_with_one_that_serves(
    api: Driver,
) -> None:
    api.create_model()
    nothing = cursor_of("0")
    first = read(api)["next_cursor"]
    api.register()
    api.register()
    kept = read(api, first)["items"]
    forget_events(api, 2)

    answer = api.get(f"/events?after={quote(nothing)}")
    problem = problem_of(answer, 410, "cursor-expired")
    oldest = problem["oldest_cursor"]

    assert oldest in problem["detail"]
    problem_of(api.get(f"/events?after={quote(first)}"), 410, "cursor-expired")
    problem_of(
        api.get(f"/events?after={quote(first)}&model=other"), 410, "cursor-expired"
    )
    assert read(api, oldest)["items"] == kept[1:]
    assert read(api)["items"] == kept[1:]
    assert read(api, kept[0]["cursor"])["items"] == kept[1:]


def test_a_consumer_that_has_seen_everything_is_not_sent_back(api: Driver) -> None:
    api.create_model()
    last = read(api)["next_cursor"]
    forget_events(api, 1)

    assert read(api, last) == {"items": [], "next_cursor": last}
    assert read(api) == {"items": [], "next_cursor": last}


def test_what_was_never_shown_is_not_missed(api: Driver) -> None:
    """Events about subscriptions have positions too, and nobody reads them here."""
    nothing = read(api)["next_cursor"]
    store_unshown(api)
    read(api)
    forget_events(api, 1)
    api.create_model()

    assert types(read(api, nothing)) == ["registered_model.created"]


def test_without_a_cursor_an_old_event_that_is_still_on_its_way_is_passed_over(
    api: Driver,
) -> None:
    """Its page would end where the next one begins with an expired cursor."""
    api.post("/webhooks", {"url": "http://127.0.0.1:9/", "event_types": ["*"]})
    api.create_model()
    read(api)
    (webhook,) = api.read("/webhooks")["items"]
    api.delete(f"/webhooks/{webhook['id']}")
    api.register()
    kept = read(api)["items"]
    forget_events(api, 1, only_last=True)

    assert len(kept) == 2
    assert read(api)["items"] == []


def forget_events(api: Driver, count: int, *, only_last: bool = False) -> None:
    """Remove the first events, or the last, as retention does after months."""
    long_ago = datetime(2026, 1, 1, tzinfo=UTC)
    with session_factory(api.engine)() as session, session.begin():
        newest = EventRow.position.desc() if only_last else EventRow.position
        rows = session.scalars(select(EventRow).order_by(newest).limit(count)).all()
        for row in rows:
            row.created_at = long_ago
        session.flush()
        removed = record.remove_events(session.connection(), before=long_ago + DAY)
    assert removed == count


def store_unshown(api: Driver) -> None:
    now = datetime.now(UTC)
    event = Event("webhook.failing", "webhook:sub_a", "", None, {}, now)
    with session_factory(api.engine)() as session, session.begin():
        outbox.enqueue(session, event, now=now)
