"""One address for MLflow's tracking server and us, by the nginx lines of the README.

What MLflow's own server would do as a registry is asked of that server itself: every
route of its that touches its registry has to lead here.
"""

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.mlflow.environment import MLflowEnvironment
from tests.mlflow.notebook import Notebook, Refusal, notebook
from tests.mlflow.servers import mlflow_server, stagegate_server
from tests.server import RunningServer
from tests.services.nginx import readme_lines, run_nginx
from tests.services.processes import free_port

pytestmark = [pytest.mark.service, pytest.mark.long]

PUBLIC_NAME = "ml.example"
#: Prints the routes whose views use the registry of MLflow's server, or a function
#: of theirs that does.
ROUTES = """
import inspect, json
from mlflow.server import app, handlers

STORE = "_get_model_registry_store("
helpers = [
    f"{name}("
    for name, found in vars(handlers).items()
    if inspect.isfunction(found) and STORE in inspect.getsource(found)
]

def uses_registry(view):
    source = inspect.getsource(view).partition("(")[2]
    return any(name in source for name in (STORE, *helpers))

print(json.dumps([
    [method, rule.rule]
    for rule in app.url_map.iter_rules()
    if uses_registry(app.view_functions[rule.endpoint])
    for method in sorted(rule.methods - {"HEAD", "OPTIONS"})
]))
"""


@dataclass(frozen=True)
class Site:
    """Both servers behind one address."""

    url: str
    registry: RunningServer
    tracking_directory: Path

    def own_models_of_mlflow(self) -> int:
        """How many models the tracking server's own registry holds."""
        with closing(sqlite3.connect(self.tracking_directory / "mlflow.db")) as base:
            (count,) = base.execute("SELECT count(*) FROM registered_models").fetchone()
        return int(count)


@pytest.fixture(scope="module")
def site(
    mlflow_environment: MLflowEnvironment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("tracking")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with (
        mlflow_server(
            mlflow_environment,
            directory,
            # As the README's options, beside the name that the test has.
            MLFLOW_SERVER_ALLOWED_HOSTS=f"{PUBLIC_NAME},127.0.0.1:*",
            MLFLOW_SERVER_CORS_ALLOWED_ORIGINS=f"https://{PUBLIC_NAME}",
        ) as tracking,
        stagegate_server(
            tmp_path_factory.mktemp("registry"),
            policy="strict",
            PUBLIC_URL=f"{url}/registry",
            TRACKING_URI=tracking.url,
        ) as registry,
        run_nginx(
            readme_lines("127.0.0.1:5000"),
            {8000: registry.port, 5000: urlsplit(tracking.url).port or 0},
            port=port,
        ),
    ):
        yield Site(url, registry, directory)


@pytest.fixture(scope="module")
def alice(
    site: Site,
    mlflow_environment: MLflowEnvironment,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Notebook]:
    """A data scientist who knows one address and one token."""
    with notebook(
        mlflow_environment,
        tmp_path_factory.mktemp("alice"),
        MLFLOW_TRACKING_URI=site.url,
        MLFLOW_TRACKING_TOKEN=site.registry.token,
    ) as running:
        yield running


def test_every_route_of_mlflows_registry_leads_to_the_one_that_asks_for_a_token(
    site: Site, mlflow_environment: MLflowEnvironment, tmp_path: Path
) -> None:
    listed = subprocess.run(
        [mlflow_environment.python, "-c", ROUTES],
        env=mlflow_environment.variables(tmp_path),
        cwd=tmp_path,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    routes = json.loads(listed.stdout)

    answers = {
        (method, rule): requests.request(
            method, site.url + rule.replace("<webhook_id>", "1"), json={}, timeout=30
        )
        for method, rule in routes
    }

    assert len(routes) > 50
    for route, answer in answers.items():
        assert answer.status_code == 401, (route, answer.text)
        assert answer.json()["error_code"] == "UNAUTHENTICATED", route


@pytest.mark.parametrize(
    "path",
    [
        "/api/2.0/mlflow//registered-models/create",
        "/api/2.0/mlflow/registered%2Dmodels/create",
        "/api/2.0/mlflow/x/../registered-models/create",
        "//api/2.0/mlflow/registered-models/create",
        "/api/2.0/mlflow/registered-models/create/",
        "/API/2.0/mlflow/registered-models/create",
        "/ajax-api/2.0/mlflow/registered-models/create?x=/",
        "/registry/../api/2.0/mlflow/registered-models/create",
    ],
)
def test_no_spelling_of_a_route_creates_a_model_at_the_tracking_server(
    site: Site, path: str
) -> None:
    before = site.own_models_of_mlflow()
    request = requests.Request(
        "POST",
        site.url,
        json={"name": "around"},
        headers={"Host": PUBLIC_NAME, "Origin": f"https://{PUBLIC_NAME}"},
    ).prepare()
    request.url = site.url + path  # as it is, without what requests would tidy up

    with requests.Session() as session:
        answer = session.send(request, timeout=30)

    assert answer.status_code in {401, 404, 405}, answer.text
    assert site.own_models_of_mlflow() == before


def test_all_else_is_the_tracking_servers(site: Site) -> None:
    browser = {"Host": PUBLIC_NAME, "Origin": f"https://{PUBLIC_NAME}"}

    page = requests.get(site.url, headers=browser, timeout=30)
    created = requests.post(
        f"{site.url}/ajax-api/2.0/mlflow/experiments/create",
        json={"name": "by a browser"},
        headers=browser,
        timeout=30,
    )
    health = requests.get(f"{site.url}/registry/healthz", timeout=30)

    assert "<title>MLflow</title>" in page.text
    assert created.status_code == 200, created.text
    assert health.status_code == 200


def test_client_with_one_address_logs_there_and_registers_here(
    site: Site, alice: Notebook
) -> None:
    logged = alice.ask("log_model", model="fraud", constant=1.5, commit="4a1f" * 10)
    refused = alice.ask("transition", model="fraud", version="1", stage="Production")
    moved = alice.ask("transition", model="fraud", version="1", stage="Staging")

    assert (logged["version"], moved) == ("1", "Staging")
    assert isinstance(refused, Refusal)
    assert refused.error_code == "INVALID_STATE_TRANSITION"
    assert alice.ask("predict", uri="models:/fraud/Staging") == 1.5
    assert site.own_models_of_mlflow() == 0
    with site.registry.client() as client:
        version = client.get_version("fraud", 1)
    assert (version.stage, version.run_id) == ("Staging", logged["run_id"])
    # Registered from inside of its run, which went on.
    assert version.run is not None
    assert "status" not in version.run


def test_artifacts_of_ours_come_from_below_the_path(
    site: Site, alice: Notebook, tmp_path: Path
) -> None:
    (tmp_path / "model.bin").write_bytes(b"weights")
    with site.registry.client() as client:
        client.ensure_model("uploaded")
        client.register("uploaded", tmp_path / "model.bin")

    assert alice.ask("download", uri="models:/uploaded/1") == ["model.bin"]
