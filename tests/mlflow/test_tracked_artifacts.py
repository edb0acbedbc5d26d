"""Artifacts that MLflow's own server hands out, read through it and pinned.

The tracking server keeps them in a directory of its own, or in a bucket that nobody
else has credentials for; its clients know ``mlflow-artifacts:/`` addresses only.
"""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from registry.client import ModelVersion
from registry.errors import ArtifactChangedError, InvalidInputError
from tests.mlflow.environment import MLflowEnvironment
from tests.mlflow.notebook import Notebook, notebook
from tests.mlflow.servers import MLflowServer, mlflow_server, stagegate_server
from tests.server import RunningServer
from tests.services.minio import ObjectStoreServer

pytestmark = pytest.mark.service

COMMIT = "4a1f0c2b" * 5
SECONDS = 60
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


@dataclass(frozen=True)
class Team:
    """Both servers, and somebody who works with them."""

    registry: RunningServer
    tracking_url: str
    alice: Notebook
    overwrite: Callable[[str, bytes], None]

    def version(self, model: str, number: int) -> ModelVersion:
        with self.registry.client() as client:
            return client.get_version(model, number)


@pytest.fixture(
    scope="module",
    params=["directory", pytest.param("bucket", marks=pytest.mark.long)],
)
def team(
    request: pytest.FixtureRequest,
    mlflow_environment: MLflowEnvironment,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Team]:
    directory = tmp_path_factory.mktemp("proxied")
    tracking: MLflowServer
    with ExitStack() as stack:
        if request.param == "bucket":
            minio: ObjectStoreServer = request.getfixturevalue("minio")
            tracking = stack.enter_context(
                mlflow_server(
                    mlflow_environment,
                    directory,
                    artifacts_destination=f"s3://{bucket_in(minio, stack)}/mlflow",
                    **credentials_of(minio),
                )
            )
        else:
            tracking = request.getfixturevalue("mlflows_own")
        registry = stack.enter_context(
            stagegate_server(directory, policy="strict", TRACKING_URI=tracking.url)
        )
        addresses = {
            "MLFLOW_TRACKING_URI": tracking.url,
            "MLFLOW_REGISTRY_URI": registry.url,
            "MLFLOW_TRACKING_TOKEN": registry.token,
        }
        alice = stack.enter_context(
            notebook(mlflow_environment, directory / "alice", **addresses)
        )

        def overwrite(address: str, content: bytes) -> None:
            path = address.removeprefix("mlflow-artifacts:/").lstrip("/")
            url = f"{tracking.url}{ARTIFACTS}/{path}"
            requests.put(url, content, timeout=SECONDS).raise_for_status()

        yield Team(registry, tracking.url, alice, overwrite)


def place_of(version: ModelVersion) -> str:
    assert version.download_uri is not None
    return version.download_uri


def bucket_in(minio: ObjectStoreServer, stack: ExitStack) -> str:
    name = f"tracking-{uuid.uuid4().hex}"
    minio.client().make_bucket(bucket_name=name)
    stack.callback(minio.remove_bucket, name)
    return name


def credentials_of(minio: ObjectStoreServer) -> dict[str, str]:
    return {
        "MLFLOW_S3_ENDPOINT_URL": minio.endpoint_url,
        "AWS_ACCESS_KEY_ID": minio.access_key,
        "AWS_SECRET_ACCESS_KEY": minio.secret_key,
        "AWS_DEFAULT_REGION": minio.region,
    }


@pytest.fixture
def model() -> str:
    """The name of a model that no other test has."""
    return f"fraud-{uuid.uuid4().hex[:8]}"


def test_logged_model_is_pinned_promoted_as_verified_and_loaded(
    team: Team, model: str
) -> None:
    logged = team.alice.ask("log_model", model=model, constant=1.0, commit=COMMIT)

    version = team.version(model, 1)
    assert version.source == f"models:/{logged['model_id']}"
    assert place_of(version).startswith("mlflow-artifacts:/")
    assert (version.verified, version.status) == (True, "READY")
    for stage in ("Staging", "Production"):
        moved = team.alice.ask("transition", model=model, version="1", stage=stage)
        assert moved == stage
    assert team.alice.ask("predict", uri=f"models:/{model}/Production") == 1.0
    with team.registry.client() as client:
        assert [one.verified for one in client.history(model)] == [True, True]


def test_each_address_of_it_is_pinned_alike(team: Team, model: str) -> None:
    logged = team.alice.ask("log_model", model=model, constant=2.0, commit=COMMIT)
    first, model_id = team.version(model, 1), logged["model_id"]

    with team.registry.client() as client:
        others = (
            client.register(model, f"runs:/{logged['run_id']}/model"),
            client.register(model, f"models:/{model}/1"),
            client.register(model, place_of(first), logged_model_id=model_id),
        )

    assert {one.artifact_digest for one in others} == {first.artifact_digest}


def test_artifact_changed_at_the_tracking_server_is_neither_moved_nor_handed_out(
    team: Team, model: str, tmp_path: Path
) -> None:
    team.alice.ask("log_model", model=model, constant=3.0, commit=COMMIT)
    place = place_of(team.version(model, 1))

    team.overwrite(f"{place}/MLmodel", b"flavors: {}\n")

    with team.registry.client() as client:
        with pytest.raises(ArtifactChangedError):
            client.transition(model, 1, "Staging")
        with pytest.raises(ArtifactChangedError):
            client.download(model, 1, tmp_path)
    assert team.version(model, 1).verified is False


def test_one_file_of_a_run_is_pinned_and_nothing_is_refused(
    team: Team, model: str, tmp_path: Path
) -> None:
    logged = team.alice.ask("log_model", model=model, constant=4.0, commit=COMMIT)
    run_id = logged["run_id"]
    run = requests.get(
        f"{team.tracking_url}/api/2.0/mlflow/runs/get",
        params={"run_id": run_id},
        timeout=SECONDS,
    ).json()["run"]
    root = run["info"]["artifact_uri"]
    team.overwrite(f"{root}/größe 1%.bin", b"weights")

    with team.registry.client() as client:
        version = client.register(model, f"{root}/größe 1%.bin", run_id=run_id)
        files = client.download(model, version.version, tmp_path)
        with pytest.raises(InvalidInputError, match="there is no artifact at"):
            client.register(model, f"{root}/absent", run_id=run_id)

    assert version.verified is True
    assert [file.location.read_bytes() for file in files] == [b"weights"]
