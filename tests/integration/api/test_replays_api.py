"""Replays through the API: counted, begun, watched, cancelled, carried out."""

import pytest

from registry.worker import BackgroundWork
from tests.integration.api.driver import (
    ON_BOTH_DATABASES,
    Document,
    Driver,
    document_of,
    problem_of,
)
from tests.receiver import Receiver
from tests.waiting import wait_for


def delivered(api: Driver, receiver: Receiver) -> str:
    """A subscription that was told of two models; its id."""
    answer = api.post("/webhooks", {"url": receiver.url})
    assert answer.status_code == 201
    for name in ("fraud", "churn"):
        api.create_model(name)
    api.parts.dispatcher.run_once()
    assert len(receiver.requests) == 2
    webhook_id: str = document_of(answer)["id"]
    return webhook_id


def replay(api: Driver, webhook_id: str, **body: object) -> Document:
    answer = api.post(f"/webhooks/{webhook_id}/replay", body)
    assert answer.status_code == 202, answer.get_data(as_text=True)
    return document_of(answer)


@ON_BOTH_DATABASES
def test_a_replay_is_carried_out_by_the_worker(api: Driver, receiver: Receiver) -> None:
    webhook_id = delivered(api, receiver)

    asked = replay(api, webhook_id)
    BackgroundWork(api.app).advance_replays()

    def send() -> int:
        api.parts.dispatcher.run_once()
        return len(receiver.requests)

    wait_for(send, lambda sent: sent == 4)  # the second is due a moment later

    first, second, *again = receiver.requests
    found = api.read(f"/webhooks/{webhook_id}/replays/{asked['id']}")
    assert (asked["state"], asked["total"], asked["done"]) == ("running", 2, 0)
    assert (found["state"], found["done"]) == ("done", 2)
    assert sorted(entry.body for entry in again) == sorted((first.body, second.body))
    assert {entry.headers["webhook-replay"] for entry in again} == {"true"}


def test_a_dry_run_counts_and_changes_nothing(api: Driver, receiver: Receiver) -> None:
    webhook_id = delivered(api, receiver)
    path, entries = f"/webhooks/{webhook_id}/replay", len(api.audit())

    answer = api.post(path, {"dry_run": True, "model_pattern": "fra*"})

    assert (answer.status_code, answer.json) == (200, {"count": 1})
    assert api.read(f"/webhooks/{webhook_id}/replays")["items"] == []
    assert len(api.audit()) == entries


def test_a_replay_says_what_was_asked_for(api: Driver, receiver: Receiver) -> None:
    webhook_id = delivered(api, receiver)
    chosen = {
        "since": "2026-01-01T00:00:00.000000Z",
        "until": "2100-01-01T00:00:00.000000Z",
        "event_types": ["registered_model.*"],
        "model_pattern": "fra*",
        "states": ["delivered"],
        "per_second": 0.5,
    }

    asked = replay(api, webhook_id, **chosen)

    assert {name: asked[name] for name in chosen} == chosen
    assert (asked["total"], asked["created_by"]) == (1, "bootstrap")
    assert api.audit()[-1]["after"] == asked


def test_replays_are_listed_and_cancelled(api: Driver, receiver: Receiver) -> None:
    webhook_id = delivered(api, receiver)
    older, newer = (replay(api, webhook_id) for _ in range(2))
    path = f"/webhooks/{webhook_id}/replays"

    cancelled = api.delete(f"{path}/{newer['id']}")
    again = api.delete(f"{path}/{newer['id']}")

    assert document_of(cancelled)["state"] == "cancelled"
    problem_of(again, 409, "conflict")
    first = api.read(f"{path}?limit=1")
    second = api.read(f"{path}?limit=1&cursor={first['next_cursor']}")
    listed = [item["id"] for item in first["items"] + second["items"]]
    assert listed == [newer["id"], older["id"]]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"since": "yesterday"}, "since"),
        ({"until": "2026-01-01T00:00:00"}, "until"),
        (
            {"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"},
            "until",
        ),
        ({"event_types": []}, "event_types"),
        ({"event_types": ["a*"]}, "event_types"),
        ({"model_pattern": ""}, "model_pattern"),
        ({"states": ["pending"]}, "states"),
        ({"per_second": 0}, "per_second"),
        ({"per_second": "10"}, "per_second"),
        ({"dry_run": 1}, "dry_run"),
        ({"state": "dead"}, "state"),
    ],
)
def test_a_replay_that_breaks_a_rule_is_refused_by_its_field(
    api: Driver, receiver: Receiver, body: Document, field: str
) -> None:
    webhook_id = delivered(api, receiver)

    answer = api.post(f"/webhooks/{webhook_id}/replay", body)

    errors = problem_of(answer, 422, "invalid")["errors"]
    assert [name.partition(".")[0] for name in errors] == [field]


def test_what_is_not_there_is_not_found(api: Driver, receiver: Receiver) -> None:
    webhook_id = delivered(api, receiver)

    for answer in (
        api.post("/webhooks/sub_absent/replay", {}),
        api.get("/webhooks/sub_absent/replays"),
        api.get(f"/webhooks/{webhook_id}/replays/rpl_absent"),
        api.delete(f"/webhooks/{webhook_id}/replays/rpl_absent"),
    ):
        problem_of(answer, 404, "not-found")


@pytest.mark.parametrize("role", ["viewer", "writer", "promoter"])
def test_replays_are_the_admins(api: Driver, receiver: Receiver, role: str) -> None:
    webhook_id = delivered(api, receiver)
    other = api.with_role(role)

    for answer in (
        other.post(f"/webhooks/{webhook_id}/replay", {}),
        other.get(f"/webhooks/{webhook_id}/replays"),
    ):
        problem_of(answer, 403, "forbidden")
