"""Files of a tracking server, and the registry's own store beside them."""

import io
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from registry.artifacts.local import LocalArtifactStore
from registry.artifacts.store import StoredFile
from registry.artifacts.tracked import StoreAndTracking, TrackedArtifacts
from registry.errors import (
    ArtifactAccessDeniedError,
    ArtifactNotFoundError,
    InvalidInputError,
    TrackingServerError,
)
from registry.tracking import client as tracking_client
from registry.tracking.client import TrackingAccess, TrackingServer
from registry.tracking.documents import ListedFile, read_files
from tests.tracking_server import ARTIFACTS, FakeTracking
from tests.unit.fake_registry import Answer

FILES = {"b": b"0123456789", "a/c d%.txt": b"x", "a/größe": b"yy"}
SOURCE = "mlflow-artifacts:/1/model"
LATE_SECONDS = tracking_client.FILE_SECONDS + 1
EXPIRES = timedelta(minutes=1)


@pytest.fixture
def fake() -> Iterator[FakeTracking]:
    with FakeTracking() as running:
        running.add_files("1/model", FILES)
        yield running


@pytest.fixture
def server(fake: FakeTracking) -> TrackingServer:
    return TrackingServer(TrackingAccess(url=fake.url, token="abc"))


@pytest.fixture
def files(server: TrackingServer) -> TrackedArtifacts:
    return TrackedArtifacts(server)


def test_files_are_listed_by_path_and_read(
    fake: FakeTracking, files: TrackedArtifacts
) -> None:
    listed = list(files.list_files(SOURCE))

    assert [(file.path, file.size_bytes, file.etag) for file in listed] == [
        ("a/c d%.txt", 1, ""),
        ("a/größe", 2, ""),
        ("b", 10, ""),
    ]
    for file in listed:
        with files.open(SOURCE, file.path) as chunks:
            assert b"".join(chunks) == FILES[file.path]
        assert files.stat(SOURCE, file.path) == file
    assert {asked.headers["Authorization"] for asked in fake.asked} == {"Bearer abc"}


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [
        (0, None, b"0123456789"),
        (3, None, b"3456789"),
        (2, 3, b"234"),
        (8, 99, b"89"),
        (0, 0, b""),
    ],
)
def test_part_of_a_file_is_cut_out_of_it(
    files: TrackedArtifacts, start: int, length: int | None, expected: bytes
) -> None:
    with files.open(SOURCE, "b", start=start, length=length) as chunks:
        assert b"".join(chunks) == expected


@pytest.mark.parametrize(("start", "length"), [(10, None), (11, 1), (-1, None)])
def test_part_that_a_file_does_not_have_is_refused(
    files: TrackedArtifacts, start: int, length: int | None
) -> None:
    with (
        pytest.raises(InvalidInputError) as caught,
        files.open(SOURCE, "b", start=start, length=length) as chunks,
    ):
        list(chunks)
    assert caught.value.field == "range"


@pytest.mark.parametrize("path", ["absent", "a", "b/b"])
def test_absent_file_is_not_found(files: TrackedArtifacts, path: str) -> None:
    with pytest.raises(ArtifactNotFoundError):
        files.stat(SOURCE, path)
    with pytest.raises(ArtifactNotFoundError), files.open(SOURCE, path):
        pass


def test_address_of_another_kind_is_refused(files: TrackedArtifacts) -> None:
    with pytest.raises(InvalidInputError):
        files.stat("s3://bucket/1", "b")


def test_server_that_hands_out_no_artifacts_denies_them(
    fake: FakeTracking, server: TrackingServer
) -> None:
    fake.on("GET", ARTIFACTS, lambda _: Answer(404), lambda _: Answer(200, b"[]"))

    for _ in range(2):
        with pytest.raises(ArtifactAccessDeniedError):
            server.list_files("1/model")


def read(server: TrackingServer) -> bytes:
    with server.open_file("1/model/b") as chunks:
        return b"".join(chunks)


def test_file_that_comes_too_slowly_is_given_up(
    server: TrackingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read(server) == FILES["b"]
    monkeypatch.setattr(tracking_client, "MIN_BYTES_PER_SECOND", 1e9)
    began_at = time.monotonic()

    class Later:
        calls = 0

        def monotonic(self) -> float:
            self.calls += 1
            # Asked first before the request is sent, then for each piece.
            return began_at + (LATE_SECONDS if self.calls > 2 else 0.0)

    monkeypatch.setattr(tracking_client, "time", Later())
    with pytest.raises(TrackingServerError, match="too slowly") as caught:
        read(server)
    assert caught.value.is_temporary is True


def test_server_that_does_not_begin_to_send_is_left_alone(
    fake: FakeTracking, server: TrackingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def wait(_: object) -> Answer:
        released.wait(30)
        return Answer(200, b"late")

    fake.on("GET", f"{ARTIFACTS}/1/model/b", wait)
    monkeypatch.setattr(tracking_client, "FILE_SECONDS", 0.05)
    try:
        with pytest.raises(TrackingServerError, match="in time"):
            read(server)
    finally:
        released.set()
    with pytest.raises(TrackingServerError, match="hung a moment ago"):
        read(server)


def test_listing_is_read_with_care() -> None:
    document = {
        "files": [
            {"path": "a", "is_dir": True},
            {"path": "b", "is_dir": False, "file_size": "12"},
            {"path": "c", "is_dir": "yes", "file_size": -1},
            {"path": 7},
            "d",
        ]
    }

    assert read_files({}) == []
    assert read_files(document) == [
        ListedFile(name="a", is_directory=True, size_bytes=0),
        ListedFile(name="b", is_directory=False, size_bytes=12),
        ListedFile(name="c", is_directory=False, size_bytes=0),
        ListedFile(name="", is_directory=False, size_bytes=0),
    ]


def test_own_store_is_beside_it_and_alone_written_to(
    server: TrackingServer, tmp_path: Path
) -> None:
    both = StoreAndTracking(LocalArtifactStore(tmp_path), server)
    both.prepare()
    own, copied = f"{both.root_uri}/1", f"{both.root_uri}/2"

    entry = both.write(own, "b", io.BytesIO(b"own"), 3)
    both.copy(own, "b", copied, etag=both.stat(own, "b").etag)
    both.delete_tree(own)

    assert entry.size_bytes == 3
    assert list(both.list_files(copied)) == [both.stat(copied, "b")]
    with both.open(copied, "b") as chunks:
        assert b"".join(chunks) == b"own"
    assert [both.claims(each) for each in (copied, SOURCE, "gs://b/1")] == [
        *(True, True, False)
    ]
    assert both.stat(SOURCE, "b") == StoredFile("b", 10, "")
    for source in (copied, SOURCE):
        assert both.presign_get(source, "b", expires=EXPIRES, filename="b") is None
    assert both.presign_put(own, "b", expires=EXPIRES) is None
    with pytest.raises(InvalidInputError):
        both.write(SOURCE, "b", io.BytesIO(b"own"), 3)
