"""The Flask receiver as its users run it, against a running server."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from registry.client import DeliveryRecord, RegistryClient
from registry.client.registration import wait_for
from tests.integration.conftest import LastingServer, lasting
from tests.integration.examples import places
from tests.receiver import Receiver
from tests.server import RunningServer
from tests.services.processes import free_port, stop, wait_until_ready
from tests.waiting import STALL_SECONDS
from webhooks.sending.prepare import sign


@dataclass
class Consumer:
    """The receiver as a process, started once its secret is known."""

    server: RunningServer
    client: RegistryClient
    directory: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def models(self) -> Path:
        return self.directory / "models"

    @contextmanager
    def running(self, secret: str) -> Iterator[None]:
        log_file = self.directory / "consumer.log"
        self.models.mkdir(exist_ok=True)
        reader = self.client.tokens.create("reader", "viewer").token
        assert reader is not None
        with log_file.open("ab") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "flask", "--app", str(places.FLASK), "run"),
                    *("--port", str(self.port), "--with-threads"),
                ],
                env=os.environ
                | {
                    "STAGEGATE_URL": self.server.url,
                    "STAGEGATE_TOKEN": reader,
                    "WEBHOOK_SECRET": secret,
                    "MODELS_DIR": str(self.models),
                },
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            wait_until_ready(process, self.is_answering, log_file=log_file)
            yield
        finally:
            stop(process)

    def is_answering(self) -> bool:
        try:
            return requests.get(self.url, timeout=2).status_code == 405
        except requests.RequestException:
            return False

    def promote(self) -> int:
        source = self.directory / "source"
        source.mkdir(exist_ok=True)
        (source / "model.bin").write_bytes(os.urandom(64))
        number = self.client.register("fraud", source).version
        for stage in ("Staging", "Production"):
            self.client.transition("fraud", number, stage)
        return number

    def delivered(self, webhook_id: str, count: int) -> list[DeliveryRecord]:
        """Wait until the newest ``count`` deliveries are delivered."""

        def find() -> list[DeliveryRecord] | None:
            newest = list(self.client.webhooks.deliveries(webhook_id))
            are_there = [one.state for one in newest] == ["delivered"] * count
            return newest if are_there else None

        return wait_for(find, STALL_SECONDS, lambda: "a delivery")

    def deployments(self, number: int) -> list[dict[str, Any]]:
        path = f"/api/v1/models/fraud/versions/{number}/deployments"
        answer = self.server.http().get(self.server.url + path, timeout=10)
        answer.raise_for_status()
        items: list[dict[str, Any]] = answer.json()["items"]
        return items


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture(scope="module")
def elusive_server(
    tmp_path_factory: pytest.TempPathFactory, elsewhere: Receiver
) -> Iterator[LastingServer]:
    """A server whose events say that it is ``elsewhere``."""
    directory = tmp_path_factory.mktemp("server")
    with lasting(directory, PUBLIC_URL=elsewhere.url) as running:
        yield running


@pytest.fixture
def server(elusive_server: LastingServer) -> RunningServer:
    return elusive_server.emptied()


@pytest.fixture
def consumer(server: RunningServer, tmp_path: Path) -> Iterator[Consumer]:
    directory = tmp_path / "consumer"
    directory.mkdir()
    with server.client() as client:
        client.ensure_model("fraud")
        yield Consumer(server, client, directory, free_port())


def subscribe(consumer: Consumer) -> tuple[str, str]:
    subscription = consumer.client.webhooks.create(
        consumer.url,
        event_types=["model_version.stage_changed"],
        to_stages=["Production"],
    )
    assert subscription.secret is not None
    return subscription.id, subscription.secret


def test_receiver_deploys_what_is_promoted_and_reports_it_at_its_own_url(
    consumer: Consumer, elsewhere: Receiver
) -> None:
    webhook_id, secret = subscribe(consumer)

    with consumer.running(secret):
        numbers = []
        for count in (1, 2):
            numbers.append(consumer.promote())
            consumer.delivered(webhook_id, count)

    current = consumer.models / "fraud" / "current"
    source = (consumer.directory / "source" / "model.bin").read_bytes()
    assert current.readlink() == Path("2")
    assert (current / "model.bin").read_bytes() == source
    for number in numbers:
        (deployment,) = consumer.deployments(number)
        assert deployment["status"] == "succeeded"
        assert deployment["environment"] == "production"
    *_, event = consumer.client.events()
    assert event.data["links"]["deployments"].startswith(elsewhere.url)
    assert not elsewhere.requests


def test_replay_of_the_past_does_not_turn_the_present_back(
    consumer: Consumer,
) -> None:
    webhook_id, secret = subscribe(consumer)

    with consumer.running(secret):
        consumer.promote()
        (first,) = consumer.delivered(webhook_id, 1)
        consumer.promote()
        consumer.delivered(webhook_id, 2)
    # Even a consumer that has forgotten everything: the registry has the last word.
    (consumer.models / "received.db").unlink()
    with consumer.running(secret):
        consumer.client.deliveries.redeliver(first.id)
        consumer.delivered(webhook_id, 3)

    assert (consumer.models / "fraud" / "current").readlink() == Path("2")


def test_what_is_not_signed_is_refused_and_a_ping_is_taken(
    consumer: Consumer,
) -> None:
    webhook_id, secret = subscribe(consumer)
    body = b'{"type":"x","timestamp":"2026-11-20T12:00:00Z","data":{}}'

    with consumer.running(secret):
        unsigned = requests.post(consumer.url, data=body, timeout=10)
        headers = sign("msg_1", datetime.now(UTC), body, [secret])
        signed = requests.post(consumer.url, data=body, headers=headers, timeout=10)
        pinged = consumer.client.webhooks.test(webhook_id)

    assert (unsigned.status_code, signed.status_code) == (401, 204)
    assert pinged["status"] == 204


def test_artifact_that_changed_is_not_deployed(consumer: Consumer) -> None:
    webhook_id, secret = subscribe(consumer)
    consumer.client.webhooks.update(webhook_id, state="paused")
    number = consumer.promote()
    stored = consumer.server.directory / "data" / "artifacts"
    (file,) = stored.rglob("model.bin")
    file.chmod(0o644)
    file.write_bytes(b"x" * file.stat().st_size)

    def failed() -> list[dict[str, Any]] | None:
        found = consumer.deployments(number)
        return found if [one["status"] for one in found] == ["failed"] else None

    with consumer.running(secret):
        consumer.client.webhooks.update(webhook_id, state="active")
        wait_for(failed, STALL_SECONDS, lambda: "a report")

    assert not (consumer.models / "fraud" / "current").exists()
    (delivery,) = consumer.client.webhooks.deliveries(webhook_id)
    assert delivery.state != "delivered"
