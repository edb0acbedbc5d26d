"""Downloads: continued, verified, and kept inside the destination."""

import hashlib
from pathlib import Path

import pytest

from registry import errors
from registry.client import RegistryClient
from registry.client.downloads import READ_BLOCK_BYTES, safe_location
from tests.unit.fake_registry import Answer, Asked, FakeRegistry

ARTIFACTS = "/models/fraud/versions/1/artifacts"
BODY = bytes(range(256)) * 1200
CUT = READ_BLOCK_BYTES + 100


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


def test_a_connection_that_breaks_every_time_ends_and_leaves_the_part(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path
) -> None:
    offer(fake)
    fake.on(
        "GET",
        f"/api/v1{ARTIFACTS}/weights.bin",
        lambda _: Answer(200, BODY, cut_at=CUT),
    )

    with pytest.raises(errors.ServerUnreachableError):
        client.download("fraud", 1, tmp_path)

    assert (tmp_path / "weights.bin.part").read_bytes() == BODY[:READ_BLOCK_BYTES]
    assert not (tmp_path / "weights.bin").exists()


def test_a_download_is_continued_where_an_earlier_one_stopped(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path
) -> None:
    offer(fake)
    fake.on("GET", f"/api/v1{ARTIFACTS}/weights.bin", serve)
    (tmp_path / "weights.bin.part").write_bytes(BODY[:5000])

    client.download("fraud", 1, tmp_path)

    assert (tmp_path / "weights.bin").read_bytes() == BODY
    assert ranges(fake) == ["bytes=5000-"]


def test_a_server_without_ranges_is_read_from_the_start(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path
) -> None:
    offer(fake)
    fake.on("GET", f"/api/v1{ARTIFACTS}/weights.bin", lambda _: Answer(200, BODY))
    (tmp_path / "weights.bin.part").write_bytes(BODY[:5000])

    client.download("fraud", 1, tmp_path)

    assert (tmp_path / "weights.bin").read_bytes() == BODY


@pytest.mark.parametrize("size", [5000, len(BODY), len(BODY) + 1])
def test_a_part_of_something_else_is_thrown_away(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path, size: int
) -> None:
    offer(fake)
    fake.on("GET", f"/api/v1{ARTIFACTS}/weights.bin", serve)
    (tmp_path / "weights.bin.part").write_bytes(b"x" * size)

    client.download("fraud", 1, tmp_path)

    assert (tmp_path / "weights.bin").read_bytes() == BODY


@pytest.mark.parametrize("part", [None, b"x" * 10])
@pytest.mark.parametrize("body", [b"x" * len(BODY), BODY + b"more", BODY[:-1]])
def test_another_content_is_refused_and_nothing_is_left(
    fake: FakeRegistry,
    client: RegistryClient,
    tmp_path: Path,
    *,
    body: bytes,
    part: bytes | None,
) -> None:
    offer(fake)
    fake.on("GET", f"/api/v1{ARTIFACTS}/weights.bin", lambda _: Answer(200, body))
    if part:
        (tmp_path / "weights.bin.part").write_bytes(part)

    with pytest.raises(errors.ArtifactChangedError, match="not what was registered"):
        client.download("fraud", 1, tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_file_without_a_digest_is_marked_unverified(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path
) -> None:
    offer(fake, sha256=None)
    fake.on("GET", f"/api/v1{ARTIFACTS}/weights.bin", serve)
    (tmp_path / "weights.bin.part").write_bytes(b"unknown")

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


@pytest.mark.parametrize("name", ["weights.bin", "weights.bin.part", "deep"])
def test_a_link_in_the_destination_does_not_lead_out_of_it(
    tmp_path: Path, name: str
) -> None:
    destination = tmp_path / "to"
    destination.mkdir()
    (destination / name).symlink_to(tmp_path / "outside")
    path = "deep/weights.bin" if name == "deep" else "weights.bin"

    with pytest.raises(errors.RegistryError, match="leads out"):
        safe_location(destination, path)
