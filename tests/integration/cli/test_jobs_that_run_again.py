"""A CI job whose commands are run a second time, perhaps in other words."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from registry.client import RegistryClient
from tests.integration.cli.conftest import Run
from tests.integration.cli.test_story import wait_for_bytes, wait_for_version
from tests.server import RunningServer
from tests.waiting import STALL_SECONDS

JOB: dict[str, str | None] = {"GITHUB_RUN_ID": "17", "GITHUB_JOB": "deploy"}
OTHER_JOB: dict[str, str | None] = {**JOB, "GITHUB_RUN_ID": "18"}


class Team:
    """A job, the people beside it, and what the registry holds."""

    def __init__(self, run: Run, client: RegistryClient, directory: Path) -> None:
        self.run = run
        self.client = client
        self.directory = directory

    def job(self, *arguments: str, env: dict[str, str | None] = JOB) -> Any:  # noqa: ANN401  # JSON
        """What a command of the job answers."""
        done = self.run(*arguments, "-o", "json", env=env)
        assert done.exit_code == 0, done.stderr
        document = json.loads(done.stdout)
        if document.get("replayed"):
            assert "Nothing changed now" in done.stderr
        return document

    def file(self, content: bytes) -> str:
        path = self.directory / "model.bin"
        path.write_bytes(content)
        return str(path)

    def entries(self) -> int:
        """How many changes were ever made."""
        return sum(1 for _ in self.client.audit.entries())

    def ready(self, *stages: str) -> int:
        """A version that others have registered and moved."""
        self.client.ensure_model("fraud")
        source = Path(self.file(os.urandom(8)))
        version = self.client.register("fraud", source).version
        for stage in stages:
            self.client.promote("fraud", version, stage)
        return version


@pytest.fixture
def team(run: Run, server: RunningServer, tmp_path: Path) -> Team:
    return Team(run, server.client(), tmp_path)


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (["--reason", "attempt 1"], ["--reason", "attempt 2"]),
        (["--reason", "attempt 1"], []),
        (["--expect-incumbent", "none"], ["--expect-incumbent", "7"]),
    ],
)
def test_promotion_in_other_words_is_the_same_promotion(
    team: Team, first: list[str], again: list[str]
) -> None:
    team.ready()
    promotion = ("promote", "fraud", "1", "--to", "Staging")
    done = team.job(*promotion, *first)
    entries = team.entries()

    repeated = team.job(*promotion, *again)

    assert "replayed" not in done
    assert repeated["replayed"] is True
    assert repeated["transition_id"] == done["transition_id"]
    assert team.entries() == entries


def test_rollback_and_archival_in_other_words_are_the_same(team: Team) -> None:
    for _ in range(2):
        team.ready("Staging", "Production")

    for command, moved_to in (
        (("rollback", "fraud"), "Production"),
        (("archive", "fraud", "1"), "Archived"),
    ):
        done = team.job(*command, "--reason", "attempt 1")
        entries = team.entries()
        repeated = team.job(*command, "--reason", "attempt 2")

        assert repeated["transition_id"] == done["transition_id"]
        assert repeated["moved_to"] == moved_to
        assert team.entries() == entries


def test_job_hears_where_the_version_went_since(team: Team) -> None:
    version = team.ready("Staging")
    promotion = ("promote", "fraud", str(version), "--to", "Production")
    done = team.job(*promotion)
    team.client.archive("fraud", version)

    repeated = team.job(*promotion)
    said = team.run(*promotion, env=JOB)

    assert repeated["version"]["stage"] == "Archived"
    assert repeated["moved_at"] == done["version"]["updated_at"]
    assert f"at {repeated['moved_at']}; it is in Archived now." in said.stdout


def test_key_of_ones_own_stands_for_the_very_request(team: Team) -> None:
    team.ready()
    promotion = ("promote", "fraud", "1", "--to", "Staging", "--idempotency-key", "k")
    team.job(*promotion, "--reason", "a")

    other = team.run(*promotion, "--reason", "b", env=JOB)
    same = team.job(*promotion, "--reason", "a")

    assert other.exit_code == 4
    assert "this idempotency key was used with a different request" in other.stderr
    assert same["replayed"] is True


def test_artifact_is_registered_once_by_a_job_whatever_it_says_of_it(
    team: Team,
) -> None:
    registration = ("register", "fraud", team.file(b"weights"))
    done = team.job(*registration, "--description", "attempt 1", "--metric", "auc=0.9")
    team.client.promote("fraud", 1, "Staging")
    entries = team.entries()

    repeated = team.job(*registration, "--description", "attempt 2", "--tag", "n=2")
    said = team.run(*registration, env=JOB)

    assert (done["version"], done.get("replayed")) == (1, None)
    assert (repeated["version"], repeated["replayed"]) == (1, True)
    assert (repeated["stage"], repeated["description"]) == ("Staging", "attempt 1")
    assert f"was registered at {done['created_at']}; it is in Staging" in said.stdout
    assert team.entries() == entries


def test_other_artifacts_models_and_jobs_make_versions_of_their_own(
    team: Team, server: RunningServer
) -> None:
    linked = server.directory / "data" / "artifacts" / "linked"
    linked.mkdir()
    (linked / "model.bin").write_bytes(b"linked")

    made = [
        team.job("register", model, source, env=env)["version"]
        for model, source, env in (
            ("fraud", team.file(b"1"), JOB),
            ("fraud", linked.as_uri(), JOB),
            ("fraud", linked.as_uri(), OTHER_JOB),
            ("churn", linked.as_uri(), JOB),
        )
    ]
    other_bytes = team.job("register", "fraud", team.file(b"2"))["version"]
    again = team.job("register", "fraud", linked.as_uri())

    assert made == [1, 2, 3, 1]
    assert other_bytes == 4
    assert (again["version"], again["replayed"]) == (2, True)


def test_registration_that_failed_or_was_killed_does_not_stop_the_next(
    team: Team, server: RunningServer
) -> None:
    source = team.directory / "large.bin"
    with source.open("wb") as file:
        file.truncate(300_000_000)
    environment = {
        **server.environment,
        "STAGEGATE_URL": server.url,
        "STAGEGATE_TOKEN": server.token,
        "GITHUB_RUN_ID": "17",
        "GITHUB_JOB": "deploy",
    }
    command = (sys.executable, "-m", "registry.cli.main", "register", "fraud", source)
    for number, end in ((1, signal.SIGINT), (2, signal.SIGKILL)):
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        wait_for_version(team.client, number)
        wait_for_bytes(server)
        process.send_signal(end)
        process.wait(STALL_SECONDS)

    third = team.job("register", "fraud", str(source))
    again = team.job("register", "fraud", str(source))

    statuses = {one.version: one.status for one in team.client.versions("fraud")}
    assert statuses == {
        1: "FAILED_REGISTRATION",
        2: "PENDING_REGISTRATION",
        3: "READY",
    }
    assert (third["version"], third.get("replayed")) == (3, None)
    assert (again["version"], again["replayed"]) == (3, True)


def test_version_that_was_deleted_since_is_not_made_again(team: Team) -> None:
    registration = ("register", "fraud", team.file(b"weights"))
    team.job(*registration)
    team.client.delete_version("fraud", 1)

    repeated = team.job(*registration)

    assert (repeated["version"], repeated["stage"]) == (1, None)
    assert list(team.client.versions("fraud")) == []
