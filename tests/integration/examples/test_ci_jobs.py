"""The CI jobs of ``config/ci``, run as their platforms would, against a real server."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import ci_jobs
from tests.identity_provider import CLIENT, JOB, IdentityProvider
from tests.server import RunningServer, running_server

CHECKOUT = Path(__file__).parents[3]
SNIPPETS = CHECKOUT / "config" / "ci"
GITHUB, GITLAB = SNIPPETS / "github-workflow.yml", SNIPPETS / "gitlab-ci.yml"
COMMIT = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
TRAIN = '#!/bin/sh\nmkdir "$1" && echo weights > "$1/model.bin"\n'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    directory = tmp_path_factory.mktemp("server")
    with running_server(directory, OIDC_AUDIENCE=CLIENT) as server:
        yield server


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("vendor.github-workflows", GITHUB),
        ("custom.github-workflows-require-timeout", GITHUB),
        ("vendor.gitlab-ci", GITLAB),
    ],
)
def test_snippet_keeps_to_the_schema_of_its_platform(schema: str, file: Path) -> None:
    command = (sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema)

    checked = subprocess.run(
        [*command, file], check=False, capture_output=True, text=True
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


def run(script: str, place: Path, **environment: str) -> str:
    """Run a script in a checkout of its own; what it said."""
    programs = place / "bin"
    programs.mkdir()
    own = {
        programs / "stagegate": (
            f'#!/bin/sh\nexec "{sys.executable}" -m registry.cli.main "$@"\n'
        ),
        programs / "pip": "#!/bin/sh\n",
        programs / "pipx": "#!/bin/sh\n",
        place / "train.sh": TRAIN,
    }
    for file, content in own.items():
        file.write_text(content)
        file.chmod(0o755)
    done = subprocess.run(
        ["bash", "-c", script],
        env={
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(CHECKOUT),
            **environment,
        },
        cwd=place,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def document(file: Path) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(file.read_text("utf-8"))
    return found


def publish(server: RunningServer, kind: str, provider: IdentityProvider) -> None:
    """Trust the jobs that the snippet is about, as its head says."""
    provider.person = ci_jobs.claims_of(kind, provider.url)
    claims = {**ci_jobs.ASKED[kind], "environment": "registry"}
    with server.client() as client:
        client.publishers.add(
            kind, kind, claims, "promoter", models="fraud", issuer=provider.url
        )


def assert_promoted(server: RunningServer, name: str) -> None:
    with server.client() as client:
        entry = next(client.audit.entries(model="fraud"))
    assert (entry.action, entry.actor) == ("model_version.stage_changed", name)


def test_github_workflow_registers_and_promotes(
    server: RunningServer, tmp_path: Path
) -> None:
    workflow = document(GITHUB)
    train, promote = (workflow["jobs"][name] for name in ("train", "promote"))
    assert workflow["permissions"] == {}
    assert "id-token" not in train["permissions"]
    assert promote["permissions"] == {"id-token": "write"}
    script = "\n".join(
        f"bash -e -c {shlex.quote(step['run'])} || exit $?"
        for step in (*train["steps"], *promote["steps"])
        if "run" in step
    )
    with IdentityProvider() as provider:
        publish(server, "github", provider)
        said = run(
            script,
            tmp_path,
            STAGEGATE_URL=server.url,
            STAGEGATE_OIDC_AUDIENCE=CLIENT,
            GITHUB_SHA=COMMIT,
            ACTIONS_ID_TOKEN_REQUEST_URL=f"{provider.url}/id-token?api-version=2.0",
            ACTIONS_ID_TOKEN_REQUEST_TOKEN=JOB,
        )

    assert "sg_ci_" not in said
    assert_promoted(server, "github")


def test_gitlab_job_registers_and_promotes(
    server: RunningServer, tmp_path: Path
) -> None:
    train, promote = (document(GITLAB)[name] for name in ("train", "promote"))
    (variable,) = promote["id_tokens"]
    assert promote["id_tokens"][variable] == {"aud": "$STAGEGATE_URL"}
    assert "id_tokens" not in train
    lines = [*train["script"], *promote["before_script"], *promote["script"]]
    with IdentityProvider() as provider:
        publish(server, "gitlab", provider)
        said = run(
            "\n".join(lines),
            tmp_path,
            STAGEGATE_URL=server.url,
            CI_COMMIT_SHA=COMMIT,
            **{variable: provider.bearer()},
        )

    assert "sg_ci_" not in said
    assert_promoted(server, "gitlab")


def test_jenkins_stage_registers_and_promotes(
    server: RunningServer, tmp_path: Path
) -> None:
    text = (SNIPPETS / "Jenkinsfile").read_text("utf-8")
    (script,) = re.findall(r"sh '''(.*?)'''", text, re.DOTALL)
    (train,) = re.findall(r"sh '(\./train\.sh .*?)'", text)
    assert "STAGEGATE_TOKEN = credentials('stagegate-token')" in text
    with server.client() as client:
        token = client.tokens.create("jenkins", "promoter", models="fraud").token
    assert token

    said = run(
        f"{train}\n{script}",
        tmp_path,
        STAGEGATE_URL=server.url,
        STAGEGATE_TOKEN=token,
        GIT_COMMIT=COMMIT,
    )

    assert token not in said
    assert_promoted(server, "jenkins")
