"""What is downloaded through the server is what was registered, or is not downloaded.

Each test is of an artifact in a directory and of one in a bucket.
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import requests
from werkzeug.test import TestResponse

from registry.artifacts import hashing
from registry.client import RegistryClient
from registry.errors import ArtifactChangedError
from tests.integration.api.driver import MODEL, Driver, document_of, problem_of
from tests.integration.conftest import TOKEN, SharedApps, close_app, signed_in
from tests.integration.here import serving
from tests.server import running_server
from tests.services.minio import ObjectStoreServer

ONE = f"/models/{MODEL}/versions/1"
SMALL = b"weights"
#: More than one piece as it is read, and more than what goes to the store itself.
LARGE = b"0123456789abcdef" * (3 * 1024 * 1024 // 16)
SECONDS = 30

CHANGED = "model_version.artifact_changed"

Overwrite = Callable[[str, bytes], None]


@pytest.fixture(params=["directory", pytest.param("bucket", marks=pytest.mark.service)])
def api(
    request: pytest.FixtureRequest, tmp_path: Path, shared_apps: SharedApps
) -> Iterator[Driver]:
    """A registry that hands artifacts out itself, and has a model."""
    settings: dict[str, str] = {}
    if request.param == "bucket":
        minio: ObjectStoreServer = request.getfixturevalue("minio")
        bucket = request.getfixturevalue("bucket")
        settings = {
            name.removeprefix("STAGEGATE_"): value
            for name, value in minio.settings().items()
        } | {"ARTIFACT_ROOT": f"s3://{bucket}/models", "SERVE_ARTIFACTS": "true"}
    app = shared_apps.lend(tmp_path, settings)
    api = Driver(app, signed_in(app))
    api.create_model()
    yield api
    close_app(app)


@pytest.fixture
def overwrite(api: Driver, request: pytest.FixtureRequest) -> Overwrite:
    """Puts something else in the place of a file of version 1."""

    def write(path: str, content: bytes) -> None:
        source = api.version(1)["source"]
        if not source.startswith("s3://"):
            file = Path(unquote(urlsplit(source).path)) / path
            file.chmod(0o644)
            file.write_bytes(content)
            return
        bucket, _, prefix = source.removeprefix("s3://").partition("/")
        minio: ObjectStoreServer = request.getfixturevalue("minio")
        minio.client().put_object(
            bucket_name=bucket,
            object_name=f"{prefix}/{path}",
            data=io.BytesIO(content),
            length=len(content),
        )

    return write


def mlflow_path(api: Driver, path: str) -> str:
    uri = api.client.get(
        "/api/2.0/mlflow/model-versions/get-download-uri",
        query_string={"name": MODEL, "version": "1"},
    ).get_json()["artifact_uri"]
    return urlsplit(f"{uri}/{path}").path


def is_marked(api: Driver) -> bool:
    """Whether the version is recorded as changed: once, with its event."""
    actions = [entry["action"] for entry in api.audit(MODEL)]
    events = [row for row in api.dump()["webhook_events"] if CHANGED in row]
    found = actions.count(CHANGED)
    assert found == len(events) <= 1
    assert api.version(1)["verified"] is not bool(found)
    return found == 1


def arrived_until_broken_off(http: requests.Session, url: str) -> int:
    """How many bytes come of the large file before the connection breaks off."""
    arrived = 0
    with http.get(url, stream=True, timeout=SECONDS) as answer:
        assert answer.status_code == 200
        assert int(answer.headers["Content-Length"]) == len(LARGE)
        try:
            for chunk in answer.iter_content(64 * 1024):
                arrived += len(chunk)
        except requests.RequestException:
            return arrived
    raise AssertionError(f"all of {arrived} bytes arrived")


CHANGES = {
    "edited": b"weighty",
    "shorter": b"weight",
    "longer": b"weightsome",
    "longer and begun with what it was": b"weights and more",
    "empty": b"",
}


@pytest.mark.parametrize("content", CHANGES.values(), ids=CHANGES)
def test_changed_file_is_refused_and_its_version_marked(
    api: Driver, overwrite: Overwrite, content: bytes
) -> None:
    api.register()
    api.upload(1, {"model.bin": SMALL, "other": b"x"})
    overwrite("model.bin", content)

    problem = problem_of(api.get(f"{ONE}/artifacts/model.bin"), 409, "artifact-changed")

    assert problem["differences"]
    assert is_marked(api)
    # Nor is what did not change: nobody has looked at it since.
    problem_of(api.get(f"{ONE}/artifacts/other"), 409, "artifact-changed")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Range": "bytes=0-"},
        {"Range": "bytes=0-2"},
        {"Range": "bytes=-1"},
        {"Range": "bytes=5-", "If-Range": "*"},
    ],
    ids=str,
)
@pytest.mark.parametrize("of", ["api", "mlflow"])
def test_changed_file_is_refused_whatever_part_of_it_is_asked_for(
    api: Driver, overwrite: Overwrite, headers: dict[str, str], of: str
) -> None:
    api.register()
    api.upload(1, {"model.bin": SMALL})
    path = (
        mlflow_path(api, "model.bin")
        if of == "mlflow"
        else f"/api/v1{ONE}/artifacts/model.bin"
    )
    overwrite("model.bin", b"weighty")

    answer = api.client.get(path, headers=headers)

    assert answer.status_code == 409
    assert b"weight" not in answer.data
    assert is_marked(api)


def test_version_marked_changed_is_refused_in_every_way(
    api: Driver, overwrite: Overwrite
) -> None:
    api.register()
    sealed = api.upload(1, {"model.bin": SMALL, "large.bin": LARGE})
    etag = api.get(f"{ONE}/artifacts/model.bin").headers["ETag"]
    served = mlflow_path(api, "model.bin")
    overwrite("model.bin", b"weighty")
    assert api.move(1, "Staging").status_code == 409

    answers: list[TestResponse] = [
        api.get(f"{ONE}/artifacts/large.bin"),
        api.get(f"{ONE}/artifacts/model.bin", headers={"If-None-Match": etag}),
        api.get(f"{ONE}/artifacts/large.bin", headers={"Range": "bytes=9-"}),
        api.client.get(served),
        api.client.get(
            "/model-versions/get-artifact",
            query_string={"name": MODEL, "version": "1", "path": "model.bin"},
        ),
        api.client.get(
            "/api/2.0/mlflow/model-versions/get-download-uri",
            query_string={"name": MODEL, "version": "1"},
        ),
    ]

    assert [answer.status_code for answer in answers] == [409] * len(answers)
    assert not any("Location" in answer.headers for answer in answers)
    assert sealed["artifact_digest"] == api.version(1)["artifact_digest"]
    assert is_marked(api)


@pytest.mark.parametrize(
    "content",
    [LARGE[:-1] + b"X", LARGE[:-1], b"X" + LARGE[1:] * 2],
    ids=["edited", "shorter", "longer"],
)
def test_large_file_that_changed_breaks_off_before_its_length(
    api: Driver, overwrite: Overwrite, content: bytes
) -> None:
    api.register()
    api.upload(1, {"model.bin": LARGE})
    path = mlflow_path(api, "model.bin")
    overwrite("model.bin", content)

    with serving(api.app) as here, requests.Session() as http:
        http.headers["Authorization"] = f"Bearer {TOKEN}"
        arrived = arrived_until_broken_off(http, here.url + path)

    assert 0 < arrived < len(LARGE)
    assert is_marked(api)
    assert api.client.get(path).status_code == 409


def test_artifact_that_was_restored_is_handed_out_once_it_is_verified(
    api: Driver, overwrite: Overwrite
) -> None:
    api.register()
    api.upload(1, {"model.bin": SMALL})
    file, verify = f"{ONE}/artifacts/model.bin", f"{ONE}/verify"
    overwrite("model.bin", b"weighty")

    problem_of(api.post(verify), 409, "artifact-changed")
    assert is_marked(api)
    overwrite("model.bin", SMALL)
    problem_of(api.get(file), 409, "artifact-changed")
    verified = api.post(verify)
    again = api.post(verify)

    assert document_of(verified)["verified"] is True
    assert document_of(again) == document_of(verified)
    assert api.audit(MODEL)[-1]["action"] == "model_version.updated"
    assert api.get(file).data == SMALL


def test_version_without_a_digest_cannot_be_verified(api: Driver) -> None:
    api.register(source="gs://elsewhere/model")

    problem_of(api.post(f"{ONE}/verify"), 409, "conflict")


def test_file_is_hashed_once_for_all_of_its_ranges(
    api: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.register()
    api.upload(1, {"model.bin": LARGE})
    path = mlflow_path(api, "model.bin")
    hashed: list[str] = []
    verify = hashing.verify_file

    def observed(store: object, source: str, entry: object, *, etag: str) -> list[str]:
        hashed.append(etag)
        return verify(store, source, entry, etag=etag)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(hashing, "verify_file", observed)
    size = len(LARGE)
    ranges = [f"bytes={n * size // 3}-{(n + 1) * size // 3 - 1}" for n in range(3)]

    parts = [api.client.get(path, headers={"Range": asked}) for asked in ranges]

    assert [part.status_code for part in parts] == [206] * 3
    assert b"".join(part.data for part in parts) == LARGE
    assert len(hashed) == 1


def test_file_that_changed_after_it_was_hashed_is_hashed_anew(
    api: Driver, overwrite: Overwrite
) -> None:
    api.register()
    api.upload(1, {"model.bin": SMALL})
    file, first = f"{ONE}/artifacts/model.bin", {"Range": "bytes=0-1"}
    assert api.get(file, headers=first).data == b"we"

    overwrite("model.bin", SMALL)
    again = api.get(file, headers=first)
    overwrite("model.bin", b"changed")
    changed = api.get(file, headers=first)

    assert (again.status_code, again.data) == (206, b"we")
    problem_of(changed, 409, "artifact-changed")
    assert is_marked(api)


def test_download_of_a_version_that_is_deleted_meanwhile_is_refused_all_the_same(
    api: Driver, overwrite: Overwrite, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.register()
    api.upload(1, {"model.bin": SMALL})
    overwrite("model.bin", b"weighty")
    verify = hashing.verify_file

    def deleted_first(*given: object, **named: object) -> list[str]:
        other = Driver(api.app, signed_in(api.app))
        assert other.delete(f"/models/{MODEL}").status_code == 204
        return verify(*given, **named)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(hashing, "verify_file", deleted_first)

    answer = api.get(f"{ONE}/artifacts/model.bin", headers={"Range": "bytes=0-1"})

    problem_of(answer, 409, "artifact-changed")


def test_our_client_is_told_and_keeps_nothing_of_a_changed_file(
    api: Driver, overwrite: Overwrite, tmp_path: Path
) -> None:
    api.register()
    api.upload(1, {"model.bin": SMALL})
    overwrite("model.bin", b"weighty")

    target = tmp_path / "downloaded"

    with (
        serving(api.app) as here,
        RegistryClient(here.url, TOKEN) as client,
        pytest.raises(ArtifactChangedError),
    ):
        client.download(MODEL, 1, target)

    assert [file for file in target.rglob("*") if file.is_file()] == []


def test_connection_to_the_real_server_breaks_off_at_a_changed_file(
    tmp_path: Path,
) -> None:
    source = tmp_path / "model"
    source.mkdir()
    (source / "model.bin").write_bytes(LARGE)
    with running_server(tmp_path) as server, server.client() as client:
        client.ensure_model(MODEL)
        version = client.register(MODEL, source)
        stored = Path(unquote(urlsplit(version.source).path)) / "model.bin"
        stored.chmod(0o644)
        stored.write_bytes(LARGE[:-1] + b"X")
        url = f"{server.url}/api/v1{ONE}/artifacts/model.bin"
        with server.http() as http:
            arrived = arrived_until_broken_off(http, url)
            after = http.get(url, timeout=SECONDS)

        assert 0 < arrived < len(LARGE)
        assert after.status_code == 409
        assert client.get_version(MODEL, 1).verified is False
