"""Redelivery by filter through the API: counted, sent again once, on record."""

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
from webhooks import redelivery


def delivered(api: Driver, receiver: Receiver) -> str:
    """The path of what sends again to a subscription that was told of two models."""
    answer = api.post("/webhooks", {"url": receiver.url})
    for name in ("fraud", "churn"):
        api.create_model(name)
    api.parts.dispatcher.run_once()
    assert len(receiver.requests) == 2
    return f"/webhooks/{document_of(answer)['id']}/deliveries/redeliver"


@ON_BOTH_DATABASES
def test_what_is_chosen_is_sent_again_portion_by_portion(
    api: Driver, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redelivery, "LOOKED_AT_ONCE", 1)
    path, entries = delivered(api, receiver), len(api.audit())
    chosen = {"since": "2026-01-01T00:00:00Z", "states": ["delivered"]}

    portion, counts = document_of(api.post(path, chosen)), []
    while portion["next_cursor"]:
        counts.append(portion["count"])
        going_on = {**chosen, "cursor": portion["next_cursor"]}
        portion = document_of(api.post(path, going_on))
    again = document_of(api.post(path, chosen))

    def send() -> int:
        api.parts.dispatcher.run_once()
        return len(receiver.requests)

    wait_for(send, lambda sent: sent == 4)  # the second is due a moment later
    first, second, *copies = receiver.requests
    assert (counts, portion["count"]) == ([1, 1], 0)
    assert again == {"count": 0, "next_cursor": None}
    assert [copy.body for copy in copies] == [first.body, second.body]
    assert {copy.headers["webhook-replay"] for copy in copies} == {"true"}
    assert [
        (entry["action"], entry["after"]["count"], entry["after"]["filter"])
        for entry in api.audit()[entries:]
    ] == [("webhook.redelivered", count, chosen) for count in (1, 1, 0, 0)]


def test_a_dry_run_counts_and_changes_nothing(api: Driver, receiver: Receiver) -> None:
    path = delivered(api, receiver)
    BackgroundWork(api.app).place_events()
    before = api.dump()

    answer = api.post(path, {"dry_run": True, "model_pattern": "fra*"})

    assert document_of(answer) == {"count": 1, "next_cursor": None}
    assert api.dump() == before


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
        ({"again_before": "now"}, "again_before"),
        ({"dry_run": 1}, "dry_run"),
        ({"cursor": "somewhere"}, "cursor"),
        ({"state": "dead"}, "state"),
    ],
)
def test_a_filter_that_breaks_a_rule_is_refused_by_its_field(
    api: Driver, body: Document, field: str
) -> None:
    answer = api.post("/webhooks/sub_absent/deliveries/redeliver", body)

    errors = problem_of(answer, 422, "invalid")["errors"]
    assert [name.partition(".")[0] for name in errors] == [field]


@pytest.mark.parametrize("body", [{}, {"dry_run": True}])
def test_what_is_not_there_is_not_found(api: Driver, body: Document) -> None:
    answer = api.post("/webhooks/sub_absent/deliveries/redeliver", body)

    problem_of(answer, 404, "not-found")
