"""The loop closed: promoted, delivered, deployed, reported, waited for."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from registry.settings import packaged_config
from tests.integration.cli.conftest import Run, runner_of
from tests.integration.conftest import LastingServer, lasting
from tests.receiver import Answer, ReceivedRequest, Receiver
from tests.server import RunningServer, running_server
from tests.waiting import STALL_SECONDS

TOKEN_HEADER = "webhook-deployment-token"
Report = Callable[..., requests.Response]


@pytest.fixture(scope="module")
def rolling_back(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LastingServer]:
    """A server that rolls Production back when a deployment has failed."""
    directory = tmp_path_factory.mktemp("rolling-back")
    policy = directory / "policy.toml"
    rule = 'automatic_rollback = ["Production"]\n'
    policy.write_text(rule + packaged_config("policy.toml").read_text())
    with lasting(directory, POLICY_FILE=str(policy)) as running:
        yield running


@pytest.fixture
def server(rolling_back: LastingServer) -> RunningServer:
    return rolling_back.emptied()


class Consumer:
    """Deploys what it is told to, and reports with the token it was given."""

    def __init__(self, statuses: list[str]) -> None:
        self.statuses = statuses
        self.told: list[tuple[str, int]] = []
        self.tokens: list[str] = []
        self._deploying: list[threading.Thread] = []

    def take(self, request: ReceivedRequest) -> Answer:
        """Report that it begins, acknowledge, and go on in the background."""
        data = request.json()["data"]
        token = request.headers[TOKEN_HEADER]
        self.tokens.append(token)
        if data["to_stage"] != "Production":
            return Answer()
        address = data["links"]["deployments"]
        self._report(address, token, self.statuses[0])
        rest = threading.Thread(target=self._go_on, args=(address, token))
        self._deploying.append(rest)
        rest.start()
        return Answer(status=202)

    def _go_on(self, address: str, token: str) -> None:
        for status in self.statuses[1:]:
            self._report(address, token, status)

    def _report(self, address: str, token: str, status: str) -> None:
        answer = reported(address, token, status)
        self.told.append((status, answer.status_code))

    def finish(self) -> None:
        for thread in self._deploying:
            thread.join(STALL_SECONDS)


def reported(address: str, token: str, status: str) -> requests.Response:
    return requests.post(
        address,
        json={
            "status": status,
            "environment": "eu",
            "url": "https://ci.example.com/runs/17",
        },
        headers={"Authorization": f"Bearer {token}"},
        timeout=STALL_SECONDS,
    )


def subscribe(run: Run, receiver: Receiver) -> str:
    created = run(
        *("webhooks", "create", receiver.url),
        *("--event", "model_version.stage_changed", "-o", "json"),
    )
    assert created.exit_code == 0, created.stderr
    webhook = json.loads(created.stdout)
    receiver.accept_secret(webhook["secret"])
    return str(webhook["id"])


def stage(run: Run, tmp_path: Path, versions: int) -> None:
    file = tmp_path / "small.bin"
    for number in range(1, versions + 1):
        file.write_bytes(b"%d" % number)
        assert run("register", "fraud", str(file)).exit_code == 0
        assert run("promote", "fraud", str(number), "--to", "Staging").exit_code == 0


def test_promotion_is_waited_for_until_its_consumer_has_deployed(
    run: Run, tmp_path: Path, receiver: Receiver
) -> None:
    stage(run, tmp_path, 1)
    webhook = subscribe(run, receiver)
    consumer = Consumer(["in_progress", "succeeded"])
    receiver.answers = consumer.take

    promoted = run(
        "promote", "fraud", "1", "--to", "Production", "--wait", "30", "--wait-deployed"
    )
    consumer.finish()

    assert promoted.exit_code == 0, promoted.stderr
    assert "Webhook deliveries acknowledged: 1. Deployed to eu." in promoted.stderr
    assert consumer.told == [("in_progress", 200), ("succeeded", 200)]
    (line,) = [
        one
        for one in json.loads(run("history", "fraud", "-o", "json").stdout)["items"]
        if one["to_stage"] == "Production"
    ]
    assert (line["deliveries"]["requested"], line["deliveries"]["delivered"]) == (1, 1)
    assert [one["status"] for one in line["deployments"]] == ["succeeded"]
    listed = run("deployments", "list", "fraud", "1").stdout
    assert "succeeded" in listed
    assert f"webhook {webhook}" in listed


def test_failed_deployment_ends_the_waiting_and_rolls_back(
    run: Run, tmp_path: Path, receiver: Receiver
) -> None:
    stage(run, tmp_path, 2)
    assert run("promote", "fraud", "1", "--to", "Production").exit_code == 0
    subscribe(run, receiver)
    consumer = Consumer(["in_progress", "failed"])
    receiver.answers = consumer.take

    promoted = run("promote", "fraud", "2", "--to", "Production", "--wait", "30")
    # The superseded one, the new one; then both again, the other way round.
    receiver.wait_for(4)
    consumer.finish()

    assert promoted.exit_code == 1
    assert "Deployment to eu failed: https://ci.example.com/runs/17" in promoted.stderr
    history = json.loads(run("history", "fraud", "-o", "json").stdout)["items"]
    assert [(one["version"], one["cause"]) for one in history[:2]] == [
        (1, "rollback"),
        (2, "superseded"),
    ]
    assert history[0]["actor"]["kind"] == "system"
    # The rollback failed as well, and was left alone.
    assert [one["status"] for one in history[0]["deployments"]] == ["failed"]
    holder = json.loads(
        run("versions", "show", "fraud", "--stage", "Production", "-o", "json").stdout
    )
    assert holder["version"] == 1
    assert run("audit", "verify").exit_code == 0


def test_every_attempt_carries_the_same_token_and_none_is_kept(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.answers = [500, 200]
    with running_server(tmp_path) as server:
        run = runner_of(server)
        subscribe(run, receiver)
        stage(run, tmp_path, 1)

        first, second = receiver.wait_for(2)
        token = first.headers[TOKEN_HEADER]
        address = first.json()["data"]["links"]["deployments"]
        assert reported(address, token, "succeeded").status_code == 200

    assert first.headers[TOKEN_HEADER] == second.headers[TOKEN_HEADER]
    assert first.body == second.body
    kept = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert token.rpartition(".")[2].encode() not in kept


def test_job_may_report_by_the_token_of_its_delivery(
    run: Run, tmp_path: Path, receiver: Receiver
) -> None:
    subscribe(run, receiver)
    stage(run, tmp_path, 2)
    first, _ = receiver.wait_for(2)
    job: dict[str, str | None] = {"STAGEGATE_TOKEN": first.headers[TOKEN_HEADER]}
    done = ("--status", "succeeded", "--environment", "eu")

    own = run("deployments", "report", "fraud", "1", *done, env=job)
    other = run("deployments", "report", "fraud", "2", *done, env=job)
    promoted = run("promote", "fraud", "1", "--to", "Production", env=job)

    assert own.stdout == "fraud version 1 is succeeded in eu.\n"
    assert (own.exit_code, other.exit_code, promoted.exit_code) == (0, 6, 6)
