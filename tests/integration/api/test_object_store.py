"""Artifacts in an S3 store: large files do not pass through the web process."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.integration.api.driver import (
    MODEL,
    Driver,
    declared,
    document_of,
    problem_of,
)
from tests.integration.conftest import close_app, make_app, signed_in
from tests.services.minio import ObjectStoreServer

pytestmark = pytest.mark.service

ONE = f"/models/{MODEL}/versions/1"
LARGE = b"0123456789abcdef" * (2 * 1024 * 1024 // 16)
SECONDS = 30


@pytest.fixture
def stored(tmp_path: Path, minio: ObjectStoreServer, bucket: str) -> Iterator[Driver]:
    """A registry that keeps its artifacts in a bucket; version 1 waits."""
    access = {
        name.removeprefix("STAGEGATE_"): value
        for name, value in minio.settings().items()
    }
    app = make_app(tmp_path, ARTIFACT_ROOT=f"s3://{bucket}/models", **access)
    api = Driver(app, signed_in(app))
    api.create_model()
    api.register()
    yield api
    close_app(app)


def test_upload_goes_to_the_store_itself(stored: Driver) -> None:
    asked = document_of(
        stored.post(f"{ONE}/uploads", {"path": "a b.bin", "size_bytes": len(LARGE)})
    )
    answer = requests.put(asked["url"], data=LARGE, timeout=SECONDS)

    finalized = document_of(
        stored.post(f"{ONE}/finalize", declared({"a b.bin": LARGE}))
    )

    assert "localhost/api" not in asked["url"]
    assert answer.status_code == 200
    assert finalized["status"] == "READY"
    assert finalized["source"].startswith("s3://")


def test_large_download_comes_from_the_store_itself(stored: Driver) -> None:
    stored.upload(1, {"model.bin": LARGE})

    answer = stored.get(f"{ONE}/artifacts/model.bin")

    assert answer.status_code == 307
    assert answer.data == b""
    fetched = requests.get(answer.headers["Location"], timeout=SECONDS)
    assert fetched.content == LARGE
    assert "model.bin" in fetched.headers["Content-Disposition"]


def test_small_download_is_answered_at_once(stored: Driver) -> None:
    stored.upload(1, {"model.bin": b"small"})

    answer = stored.get(f"{ONE}/artifacts/model.bin", headers={"Range": "bytes=1-2"})

    assert (answer.status_code, answer.data) == (206, b"ma")


def test_object_that_was_changed_is_not_promoted(
    stored: Driver, minio: ObjectStoreServer, bucket: str
) -> None:
    import io

    source = stored.upload(1, {"model.bin": b"small"})["source"]
    minio.client().put_object(
        bucket_name=bucket,
        object_name=f"{source.removeprefix(f's3://{bucket}/')}/model.bin",
        data=io.BytesIO(b"other"),
        length=5,
    )

    assert stored.move(1, "Staging").status_code == 409
    assert stored.audit(MODEL)[-1]["action"] == "model_version.artifact_changed"


def test_bucket_of_another_store_is_linked_unread(stored: Driver) -> None:
    number = stored.register(source="s3://no-such-bucket-anywhere/model")

    version = stored.version(number)
    assert (version["status"], version["verified"]) == ("READY", False)
    problem_of(
        stored.post(
            f"/models/{MODEL}/versions",
            {"source": f"{stored.parts.store.root_uri}/absent"},
        ),
        422,
        "invalid",
    )
