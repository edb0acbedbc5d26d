"""``stagegate events`` and ``webhooks redeliver`` against a real server."""

import json

import pytest

from registry.client import RegistryClient
from tests.integration.cli.conftest import Run
from tests.receiver import Receiver
from tests.server import RunningServer
from tests.waiting import wait_for


@pytest.fixture
def client(server: RunningServer) -> RegistryClient:
    return server.client()


def test_events_are_shown_from_any_point_on(run: Run, client: RegistryClient) -> None:
    for name in ("fraud", "churn", "digits"):
        client.create_model(name)

    table = run("events").stdout.splitlines()
    first, *rest = json.loads(run("events", "-o", "json").stdout)["items"]
    behind = json.loads(run("events", "--after", first["cursor"], "-o", "json").stdout)
    one = json.loads(run("events", "--limit", "1", "-o", "json").stdout)
    chosen = run("events", "--model", "churn", "--type", "registered_model.*")

    assert [line.split()[2] for line in table[1:]] == ["fraud", "churn", "digits"]
    assert behind["items"] == rest
    assert one["items"] == [first]
    assert [line.split()[2] for line in chosen.stdout.splitlines()[1:]] == ["churn"]


def test_events_are_followed(run: Run, client: RegistryClient) -> None:
    client.create_model("fraud")
    client.create_model("churn")

    followed = run("events", "--follow", "--limit", "2")

    assert followed.exit_code == 0
    assert [line.split()[2] for line in followed.stdout.splitlines()] == [
        "fraud",
        "churn",
    ]


def test_a_client_reads_every_event_page_after_page(client: RegistryClient) -> None:
    for number in range(3):
        client.create_model(f"model-{number}")

    everything = list(client.events())
    page = client.events.page(limit=2)
    behind = list(client.events(after=page.next_cursor))

    assert [event.data["model"] for event in everything] == [
        "model-0",
        "model-1",
        "model-2",
    ]
    assert page.events + behind == everything


def test_what_a_filter_chooses_is_counted_then_sent_again_once(
    run: Run, client: RegistryClient, receiver: Receiver
) -> None:
    webhook = client.webhooks.create(receiver.url)
    client.create_model("fraud")
    client.create_model("churn")
    receiver.wait_for(2)
    wait_for(  # results are stored a moment later
        lambda: len(list(client.webhooks.deliveries(webhook.id, state="delivered"))),
        lambda recorded: recorded == 2,
    )
    options = ("--since", "2026-01-01", "--event", "registered_model.*")
    of_fraud = (*options, "--model", "fra*", "--state", "delivered")

    counted = run("webhooks", "redeliver", webhook.id, *options, "--dry-run")
    sent = run("webhooks", "redeliver", webhook.id, *of_fraud)
    again = run("webhooks", "redeliver", webhook.id, *of_fraud, "-o", "json")
    received = receiver.wait_for(3)

    assert counted.stdout == "Would send 2 deliveries again.\n"
    assert sent.stdout == "On their way again: 1.\n"
    assert json.loads(again.stdout) == {"count": 0}
    # The two models' events came in either order.
    assert received[2].body in {request.body for request in received[:2]}
    assert b'"fraud"' in received[2].body
    assert received[2].headers["webhook-replay"] == "true"
