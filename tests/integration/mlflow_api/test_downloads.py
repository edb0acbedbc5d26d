"""Where bytes are, and the bytes themselves, as MLflow's client asks for them."""

import base64
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from werkzeug.test import TestResponse

from tests.integration.api.driver import (
    FILES,
    MODEL,
    ON_BOTH_DATABASES,
    Document,
    Driver,
    declared,
    document_of,
)
from tests.integration.conftest import close_app, make_app
from tests.integration.mlflow_api.driver import (
    AJAX_ROOT,
    Mlflow,
    mlflow_client,
    refusal_of,
)
from tests.integration.statements import statements_of
from tests.services.minio import ObjectStoreServer

ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
ODD_NAMES = ("a b%2F?&#;'\"", "größe @ 100 %", "x" * 256)


def download_uri(mlflow: Mlflow, number: int = 1, name: str = MODEL) -> str:
    answer = mlflow.done(
        "GET", "/model-versions/get-download-uri", name=name, version=str(number)
    )
    uri: str = answer["artifact_uri"]
    return uri


def path_of(uri: str) -> str:
    """The path of an address on this server, as the client cuts it."""
    assert uri.startswith("http://localhost/")
    return urlsplit(uri).path


def listed(api: Driver, root: str, path: str = "") -> list[Document]:
    """One directory, asked for as the client does: the address' tail as a field."""
    endpoint, tail = root.split(ARTIFACTS, 1)
    assert endpoint == ""
    asked = "/".join(part for part in (tail.strip("/"), path) if part)
    answer = api.client.get(ARTIFACTS, query_string={"path": asked})
    assert answer.status_code == 200
    files: list[Document] = document_of(answer).get("files", [])
    return files


def downloaded(api: Driver, root: str, path: str = "") -> dict[str, bytes]:
    """Every file below an address, found by listing."""
    found: dict[str, bytes] = {}
    for file in listed(api, root, path):
        below = f"{path}/{file['path']}" if path else file["path"]
        if file["is_dir"]:
            found |= downloaded(api, root, below)
        else:
            answer = api.client.get(f"{root}/{below}")
            assert answer.status_code == 200
            assert len(answer.data) == file["file_size"]
            found[below] = answer.data
    return found


@pytest.fixture
def uploaded(mlflow: Mlflow) -> Mlflow:
    """A registry that serves artifacts; version 1 was uploaded to it."""
    mlflow.api.create_model()
    mlflow.api.register()
    mlflow.api.upload(1)
    return mlflow


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[Mlflow]:
    """A registry that sends its clients to the store."""
    app = make_app(tmp_path / "remote", SERVE_ARTIFACTS="false")
    yield mlflow_client(app)
    close_app(app)


@ON_BOTH_DATABASES
def test_artifact_of_ours_is_downloaded_here_with_a_registry_token_alone(
    uploaded: Mlflow,
) -> None:
    viewer = uploaded.with_role("viewer")

    root = path_of(download_uri(viewer))

    assert downloaded(viewer.api, root) == FILES


def test_each_read_is_one_statement_beside_the_sign_in(uploaded: Mlflow) -> None:
    root = path_of(download_uri(uploaded))
    version_id = root.rsplit("/", 1)[-1]
    page = f"/model-versions/get-artifact?name={MODEL}&version=1"

    for url in (
        f"/api/2.0/mlflow/model-versions/get-download-uri?name={MODEL}&version=1",
        f"{ARTIFACTS}?path={version_id}",
        f"{ARTIFACTS}?path={version_id}/data",
        f"{ARTIFACTS}?path={version_id}/model.bin",
        f"{root}/model.bin",
        f"{page}&path=model.bin",
    ):
        with statements_of(uploaded.app) as statements:
            assert uploaded.api.client.get(url).status_code == 200
        assert len(statements) <= 2, statements


@ON_BOTH_DATABASES
def test_what_no_database_can_be_asked_for_is_not_there(uploaded: Mlflow) -> None:
    root, get = path_of(download_uri(uploaded)), uploaded.api.client.get

    refusal_of(get(f"{root}/a%00b"), "INVALID_PARAMETER_VALUE")
    refusal_of(get(f"{ARTIFACTS}/%00/model.bin"), "RESOURCE_DOES_NOT_EXIST")


def answer_to(mlflow: Mlflow, base_url: str) -> TestResponse:
    """The answer to a client that reaches the registry at this address."""
    return mlflow.api.client.get(
        "/api/2.0/mlflow/model-versions/get-download-uri",
        query_string={"name": MODEL, "version": "1"},
        base_url=base_url,
    )


@pytest.mark.parametrize(
    ("settings", "asked", "told"),
    [
        ({}, "http://localhost:8443/a/b", "http://localhost:8443/a/b"),
        (
            {"ALLOWED_HOSTS": "registry.example,localhost"},
            "https://registry.example:8443",
            "https://registry.example:8443",
        ),
        (
            {"PUBLIC_URL": "https://models.example/registry"},
            "http://evil.example/c",
            "https://models.example/registry",
        ),
    ],
)
def test_artifacts_are_downloaded_below_the_address_of_the_registry(
    tmp_path: Path, settings: dict[str, str], asked: str, told: str
) -> None:
    app = make_app(tmp_path, **settings)
    mlflow = mlflow_client(app)
    mlflow.api.create_model()
    mlflow.api.register()
    mlflow.api.upload(1)

    uri = document_of(answer_to(mlflow, asked))["artifact_uri"]

    assert uri.startswith(f"{told}{ARTIFACTS}/")
    close_app(app)


def test_client_is_sent_to_no_address_that_only_the_request_knows(
    uploaded: Mlflow,
) -> None:
    answer = answer_to(uploaded, "https://evil.example")

    message = refusal_of(answer, "INVALID_STATE")
    assert "STAGEGATE_PUBLIC_URL" in message
    assert "evil.example" not in answer.get_data(as_text=True)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_name_of_the_model_stands_in_no_address(mlflow: Mlflow, name: str) -> None:
    mlflow.create_model(name)
    answer = mlflow.api.client.get("/api/v1/models")
    assert [each["name"] for each in document_of(answer)["items"]] == [name]
    source = Path(mlflow.api.parts.settings.artifact_root) / "training"
    source.mkdir()
    (source / "model.bin").write_bytes(b"weights")
    mlflow.create_version(name, source=source.as_uri())

    root = path_of(download_uri(mlflow, name=name))

    assert downloaded(mlflow.api, root) == {"model.bin": b"weights"}


def test_download_goes_on_while_the_model_is_renamed(uploaded: Mlflow) -> None:
    root = path_of(download_uri(uploaded))

    uploaded.api.patch(f"/models/{MODEL}", {"name": "renamed"})

    assert downloaded(uploaded.api, root) == FILES


def test_listing_is_relative_to_what_was_asked(uploaded: Mlflow) -> None:
    root = path_of(download_uri(uploaded))

    assert listed(uploaded.api, root) == [
        {"path": "data", "is_dir": True},
        {"path": "model.bin", "is_dir": False, "file_size": 7},
    ]
    assert listed(uploaded.api, root, "data") == [
        {"path": "labels.txt", "is_dir": False, "file_size": 4}
    ]
    assert listed(uploaded.api, root, "model.bin") == []
    assert listed(uploaded.api, root, "absent") == []


def test_file_comes_with_its_digest_and_by_ranges(uploaded: Mlflow) -> None:
    url = f"{path_of(download_uri(uploaded))}/model.bin"
    digest = hashlib.sha256(b"weights")

    whole = uploaded.api.client.get(url)
    part = uploaded.api.client.get(url, headers={"Range": "bytes=2-3"})
    again = uploaded.api.client.get(
        url, headers={"If-None-Match": whole.headers["ETag"]}
    )
    beyond = uploaded.api.client.get(url, headers={"Range": "bytes=7-"})

    expected = base64.b64encode(digest.digest()).decode()
    assert whole.headers["Repr-Digest"] == f"sha-256=:{expected}:"
    assert whole.headers["ETag"] == f'"{digest.hexdigest()}"'
    assert whole.headers["Content-Disposition"].startswith("attachment")
    assert (part.status_code, part.data) == (206, b"ig")
    assert again.status_code == 304
    assert (beyond.status_code, document_of(beyond)["error_code"]) == (
        416,
        "BAD_REQUEST",
    )


def test_missing_file_is_told_as_the_client_expects(uploaded: Mlflow) -> None:
    root = path_of(download_uri(uploaded))

    for path in ("absent", "data", "model.bin/x", "DATA/labels.txt"):
        answer = uploaded.api.client.get(f"{root}/{path}")
        refusal_of(answer, "RESOURCE_DOES_NOT_EXIST")


def test_file_that_the_store_has_lost_is_missing_and_no_failure(
    uploaded: Mlflow,
) -> None:
    root = path_of(download_uri(uploaded))
    shutil.rmtree(Path(uploaded.api.parts.settings.artifact_root) / "artifacts")

    answer = uploaded.api.client.get(f"{root}/model.bin")

    refusal_of(answer, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize("path", ["%2e%2e/x", "a/%2e%2e", "a%5cb", "%00", "//etc"])
def test_path_that_leads_elsewhere_is_refused(uploaded: Mlflow, path: str) -> None:
    root = path_of(download_uri(uploaded))
    before = uploaded.api.dump()

    answer = uploaded.api.client.get(f"{root}/{path}")
    asked = {"path": f"{root.rsplit('/', 1)[-1]}/../x"}
    listing = uploaded.api.client.get(ARTIFACTS, query_string=asked)

    refusal_of(answer, "INVALID_PARAMETER_VALUE")
    refusal_of(listing, "INVALID_PARAMETER_VALUE")
    assert uploaded.api.dump() == before


MISREAD = {
    "a%41.txt": "aA.txt",
    "%FF.txt": "\ufffd.txt",
    "loss%step%3%00cd.png": "loss%step%3\0cd.png",
    "two%2Fdeep": "two/deep",
    "dir%41/b%2542": "dirA/bB",
}


def test_names_are_found_as_mlflow_s_client_reads_them(mlflow: Mlflow) -> None:
    mlflow.api.create_model()
    mlflow.api.register()
    files = {
        name: name.encode()
        for name in (*MISREAD, "q?x=1&y", "aB", "a%42", "c%44", "c%2544")
    }
    for name, content in files.items():
        path = f"/models/{MODEL}/versions/1/artifacts/{quote(name)}"
        assert mlflow.api.put(path, data=content).status_code == 201
    mlflow.api.post(f"/models/{MODEL}/versions/1/finalize", declared(files))
    root = path_of(download_uri(mlflow))

    for name, asked in MISREAD.items():
        answer = mlflow.api.client.get(f"{root}/{quote(asked)}")
        assert (answer.status_code, answer.data) == (200, name.encode())
    assert mlflow.api.client.get(f"{root}/q?x=1&y").data == b"q?x=1&y"
    assert [one["path"] for one in listed(mlflow.api, root, "dirA")] == ["b%2542"]
    # Who is named exactly is meant, and of two who could be meant neither is.
    assert mlflow.api.client.get(f"{root}/aB").data == b"aB"
    for asked in ("cD", "q?x=2", "dirA"):
        answer = mlflow.api.client.get(f"{root}/{asked}")
        refusal_of(answer, "RESOURCE_DOES_NOT_EXIST")


def test_nothing_is_found_without_the_id_of_a_version(uploaded: Mlflow) -> None:
    for query in ({}, {"path": ""}, {"path": "/"}, {"path": "0" * 32}):
        answer = uploaded.api.client.get(ARTIFACTS, query_string=query)
        refusal_of(answer, "RESOURCE_DOES_NOT_EXIST")
    answer = uploaded.api.client.get(f"{ARTIFACTS}/{'0' * 32}/model.bin")
    refusal_of(answer, "RESOURCE_DOES_NOT_EXIST")


def test_deleted_version_is_not_served(uploaded: Mlflow) -> None:
    root = path_of(download_uri(uploaded))

    uploaded.api.delete(f"/models/{MODEL}/versions/1")

    refusal_of(uploaded.api.client.get(f"{root}/model.bin"), "RESOURCE_DOES_NOT_EXIST")


def test_nobody_writes_or_deletes_here(uploaded: Mlflow) -> None:
    url = f"{path_of(download_uri(uploaded))}/model.bin"

    for method in ("PUT", "DELETE"):
        answer = uploaded.api.client.open(url, method=method, data=b"other")
        assert "stagegate register" in refusal_of(answer, "PERMISSION_DENIED")
    assert uploaded.api.client.get(url).data == b"weights"


def test_who_is_not_signed_in_reads_nothing(uploaded: Mlflow) -> None:
    root = path_of(download_uri(uploaded))
    stranger = uploaded.app.test_client()

    for url in (
        f"{root}/model.bin",
        f"{ARTIFACTS}?path={root.rsplit('/', 1)[-1]}",
        f"/model-versions/get-artifact?name={MODEL}&version=1&path=model.bin",
        f"/api/2.0/mlflow/model-versions/get-download-uri?name={MODEL}&version=1",
    ):
        refusal_of(stranger.get(url), "UNAUTHENTICATED")


def test_pages_ask_under_a_prefix_of_their_own(uploaded: Mlflow) -> None:
    root = path_of(download_uri(uploaded))
    url = root.replace("/api/2.0/", "/ajax-api/2.0/")
    asked = {"name": MODEL, "version": "1"}

    answer = uploaded.api.client.get(
        f"{AJAX_ROOT}/model-versions/get-download-uri", query_string=asked
    )

    assert path_of(document_of(answer)["artifact_uri"]) == root
    assert uploaded.api.client.get(f"{url}/model.bin").data == b"weights"


def test_page_downloads_one_file_of_a_version(uploaded: Mlflow) -> None:
    answer = uploaded.api.client.get(
        "/model-versions/get-artifact",
        query_string={"name": MODEL, "version": "1", "path": "data/labels.txt"},
    )

    assert answer.data == FILES["data/labels.txt"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"path": "absent"}, "RESOURCE_DOES_NOT_EXIST"),
        ({"path": "../x"}, "INVALID_PARAMETER_VALUE"),
        ({"path": ""}, "INVALID_PARAMETER_VALUE"),
        ({"path": "x", "version": "one"}, "INVALID_PARAMETER_VALUE"),
        ({"path": "x", "version": "9"}, "RESOURCE_DOES_NOT_EXIST"),
        ({"path": "x", "version": "2"}, "RESOURCE_DOES_NOT_EXIST"),
        ({"path": "x", "name": "nobody"}, "RESOURCE_DOES_NOT_EXIST"),
    ],
)
def test_page_is_refused_what_is_not_there(
    uploaded: Mlflow, fields: dict[str, str], code: str
) -> None:
    uploaded.create_version()  # 2, which lies elsewhere

    answer = uploaded.api.client.get(
        "/model-versions/get-artifact",
        query_string={"name": MODEL, "version": "1", **fields},
    )

    refusal_of(answer, code)


def test_client_is_sent_to_the_store_where_artifacts_are_not_served(
    remote: Mlflow,
) -> None:
    remote.api.create_model()
    remote.api.register()
    sealed = remote.api.upload(1)

    assert download_uri(remote) == sealed["source"]


def test_artifact_elsewhere_is_where_it_was_said_to_be(mlflow: Mlflow) -> None:
    mlflow.create_model()
    mlflow.create_version(source="gs://elsewhere/model")

    assert download_uri(mlflow) == "gs://elsewhere/model"


def test_artifact_whose_store_was_replaced_is_not_promised(
    uploaded: Mlflow, tmp_path: Path
) -> None:
    other = make_app(
        tmp_path,
        ARTIFACT_ROOT=str(tmp_path / "other"),
        DATABASE_URL=uploaded.api.parts.settings.database_url,
    )
    mlflow = mlflow_client(other)

    uri = download_uri(mlflow)

    assert uri == uploaded.version(1)["source"]
    close_app(other)


def test_place_of_what_is_not_there_is_not_told(mlflow: Mlflow) -> None:
    path = "/model-versions/get-download-uri"
    mlflow.create_model()

    for version, code in (
        ("1", "RESOURCE_DOES_NOT_EXIST"),
        ("0", "RESOURCE_DOES_NOT_EXIST"),
        ("1.0", "INVALID_PARAMETER_VALUE"),
        ("", "INVALID_PARAMETER_VALUE"),
    ):
        mlflow.refused(code, "GET", path, name=MODEL, version=version)


def test_client_is_told_of_no_optional_part_of_the_protocol(mlflow: Mlflow) -> None:
    for prefix in ("/api", "/ajax-api"):
        answer = mlflow.app.test_client().get(f"{prefix}/3.0/mlflow/server-info")

        document = document_of(answer)
        assert document["workspaces_enabled"] is False
        assert document["multipart_downloads_enabled"] is False
        assert document["multipart_uploads_enabled"] is False
    unknown = mlflow.api.client.get("/api/3.0/mlflow/traces")
    refusal_of(unknown, "ENDPOINT_NOT_FOUND")


@pytest.mark.service
def test_artifact_in_a_bucket_is_downloaded_with_a_registry_token_alone(
    tmp_path: Path, minio: ObjectStoreServer, bucket: str
) -> None:
    access = {
        name.removeprefix("STAGEGATE_"): value
        for name, value in minio.settings().items()
    }
    app = make_app(
        tmp_path,
        ARTIFACT_ROOT=f"s3://{bucket}/models",
        SERVE_ARTIFACTS="true",
        **access,
    )
    mlflow = mlflow_client(app)
    mlflow.api.create_model()
    mlflow.api.register()
    files = {**FILES, "large.bin": b"0123456789abcdef" * 131_072}
    mlflow.api.upload(1, files)

    root = path_of(download_uri(mlflow))

    assert downloaded(mlflow.api, root) == files
    close_app(app)
