"""Versions linked to an artifact that lies somewhere already."""

from pathlib import Path

import pytest

from registry.errors import ArtifactStoreError
from tests.integration.api.driver import MODEL, Driver, document_of, problem_of

VERSIONS = f"/models/{MODEL}/versions"


@pytest.fixture
def linked(api: Driver, tmp_path: Path) -> tuple[Driver, Path]:
    """A registry with a model, and a directory below its artifact root."""
    api.create_model()
    directory = tmp_path / "data" / "artifacts" / "training" / "run-1"
    directory.mkdir(parents=True)
    (directory / "model.bin").write_bytes(b"weights")
    return api, directory


def test_artifact_below_the_root_is_hashed_and_ready(
    linked: tuple[Driver, Path],
) -> None:
    api, directory = linked

    number = api.register(source=directory.as_uri())

    version = api.version(number)
    assert version["status"] == "READY"
    assert version["verified"] is True
    assert version["artifact_size_bytes"] == 7
    assert version["source"] == directory.as_uri()
    assert api.get(f"{VERSIONS}/{number}/artifacts/model.bin").data == b"weights"


def test_large_artifact_is_hashed_in_the_background(
    linked: tuple[Driver, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    api, directory = linked
    monkeypatch.setattr("registry.services.artifacts.INLINE_BYTES", 3)

    api.register(source=directory.as_uri())
    before = api.version(1)["status"]
    api.work_in_background()

    assert before == "PENDING_REGISTRATION"
    assert api.version(1)["status"] == "READY"
    assert api.version(1)["source"] == directory.as_uri()
    assert (directory / "model.bin").exists()


def test_large_artifact_that_vanishes_meanwhile_has_failed(
    linked: tuple[Driver, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    api, directory = linked
    monkeypatch.setattr("registry.services.artifacts.INLINE_BYTES", 3)
    api.register(source=directory.as_uri())
    (directory / "model.bin").unlink()

    api.work_in_background()

    assert api.version(1)["status"] == "FAILED_REGISTRATION"
    assert "no artifact" in api.version(1)["status_message"]


def test_artifact_of_too_many_files_has_failed_with_the_reason(
    linked: tuple[Driver, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    api, directory = linked
    (directory / "more.bin").write_bytes(b"more")
    (directory / "most.bin").write_bytes(b"most")
    monkeypatch.setattr("registry.services.artifacts.INLINE_FILES", 1)
    monkeypatch.setattr("registry.artifacts.hashing.MAX_FILES", 2)

    api.register(source=directory.as_uri())
    before = api.version(1)["status"]
    api.work_in_background()

    version = api.version(1)
    assert (before, version["status"]) == (
        "PENDING_REGISTRATION",
        "FAILED_REGISTRATION",
    )
    assert "more than 2 files at" in version["status_message"]


def test_artifact_that_grows_too_large_while_it_is_hashed_is_refused(
    linked: tuple[Driver, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    api, directory = linked
    (directory / "more.bin").write_bytes(b"more")
    monkeypatch.setattr("registry.artifacts.hashing.MAX_FILES", 1)

    answer = api.post(VERSIONS, {"source": directory.as_uri()})

    problem = problem_of(answer, 422, "invalid")
    assert "more than 1 files at" in problem["errors"]["source"][0]


def test_background_tries_again_when_the_store_did_not_answer(
    linked: tuple[Driver, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    api, directory = linked
    monkeypatch.setattr("registry.services.artifacts.INLINE_BYTES", 3)
    api.register(source=directory.as_uri())

    def fail(*_: object) -> None:
        raise ArtifactStoreError("the store is away")

    with monkeypatch.context() as broken:
        broken.setattr("registry.artifacts.hashing.build_manifest", fail)
        with pytest.raises(ArtifactStoreError):
            api.work_in_background()
    status_between = api.version(1)["status"]
    with api.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE model_versions SET seal_after = created_at")
    api.work_in_background()

    assert status_between == "PENDING_REGISTRATION"
    assert api.version(1)["status"] == "READY"


def test_nothing_is_uploaded_to_a_version_that_is_linked(
    linked: tuple[Driver, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    api, directory = linked
    monkeypatch.setattr("registry.services.artifacts.INLINE_BYTES", 3)
    api.register(source=directory.as_uri())
    one = f"{VERSIONS}/1"
    file = {"path": "model.bin", "size_bytes": 1, "sha256": "0" * 64}

    for answer in (
        api.put(f"{one}/artifacts/model.bin", data=b"x"),
        api.post(f"{one}/uploads", {"path": "model.bin", "size_bytes": 1}),
        api.post(f"{one}/finalize", {"files": [file]}),
    ):
        problem = problem_of(answer, 422, "invalid")
        assert "nothing is uploaded to it" in problem["detail"]
    api.work_in_background()
    assert api.version(1)["status"] == "READY"


@pytest.mark.parametrize(
    "source",
    ["gs://bucket/m", "s3://bucket/m", "dbfs:/models/m", "wasbs://c@a.example/m"],
)
def test_source_elsewhere_is_ready_and_unverified(api: Driver, source: str) -> None:
    api.create_model()

    api.register(source=source)

    version = api.version(1)
    assert (version["status"], version["verified"]) == ("READY", False)
    assert version["artifact_digest"] is None
    assert api.read(f"{VERSIONS}/1/artifacts")["items"] == []
    problem = problem_of(
        api.get(f"{VERSIONS}/1/artifacts/m"), 404, "artifact-not-found"
    )
    assert source in problem["detail"]


@pytest.mark.parametrize(
    "source",
    [
        "file:///etc",
        "/etc/passwd",
        "file://host/share",
        "relative/path",
        "model.bin",
        "data:text/plain,x",
        "JavaScript:alert(1)",
        "http://[x",
        "https://store.example/m",
        "s3://bucket",
        "s3://bucket/a/%252e%252e/b",
        "mlflow-artifacts://host/1/m",
        "models:/fraud",
        " ",
        "s3://b/\ud800",
        "FILE:///etc",
    ],
)
def test_source_that_may_not_be_linked_is_refused(api: Driver, source: str) -> None:
    api.create_model()
    before = api.dump()

    answer = api.post(VERSIONS, {"source": source})

    problem = problem_of(answer, 422, "invalid")
    assert list(problem["errors"]) == ["source"]
    assert api.dump() == before


def test_path_out_of_the_root_is_refused(linked: tuple[Driver, Path]) -> None:
    api, directory = linked
    outside = directory / ".." / ".." / ".." / ".."

    for source in (outside.as_posix(), f"file://{outside.as_posix()}"):
        problem = problem_of(api.post(VERSIONS, {"source": source}), 422, "invalid")
        assert list(problem["errors"]) == ["source"]


def test_link_below_the_root_leads_nowhere_else(
    linked: tuple[Driver, Path], tmp_path: Path
) -> None:
    api, directory = linked
    (tmp_path / "secret").write_bytes(b"secret")
    (directory / "link.bin").symlink_to(tmp_path / "secret")

    problem_of(api.post(VERSIONS, {"source": directory.as_uri()}), 422, "invalid")


def test_source_where_nothing_lies_is_refused(linked: tuple[Driver, Path]) -> None:
    api, directory = linked

    answer = api.post(VERSIONS, {"source": f"{directory.as_uri()}/absent"})

    problem = problem_of(answer, 422, "invalid")
    assert "there is no artifact at" in problem["errors"]["source"][0]


def test_store_that_does_not_answer_is_no_error_of_the_caller(
    linked: tuple[Driver, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    api, directory = linked

    def fail(*_: object) -> None:
        raise ArtifactStoreError("the store is away")

    monkeypatch.setattr("registry.artifacts.hashing.build_manifest", fail)
    answer = api.post(VERSIONS, {"source": directory.as_uri()})

    problem_of(answer, 503, "unavailable")
    assert answer.headers["Retry-After"] == "2"
    assert document_of(api.get(VERSIONS))["items"] == []
