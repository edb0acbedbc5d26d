"""CI jobs use the command line without a stored secret, against a real server."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ci_jobs
from tests.identity_provider import CLIENT, JOB, IdentityProvider
from tests.integration.cli.conftest import Run, runner_of
from tests.server import running_server

IN_CI = {"STAGEGATE_TOKEN": None, "STAGEGATE_OIDC_AUDIENCE": CLIENT}


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    with IdentityProvider() as provider:
        yield provider


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    directory = tmp_path_factory.mktemp("server")
    with running_server(directory, OIDC_AUDIENCE=CLIENT) as server:
        yield runner_of(server)


def test_github_job_registers_and_promotes_and_is_named_in_the_log(
    run: Run, provider: IdentityProvider, tmp_path: Path
) -> None:
    provider.person = ci_jobs.claims_of("github", provider.url)
    added = run(
        *("publishers", "add-github", "training", "--issuer", provider.url),
        *("--repository", "acme/fraud", "--owner-id", "583231"),
        *("--workflow", "train.yml", "--environment", "registry"),
        *("--role", "promoter", "--models", "fraud*"),
    )
    assert added.exit_code == 0, added.stderr
    job: dict[str, str | None] = {
        **IN_CI,
        "ACTIONS_ID_TOKEN_REQUEST_URL": f"{provider.url}/id-token?api-version=2.0",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": JOB,
        "GITHUB_RUN_ID": "1658821493",
        "GITHUB_JOB": "train",
    }
    (tmp_path / "model.bin").write_bytes(b"weights")

    registered = run("register", "fraud", str(tmp_path / "model.bin"), env=job)
    promoted = run("promote", "fraud", "1", "--to", "Staging", env=job)
    forbidden = run("register", "churn", str(tmp_path / "model.bin"), env=job)
    printed = run("tokens", "exchange", env=job)

    assert registered.exit_code == 0, registered.stderr
    assert promoted.exit_code == 0, promoted.stderr
    assert forbidden.exit_code == 6
    with_token = {"STAGEGATE_TOKEN": printed.stdout.strip()}
    who = json.loads(run("whoami", "-o", "json", env=with_token).stdout)
    assert who["roles"] == ["promoter:fraud*"]
    exported = run("audit", "export").stdout.splitlines()
    entries = [json.loads(line) for line in exported]
    moved = [e for e in entries if "stage_changed" in str(e)]
    assert moved
    assert "actions/runs/1658821493/attempts/2" in str(moved)


def test_gitlab_job_is_signed_in_once_by_what_its_variable_says(
    run: Run,
) -> None:
    with IdentityProvider() as gitlab:
        gitlab.person = ci_jobs.claims_of("gitlab", gitlab.url)
        said = ("--project-id", "20", "--issuer", gitlab.url, "--role", "reader")
        assert run("publishers", "add-gitlab", "deploy", *said).exit_code == 0
        job = {**IN_CI, "STAGEGATE_ID_TOKEN": gitlab.bearer()}

        token = run("tokens", "exchange", env=job).stdout.strip()
        again = run("models", "list", env=job)

    assert token.startswith("sg_ci_")
    listed = run("models", "list", env={**IN_CI, "STAGEGATE_TOKEN": token})
    assert listed.exit_code == 0
    assert again.exit_code == 6
    assert "exchanged already" in again.stderr


def test_pod_is_signed_in_by_its_projected_token(run: Run, tmp_path: Path) -> None:
    with IdentityProvider() as cluster:
        cluster.person = ci_jobs.claims_of("kubernetes", cluster.url)
        said = ("--namespace", "ml", "--service-account", "training")
        added = run(
            *("publishers", "add-kubernetes", "pods", *said),
            *("--issuer", cluster.url, "--role", "reader"),
        )
        assert added.exit_code == 0, added.stderr
        file = tmp_path / "token"
        file.write_text(cluster.bearer())

        shown = run("whoami", env={**IN_CI, "STAGEGATE_ID_TOKEN_FILE": str(file)})

    assert shown.exit_code == 0, shown.stderr
    assert "pods" in shown.stdout


def test_job_that_nobody_trusts_is_told_why(run: Run) -> None:
    with IdentityProvider() as stranger:
        job = {**IN_CI, "STAGEGATE_ID_TOKEN": stranger.bearer()}

        refused = run("models", "list", env=job)

    assert refused.exit_code == 6
    assert "no trusted publisher's issuer" in refused.stderr
