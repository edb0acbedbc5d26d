"""A data scientist, MLflow's tracking server, MinIO, and Stagegate as registry.

The client is the unmodified one; nothing but addresses and credentials is set.
"""

import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.integration.artifacts.test_names import NAMES, files_of, write
from tests.mlflow.environment import MLflowEnvironment
from tests.mlflow.notebook import Notebook, Refusal, notebook
from tests.mlflow.servers import mlflow_server, stagegate_server
from tests.server import RunningServer
from tests.services.minio import ObjectStoreServer
from tests.services.postgres import PostgresServer
from tests.services.processes import free_port, stop, wait_until_ready

pytestmark = [pytest.mark.service, pytest.mark.long]

COMMIT = "4a1f0c2b" * 5
SERVING_SECONDS = 300.0


@dataclass(frozen=True)
class Team:
    """The servers of a team, and what its members set in their shells."""

    environment: MLflowEnvironment
    registry: RunningServer
    tracking_url: str
    store: dict[str, str]
    directory: Path

    @property
    def addresses(self) -> dict[str, str]:
        return {
            "MLFLOW_TRACKING_URI": self.tracking_url,
            "MLFLOW_REGISTRY_URI": self.registry.url,
            "MLFLOW_TRACKING_TOKEN": self.registry.token,
        }

    def version(self, model: str, number: str) -> dict[str, Any]:
        """What the registry's own API says of a version."""
        answer = self.registry.http().get(
            f"{self.registry.url}/api/v1/models/{model}/versions/{number}"
        )
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document


@pytest.fixture(scope="module")
def store(minio: ObjectStoreServer) -> Iterator[tuple[ObjectStoreServer, str]]:
    """The object store, and the bucket of the team."""
    name = f"team-{uuid.uuid4().hex}"
    minio.client().make_bucket(bucket_name=name)
    yield minio, name
    minio.remove_bucket(name)


@pytest.fixture(scope="module")
def team(
    mlflow_environment: MLflowEnvironment,
    postgres_server: PostgresServer,
    store: tuple[ObjectStoreServer, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Team]:
    minio, bucket = store
    directory = tmp_path_factory.mktemp("team")
    credentials = {
        "MLFLOW_S3_ENDPOINT_URL": minio.endpoint_url,
        "AWS_ACCESS_KEY_ID": minio.access_key,
        "AWS_SECRET_ACCESS_KEY": minio.secret_key,
        "AWS_DEFAULT_REGION": minio.region,
    }
    with ExitStack() as stack:
        tracking = stack.enter_context(
            mlflow_server(
                mlflow_environment,
                directory,
                backend_store_uri=stack.enter_context(postgres_server.fresh_database()),
                artifact_root=f"s3://{bucket}/mlflow",
                **credentials,
            )
        )
        settings = {
            name.removeprefix("STAGEGATE_"): value
            for name, value in minio.settings().items()
        }
        registry = stack.enter_context(
            stagegate_server(
                directory,
                policy="strict",
                DATABASE_URL=stack.enter_context(postgres_server.fresh_database()),
                ARTIFACT_ROOT=f"s3://{bucket}/stagegate",
                TRACKING_URI=tracking.url,
                SERVE_ARTIFACTS="true",
                **settings,
            )
        )
        yield Team(mlflow_environment, registry, tracking.url, credentials, directory)


@pytest.fixture(scope="module")
def alice(team: Team) -> Iterator[Notebook]:
    """A data scientist who may read and write the team's bucket."""
    with notebook(
        team.environment, team.directory / "alice", **team.addresses, **team.store
    ) as running:
        yield running


@pytest.fixture
def model() -> str:
    """The name of a model that no other test has."""
    return f"fraud-{uuid.uuid4().hex[:8]}"


def production(model: str) -> str:
    """The address by which deployments load a model."""
    return f"models:/{model}/Production"


def promote(alice: Notebook, model: str, version: str) -> None:
    for stage in ("Staging", "Production"):
        moved = alice.ask("transition", model=model, version=version, stage=stage)
        assert moved == stage


def roll_back(team: Team, model: str) -> None:
    subprocess.run(
        [
            *(sys.executable, "-m", "registry.cli.main", "rollback", model),
            *("--reason", "false positives tripled"),
            *("--url", team.registry.url, "--token", team.registry.token),
        ],
        check=True,
        capture_output=True,
        cwd=team.directory,
        env=dict(team.registry.environment),
    )


def test_a_model_is_logged_promoted_served_and_rolled_back(
    team: Team, alice: Notebook, model: str
) -> None:
    first = alice.ask("log_model", model=model, constant=1.0, commit=COMMIT)
    assert first["version"] == "1"
    promote(alice, model, "1")
    assert alice.ask("predict", uri=production(model)) == 1.0
    assert ask_served_model(team, model) == 1.0

    second = alice.ask("log_model", model=model, constant=2.0, commit=COMMIT)
    assert second["version"] == "2"
    promote(alice, model, "2")
    assert alice.ask("predict", uri=production(model)) == 2.0
    assert team.version(model, "1")["stage"] == "Archived"

    roll_back(team, model)
    assert alice.ask("predict", uri=production(model)) == 1.0
    assert team.version(model, "2")["stage"] == "Archived"


def test_a_version_knows_the_run_that_made_it(
    team: Team, alice: Notebook, model: str
) -> None:
    logged = alice.ask("log_model", model=model, constant=1.0, commit=COMMIT)

    version = team.version(model, "1")
    assert version["source"] == f"models:/{logged['model_id']}"
    assert version["logged_model_id"] == logged["model_id"]
    assert version["run_id"] == logged["run_id"]
    assert version["params"] == {"constant": "1.0", "kind": "linear"}
    assert version["metrics"] == {"loss": 0.25}
    assert version["run"]["omitted"] == {"metrics": 3}
    assert version["run"]["omitted_metrics"] == {
        "inf": "Infinity",
        "minus-inf": "-Infinity",
        "nan": "NaN",
    }
    assert version["git_commit"] == COMMIT
    assert version["run"]["run_name"] == f"train-{model}"
    assert version["artifact_digest"].startswith("sha256:")
    assert version["verified"] is True


def test_every_address_of_a_model_leads_to_it(alice: Notebook, model: str) -> None:
    logged = alice.ask("log_model", model=model, constant=1.0, commit=COMMIT)
    alice.ask("log_model", model=model, constant=2.0, commit=COMMIT)
    promote(alice, model, "1")
    alice.ask("set_alias", model=model, alias="champion", version="1")

    for address, constant in (
        (f"models:/{model}/1", 1.0),
        (f"models:/{model}/2", 2.0),
        (f"models:/{model}/latest", 2.0),
        (f"models:/{model}/production", 1.0),
        (f"models:/{model}@champion", 1.0),
        (f"models:/{logged['model_id']}", 1.0),
    ):
        assert alice.ask("predict", uri=address) == constant
    assert alice.ask("describe", uri=f"models:/{model}/1") == logged["model_id"]
    files = alice.ask("download", uri=f"models:/{model}@champion")
    assert {"MLmodel", "registered_model_meta"} <= set(files)


def test_a_model_of_a_run_is_registered_afterwards(
    team: Team, alice: Notebook, model: str
) -> None:
    logged = alice.ask("log_model", model=model, constant=4.0, commit=COMMIT)

    made = alice.ask("register", uri=f"runs:/{logged['run_id']}/model", model=model)
    copy = alice.ask("register", uri=f"models:/{logged['model_id']}", model=model)

    assert (made["version"], copy["version"]) == ("2", "3")
    digests = {
        team.version(model, number)["artifact_digest"] for number in ("1", "2", "3")
    }
    assert len(digests) == 1
    assert team.version(model, "2")["run_id"] == logged["run_id"]
    assert alice.ask("predict", uri=f"models:/{model}/3") == 4.0


def test_a_prompt_is_linked_to_what_it_was_used_in(
    team: Team, alice: Notebook, model: str
) -> None:
    """The links are kept by the tracking server, the prompt by the registry."""
    logged = alice.ask("log_model", model=model, constant=1.0, commit=COMMIT)
    prompt = f"greet-{model}"
    assert alice.ask("register_prompt", name=prompt, template="Hello {{name}}") == 1
    assert alice.ask("register_prompt", name=prompt, template="Hi {{name}}") == 2

    used = alice.ask(
        "use_prompt", uri=f"prompts:/{prompt}/1", model_id=logged["model_id"]
    )

    link = [{"name": prompt, "version": "1"}]
    assert used == {"text": "Hello Ann", "run": link, "model": link, "trace": link}
    assert team.version(prompt, "2")["artifact_digest"] is None


def test_a_registry_token_alone_loads_a_model(
    team: Team, alice: Notebook, model: str
) -> None:
    alice.ask("log_model", model=model, constant=3.0, commit=COMMIT)
    promote(alice, model, "1")
    # No credentials of the store, and no tracking server that could be asked.
    bob = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{team.directory / 'bob.db'}",
        "MLFLOW_REGISTRY_URI": team.registry.url,
        "MLFLOW_TRACKING_TOKEN": team.registry.token,
    }

    with notebook(team.environment, team.directory / "bob", **bob) as running:
        assert running.ask("predict", uri=production(model)) == 3.0


def test_files_of_any_name_come_as_they_were_registered(
    team: Team, alice: Notebook, model: str, tmp_path: Path
) -> None:
    """Under the names that MLflow's client reads in those it is told: decoded ones."""
    names = (*NAMES, "q?x=1&y", "d?r/x", "dir%41/b%42")
    write(tmp_path / "sent", names)
    with team.registry.client() as client:
        client.create_model(model)
        client.register(model, tmp_path / "sent", on_hidden=lambda _: None)

    found = alice.ask("read_files", uri=f"models:/{model}/1")

    found.pop("registered_model_meta", None)
    sent = {name: b.decode() for name, b in files_of(tmp_path / "sent").items()}
    assert sorted(found.values()) == sorted(sent.values())
    assert {name for name in sent if "%" not in name} <= found.keys()
    assert found["aA.txt"] == sent["a%41.txt"]
    assert found["dirA/bB"] == sent["dir%41/b%42"]


def test_a_refusal_is_not_sent_again_under_the_clients_own_settings(
    team: Team, alice: Notebook, model: str
) -> None:
    alice.ask("log_model", model=model, constant=1.0, commit=COMMIT)
    settings = team.addresses | {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "7"}
    call = {"do": "transition", "model": model, "version": "1", "stage": "Production"}

    with notebook(team.environment, team.directory / "patient", **settings) as running:
        counted = running.ask("count_requests", call=call)

    assert counted["answer"]["error_code"] == "INVALID_STATE_TRANSITION"
    assert "Staging" in counted["answer"]["message"]
    assert counted["requests"] == [
        "GET /api/2.0/mlflow/registered-models/get",
        "POST /api/2.0/mlflow/model-versions/transition-stage",
    ]


def test_a_model_of_an_empty_stage_is_refused_by_the_client(
    alice: Notebook, model: str
) -> None:
    alice.ask("log_model", model=model, constant=1.0, commit=COMMIT)

    answer = alice.ask("predict", uri=production(model))

    assert isinstance(answer, Refusal)
    assert f"No versions of model with name '{model}' and stage 'Production'" in (
        answer.message
    )


def ask_served_model(team: Team, model: str) -> float:
    """What ``mlflow models serve`` answers for the model in Production."""
    port = free_port()
    log_file = team.directory / "serving.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [
                *(team.environment.python, "-m", "mlflow", "models", "serve"),
                *("--model-uri", production(model), "--env-manager", "local"),
                *("--host", "127.0.0.1", "--port", str(port)),
            ],
            env=team.environment.variables(
                team.directory, **team.addresses, **team.store
            ),
            cwd=team.directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until_ready(
            process,
            lambda: is_answering(f"http://127.0.0.1:{port}/ping"),
            log_file=log_file,
        )
        answer = requests.post(
            f"http://127.0.0.1:{port}/invocations",
            json={"inputs": [[0.0]]},
            timeout=SERVING_SECONDS,
        )
        assert answer.status_code == 200, answer.text
        prediction: float = answer.json()["predictions"][0]
        return round(prediction, 6)
    finally:
        stop(process)


def is_answering(url: str) -> bool:
    try:
        return requests.get(url, timeout=2.0).ok
    except requests.RequestException:
        return False
