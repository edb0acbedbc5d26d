"""Downloads: continued, verified, and kept inside the destination."""

import errno
import fcntl
import hashlib
import os
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from registry import errors
from registry.client import RegistryClient
from registry.client.downloads import READ_BLOCK_BYTES
from registry.client.staging import MAX_LOCKED, SUFFIX, safe_location, staged
from registry.client.types import ArtifactFile
from tests.unit.fake_registry import Answer, Asked, FakeRegistry, Script

ARTIFACTS = "/models/fraud/versions/1/artifacts"
BODY = bytes(range(256)) * 1200
CUT = READ_BLOCK_BYTES + 100


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.client.downloads.FIRST_PAUSE_SECONDS", 0.01)


def offer(
    fake: FakeRegistry, path: str = "weights.bin", *, sha256: str | None = ""
) -> None:
    """List one file; without a digest given it has the right one."""
    digest = hashlib.sha256(BODY).hexdigest() if sha256 == "" else sha256
    file = {"path": path, "size_bytes": len(BODY), "sha256": digest}
    fake.json("GET", ARTIFACTS, {"items": [file], "next_cursor": None})


def serve(asked: Asked, body: bytes = BODY) -> Answer:
    """Answer as a server does that honours ranges."""
    wanted = asked.headers.get("Range")
    if wanted is None:
        return Answer(200, body)
    start = int(wanted.removeprefix("bytes=").removesuffix("-"))
    place = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
    return Answer(206, body[start:], place)


def leave_behind(
    fake: FakeRegistry,
    client: RegistryClient,
    destination: Path,
    *,
    content: bytes | None = None,
    sha256: str | None = "",
    is_left: bool = True,
) -> None:
    """Download until the connection breaks for good; put other content there."""
    offer(fake, sha256=sha256)
    fake.on(
        "GET",
        f"/api/v1{ARTIFACTS}/weights.bin",
        lambda _: Answer(200, BODY, cut_at=CUT),
    )
    with pytest.raises(errors.ServerUnreachableError) as caught:
        client.download("fraud", 1, destination)
    assert ("goes on from there" in caught.value.message) == is_left
    if content is not None:
        (part,) = destination.rglob("weights.bin")
        part.write_bytes(content)


def serve_from_now_on(fake: FakeRegistry, script: Script) -> None:
    fake.forget("GET", f"{ARTIFACTS}/weights.bin")
    fake.on("GET", f"/api/v1{ARTIFACTS}/weights.bin", script)


def ranges(fake: FakeRegistry) -> list[str | None]:
    asked = fake.asked_for("GET", f"{ARTIFACTS}/weights.bin")
    return [one.headers.get("Range") for one in asked]


def test_an_artifact_is_downloaded_and_verified(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path
) -> None:
    offer(fake, "deep/a b%.bin")
    fake.on("GET", f"/api/v1{ARTIFACTS}/deep/a%20b%25.bin", serve)
    progress: list[tuple[int, int]] = []

    (file,) = client.download(
        "fraud",
        1,
        tmp_path / "new",
        on_progress=lambda done, total: progress.append((done, total)),
    )

    assert file.location == tmp_path / "new" / "deep" / "a b%.bin"
    assert file.location.read_bytes() == BODY
    assert file.verified
    assert progress[0] == (0, len(BODY))
    assert progress[-1] == (len(BODY), len(BODY))
    assert [one.name for one in file.location.parent.iterdir()] == ["a b%.bin"]
    assert fake.asked[-1].headers["Accept-Encoding"] == "identity"


def test_what_is_there_already_is_not_fetched_again(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path
) -> None:
    offer(fake)
    (tmp_path / "weights.bin").write_bytes(BODY)

    client.download("fraud", 1, tmp_path)

    assert ranges(fake) == []


@pytest.mark.parametrize("stale", [b"short", b"x" * len(BODY)])
def test_what_is_there_with_other_content_is_replaced(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path, stale: bytes
) -> None:
    offer(fake)
    fake.on("GET", f"/api/v1{ARTIFACTS}/weights.bin", serve)
    (tmp_path / "weights.bin").write_bytes(stale)

    client.download("fraud", 1, tmp_path)

    assert (tmp_path / "weights.bin").read_bytes() == BODY


def test_a_broken_connection_is_continued(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path
) -> None:
    offer(fake)
    fake.on(
        "GET",
        f"/api/v1{ARTIFACTS}/weights.bin",
        lambda _: Answer(200, BODY, cut_at=CUT),
        serve,
    )

    client.download("fraud", 1, tmp_path)

    assert (tmp_path / "weights.bin").read_bytes() == BODY
    assert ranges(fake) == [None, f"bytes={READ_BLOCK_BYTES}-"]


def test_what_arrived_of_a_broken_download_waits_beside_the_destination(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path
) -> None:
    leave_behind(fake, client, tmp_path / "model")

    (left,) = tmp_path.iterdir()
    assert left.name == f"model{SUFFIX}"
    assert [one.read_bytes() for one in left.rglob("weights.bin")] == [
        BODY[:READ_BLOCK_BYTES]
    ]


def test_what_arrived_of_a_broken_download_waits_in_a_destination_that_is_there(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path
) -> None:
    leave_behind(fake, client, tmp_path)

    assert [one.name for one in tmp_path.iterdir()] == [SUFFIX]


@pytest.mark.parametrize("destination", ["new", "."])
def test_a_download_goes_on_where_an_earlier_one_stopped_if_the_file_is_the_same(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path, destination: str
) -> None:
    leave_behind(fake, client, tmp_path / destination)
    serve_from_now_on(fake, serve)

    client.download("fraud", 1, tmp_path / destination)

    assert (tmp_path / destination / "weights.bin").read_bytes() == BODY
    assert ranges(fake)[-1] == f"bytes={READ_BLOCK_BYTES}-"
    assert fake.asked[-1].headers["If-Range"] == f'"{hashlib.sha256(BODY).hexdigest()}"'
    assert len(list(tmp_path.iterdir())) == 1


def test_a_download_of_other_files_does_not_go_on_with_what_was_left(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path
) -> None:
    leave_behind(fake, client, tmp_path / "model")
    other = bytes(len(BODY))
    path = "/models/fraud/versions/2/artifacts"
    file = {
        "path": "weights.bin",
        "size_bytes": len(other),
        "sha256": hashlib.sha256(other).hexdigest(),
    }
    fake.json("GET", path, {"items": [file], "next_cursor": None})
    fake.on("GET", f"/api/v1{path}/weights.bin", lambda asked: serve(asked, other))

    client.download("fraud", 2, tmp_path / "model")

    assert "Range" not in fake.asked[-1].headers
    assert (tmp_path / "model" / "weights.bin").read_bytes() == other
    assert [one.name for one in tmp_path.iterdir()] == ["model"]


def test_a_second_download_leaves_the_first_ones_part_alone(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path
) -> None:
    """The first one has just begun when the second does it all."""
    offer(fake)

    def serve_after_another(asked: Asked) -> Answer:
        with RegistryClient(fake.url) as other:
            other.download("fraud", 1, tmp_path / "model")
        assert (tmp_path / "model" / "weights.bin").read_bytes() == BODY
        return serve(asked)

    fake.on("GET", f"/api/v1{ARTIFACTS}/weights.bin", serve_after_another, serve)

    client.download("fraud", 1, tmp_path / "model")

    assert (tmp_path / "model" / "weights.bin").read_bytes() == BODY
    assert ranges(fake) == [None, None]
    assert [one.name for one in tmp_path.iterdir()] == ["model"]


def test_more_downloads_at_once_than_can_be_taken_up_again_leave_nothing(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path
) -> None:
    offer(fake)
    fake.on(
        "GET",
        f"/api/v1{ARTIFACTS}/weights.bin",
        lambda _: Answer(200, BODY, cut_at=CUT),
    )
    files = list(client.artifact_files("fraud", 1))

    with ExitStack() as others:
        for _ in range(MAX_LOCKED):
            others.enter_context(staged(tmp_path / "model", files, files))
        before = sorted(tmp_path.iterdir())
        with pytest.raises(errors.ServerUnreachableError) as caught:
            client.download("fraud", 1, tmp_path / "model")

        assert sorted(tmp_path.iterdir()) == before
        assert len(before) == MAX_LOCKED
        assert SUFFIX not in caught.value.message


def test_where_nothing_can_be_locked_nothing_is_left(
    fake: FakeRegistry,
    client: RegistryClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_locks(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", no_locks)

    leave_behind(fake, client, tmp_path / "model", is_left=False)

    assert list(tmp_path.iterdir()) == []


def test_a_place_that_its_owner_is_just_removing_is_not_taken(
    fake: FakeRegistry,
    client: RegistryClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offer(fake)
    fake.on("GET", f"/api/v1{ARTIFACTS}/weights.bin", serve)
    place, lock = tmp_path / f"model{SUFFIX}", fcntl.flock

    def remove_first(descriptor: int, operation: int) -> None:
        lock(descriptor, operation)
        if place.exists():
            (place / "lock").unlink()
            place.rmdir()

    monkeypatch.setattr("fcntl.flock", remove_first)

    client.download("fraud", 1, tmp_path / "model")

    assert (tmp_path / "model" / "weights.bin").read_bytes() == BODY
    assert [one.name for one in tmp_path.iterdir()] == ["model"]


def test_a_server_without_ranges_is_read_from_the_start(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path
) -> None:
    leave_behind(fake, client, tmp_path)
    serve_from_now_on(fake, lambda _: Answer(200, BODY))

    client.download("fraud", 1, tmp_path)

    assert (tmp_path / "weights.bin").read_bytes() == BODY


@pytest.mark.parametrize("size", [5000, len(BODY), len(BODY) + 1])
def test_a_part_of_something_else_is_thrown_away(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path, size: int
) -> None:
    leave_behind(fake, client, tmp_path, content=b"x" * size)
    serve_from_now_on(fake, serve)

    client.download("fraud", 1, tmp_path)

    assert (tmp_path / "weights.bin").read_bytes() == BODY


@pytest.mark.parametrize("is_continued", [True, False])
@pytest.mark.parametrize("body", [b"x" * len(BODY), BODY + b"more", BODY[:-1]])
def test_another_content_is_refused_and_nothing_is_left(
    fake: FakeRegistry,
    client: RegistryClient,
    tmp_path: Path,
    *,
    body: bytes,
    is_continued: bool,
) -> None:
    if is_continued:
        leave_behind(fake, client, tmp_path, content=b"x" * 10)
    else:
        offer(fake)
    serve_from_now_on(fake, lambda _: Answer(200, body))

    with pytest.raises(errors.ArtifactChangedError, match="not what was registered"):
        client.download("fraud", 1, tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_file_without_a_digest_is_marked_unverified(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path
) -> None:
    leave_behind(fake, client, tmp_path, content=b"unknown", sha256=None)
    serve_from_now_on(fake, serve)

    (file,) = client.download("fraud", 1, tmp_path)

    assert not file.verified
    assert file.location.read_bytes() == BODY


def test_the_store_that_a_download_is_sent_to_does_not_get_our_token(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path
) -> None:
    offer(fake)
    with FakeRegistry() as store:
        fake.on(
            "GET",
            f"/api/v1{ARTIFACTS}/weights.bin",
            lambda _: Answer(307, headers={"Location": f"{store.url}/b/w?sig=s"}),
        )
        store.on("GET", "/b/w", lambda _: Answer(200, BODY, cut_at=CUT), serve)

        client.download("fraud", 1, tmp_path)

        assert all("Authorization" not in one.headers for one in store.asked)
        assert [one.headers.get("Range") for one in store.asked] == [
            None,
            f"bytes={READ_BLOCK_BYTES}-",
        ]
    assert (tmp_path / "weights.bin").read_bytes() == BODY


def test_one_file_of_an_artifact_is_downloaded(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path
) -> None:
    offer(fake)
    fake.on("GET", f"/api/v1{ARTIFACTS}/weights.bin", serve)

    (file,) = client.download("fraud", 1, tmp_path, path="weights.bin")

    assert file.path == "weights.bin"
    with pytest.raises(errors.ArtifactNotFoundError, match="'other'"):
        client.download("fraud", 1, tmp_path, path="other")


def test_a_file_that_is_gone_is_not_found(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path
) -> None:
    offer(fake)
    fake.problem("GET", f"{ARTIFACTS}/weights.bin", "artifact-not-found", status=404)

    with pytest.raises(errors.ArtifactNotFoundError):
        client.download("fraud", 1, tmp_path)


@pytest.mark.parametrize(
    "path",
    ["../x", "a/../../x", "/etc/passwd", "a//b", "", ".", "a/.", "a\\b", "a\0b", "a/"],
)
def test_a_path_that_leaves_the_destination_is_refused(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path, path: str
) -> None:
    offer(fake, path)

    with pytest.raises(errors.RegistryError, match="unsafe"):
        client.download("fraud", 1, tmp_path / "to")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["weights.bin", "deep"])
def test_a_link_in_the_destination_does_not_lead_out_of_it(
    tmp_path: Path, name: str
) -> None:
    destination = tmp_path / "to"
    destination.mkdir()
    (destination / name).symlink_to(tmp_path / "outside")
    path = "deep/weights.bin" if name == "deep" else "weights.bin"

    with pytest.raises(errors.RegistryError, match="leads out"):
        safe_location(destination, path)


@pytest.mark.parametrize("place", [SUFFIX, f"{SUFFIX}/lock"])
def test_a_link_where_a_download_waits_is_not_followed(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path, place: str
) -> None:
    offer(fake)
    fake.on("GET", f"/api/v1{ARTIFACTS}/weights.bin", serve)
    outside, to = tmp_path / "outside", tmp_path / "to"
    outside.mkdir()
    (to / place).parent.mkdir(parents=True)
    (to / place).symlink_to(outside if place == SUFFIX else outside / "made")

    client.download("fraud", 1, to)

    assert list(outside.iterdir()) == []
    assert (to / "weights.bin").read_bytes() == BODY


def test_an_artifact_may_hold_what_looks_like_a_download_that_waits(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path
) -> None:
    offer(fake, f"{SUFFIX}/lock")
    fake.on("GET", f"/api/v1{ARTIFACTS}/{SUFFIX}/lock", serve)

    client.download("fraud", 1, tmp_path)

    assert [one.relative_to(tmp_path).as_posix() for one in tmp_path.rglob("*")] == [
        SUFFIX,
        f"{SUFFIX}/lock",
    ]


@pytest.mark.parametrize("name", ["a" * 251, "a" * 255, "ж" * 127 + "a"])
@pytest.mark.parametrize("destination", ["new", "."])
def test_a_name_as_long_as_a_file_system_holds_is_downloaded(
    fake: FakeRegistry,
    client: RegistryClient,
    tmp_path: Path,
    *,
    name: str,
    destination: str,
) -> None:
    offer(fake, name)
    fake.on("GET", f"/api/v1{ARTIFACTS}/{quote(name)}", serve)

    client.download("fraud", 1, tmp_path / destination)

    assert (tmp_path / destination / name).read_bytes() == BODY


@pytest.mark.parametrize("name", ["a" * 250, "ж" * 127])
def test_a_destination_may_have_a_long_name(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path, name: str
) -> None:
    offer(fake)
    fake.on("GET", f"/api/v1{ARTIFACTS}/weights.bin", serve)

    client.download("fraud", 1, tmp_path / name)

    assert [one.name for one in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("destination", ["new", "."])
def test_a_name_that_the_destination_cannot_hold_is_told_before_anything_is_fetched(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path, destination: str
) -> None:
    offer(fake, "a" * 256)

    with pytest.raises(errors.RegistryError, match="File name too long"):
        client.download("fraud", 1, tmp_path / destination)

    assert len(fake.asked) == 1
    assert list(tmp_path.iterdir()) == []


def test_names_that_the_destination_mixes_up_are_told_before_anything_is_fetched(
    tmp_path: Path,
) -> None:
    """A file system that ignores case shows one file under both names."""
    files = [ArtifactFile(raw={}, path=path, size_bytes=1) for path in ("A", "a")]
    with suppress(KeyboardInterrupt), staged(tmp_path, files, files) as tree:
        (tree / "A").write_bytes(b"x")
        (tree / "a").unlink()
        (tree / "a").hardlink_to(tree / "A")
        raise KeyboardInterrupt

    with (
        pytest.raises(errors.RegistryError, match="cannot hold both 'A' and 'a'"),
        staged(tmp_path, files, files),
    ):
        pytest.fail("nothing is to be fetched")


@pytest.mark.parametrize("path", ["weights.bin", "weights.bin/inner"])
def test_what_is_in_the_place_of_a_file_is_told_before_anything_is_fetched(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path, path: str
) -> None:
    offer(fake, path)
    if path == "weights.bin":
        (tmp_path / "weights.bin").mkdir()
    else:
        (tmp_path / "weights.bin").write_bytes(b"a file")

    with pytest.raises(errors.RegistryError, match=r"no file|Not a directory"):
        client.download("fraud", 1, tmp_path)

    assert len(fake.asked) == 1


def test_a_server_that_sends_a_little_each_time_is_asked_until_all_is_there(
    fake: FakeRegistry,
    client: RegistryClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offer(fake)

    def serve_a_block(asked: Asked) -> Answer:
        return replace(serve(asked), cut_at=50_000)

    fake.on("GET", f"/api/v1{ARTIFACTS}/weights.bin", serve_a_block)
    monkeypatch.setattr("registry.client.downloads.READ_BLOCK_BYTES", 10_000)

    client.download("fraud", 1, tmp_path)

    assert (tmp_path / "weights.bin").read_bytes() == BODY
    assert len(ranges(fake)) == 7
