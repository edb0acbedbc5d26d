"""``stagegate webhooks listen``: a receiver is written without a webhook."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from registry.client import RegistryClient
from tests.integration.cli.conftest import Run
from tests.receiver import Receiver as LocalReceiver
from tests.server import RunningServer
from tests.services.processes import free_port
from webhooks.receiver import Receiver
from webhooks.sending.prepare import new_secret

LONG_AGO = ("--since", "2026-01-01")
#: Of a delivery to one subscription, or of the moment.
OF_A_DELIVERY = {
    *("host", "webhook-subscription-id", "webhook-deployment-token"),
    *("webhook-timestamp", "webhook-signature"),
}


@pytest.fixture
def client(server: RunningServer) -> RegistryClient:
    return server.client()


@pytest.fixture
def laptop() -> Iterator[LocalReceiver]:
    """A second receiver, that no webhook knows."""
    with LocalReceiver() as running:
        yield running


def test_a_receiver_gets_what_a_webhook_sends(
    run: Run, client: RegistryClient, receiver: LocalReceiver, laptop: LocalReceiver
) -> None:
    client.webhooks.create(receiver.url)
    client.create_model("größe", description="模型 🎉", tags={"b": "1", "a": "\u2028"})
    client.register("größe", "s3://elsewhere/1", metrics={"auc": 0.1 + 0.2, "n": 1e22})
    client.promote("größe", 1, "Staging", reason="x" * 5000)
    client.update_version("größe", 1, tags={"only": "who names it is told of a tag"})
    by_webhook = receiver.wait_for(4)
    secret = new_secret()

    result = run(
        *("webhooks", "listen", *LONG_AGO, "--limit", "4", "-o", "json"),
        *("--forward", laptop.url, "--secret", secret),
    )

    assert result.exit_code == 0, result.stderr
    shown = [json.loads(line) for line in result.stdout.strip().split("\n")]
    assert [event["forward"]["status"] for event in shown] == [200] * 4
    forwarded = laptop.wait_for(4)
    assert [each.body for each in forwarded] == [each.body for each in by_webhook]
    judge = Receiver(secret)
    for ours, theirs in zip(forwarded, by_webhook, strict=True):
        with judge.receive(ours.headers, ours.body) as message:
            assert message.is_new
            assert message.id == theirs.message_id
        assert told(ours.headers) == told(theirs.headers)


def told(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in OF_A_DELIVERY}


def test_what_a_receiver_refuses_is_said_and_not_sent_again(
    run: Run, client: RegistryClient, laptop: LocalReceiver
) -> None:
    for name in ("fraud", "churn"):
        client.create_model(name)
    laptop.answers = [500]
    listen = ("webhooks", "listen", *LONG_AGO, "--limit", "2", "--forward")

    result = run(*listen, laptop.url)
    down = run(*listen, f"http://localhost:{free_port()}/hook")

    _, refused, _, taken = result.stdout.splitlines()
    assert "failed" in refused
    assert refused.endswith("the receiver answered 500")
    assert taken.startswith("  -> 200 in ")
    assert len(laptop.requests) == 2
    assert down.exit_code == 0
    assert down.stdout.count("the connection was refused") == 2


def test_only_what_is_asked_for_is_shown(run: Run, client: RegistryClient) -> None:
    for name in ("fraud", "churn"):
        client.create_model(name)
    client.register("fraud", "s3://elsewhere/1")
    client.update_version("fraud", 1, tags={"team": "risk"})
    first = client.events.page(limit=1).next_cursor

    def types(*options: str) -> list[str]:
        result = run("webhooks", "listen", "--limit", "1", "-o", "json", *options)
        return [json.loads(line)["type"] for line in result.stdout.splitlines()]

    named = "model_version.tag_set"
    assert types("--after", first) == ["registered_model.created"]
    assert types("--after", first, "--model", "fraud") == ["model_version.registered"]
    assert types(*LONG_AGO, "--event", named, "--event", "prompt.*") == [named]


def test_it_shows_what_happens_from_now_on_until_it_is_interrupted(
    server: RunningServer, client: RegistryClient, laptop: LocalReceiver
) -> None:
    client.create_model("before")
    command = [sys.executable, "-m", "registry.cli.main", "webhooks", "listen"]
    listening = subprocess.Popen(
        [*command, "--forward", laptop.url],
        env={
            **server.environment,
            "STAGEGATE_URL": server.url,
            "STAGEGATE_TOKEN": server.token,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with listening:
        assert listening.stdout is not None
        assert listening.stderr is not None
        laptop.accept_secret(listening.stderr.readline().split()[-1])
        assert listening.stderr.readline() == "Listening; Ctrl-C ends it.\n"

        client.create_model("after")

        assert "  after  " in listening.stdout.readline()
        assert listening.stdout.readline().startswith("  -> 200 in ")
        listening.send_signal(signal.SIGINT)
        assert listening.stderr.read() == "Interrupted.\n"
    assert listening.returncode == 130
    assert [each.json()["data"]["model"] for each in laptop.verified] == ["after"]


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--forward", "ftp://127.0.0.1/hook", "must start with"),
        ("--forward", "http:///hook", "has no host"),
        ("--secret", "whsec_short", "a signing secret"),
    ],
)
def test_what_cannot_be_forwarded_is_a_mistake_of_usage(
    run: Run, option: str, value: str, said: str
) -> None:
    result = run("webhooks", "listen", "--forward", "http://127.0.0.1/", option, value)

    assert result.exit_code == 2
    assert said in result.stderr
