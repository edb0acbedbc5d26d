"""The pipelines of ``config/ci``: well formed, and run against a real server.

What a platform signs for its job is signed here by a provider with real keys.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from registry.client import RegistryClient
from tests import ci_jobs
from tests.identity_provider import IdentityProvider
from tests.integration.examples.places import Document, documents
from tests.server import RunningServer, running_server
from tests.services.absence import report_absence
from tests.unit.fake_registry import FakeRegistry, json_answer

CI = Path(__file__).parents[3] / "config" / "ci"
GITHUB, GITLAB = CI / "github-workflow.yml", CI / "gitlab-ci.yml"
JENKINS, KUBERNETES = CI / "Jenkinsfile", CI / "kubernetes-job.yaml"
AUDIENCE = "https://stagegate.example.com"
SHA = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
MODEL = "fraud"


def kubernetes_pod() -> Document:
    pod: Document = documents(KUBERNETES)[1]["spec"]["template"]["spec"]
    return pod


def scripts() -> dict[str, str]:
    """What each platform gives the shell."""
    (jenkins,) = re.findall(r"sh '''(.*?)'''", JENKINS.read_text("utf-8"), re.DOTALL)
    return {
        "github": documents(GITHUB)[0]["jobs"]["promote"]["steps"][-1]["run"],
        "gitlab": "\n".join(documents(GITLAB)[0]["promote"]["script"]),
        "jenkins": jenkins,
        "kubernetes": kubernetes_pod()["containers"][0]["command"][-1],
    }


@pytest.mark.parametrize(
    ("schema", "pipeline"),
    [
        ("vendor.github-workflows", GITHUB),
        ("custom.github-workflows-require-timeout", GITHUB),
        ("vendor.gitlab-ci", GITLAB),
    ],
)
def test_pipeline_keeps_to_the_schema_of_its_platform(
    schema: str, pipeline: Path
) -> None:
    command = (sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema)

    checked = subprocess.run(
        [*command, pipeline], check=False, capture_output=True, text=True
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_job_of_kubernetes_keeps_to_its_schema() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "kubernetes_validate", "--strict", KUBERNETES],
        check=False,
        capture_output=True,
        text=True,
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("platform", sorted(scripts()))
def test_script_is_a_script_without_anything_filled_in(platform: str) -> None:
    script = scripts()[platform]

    checked = subprocess.run(
        ["bash", "-n"], input=script, check=False, capture_output=True, text=True
    )

    assert checked.returncode == 0, checked.stderr
    assert re.findall(r"\$\{\{|set -\w*x|echo .*TOKEN", script) == []


def test_training_has_neither_token_nor_the_right_to_ask_for_one() -> None:
    workflow = documents(GITHUB)[0]
    pipeline = documents(GITLAB)[0]
    training, _, promoting = JENKINS.read_text("utf-8").partition("stage('Install')")

    assert workflow["permissions"] == {}
    assert workflow["jobs"]["train"]["permissions"] == {"contents": "read"}
    assert workflow["jobs"]["promote"]["permissions"] == {"id-token": "write"}
    assert "id_tokens" not in pipeline["train"]
    assert pipeline["promote"]["id_tokens"]
    assert "credentials(" not in training
    assert "credentials(" in promoting


def test_every_job_with_an_identity_runs_in_an_environment() -> None:
    assert documents(GITHUB)[0]["jobs"]["promote"]["environment"] == "registry"
    assert documents(GITLAB)[0]["promote"]["environment"] == "registry"
    for pipeline in (GITHUB, GITLAB):
        assert "--environment registry" in pipeline.read_text("utf-8")


def test_actions_of_others_are_pinned_by_hash() -> None:
    jobs = documents(GITHUB)[0]["jobs"].values()
    used = [step["uses"] for job in jobs for step in job["steps"] if "uses" in step]

    assert used
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", one) for one in used)


def test_the_pod_has_the_projected_token_alone() -> None:
    pod = kubernetes_pod()
    (token,) = pod["volumes"][0]["projected"]["sources"]
    environment = {each["name"]: each["value"] for each in pod["containers"][0]["env"]}

    assert pod["automountServiceAccountToken"] is False
    assert token["serviceAccountToken"]["audience"] == environment["STAGEGATE_URL"]
    assert environment["STAGEGATE_ID_TOKEN_FILE"] == "/var/run/stagegate/token"


@pytest.fixture
def provider() -> Iterator[IdentityProvider]:
    """One for each test: an issuer signs for one platform."""
    with IdentityProvider() as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    directory = tmp_path_factory.mktemp("server")
    with running_server(directory, OIDC_AUDIENCE=AUDIENCE) as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[RegistryClient]:
    with server.client() as opened:
        yield opened


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where a job runs: what was trained, and a runner's programs."""
    for program in ("bash", "jq"):
        if shutil.which(program) is None:
            report_absence(f"{program} is not installed")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text(uuid.uuid4().hex)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, line in {
        "pip": "",
        "stagegate": f'exec "{sys.executable}" -m registry.cli.main "$@"',
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)
    return tmp_path


def run(
    platform: str, server: RunningServer, place: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a job's script as its platform does."""
    script = scripts()[platform].replace(" /model ", " model ")
    own = {
        "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
        "HOME": str(place),
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "HOSTNAME": "train-7x2",
        "STAGEGATE_URL": server.url,
    }
    return subprocess.run(
        ["bash", "-c", script],
        env=own | environment,
        cwd=place,
        check=False,
        capture_output=True,
        text=True,
    )


def trusted(server: RunningServer, provider: IdentityProvider, platform: str) -> None:
    """Let the provider sign for the platform's job, which the registry trusts."""
    provider.person = ci_jobs.claims_of(platform, provider.url)
    body = ci_jobs.publisher(platform, provider.url, name=f"{platform}-{uuid.uuid4()}")
    made = server.http().post(f"{server.url}/api/v1/trusted-publishers", json=body)
    assert made.status_code == 201, made.text


def signed(provider: IdentityProvider) -> str:
    return provider.sign(provider.claims(aud=AUDIENCE, jti=uuid.uuid4().hex))


def assert_promoted(
    done: subprocess.CompletedProcess[str], client: RegistryClient
) -> Mapping[str, object]:
    """That the last version is in Staging; returns the entry that tells of it."""
    assert done.returncode == 0, done.stderr
    newest = max(client.versions(MODEL), key=lambda version: version.version)
    assert newest.stage == "Staging"
    assert not re.search("sg_ci_|sg_pat_|eyJ", done.stdout + done.stderr)
    entries = client.audit.entries(model=MODEL)
    return next(e.raw for e in entries if "stage" in str(e.raw["action"]))


def test_a_job_of_github_promotes_without_a_stored_token(
    server: RunningServer,
    provider: IdentityProvider,
    client: RegistryClient,
    place: Path,
) -> None:
    trusted(server, provider, "github")
    with FakeRegistry() as github:
        github.on("GET", "/token", lambda _: json_answer({"value": signed(provider)}))
        done = run(
            "github", server, place,
            ACTIONS_ID_TOKEN_REQUEST_URL=f"{github.url}/token?api-version=2.0",
            ACTIONS_ID_TOKEN_REQUEST_TOKEN="of-the-runner",
            STAGEGATE_OIDC_AUDIENCE=AUDIENCE,
            GITHUB_SHA=SHA,
        )  # fmt: skip
        assert {asked.query["audience"] for asked in github.asked} == {AUDIENCE}

    entry = assert_promoted(done, client)
    assert ci_jobs.REPOSITORY in json.dumps(entry)


def test_a_job_of_gitlab_promotes_without_a_stored_token(
    server: RunningServer,
    provider: IdentityProvider,
    client: RegistryClient,
    place: Path,
) -> None:
    trusted(server, provider, "gitlab")

    done = run(
        "gitlab", server, place,
        STAGEGATE_ID_TOKEN=signed(provider), CI_COMMIT_SHA=SHA,
    )  # fmt: skip

    assert "acme/fraud" in json.dumps(assert_promoted(done, client))


def test_a_pod_promotes_as_its_service_account(
    server: RunningServer,
    provider: IdentityProvider,
    client: RegistryClient,
    place: Path,
) -> None:
    trusted(server, provider, "kubernetes")
    (place / "token").write_text(signed(provider))

    done = run(
        "kubernetes", server, place, STAGEGATE_ID_TOKEN_FILE=str(place / "token")
    )

    assert "train-7x2" in json.dumps(assert_promoted(done, client))


def test_jenkins_promotes_with_a_token_for_this_alone(
    server: RunningServer, client: RegistryClient, place: Path
) -> None:
    token = client.tokens.create("jenkins-fraud", "promoter", models=MODEL).token
    assert token is not None

    done = run("jenkins", server, place, STAGEGATE_TOKEN=token, GIT_COMMIT=SHA)

    assert_promoted(done, client)


@pytest.mark.parametrize("platform", ["gitlab", "kubernetes"])
def test_a_job_that_nobody_trusts_ends_before_it_changes_anything(
    server: RunningServer, provider: IdentityProvider, place: Path, platform: str
) -> None:
    provider.person = ci_jobs.claims_of("github", provider.url)
    stranger = signed(provider).rpartition(".")[0] + ".AAAA"
    with server.client() as client:
        before = len(list(client.audit.entries()))

        done = run(platform, server, place, STAGEGATE_ID_TOKEN=stranger)

        assert done.returncode == 6
        assert done.stderr.startswith("Error: ")
        assert len(list(client.audit.entries())) == before
