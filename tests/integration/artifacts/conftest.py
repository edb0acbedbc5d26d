"""Real servers, as ``stagegate serve`` starts them, on either store."""

import uuid
from collections.abc import Iterator

import pytest

from registry.client import RegistryClient
from tests.server import RunningServer, running_server
from tests.services.minio import ObjectStoreServer


def on_bucket(store: ObjectStoreServer, bucket: str) -> dict[str, str]:
    """The settings of a server that keeps its artifacts in a bucket."""
    settings = {
        name.removeprefix("STAGEGATE_"): value
        for name, value in store.settings().items()
    }
    return settings | {"ARTIFACT_ROOT": f"s3://{bucket}/models"}


@pytest.fixture(scope="session")
def local_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("local")) as server:
        yield server


@pytest.fixture(scope="session")
def minio_server(
    tmp_path_factory: pytest.TempPathFactory, minio: ObjectStoreServer
) -> Iterator[RunningServer]:
    settings = on_bucket(minio, f"names-{uuid.uuid4().hex}")
    with running_server(tmp_path_factory.mktemp("minio"), **settings) as server:
        yield server


@pytest.fixture(params=["local", pytest.param("minio", marks=pytest.mark.service)])
def serving(request: pytest.FixtureRequest) -> RunningServer:
    """A server that keeps artifacts in a directory, and one that uses a bucket."""
    server: RunningServer = request.getfixturevalue(f"{request.param}_server")
    return server


@pytest.fixture
def client(serving: RunningServer) -> Iterator[RegistryClient]:
    with serving.client() as client:
        yield client


@pytest.fixture
def model(client: RegistryClient) -> str:
    """A model of this test's own."""
    return client.create_model(uuid.uuid4().hex).name
