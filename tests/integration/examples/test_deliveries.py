"""Each example against a running server: delivered, deployed, reported.

The subscription is the README's command, sent to a receiver of the test; what the
platform would do with the request is in ``platforms``; the script is run by bash.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from registry.cli.main import stagegate
from registry.client import RegistryClient
from tests.integration.examples import places, platforms
from tests.integration.examples.platforms import SHARED_SECRET, Platform, Run
from tests.receiver import Receiver
from tests.server import RunningServer, running_server
from tests.services.absence import report_absence

EXAMPLES = [
    pytest.param(places.GITHUB, platforms.github, id="github"),
    pytest.param(places.GITLAB, platforms.gitlab, id="gitlab"),
    pytest.param(places.JENKINS, platforms.jenkins, id="jenkins"),
    pytest.param(places.ARGO, platforms.argo, id="argo"),
    pytest.param(places.TEKTON, platforms.tekton, id="tekton"),
]
ARTIFACT = b"weights"
STAGE_CHANGED = "model_version.stage_changed"
DEPLOY = '#!/bin/sh\ncp -r "$1" deployed\nexit ${DEPLOY_STATUS:-0}\n'
#: What a runner of GitHub has.
PROGRAMS = ("bash", "jq")
#: What the scripts call and the tests do not need: it would ask a package index.
STUBS = ("pip", "pipx")


@dataclass
class Site:
    """A server, and a model that is about to reach Production."""

    server: RunningServer
    receiver: Receiver
    directory: Path
    model: str
    client: RegistryClient = field(init=False)
    reader: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.client = self.server.client()
        self.client.ensure_model(self.model)
        token = self.client.tokens.create(f"reader of {self.model}", "viewer")
        assert token.token is not None
        self.reader = {"url": self.server.url, "token": token.token}

    def subscribe(self, example: Path) -> str:
        """Run the README's command for the example; answers the webhook's id."""
        arguments = places.readme_command(example)
        arguments[2] = self.receiver.url
        secret_file = self.directory / "token"
        secret_file.write_text(f"{SHARED_SECRET}\n")
        arguments = [
            f"token=@{secret_file}" if one.startswith("token=@") else one
            for one in arguments
        ]
        answer = self.stagegate(
            *arguments, "--model-pattern", self.model, "--output", "json"
        )
        return str(yaml.safe_load(answer)["id"])

    def stagegate(self, *arguments: str) -> str:
        environment = {
            "STAGEGATE_URL": self.server.url,
            "STAGEGATE_TOKEN": self.server.token,
        }
        ended = CliRunner().invoke(stagegate, arguments, env=environment)
        assert ended.exit_code == 0, ended.output
        return ended.stdout

    def promote(self) -> int:
        """Bring the next version to Production."""
        source = self.directory / "source"
        source.mkdir(exist_ok=True)
        (source / "model.bin").write_bytes(ARTIFACT)
        number = self.client.register(self.model, source).version
        for stage in ("Staging", "Production"):
            self.client.transition(self.model, number, stage)
        return number

    def run(self, run: Run, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a script as the platform would, in a directory of its own."""
        place = self.directory / f"run-{len(list(self.directory.glob('run-*')))}"
        programs = place / "bin"
        programs.mkdir(parents=True)
        _write_program(place / "deploy.sh", DEPLOY)
        for name in STUBS:
            _write_program(programs / name, "#!/bin/sh\n")
        _write_program(
            programs / "stagegate",
            f'#!/bin/sh\nexec "{sys.executable}" -m registry.cli.main "$@"\n',
        )
        (place / "event.json").write_text(run.event_file)
        (place / "github-env").touch()
        own = {
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(places.EXAMPLES.parents[1]),
            "GITHUB_EVENT_PATH": str(place / "event.json"),
            "GITHUB_ENV": str(place / "github-env"),
        }
        if "MODELS_DIR" in run.environment:
            own["MODELS_DIR"] = str(place / "models")
        return subprocess.run(
            ["bash", "-c", run.script],
            env=run.environment | own | environment,
            cwd=place,
            check=False,
            capture_output=True,
            text=True,
        )

    def deployed(self) -> list[bytes]:
        """What every run so far has put in place."""
        return [
            file.read_bytes()
            for pattern in ("deployed/model.bin", f"models/{self.model}/current/*")
            for file in sorted(self.directory.glob(f"run-*/{pattern}"))
        ]

    def deployments(self, number: int) -> list[dict[str, Any]]:
        path = f"/api/v1/models/{self.model}/versions/{number}/deployments"
        answer = self.server.http().get(self.server.url + path, timeout=10)
        answer.raise_for_status()
        items: list[dict[str, Any]] = answer.json()["items"]
        return items


def _write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture(scope="module")
def thief() -> Iterator[Receiver]:
    """Where the events of ``shared_server`` say that the registry is."""
    with Receiver() as running:
        yield running


@pytest.fixture(scope="module")
def shared_server(
    tmp_path_factory: pytest.TempPathFactory, thief: Receiver
) -> Iterator[RunningServer]:
    directory = tmp_path_factory.mktemp("server")
    with running_server(directory, PUBLIC_URL=thief.url) as server:
        yield server


@pytest.fixture
def site(
    shared_server: RunningServer, receiver: Receiver, tmp_path: Path
) -> Iterator[Site]:
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        report_absence(f"the examples call {' and '.join(missing)}, which is not here")
    site = Site(shared_server, receiver, tmp_path, f"fraud-{tmp_path.name}")
    yield site
    site.client.close()


@pytest.mark.parametrize(("example", "platform"), EXAMPLES)
def test_version_in_production_is_deployed_and_reported_whatever_an_event_says(
    site: Site, thief: Receiver, example: Path, platform: Platform
) -> None:
    site.subscribe(example)
    number = site.promote()
    (request,) = site.receiver.wait_for(1)
    run = platform(request, site.reader)
    assert run is not None

    ended = site.run(run)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert site.deployed() == [ARTIFACT]
    (deployment,) = site.deployments(number)
    assert deployment["status"] == "succeeded"
    assert deployment["environment"] == "production"
    token = run.environment.get("DEPLOYMENT_TOKEN", "")
    assert not token or token not in ended.stdout + ended.stderr
    *_, event = site.client.events(model=site.model, event_type=STAGE_CHANGED)
    assert event.data["links"]["deployments"].startswith(thief.url)
    assert not thief.requests


@pytest.mark.parametrize(("example", "platform"), EXAMPLES)
def test_deployment_that_fails_is_reported_as_failed(
    site: Site, example: Path, platform: Platform
) -> None:
    site.subscribe(example)
    number = site.promote()
    (request,) = site.receiver.wait_for(1)
    run = platform(request, site.reader)
    assert run is not None
    # The pipelines deploy by deploy.sh; the pods write to a volume.
    broken = {"DEPLOY_STATUS": "3", "MODELS_DIR": "/dev/null"}

    ended = site.run(run, **broken)

    assert ended.returncode != 0
    (deployment,) = site.deployments(number)
    assert deployment["status"] == "failed"


@pytest.mark.parametrize(("example", "platform"), EXAMPLES)
def test_run_that_is_history_by_now_deploys_and_reports_nothing(
    site: Site, example: Path, platform: Platform
) -> None:
    site.subscribe(example)
    first = site.promote()
    (request,) = site.receiver.wait_for(1)
    site.promote()
    run = platform(request, site.reader)
    assert run is not None

    ended = site.run(run)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "version 2 is in Production by now" in ended.stdout
    assert site.deployed() == []
    assert site.deployments(first) == []


@pytest.mark.parametrize(("example", "platform"), EXAMPLES)
def test_ping_is_taken_and_deploys_nothing(
    site: Site, example: Path, platform: Platform
) -> None:
    webhook_id = site.subscribe(example)
    site.stagegate("webhooks", "test", webhook_id)
    (request,) = site.receiver.wait_for(1)

    run = platform(request, site.reader)

    # GitLab answers 400 to a trigger that starts no job at all.
    assert (run is not None) == (platform is platforms.gitlab)
    if run is not None:
        assert "reaches this project" in site.run(run).stdout
    assert site.deployed() == []


@pytest.mark.parametrize(
    "example", [places.ARGO, places.TEKTON], ids=["argo", "tekton"]
)
def test_what_is_created_in_the_cluster_is_named_by_the_transition(
    site: Site, example: Path
) -> None:
    """The second of two equal deliveries is refused as existing."""
    platform = platforms.argo if example == places.ARGO else platforms.tekton
    site.subscribe(example)
    site.promote()
    (request,) = site.receiver.wait_for(1)

    runs = [platform(request, site.reader) for _ in range(2)]

    names = {run.manifest["metadata"]["name"] for run in runs if run}
    transition = request.json()["data"]["transition_id"]
    assert names == {f"deploy-{transition.replace('_', '-')}"}
