"""What people do with the command line, from the first command to the last."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from registry.client import RegistryClient
from tests.integration.cli.conftest import Run, runner_of
from tests.receiver import Answer, Receiver
from tests.server import RunningServer, running_server
from tests.services.minio import ObjectStoreServer
from tests.waiting import STALL_SECONDS, wait_for

#: More than a request body may have, so that the limit is seen not to apply.
WEIGHTS = os.urandom(3_000_000)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """An artifact: a large file, a small one in a directory, and an empty one."""
    directory = tmp_path / "model"
    (directory / "deep er").mkdir(parents=True)
    (directory / "weights.bin").write_bytes(WEIGHTS)
    (directory / "deep er" / "naïve%20.txt").write_bytes(b"text")
    (directory / "empty").write_bytes(b"")
    return directory


def content(directory: Path) -> dict[str, bytes]:
    return {
        file.relative_to(directory).as_posix(): file.read_bytes()
        for file in directory.rglob("*")
        if file.is_file()
    }


def register_small(run: Run, tmp_path: Path, count: int = 1) -> None:
    file = tmp_path / "small.bin"
    for number in range(count):
        file.write_bytes(b"%d" % number)
        assert run("register", "fraud", str(file)).exit_code == 0


def test_a_model_goes_into_production_and_back(
    run: Run, model: Path, tmp_path: Path
) -> None:
    registered = run(
        "register", "fraud", str(model), "--metric", "auc=0.9", "--dataset", "digits"
    )
    assert registered.exit_code == 0, registered.stderr
    register_small(run, tmp_path)

    refused = run("promote", "fraud", "1", "--to", "Production")
    assert refused.exit_code == 3
    assert "Allowed from None: Staging" in refused.stderr

    for version in ("1", "2"):
        assert run("promote", "fraud", version, "--to", "Staging").exit_code == 0
    assert run("promote", "fraud", "1", "--to", "Production").exit_code == 0
    stale = run(
        "promote", "fraud", "2", "--to", "Production", "--expect-incumbent", "none"
    )
    assert stale.exit_code == 4
    promoted = run(
        "promote", "fraud", "2", "--to", "Production", "--expect-incumbent", "1"
    )
    assert "version 1 is archived" in promoted.stdout
    back = run("rollback", "fraud", "--reason", "too many alarms")
    assert "fraud version 1 is now in Production (rollback)" in back.stdout

    downloaded = run(
        "versions", "download", "fraud", "--stage", "Production",
        "--to", str(tmp_path / "got"),
    )  # fmt: skip
    assert downloaded.exit_code == 0, downloaded.stderr
    assert content(tmp_path / "got") == content(model)

    history = json.loads(run("history", "fraud", "-o", "json").stdout)["items"]
    assert [entry["cause"] for entry in history[:2]] == ["rollback", "superseded"]
    before = run("history", "fraud", "--at", history[0]["at"], "-o", "json")
    assert json.loads(before.stdout)["version"] == 1
    assert run("history", "fraud", "--at", "2020-01-01").exit_code == 5


def test_a_job_that_runs_again_changes_nothing_twice(run: Run, tmp_path: Path) -> None:
    register_small(run, tmp_path)
    job: dict[str, str | None] = {"GITHUB_RUN_ID": "17", "GITHUB_JOB": "deploy"}

    first = run("promote", "fraud", "1", "--to", "Staging", "-o", "json", env=job)
    again = run("promote", "fraud", "1", "--to", "Staging", "-o", "json", env=job)
    without = run("promote", "fraud", "1", "--to", "Staging")

    assert (first.exit_code, again.exit_code) == (0, 0)
    assert json.loads(again.stdout)["replayed"] is True
    assert "Nothing changed now" in again.stderr
    assert without.exit_code == 3
    history = json.loads(run("history", "fraud", "-o", "json").stdout)
    assert len(history["items"]) == 1


def test_waiting_follows_the_webhooks(
    run: Run, tmp_path: Path, receiver: Receiver
) -> None:
    register_small(run, tmp_path, count=2)
    created = run(
        "webhooks", "create", receiver.url, "--to-stage", "Staging", "-o", "json"
    )
    assert created.exit_code == 0, created.stderr
    webhook = json.loads(created.stdout)
    receiver.accept_secret(webhook["secret"])

    tested = run("webhooks", "test", webhook["id"])
    waited = run("promote", "fraud", "1", "--to", "Staging", "--wait", "20")
    receiver.answers = lambda _: Answer(status=500)
    given_up = run("promote", "fraud", "2", "--to", "Staging", "--wait", "0.5")

    assert tested.exit_code == 0, tested.stdout
    assert waited.exit_code == 0, waited.stderr
    assert "Webhook deliveries acknowledged: 1." in waited.stderr
    assert given_up.exit_code == 7
    assert "is now in Staging" in given_up.stdout
    listed = run("webhooks", "deliveries", webhook["id"], "-o", "json")
    states = {one["event_type"]: one for one in json.loads(listed.stdout)["items"]}
    delivery = states["webhook.ping"]["id"]
    assert run("webhooks", "redeliver", delivery).exit_code == 0
    for arguments in (["show"], ["rotate-secret"], ["update", "--state", "paused"]):
        verb, *options = arguments
        assert run("webhooks", verb, webhook["id"], *options).exit_code == 0
    assert webhook["id"] in run("webhooks", "list").stdout
    assert run("webhooks", "delete", webhook["id"], "--yes").exit_code == 0


def test_prompts_are_listed_apart_and_not_promoted(
    run: Run, server: RunningServer
) -> None:
    is_prompt = "mlflow.prompt.is_prompt=true"
    assert run("models", "create", "fraud").exit_code == 0
    assert run("models", "create", "greet", "--tag", is_prompt).exit_code == 0
    with RegistryClient(server.url, server.token) as client:
        client.begin_version("greet", tags={"mlflow.prompt.is_prompt": "true"})

    assert "greet" not in run("models", "list").stdout
    assert "fraud" not in run("models", "list", "--prompts").stdout
    assert "greet" in run("models", "list", "--prompts").stdout
    refused = run("promote", "greet", "1", "--to", "Production")
    assert refused.exit_code == 3
    assert "A prompt has no stages" in refused.stderr


def test_waiting_for_what_died_unsent_fails_and_it_can_be_sent_again(
    run: Run, tmp_path: Path, receiver: Receiver
) -> None:
    credential = tmp_path / "token"
    credential.write_text("token-of-the-receiver", encoding="utf-8")
    inputs = [
        part
        for number in range(25)
        for part in ("--option", f"inputs.input_{number}=event")
    ]
    created = run(
        *("webhooks", "create", receiver.url, "--to-stage", "Staging", "-o", "json"),
        *("--format", "github", "--credential", f"token=@{credential}"),
        *("--option", "dispatch=workflow", "--option", "ref=main", *inputs),
    )
    assert created.exit_code == 0, created.stderr
    webhook = json.loads(created.stdout)["id"]
    # An address that no receiver could be sent twenty-five times.
    assert run("register", "fraud", "s3://elsewhere/" + "a" * 1900).exit_code == 0

    promoted = run("promote", "fraud", "1", "--to", "Staging", "--wait", "20")

    assert promoted.exit_code == 1
    assert "is now in Staging" in promoted.stdout
    assert "is blocked: not rendered: " in promoted.stderr
    assert "more than the 65535 that GitHub takes" in promoted.stderr
    listed = run("webhooks", "deliveries", webhook, "-o", "json")
    (delivery,) = json.loads(listed.stdout)["items"]
    refused = run("webhooks", "redeliver", delivery["id"])
    assert refused.exit_code == 4
    assert "still cannot be rendered" in refused.stderr
    mended = run(
        *("webhooks", "update", webhook, "--option", "dispatch=workflow"),
        *("--option", "ref=main", "--option", "inputs.version=data.version"),
    )
    assert mended.exit_code == 0, mended.stderr
    assert run("webhooks", "redeliver", delivery["id"]).exit_code == 0
    assert receiver.wait_for(1)[0].json()["inputs"] == {"version": "1"}


def test_models_aliases_and_tokens_are_looked_after(run: Run, tmp_path: Path) -> None:
    assert run("models", "create", "fraud", "--tag", "team=risk").exit_code == 0
    assert run("models", "create", "fraud").exit_code == 4
    register_small(run, tmp_path)

    assert run("alias", "set", "fraud", "champion", "1").exit_code == 0
    shown = run("versions", "show", "fraud", "--alias", "champion", "-o", "json")
    assert json.loads(shown.stdout)["aliases"] == ["champion"]
    assert run("alias", "delete", "fraud", "champion").exit_code == 0
    assert "fraud" in run("models", "list").stdout
    assert "team=risk" in run("models", "show", "fraud").stdout
    assert "READY" in run("versions", "list", "fraud").stdout

    token = json.loads(
        run("tokens", "create", "ci", "--role", "viewer", "-o", "json").stdout
    )
    as_viewer = {"STAGEGATE_TOKEN": token["token"]}
    assert run("models", "list", env=as_viewer).exit_code == 0
    assert run("models", "create", "other", env=as_viewer).exit_code == 6
    assert token["id"] in run("tokens", "list").stdout
    assert run("tokens", "revoke", token["id"], "--yes").exit_code == 0
    assert run("models", "list", env=as_viewer).exit_code == 6
    assert run("models", "delete", "fraud", "--yes").exit_code == 0
    assert run("models", "show", "fraud").exit_code == 5


def test_the_audit_log_is_verified_in_three_ways(
    run: Run, server: RunningServer, tmp_path: Path
) -> None:
    register_small(run, tmp_path)
    export = tmp_path / "audit.jsonl"

    by_server = run("audit", "verify")
    exported = run("audit", "export", "--to", str(export))
    offline = run("audit", "verify", str(export))
    settings: dict[str, str | None] = {
        name: value
        for name, value in server.environment.items()
        if name.startswith("STAGEGATE_")
    }
    by_database = run("audit", "verify", env={**settings, "STAGEGATE_URL": None})

    assert exported.exit_code == 0, exported.stderr
    assert by_server.exit_code == 0, by_server.stderr
    assert by_server.stdout == offline.stdout
    assert by_database.stdout.splitlines()[0] == offline.stdout.splitlines()[0]
    assert "intact" in offline.stdout

    export.write_text(export.read_text().replace("fraud", "fraad", 1))
    damaged = run("audit", "verify", str(export))
    assert damaged.exit_code == 1
    assert "Damaged: chain " in damaged.stdout


def test_ctrl_c_during_an_upload_leaves_no_pending_version(
    run: Run, server: RunningServer, tmp_path: Path
) -> None:
    with (tmp_path / "large.bin").open("wb") as file:
        file.truncate(4_000_000_000)
    environment = {
        **server.environment,
        "STAGEGATE_URL": server.url,
        "STAGEGATE_TOKEN": server.token,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "registry.cli.main", "register", "fraud",
         str(tmp_path / "large.bin")],
        env=environment,
        stderr=subprocess.PIPE,
    )  # fmt: skip

    wait_for_bytes(server)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=STALL_SECONDS)

    assert process.returncode == 130
    assert b"Interrupted." in told
    (version,) = json.loads(run("versions", "list", "fraud", "-o", "json").stdout)[
        "items"
    ]
    assert version["status"] == "FAILED_REGISTRATION"
    assert version["status_message"] == "KeyboardInterrupt"


def wait_for_version(client: RegistryClient, number: int = 1) -> None:
    """Wait until the one model has a version of this number."""
    wait_for(
        lambda: [model.latest_version for model in client.models()],
        lambda latest: latest[:1] == [number],
    )


def wait_for_bytes(server: RunningServer) -> None:
    """Wait until a file comes: till then its sender may not know the version."""
    artifacts = Path(server.environment["STAGEGATE_DATA_DIR"]) / "artifacts"

    def size() -> int:
        sizes = 0
        for path in artifacts.rglob("*"):
            with suppress(FileNotFoundError):  # given up meanwhile
                sizes += path.stat().st_size
        return sizes

    wait_for(size, lambda size: size > 1_000_000)


@pytest.mark.service
def test_large_files_go_to_the_store_and_come_from_it(
    minio: ObjectStoreServer, bucket: str, model: Path, tmp_path: Path
) -> None:
    settings = {
        name.removeprefix("STAGEGATE_"): value
        for name, value in minio.settings().items()
    }
    with running_server(
        tmp_path, ARTIFACT_ROOT=f"s3://{bucket}/models", **settings
    ) as server:
        run = runner_of(server)

        registered = run("register", "fraud", str(model))
        downloaded = run(
            "versions", "download", "fraud", "1", "--to", str(tmp_path / "got")
        )

        assert registered.exit_code == 0, registered.stderr
        assert downloaded.exit_code == 0, downloaded.stderr
    assert content(tmp_path / "got") == content(model)
