"""Every contract test runs on a local directory and on MinIO."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.artifacts.opening import open_store
from registry.artifacts.store import ArtifactStore
from tests.contract.stores import Opened, s3_access
from tests.services.minio import ObjectStoreServer


@pytest.fixture(params=["local", pytest.param("minio", marks=pytest.mark.service)])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    if request.param == "local":
        root = str(tmp_path / "artifacts")
        store = open_store(root, None)
        store.prepare()
        yield Opened(store, root, None, None)
        return
    server: ObjectStoreServer = request.getfixturevalue("minio")
    access = s3_access(server)
    bucket = f"contract-{uuid.uuid4().hex}"
    root = f"s3://{bucket}/registry/artifacts"
    store = open_store(root, access)
    store.prepare()
    yield Opened(store, root, access, server)
    server.remove_bucket(bucket)


@pytest.fixture
def store(opened: Opened) -> ArtifactStore:
    return opened.store


@pytest.fixture
def source(opened: Opened) -> str:
    return opened.address()


@pytest.fixture
def real_server(opened: Opened) -> ObjectStoreServer:
    if opened.server is None:
        pytest.skip("a local directory has no URLs and no server of its own")
    if not opened.server.is_real:
        pytest.skip("moto's server does not do this as S3 does")
    return opened.server
