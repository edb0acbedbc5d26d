"""Checks, approvals and holds by the command line, and by webhooks alone."""

import dataclasses
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.client import RegistryClient, TransitionRequest
from registry.settings import packaged_config
from tests.integration.cli.conftest import Run, runner_of
from tests.integration.conftest import LastingServer, lasting
from tests.receiver import Answer, ReceivedRequest, Receiver
from tests.server import RunningServer
from tests.waiting import STALL_SECONDS, wait_for

CHECK, PROMOTION = "integration-tests", ("promote", "fraud", "1", "--to", "Production")
RULES = {
    '[[moves]]\nfrom = "None"\nto = "Staging"\n': 'checks = ["unit-tests"]\n',
    '[[moves]]\nfrom = "Staging"\nto = "Production"\n': (
        f'checks = ["{CHECK}"]\napprovals = 1\n'
    ),
}


@pytest.fixture(scope="module")
def gated_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LastingServer]:
    """A server that wants a check for Staging; for Production an approval, too."""
    text = packaged_config("policy.toml").read_text("utf-8")
    for rule, gates in RULES.items():
        assert rule in text
        text = text.replace(rule, rule + gates)
    directory = tmp_path_factory.mktemp("gates")
    policy = directory / "policy.toml"
    policy.write_text(text, "utf-8")
    with lasting(directory, POLICY_FILE=str(policy)) as running:
        yield running


@pytest.fixture
def server(gated_server: LastingServer) -> RunningServer:
    return gated_server.emptied()


@pytest.fixture
def bob(server: RunningServer) -> RegistryClient:
    """Somebody who may approve what others ask for."""
    return somebody(server, "bob", "admin")


def somebody(server: RunningServer, name: str, role: str) -> RegistryClient:
    return RegistryClient(server.url, server.client().tokens.create(name, role).token)


@pytest.fixture
def run(server: RunningServer) -> Run:
    """As alice, who made nobody's token."""
    token = server.client().tokens.create("alice", "admin").token
    return runner_of(dataclasses.replace(server, token=str(token)))


def register(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "small.bin"
    file.write_bytes(b"1")
    assert run("register", "fraud", str(file)).exit_code == 0


@pytest.fixture
def staged(run: Run, tmp_path: Path) -> None:
    """Version 1 of a model is in Staging."""
    register(run, tmp_path)
    report = ("checks", "report", "fraud", "1", "unit-tests", "--status", "passed")
    assert run(*report).exit_code == 0
    assert run("promote", "fraud", "1", "--to", "Staging").exit_code == 0


def pass_check(run: Run) -> None:
    done = run("checks", "report", "fraud", "1", CHECK, "--status", "passed")
    assert done.exit_code == 0, done.stderr


class Pipeline:
    """What CI does when it is told of something, and a person who approves."""

    def __init__(self, ci: RegistryClient, person: RegistryClient) -> None:
        self.ci = ci
        self.person = person
        self.told: list[str] = []
        self._tasks: dict[str, Callable[[dict[str, Any]], object]] = {
            "model_version.registered": self._unit_tests,
            "model_version.stage_changed": self._went_on,
            "transition_request.created": self._integration_tests,
            "model_version.check_reported": self._checked,
        }

    def take(self, request: ReceivedRequest) -> Answer:
        event = request.json()
        self.told.append(event["type"])
        task = self._tasks.get(event["type"])
        if task:
            task(event["data"])
        return Answer()

    def _unit_tests(self, data: dict[str, Any]) -> None:
        self.ci.checks.report(data["model"], data["version"], "unit-tests", "passed")
        self.ci.promote(data["model"], data["version"], "Staging")

    def _went_on(self, data: dict[str, Any]) -> None:
        if data["to_stage"] == "Staging":
            self.ci.requests.create(data["model"], data["version"], "Production")

    def _integration_tests(self, data: dict[str, Any]) -> None:
        self.ci.checks.report(data["model"], data["version"], CHECK, "passed")

    def _checked(self, data: dict[str, Any]) -> None:
        if data["check"]["name"] == CHECK:
            (request,) = self.person.requests.list(model=data["model"])
            self.person.requests.approve(request.id, comment="tests are green")


def test_a_version_goes_from_none_to_production_by_webhooks_alone(
    run: Run,
    server: RunningServer,
    bob: RegistryClient,
    *,
    tmp_path: Path,
    receiver: Receiver,
) -> None:
    created = json.loads(run("webhooks", "create", receiver.url, "-o", "json").stdout)
    receiver.accept_secret(created["secret"])
    pipeline = Pipeline(somebody(server, "ci", "promoter"), bob)
    receiver.answers = pipeline.take

    register(run, tmp_path)

    client = server.client()
    wait_for(lambda: client.get_version("fraud", 1).stage, lambda s: s == "Production")
    wait_for(lambda: "transition_request.approved" in pipeline.told)  # told last
    assert pipeline.told.count("model_version.stage_changed") == 2
    production, staging = client.history("fraud")
    assert staging.request_id is None
    assert production.request_id
    asked = client.requests.get(production.request_id)
    assert (asked.state, asked.requested_by["name"], asked.closed_by) == (
        *("approved", "ci"),
        "bob",
    )


@pytest.mark.usefixtures("staged")
def test_dry_run_and_requests_tell_how_far_a_move_is(
    run: Run, bob: RegistryClient
) -> None:
    dry_run = (*PROMOTION, "--dry-run")
    before = run(*dry_run)
    direct = run(*PROMOTION)
    asked = run("requests", "create", "fraud", "1", "--to", "Production")
    (request,) = bob.requests.list()
    own = run("requests", "approve", request.id)
    pass_check(run)
    after = run(*dry_run)
    shown = run("requests", "show", request.id).stdout
    approved = bob.requests.approve(request.id)

    assert (before.exit_code, direct.exit_code, own.exit_code) == (3, 3, 6)
    assert f"check '{CHECK}' is missing" in before.stdout
    assert asked.exit_code == 0
    assert after.exit_code == 0
    assert "would become a transition request: it takes 1 approval" in after.stdout
    assert f"stagegate requests approve {request.id}" in after.stderr
    assert "passed" in shown
    assert approved.transition
    assert (approved.state, approved.transition_id) == (
        "approved",
        approved.transition.transition_id,
    )
    assert "REQUEST" in run("history", "fraud").stdout


def decide(
    client: RegistryClient, decision: Callable[[str], object]
) -> threading.Thread:
    """Decide on the first request that there is, in the background."""

    def go() -> None:
        found: list[TransitionRequest] = wait_for(lambda: list(client.requests.list()))
        decision(found[0].id)

    thread = threading.Thread(target=go)
    thread.start()
    return thread


@pytest.mark.usefixtures("staged")
def test_promotion_is_waited_for_until_somebody_approves(
    run: Run, bob: RegistryClient
) -> None:
    pass_check(run)
    approving = decide(bob, bob.requests.approve)

    promoted = run(*PROMOTION, "--wait", str(STALL_SECONDS))
    approving.join()

    assert promoted.exit_code == 0, promoted.stderr
    assert promoted.stdout == "fraud version 1 is now in Production (promotion).\n"


@pytest.mark.usefixtures("staged")
def test_promotion_that_is_rejected_ends_as_refused(
    run: Run, bob: RegistryClient
) -> None:
    pass_check(run)
    rejecting = decide(bob, lambda one: bob.requests.reject(one, comment="not now"))

    promoted = run(*PROMOTION, "--wait", str(STALL_SECONDS))
    rejecting.join()
    in_time = run(*PROMOTION, "--wait", "0.1")

    assert promoted.exit_code == 3
    assert "is rejected by bob: not now" in promoted.stderr
    assert in_time.exit_code == 7


@pytest.mark.usefixtures("staged")
def test_job_that_runs_again_hears_of_its_request(
    run: Run, bob: RegistryClient
) -> None:
    pass_check(run)
    job: dict[str, str | None] = {"GITHUB_RUN_ID": "17", "GITHUB_JOB": "deploy"}

    first = json.loads(run(*PROMOTION, "-o", "json", env=job).stdout)
    bob.requests.approve(first["request"]["id"])
    again = json.loads(run(*PROMOTION, "-o", "json", env=job).stdout)
    waited = run(*PROMOTION, "--wait", "30", env=job)

    assert again["replayed"] is True
    assert again["request"]["state"] == "approved"
    assert waited.exit_code == 0, waited.stderr


@pytest.mark.usefixtures("staged")
def test_alias_of_a_stage_is_the_move_there(run: Run) -> None:
    pass_check(run)

    asked = run("alias", "set", "fraud", "production", "1")

    assert "asks for 1 approval of its move to Production" in asked.stdout


@pytest.mark.usefixtures("staged")
def test_held_stage_is_entered_by_broken_glass_alone(
    run: Run, server: RunningServer
) -> None:
    pass_check(run)
    hold = ("holds", "set", "fraud", "Production", "--reason", "audit")
    assert run(*hold, "--until", "2999-01-01").exit_code == 0

    refused = run(*PROMOTION)
    without_reason = run(*PROMOTION, "--break-glass")
    broken = run(*PROMOTION, "--break-glass", "--reason", "outage")
    shown = run("models", "show", "fraud").stdout
    lifted = run("holds", "lift", "fraud", "Production", "--reason", "it is over")
    (entry, *_) = server.client().audit.entries(model="fraud")
    nothing = run("holds", "lift", "fraud", "Production")

    assert refused.exit_code == 3
    assert "Production is held by alice until 2999-01-01" in refused.stderr
    assert without_reason.exit_code == 2
    assert broken.exit_code == 0, broken.stderr
    assert "Production by alice until 2999-01-01" in shown
    assert (entry.action, json.loads(entry.entry)["reason"]) == (
        "registered_model.hold_lifted",
        "it is over",
    )
    assert (lifted.exit_code, nothing.exit_code) == (0, 5)
    assert "promotion, broke the glass" in run("history", "fraud").stdout
