"""Names that users choose: what registers is downloaded by every client, as it was.

Over a real server, since it is the server that encodes headers, and by each way that a
client may take: through the server, by a presigned URL, as MLflow's clients do.
"""

import io
import json
import shutil
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest
from werkzeug.http import parse_options_header

from registry import errors
from registry.client import RegistryClient
from tests.integration.cli.conftest import runner_of
from tests.server import RunningServer
from tests.services.minio import ObjectStoreServer
from tests.waiting import STALL_SECONDS

#: So large that a store which has URLs is asked for it itself.
LARGE_BYTES = 1024 * 1024 + 1
NAMES = (
    *("ж", "€", "中", "日本語/モデル.bin", "é.txt", "\U0001f600", "a\u202eb"),
    *('a"b', "a'b", "a b", "a;b=c", "a&b", "a+b", "100%", "-rf", ".hidden", "~root"),
    *("data:ж/x,y", "data:text/html,x", "a%41.txt", "a%FF.txt", "a%2Fb", "a%00"),
    "images/loss%step%3%timestamp%1717150000001%3bcd.png",
    "images/loss%step%3%timestamp%1717150000001%00cd.png",
    # Four that some file systems would take for two.
    *("nfd/u\u0308", "nfd/\u00fc", "case/README", "case/readme"),
    *("a" * 251, "b" * 255, "ж" * 127 + "c"),
)


def write(directory: Path, names: tuple[str, ...], *, size_bytes: int = 0) -> None:
    for number, name in enumerate(names):
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(f"file {number}".encode().ljust(size_bytes, b"."))


def files_of(directory: Path) -> dict[str, bytes]:
    return {
        file.relative_to(directory).as_posix(): file.read_bytes()
        for file in directory.rglob("*")
        if file.is_file()
    }


class Sent(NamedTuple):
    """A version 1 with all the names, and what each file holds."""

    model: str
    files: dict[str, bytes]


Send = Callable[[RunningServer, int], Sent]


@pytest.fixture(scope="module")
def send_once(tmp_path_factory: pytest.TempPathFactory) -> Send:
    """Register files of a size, unless the server has them: tests only read them."""
    had: dict[tuple[str, int], Sent] = {}

    def send(server: RunningServer, size_bytes: int) -> Sent:
        if (server.url, size_bytes) not in had:
            directory = tmp_path_factory.mktemp("sent")
            write(directory, NAMES, size_bytes=size_bytes)
            with server.client() as client:
                model = client.create_model(uuid.uuid4().hex).name
                client.register(model, directory, on_hidden=lambda _: None)
            had[server.url, size_bytes] = Sent(model, files_of(directory))
        return had[server.url, size_bytes]

    return send


@pytest.fixture
def sent(
    serving: RunningServer, send_once: Send, request: pytest.FixtureRequest
) -> Sent:
    return send_once(serving, getattr(request, "param", 0))


SIZES = pytest.mark.parametrize("sent", [0, LARGE_BYTES], indirect=True)


@SIZES
def test_our_client_downloads_every_name_byte_for_byte(
    client: RegistryClient, sent: Sent, tmp_path: Path
) -> None:
    client.download(sent.model, 1, tmp_path / "new")
    (tmp_path / "there").mkdir()
    client.download(sent.model, 1, tmp_path / "there")

    assert files_of(tmp_path / "new") == sent.files
    assert files_of(tmp_path / "there") == sent.files


@SIZES
def test_curl_downloads_every_name_and_is_told_it(
    serving: RunningServer, sent: Sent, tmp_path: Path
) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("there is no curl here")
    head, body = tmp_path / "head", tmp_path / "body"

    for name, content in sent.files.items():
        path = f"/api/v1/models/{sent.model}/versions/1/artifacts/{quote(name)}"
        command = [curl, "--silent", "--show-error", "--fail", "--location"]
        command += ["--dump-header", str(head), "--output", str(body)]
        command += ["--user", f"x:{serving.token}", serving.url + path]
        subprocess.run(command, check=True, timeout=STALL_SECONDS)

        assert body.read_bytes() == content
        assert told_name(head.read_text("latin-1")) == name.rpartition("/")[2]


def told_name(heads: str) -> str:
    """The name to save a file under, in each of the heads that curl noted."""
    told = {
        parse_options_header(line.partition(":")[2].strip())[1]["filename"]
        for line in heads.splitlines()
        if line.lower().startswith("content-disposition: attachment;")
    }
    (name,) = told
    return name


def test_mlflow_s_proxy_hands_out_every_name(
    serving: RunningServer, sent: Sent
) -> None:
    proxy = f"{serving.url}/api/2.0/mlflow-artifacts/artifacts"
    page = f"{serving.url}/model-versions/get-artifact"
    version_id = id_of(serving, sent.model)
    with serving.http() as http:
        for name, content in sent.files.items():
            by_proxy = http.get(
                f"{proxy}/{version_id}/{quote(name)}", timeout=STALL_SECONDS
            )
            query = {"name": sent.model, "version": "1", "path": name}
            by_page = http.get(page, params=query, timeout=STALL_SECONDS)
            directory, _, last = name.rpartition("/")
            query = {"path": f"{version_id}/{directory}".rstrip("/")}
            listed = http.get(proxy, params=query, timeout=STALL_SECONDS).json()

            assert (by_proxy.status_code, by_proxy.content) == (200, content)
            assert (by_page.status_code, by_page.content) == (200, content)
            assert last in [file["path"] for file in listed["files"]]


def id_of(serving: RunningServer, model: str) -> str:
    """The id by which MLflow's clients are sent for an artifact."""
    with serving.client() as client:
        return (client.get_version(model, 1).source or "").split("/")[-2]


def test_names_are_listed_as_they_were_given(
    client: RegistryClient, sent: Sent
) -> None:
    listed = [one.path for one in client.artifact_files(sent.model, 1)]

    assert listed == sorted(sent.files)


@pytest.mark.parametrize("name", ["a\nb", "a\\b", "a\x1b[31mb", "c:x", "..%2f..%2fx"])
def test_name_that_is_refused_is_told_before_anything_is_registered(
    client: RegistryClient, model: str, tmp_path: Path, name: str
) -> None:
    write(tmp_path / "sent", ("fine", name))

    with pytest.raises(errors.InvalidInputError) as caught:
        client.register(model, tmp_path / "sent", on_hidden=lambda _: None)

    assert ascii(name) in caught.value.message
    assert list(client.versions(model)) == []


def test_name_that_is_no_unicode_is_told_before_anything_is_registered(
    client: RegistryClient, model: str, tmp_path: Path
) -> None:
    (tmp_path / "sent").mkdir()
    (tmp_path / "sent" / "a\udcff").write_bytes(b"x")

    with pytest.raises(errors.InvalidInputError, match="lone surrogate"):
        client.register(model, tmp_path / "sent")

    assert list(client.versions(model)) == []


def test_the_name_of_a_model_may_be_of_any_alphabet(
    serving: RunningServer, tmp_path: Path
) -> None:
    run = runner_of(serving)
    write(tmp_path / "sent", ("ж",))
    model = f"модель 中 {uuid.uuid4().hex}"

    registered = run("register", model, str(tmp_path / "sent"), "-o", "json")
    done = run("versions", "download", model, "1", "--to", str(tmp_path / "got"))

    assert registered.exit_code == 0, registered.output
    assert json.loads(registered.stdout)["status"] == "READY"
    assert done.exit_code == 0, done.output
    assert files_of(tmp_path / "got") == {"ж": b"file 0"}


@pytest.mark.service
def test_linked_prefix_with_such_names_is_registered_and_downloaded(
    minio: ObjectStoreServer, minio_server: RunningServer, bucket: str, tmp_path: Path
) -> None:
    """The prefix too is kept as it is; in NFC it would be another one."""
    source = f"s3://{bucket}/runs/u\u0308 %41"
    sent = {name: name.encode() for name in NAMES}
    for name, content in sent.items():
        minio.client().put_object(
            bucket_name=bucket,
            object_name=f"{source.removeprefix(f's3://{bucket}/')}/{name}",
            data=io.BytesIO(content),
            length=len(content),
        )

    with minio_server.client() as client:
        client.ensure_model(bucket)
        version = client.register(bucket, source)
        client.download(bucket, 1, tmp_path / "got")

    assert (version.verified, version.source) == (True, source)
    assert files_of(tmp_path / "got") == sent
