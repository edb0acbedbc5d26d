"""``stagegate events`` and ``stagegate webhooks replay`` against a real server."""

import json

import pytest

from registry.client import RegistryClient
from tests.integration.cli.conftest import Run
from tests.receiver import Receiver
from tests.server import RunningServer
from tests.waiting import wait_for

PATIENCE_SECONDS = "60"


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


def test_a_range_is_counted_then_sent_again(
    run: Run, client: RegistryClient, receiver: Receiver
) -> None:
    webhook = client.webhooks.create(receiver.url)
    client.create_model("fraud")
    client.create_model("churn")
    receiver.wait_for(2)
    wait_until_recorded(client, webhook.id, 2)
    options = ("--since", "2026-01-01", "--event", "registered_model.*")

    counted = run("webhooks", "replay", webhook.id, *options, "--dry-run")
    sent = run(
        *("webhooks", "replay", webhook.id, *options, "--model", "fra*"),
        *("--state", "delivered", "--per-second", "50", "--wait", PATIENCE_SECONDS),
    )
    received = receiver.wait_for(3)
    listed = run("webhooks", "replays", webhook.id)

    assert counted.stdout == "Would send 2 deliveries again.\n"
    assert sent.exit_code == 0, sent.stderr
    assert "is done: 1 of 1 deliveries are on their way again." in sent.stdout
    assert "Replayed 1 of 1" in sent.stderr
    assert received[2].body == received[0].body
    assert received[2].headers["webhook-replay"] == "true"
    assert listed.stdout.splitlines()[1].split()[1] == "done"


def wait_until_recorded(client: RegistryClient, webhook_id: str, count: int) -> None:
    """A delivery can be replayed once its result is stored, a moment later."""
    wait_for(
        lambda: len(list(client.webhooks.deliveries(webhook_id, state="delivered"))),
        lambda recorded: recorded == count,
    )


def test_a_replay_is_cancelled(
    run: Run, client: RegistryClient, receiver: Receiver
) -> None:
    webhook = client.webhooks.create(receiver.url)
    for name in ("fraud", "churn"):
        client.create_model(name)
    wait_until_recorded(client, webhook.id, 2)
    client.webhooks.update(webhook.id, state="paused")
    begun = json.loads(run("webhooks", "replay", webhook.id, "-o", "json").stdout)

    cancelled = run("webhooks", "cancel-replay", webhook.id, begun["id"])
    again = run("webhooks", "cancel-replay", webhook.id, begun["id"])

    assert f"Replay {begun['id']} is cancelled: 0 of 2" in cancelled.stdout
    assert again.exit_code == 4


def test_waiting_for_a_replay_has_an_end(
    run: Run, client: RegistryClient, receiver: Receiver
) -> None:
    webhook = client.webhooks.create(receiver.url)
    client.create_model("fraud")
    wait_until_recorded(client, webhook.id, 1)
    client.webhooks.update(webhook.id, state="paused")

    result = run("webhooks", "replay", webhook.id, "--wait", "0")

    assert result.exit_code == 7
    assert "Gave up waiting" in result.stderr
