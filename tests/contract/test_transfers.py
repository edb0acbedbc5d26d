"""Transfers past the web process by URL, and large ones through it."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest
import requests

from registry.artifacts.opening import open_store
from registry.artifacts.store import ArtifactStore
from registry.errors import (
    ArtifactNotFoundError,
    ConfigurationError,
)
from tests.contract.stores import Opened, get, put
from tests.lengths import Lengths
from tests.services.minio import ObjectStoreServer

SHORT = timedelta(minutes=1)
SIZE_BYTES = Lengths.from_env(os.environ).artifact_mib * 1024 * 1024
RESIDENT_LIMIT_BYTES = 150 * 1024 * 1024


def test_local_directory_has_no_urls(tmp_path: Path) -> None:
    store = open_store(str(tmp_path), None)
    source = f"{store.root_uri}/a"

    assert store.presign_put(source, "a", expires=SHORT) is None
    assert store.presign_get(source, "a", expires=SHORT, filename="a") is None


def presigned(url: str | None) -> str:
    assert url is not None
    return url


def test_presigned_urls_carry_a_file_there_and_back(
    store: ArtifactStore, source: str, real_server: ObjectStoreServer
) -> None:
    content = os.urandom(3_000_000)

    put_url = presigned(store.presign_put(source, "data/ü x.bin", expires=SHORT))
    answer = requests.put(put_url, data=content, timeout=10)
    get_url = presigned(
        store.presign_get(
            source, "data/ü x.bin", expires=SHORT, filename='a "b"\r\n;ü.bin'
        )
    )
    whole = requests.get(get_url, timeout=10)
    part = requests.get(get_url, headers={"Range": "bytes=1-3"}, timeout=10)

    assert answer.status_code == 200
    assert put_url.startswith(real_server.endpoint_url)
    assert whole.content == content
    assert whole.headers["Content-Disposition"] == (
        "attachment; filename*=UTF-8''a%20%22b%22%0D%0A%3B%C3%BC.bin"
    )
    assert (part.status_code, part.content) == (206, content[1:4])
    assert get(store, source, "data/ü x.bin") == content


def test_presigned_url_serves_one_file_for_one_method(
    store: ArtifactStore, source: str, real_server: ObjectStoreServer
) -> None:
    put(store, source, "a", b"a")
    put(store, source, "b", b"b")
    url = presigned(store.presign_get(source, "a", expires=SHORT, filename="a"))

    other = requests.get(url.replace("/a?", "/b?"), timeout=10)
    written = requests.put(url, data=b"evil", timeout=10)

    assert real_server.is_real
    assert (other.status_code, written.status_code) == (403, 403)
    assert get(store, source, "a") == b"a"


def test_presigned_url_of_a_single_file_source_leads_to_the_file(
    store: ArtifactStore, source: str, real_server: ObjectStoreServer
) -> None:
    put(store, source, "model.pkl", b"weights")
    single = f"{source}/model.pkl"

    url = presigned(
        store.presign_get(single, "model.pkl", expires=SHORT, filename="model.pkl")
    )

    assert real_server.is_real
    assert requests.get(url, timeout=10).content == b"weights"
    with pytest.raises(ArtifactNotFoundError):
        store.presign_get(source, "other", expires=SHORT, filename="other")


@pytest.mark.long
@pytest.mark.parametrize("direction", ["write", "read"])
def test_large_artifact_passes_through_a_process_below_150_megabytes(
    opened: Opened, direction: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if opened.server is not None and not opened.server.is_real:
        pytest.skip("moto's server keeps the whole object in its own memory")
    source = opened.address()

    report = _transfer(opened, "write", source)
    if direction == "read":
        report = _transfer(opened, "read", source)

    with capsys.disabled():
        kind = "local" if opened.server is None else "minio"
        figures = (
            f"{report['resident_bytes'] / 2**20:.0f} MiB resident,"
            f" {SIZE_BYTES / 2**20 / report['seconds']:.0f} MiB/s"
        )
        sys.stdout.write(f"\n{kind} {direction} {SIZE_BYTES >> 20} MiB: {figures}\n")
    assert report["passed_bytes"] == SIZE_BYTES
    assert report["resident_bytes"] < RESIDENT_LIMIT_BYTES


def _transfer(opened: Opened, direction: str, source: str) -> dict[str, float]:
    environment = dict(os.environ)
    if opened.access is not None:
        environment |= {
            "ENDPOINT_URL": opened.access.endpoint_url,
            "ACCESS_KEY": opened.access.access_key,
            "SECRET_KEY": opened.access.secret_key,
        }
    script = Path(__file__).with_name("transfer.py")
    finished = subprocess.run(
        [sys.executable, script, direction, opened.root, source, str(SIZE_BYTES)],
        env=environment | {"PYTHONPATH": str(script.parents[2])},
        capture_output=True,
        check=True,
        text=True,
        timeout=300,
    )
    return cast("dict[str, float]", json.loads(finished.stdout))


def test_s3_root_without_access_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="S3_ENDPOINT_URL"):
        open_store("s3://bucket/prefix", None)
