"""What was uploaded goes once its version is settled, on a disk and in a bucket."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from registry.artifacts import hashing
from registry.artifacts.store import ArtifactStore
from registry.domain.manifests import Manifest
from registry.errors import ArtifactStoreError
from tests.integration.api.driver import MODEL, Driver, declared, problem_of
from tests.integration.conftest import close_app, make_app, signed_in
from tests.services.minio import ObjectStoreServer

ONE = f"/models/{MODEL}/versions/1"
FILES = {"model.bin": b"weights", "data/labels.txt": b"0\n1\n"}
OTHER = {**FILES, "model.bin": b"WEIGHTS"}

Stored = Callable[[], list[str]]


@pytest.fixture(params=["disk", pytest.param("bucket", marks=pytest.mark.service)])
def kept(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Driver, Stored]]:
    """A registry whose version 1 has an upload that waits, and what its store has."""
    settings: dict[str, str] = {}
    if request.param == "bucket":
        minio: ObjectStoreServer = request.getfixturevalue("minio")
        bucket: str = request.getfixturevalue("bucket")
        settings = {
            name.removeprefix("STAGEGATE_"): value
            for name, value in minio.settings().items()
        } | {"ARTIFACT_ROOT": f"s3://{bucket}/models"}

    def stored() -> list[str]:
        if request.param == "disk":
            root = tmp_path / "data" / "artifacts"
            return sorted(file.name for file in root.rglob("*") if file.is_file())
        found = minio.client().list_objects(bucket_name=bucket, recursive=True)
        return sorted(str(one.object_name).rpartition("/")[2] for one in found)

    app = make_app(tmp_path, **settings)
    api = Driver(app, signed_in(app))
    api.create_model()
    api.register()
    for path, content in FILES.items():
        assert api.put(f"{ONE}/artifacts/{path}", data=content).status_code == 201
    assert stored() == ["labels.txt", "model.bin"]
    yield api, stored
    close_app(app)


def give_up_after_sealing(api: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let somebody abort when the copy is there and nothing is committed."""
    seal_upload = hashing.seal_upload

    def seal(
        store: ArtifactStore, source: str, target: str, manifest: Manifest
    ) -> Manifest:
        sealed = seal_upload(store, source, target, manifest)
        assert api.post(f"{ONE}/abort", {"reason": "too late"}).status_code == 200
        return sealed

    monkeypatch.setattr("registry.artifacts.hashing.seal_upload", seal)


def test_an_upload_that_is_given_up_leaves_nothing(
    kept: tuple[Driver, Stored],
) -> None:
    api, stored = kept

    assert api.post(f"{ONE}/abort", {"reason": "a mistake"}).status_code == 200

    assert stored() == []


def test_an_upload_that_is_not_as_declared_leaves_nothing(
    kept: tuple[Driver, Stored],
) -> None:
    api, stored = kept

    api.post(f"{ONE}/finalize", declared(OTHER))

    assert api.version(1)["status"] == "FAILED_REGISTRATION"
    assert stored() == []


def test_nor_does_one_that_the_background_refuses(
    kept: tuple[Driver, Stored], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.services.artifacts.INLINE_BYTES", 3)
    api, stored = kept
    api.post(f"{ONE}/finalize", declared(OTHER))
    assert len(stored()) == 2

    api.work_in_background()

    assert api.version(1)["status"] == "FAILED_REGISTRATION"
    assert stored() == []


@pytest.mark.parametrize("inline_bytes", [1_000, 3], ids=["request", "background"])
def test_a_copy_that_comes_too_late_is_removed(
    kept: tuple[Driver, Stored], monkeypatch: pytest.MonkeyPatch, inline_bytes: int
) -> None:
    monkeypatch.setattr("registry.services.artifacts.INLINE_BYTES", inline_bytes)
    api, stored = kept
    give_up_after_sealing(api, monkeypatch)

    answer = api.post(f"{ONE}/finalize", declared(FILES))
    api.work_in_background()

    if inline_bytes > 3:
        problem_of(answer, 409, "conflict")
    assert api.version(1)["status_message"] == "too late"
    assert stored() == []


def test_a_store_that_fails_to_remove_does_not_undo_what_was_committed(
    kept: tuple[Driver, Stored],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    api, stored = kept

    def refuse(_source: str) -> None:
        raise ArtifactStoreError("the store is down")

    monkeypatch.setattr(api.parts.store, "delete_tree", refuse)

    with caplog.at_level(logging.WARNING):
        answer = api.post(f"{ONE}/abort", {"reason": "a mistake"})

    assert answer.status_code == 200
    assert api.version(1)["status"] == "FAILED_REGISTRATION"
    assert "files_left_behind" in caplog.text
    assert len(stored()) == 2
