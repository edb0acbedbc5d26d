"""What only a store behind a network can go wrong with."""

import http.server
import io
import os
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest

from registry.artifacts import minio_client
from registry.artifacts.minio import MinioArtifactStore
from registry.artifacts.opening import open_store
from registry.artifacts.store import S3Access
from registry.errors import (
    ArtifactAccessDeniedError,
    ArtifactChangedError,
    ArtifactNotFoundError,
    ArtifactStoreError,
    BucketNotFoundError,
    ConfigurationError,
    InvalidInputError,
)
from tests.contract.stores import s3_access
from tests.services.minio import ObjectStoreServer
from tests.services.processes import free_port

MEBIBYTE = 1024 * 1024
NOWHERE = S3Access("http://127.0.0.1:1", "access", "secret")


@pytest.fixture
def access(minio: ObjectStoreServer) -> S3Access:
    return s3_access(minio)


@pytest.mark.service
def test_bucket_is_created_when_missing(
    minio: ObjectStoreServer, access: S3Access
) -> None:
    bucket = f"created-{uuid.uuid4().hex}"

    MinioArtifactStore(access, root_uri=f"s3://{bucket}/").prepare()

    assert minio.client().bucket_exists(bucket_name=bucket)
    minio.remove_bucket(bucket)


@pytest.mark.service
@pytest.mark.parametrize("region", [None, "us-east-1"])
def test_wrong_credentials_are_a_clear_error_without_the_secret(
    minio: ObjectStoreServer, access: S3Access, region: str | None
) -> None:
    if not minio.is_real:
        pytest.skip("moto's server takes any credentials")
    mallory = replace(access, secret_key="wrong-secret-key", region=region)
    store = MinioArtifactStore(mallory, root_uri="s3://some-bucket/prefix")

    with pytest.raises(
        ArtifactStoreError, match="some-bucket cannot be used"
    ) as caught:
        store.prepare()

    assert "wrong-secret-key" not in caught.value.message
    assert "wrong-secret-key" not in repr(mallory)
    with pytest.raises(ArtifactStoreError):
        list(store.list_files("s3://some-bucket/prefix/a"))


@pytest.mark.service
def test_foreign_bucket_is_read_and_never_written(
    minio: ObjectStoreServer, access: S3Access, bucket: str
) -> None:
    minio.client().put_object(
        bucket_name=bucket, object_name="run/model.bin", data=io.BytesIO(b"x"), length=1
    )
    store = MinioArtifactStore(access, root_uri="s3://other-bucket/prefix")
    source = f"s3://{bucket}/run"

    assert store.claims(source)
    assert [file.path for file in store.list_files(source)] == ["model.bin"]
    assert [f.path for f in store.list_files(f"s3://{bucket}")] == ["run/model.bin"]
    with pytest.raises(InvalidInputError):
        store.delete_tree(source)
    with pytest.raises(InvalidInputError):
        store.write(source, "a", io.BytesIO(b""), 0)
    with pytest.raises(BucketNotFoundError):
        list(store.list_files("s3://no-such-bucket-anywhere/a"))


@pytest.mark.service
def test_folder_markers_of_consoles_are_no_files(
    minio: ObjectStoreServer, access: S3Access, bucket: str
) -> None:
    client = minio.client()
    for name in ("run/", "run/data/", "run/data/model.bin"):
        client.put_object(
            bucket_name=bucket, object_name=name, data=io.BytesIO(), length=0
        )
    store = MinioArtifactStore(access, root_uri=f"s3://{bucket}")

    listed = [file.path for file in store.list_files(f"s3://{bucket}/run/")]

    assert listed == ["data/model.bin"]
    with pytest.raises(ArtifactNotFoundError):
        list(store.list_files(f"s3://{bucket}/run/data/model.bin/"))


@pytest.mark.service
def test_key_that_is_no_artifact_path_is_refused_when_listed(
    minio: ObjectStoreServer, access: S3Access, bucket: str
) -> None:
    minio.client().put_object(
        bucket_name=bucket, object_name="run/%2e%2e", data=io.BytesIO(), length=0
    )
    store = MinioArtifactStore(access, root_uri=f"s3://{bucket}")

    with pytest.raises(InvalidInputError, match="has a segment"):
        list(store.list_files(f"s3://{bucket}/run"))


@pytest.mark.service
def test_large_file_is_copied_in_parts_pinned_to_its_etag(
    minio: ObjectStoreServer, access: S3Access, bucket: str
) -> None:
    store = MinioArtifactStore(
        access, root_uri=f"s3://{bucket}/root", copy_part_bytes=5 * MEBIBYTE
    )
    source, target = f"{store.root_uri}/a", f"{store.root_uri}/b"
    content = os.urandom(12 * MEBIBYTE + 1)
    entry = store.write(source, "model.bin", io.BytesIO(content), len(content))
    stored = store.stat(source, "model.bin")

    store.copy(source, "model.bin", target, etag=stored.etag)

    with store.open(target, "model.bin") as chunks:
        assert b"".join(chunks) == content
    assert entry.size_bytes == store.stat(target, "model.bin").size_bytes
    if not minio.is_real:
        pytest.skip("moto's server does not compare the ETag of a copy's source")
    store.write(source, "model.bin", io.BytesIO(content[::-1]), len(content))
    with pytest.raises(ArtifactChangedError):
        store.copy(source, "model.bin", target, etag=stored.etag)


@pytest.mark.service
def test_object_with_a_content_encoding_is_read_as_stored(
    minio: ObjectStoreServer, access: S3Access, bucket: str
) -> None:
    minio.client().put_object(
        bucket_name=bucket,
        object_name="run/a.gz",
        data=io.BytesIO(b"\x1f\x8bnot really gzip"),
        length=17,
        metadata={"Content-Encoding": "gzip"},
    )
    store = MinioArtifactStore(access, root_uri=f"s3://{bucket}")

    with store.open(f"s3://{bucket}/run", "a.gz") as chunks:
        assert b"".join(chunks) == b"\x1f\x8bnot really gzip"


@pytest.mark.service
def test_source_and_path_together_fit_into_a_key(access: S3Access, bucket: str) -> None:
    store = MinioArtifactStore(access, root_uri=f"s3://{bucket}")

    with pytest.raises(InvalidInputError, match="longer than 1024 bytes"):
        store.stat(f"s3://{bucket}/{'a' * 600}", "b" * 600)


@pytest.mark.parametrize(
    "address",
    [
        "s3://",
        "s3:///key",
        "s3://B_ucket/key",
        "s3://a/key",
        "s3://user:word@bucket/key",
        "s3://127.0.0.1/key",
        "s3://buc..ket/key",
        "s3://bucket/../other",
        "s3://bucket/a//b",
        "s3://bucket//a",
        "s3://bucket/%2e%2e/a",
        "s3://bucket/a\\b",
        "s3://bucket/a\x00",
        "s3://bucket?/a",
    ],
)
def test_malformed_s3_address_is_refused_with_the_field_named(address: str) -> None:
    store = MinioArtifactStore(NOWHERE, root_uri="s3://bucket")

    with pytest.raises(InvalidInputError) as caught:
        store.claims(address)

    assert caught.value.field == "source"


def test_query_and_fragment_belong_to_the_key() -> None:
    store = MinioArtifactStore(NOWHERE, root_uri="s3://bucket/root")

    assert store.claims("s3://bucket/a?versionId=1#fragment")
    with pytest.raises(InvalidInputError):
        store.write("s3://bucket/root#/../a", "b", io.BytesIO(), 0)


@pytest.mark.parametrize(
    "endpoint_url",
    ["", "host:9000", "ftp://host", "http://", "http://host/path", "http://u:p@host"],
)
def test_malformed_endpoint_is_a_configuration_error(endpoint_url: str) -> None:
    with pytest.raises(ConfigurationError, match="S3_ENDPOINT_URL"):
        open_store("s3://bucket", replace(NOWHERE, endpoint_url=endpoint_url))


def test_malformed_root_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="ARTIFACT_ROOT"):
        open_store("s3://B/..", NOWHERE)


def test_https_endpoint_checks_certificates() -> None:
    client = minio_client.connect(replace(NOWHERE, endpoint_url="https://host:9000"))

    pool = client._http  # noqa: SLF001 - the SDK does not show its pool
    context = pool.connection_pool_kw["ssl_context"]
    assert context.check_hostname
    assert context.cert_store_stats()["x509_ca"] > 0


def test_no_request_waits_for_ever() -> None:
    pool = minio_client.connect(NOWHERE)._http  # noqa: SLF001 - as above

    timeout = pool.connection_pool_kw["timeout"]
    assert (timeout.connect_timeout, timeout.read_timeout) == (5.0, 60.0)
    assert pool.connection_pool_kw["retries"].total == 3


def test_store_that_is_down_is_an_error_of_the_store() -> None:
    access = replace(
        NOWHERE, endpoint_url=f"http://127.0.0.1:{free_port()}", region="us-east-1"
    )
    store = open_store("s3://bucket/root", access)

    with pytest.raises(ArtifactStoreError, match="did not answer"):
        store.prepare()


LISTING = (
    b"<ListBucketResult><Name>locked</Name><IsTruncated>false</IsTruncated><Contents>"
    b"<Key>root/a/model.bin</Key><Size>1</Size><ETag>e</ETag>"
    b"</Contents></ListBucketResult>"
)
FAILED_DELETION = (
    b"<DeleteResult><Error><Key>root/a/model.bin</Key><Code>AccessDenied</Code>"
    b"<Message>locked</Message></Error></DeleteResult>"
)
REFUSAL = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"


class Impostor(http.server.BaseHTTPRequestHandler):
    """Answers as a server does that is not S3, or as an S3 that says no."""

    def do_GET(self) -> None:
        answers = {
            "broken-bucket": (404, "application/xml", b"<html"),
            "plain": (404, "text/html", b"hello"),
            "hollow": (200, "application/xml", b"<ListBucketResult/>"),
            "denied": (403, "application/xml", REFUSAL),
            "locked": (200, "application/xml", LISTING),
        }
        bucket = self.path.strip("/").partition("?")[0].partition("/")[0]
        self._answer(*answers[bucket])

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200, "application/xml", FAILED_DELETION)

    def do_DELETE(self) -> None:
        self._answer(204, "application/xml", b"")

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def impostor() -> Iterator[S3Access]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Impostor)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield S3Access(f"http://127.0.0.1:{server.server_port}", "a", "b", "us-east-1")
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("bucket", ["broken-bucket", "plain", "hollow"])
def test_answer_that_is_not_s3_is_an_error_of_the_store(
    impostor: S3Access, bucket: str
) -> None:
    store = MinioArtifactStore(impostor, root_uri=f"s3://{bucket}/root")

    with pytest.raises(ArtifactStoreError, match="not S3's"):
        list(store.list_files(f"s3://{bucket}/root/a"))


def test_denied_access_is_an_error_of_the_store(impostor: S3Access) -> None:
    store = MinioArtifactStore(impostor, root_uri="s3://denied/root")

    with pytest.raises(
        ArtifactAccessDeniedError, match="denies access to s3://denied/root/a"
    ):
        list(store.list_files("s3://denied/root/a"))


def test_deletion_that_the_store_refuses_is_an_error(impostor: S3Access) -> None:
    store = MinioArtifactStore(impostor, root_uri="s3://locked/root")

    with pytest.raises(ArtifactStoreError, match="cannot be deleted: locked"):
        store.delete_tree("s3://locked/root/a")
