"""What only a directory of this machine can go wrong with."""

import io
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.artifacts.hashing import build_manifest, seal_upload, verify_manifest
from registry.artifacts.local import LocalArtifactStore
from registry.errors import (
    ArtifactChangedError,
    ArtifactNotFoundError,
    ArtifactStoreError,
    InvalidInputError,
)

PATH_MAX = 4096


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


@pytest.fixture
def store(root: Path) -> LocalArtifactStore:
    store = LocalArtifactStore(root)
    store.prepare()
    return store


@pytest.fixture
def artifact(root: Path, store: LocalArtifactStore) -> Path:
    """The directory of an artifact with one file in it."""
    store.write(str(root / "one"), "model.bin", io.BytesIO(b"weights"), 7)
    return root / "one"


def read(store: LocalArtifactStore, source: str, path: str) -> bytes:
    with store.open(source, path) as chunks:
        return b"".join(chunks)


def test_root_that_is_a_link_is_resolved_once(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")

    store = LocalArtifactStore(tmp_path / "link")

    assert store.root_uri == (tmp_path / "real").as_uri()


@pytest.mark.parametrize(
    "kind", ["link to file", "link to directory", "dangling link", "pipe", "loop"]
)
def test_what_is_no_file_is_named_and_never_followed(
    store: LocalArtifactStore, artifact: Path, tmp_path: Path, kind: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    planted = artifact / "planted"
    if kind == "pipe":
        os.mkfifo(planted)
    else:
        targets = {
            "link to file": outside / "secret",
            "link to directory": outside,
            "dangling link": outside / "missing",
            "loop": planted,
        }
        planted.symlink_to(targets[kind])

    with pytest.raises(InvalidInputError, match="planted is a link or a device"):
        build_manifest(store, str(artifact))
    for path in ("planted", "planted/secret"):
        with pytest.raises((InvalidInputError, ArtifactNotFoundError)):
            read(store, str(artifact), path)
    if kind != "pipe":
        with pytest.raises(InvalidInputError):
            store.write(str(artifact), "planted/secret", io.BytesIO(b""), 0)
    assert (outside / "secret").read_text() == "secret"
    store.delete_tree(str(artifact))
    assert (outside / "secret").exists()


def test_source_that_leads_out_through_a_link_is_refused(
    store: LocalArtifactStore, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (root / "link").symlink_to(tmp_path / "outside")

    with pytest.raises(InvalidInputError, match="not below the artifact root"):
        store.claims(str(root / "link"))
    with pytest.raises(InvalidInputError):
        store.delete_tree(str(root / "link"))
    assert (tmp_path / "outside").is_dir()


@pytest.mark.parametrize(
    "address",
    [
        "/etc",
        "/",
        "file:///etc/passwd",
        "file:///",
        "file:etc",
        "file:",
        "file://",
        "file://host/etc",
        "file://[/etc",
        "FILE:///etc",
        "{root}",
        "{root}/",
        "{root}/..",
        "{root}/one/../../x",
        "{root}/.incoming",
        "{root}/.incoming/x",
        "{root}-neighbour/x",
        "{root}/a\x00b",
        "{root}/a\nb",
        "{root}/\ud800",
        "file://{root}/%2e%2e/x",
        "file://{root}/..%2fx",
        "file://{root}/a%00b",
        "file://{root}/%ff",
        "file://{root}/a?b",
        "file://{root}/a#b",
        "file://localhost/etc",
        "{root}/" + "a" * 5000,
    ],
)
def test_address_outside_or_malformed_is_refused_with_the_field_named(
    store: LocalArtifactStore, root: Path, address: str
) -> None:
    source = address.format(root=root)

    with pytest.raises(InvalidInputError) as caught:
        list(store.list_files(source))

    assert caught.value.field in {"source", "path"}
    if len(source) < PATH_MAX:
        with pytest.raises(InvalidInputError):
            store.claims(source)


@given(text=st.text(max_size=30) | st.sampled_from(["../a", "a/../..", "%2e%2e/a"]))
def test_any_claimed_address_lies_below_the_root(text: str) -> None:
    root = Path("/nowhere/artifacts")
    store = LocalArtifactStore(root)

    for source in (f"{root}/{text}", f"file://{root}/{text}"):
        try:
            claimed = store.claims(source)
        except InvalidInputError:
            continue
        assert claimed
        with pytest.raises((ArtifactStoreError, InvalidInputError)):
            list(store.list_files(source))


def test_uri_and_path_name_the_same_artifact(
    store: LocalArtifactStore, root: Path
) -> None:
    directory = root / "ü x%41"
    store.write(str(directory), "a", io.BytesIO(b"a"), 1)

    assert read(store, directory.as_uri(), "a") == b"a"
    assert read(store, f"file://localhost{directory.as_uri()[7:]}", "a") == b"a"


def test_sealed_files_are_read_only_and_share_nothing_with_the_upload(
    store: LocalArtifactStore, artifact: Path, root: Path
) -> None:
    manifest = build_manifest(store, str(artifact))
    target = root / "sealed"

    with (artifact / "model.bin").open("r+b") as still_open:
        seal_upload(store, str(artifact), str(target), manifest)
        still_open.write(b"mallory")

    sealed = target / "model.bin"
    assert stat.S_IMODE(sealed.stat().st_mode) == 0o444
    assert sealed.stat().st_nlink == 1
    assert verify_manifest(store, str(target), manifest) == []
    store.delete_tree(str(target))
    assert not target.exists()


def test_edit_in_place_that_restores_size_and_time_changes_the_etag(
    store: LocalArtifactStore, artifact: Path
) -> None:
    file = artifact / "model.bin"
    before = file.stat()
    pinned = store.stat(str(artifact), "model.bin")

    while store.stat(str(artifact), "model.bin").etag == pinned.etag:
        # The kernel's clock moves in steps of some milliseconds.
        file.write_bytes(b"mallory")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    with pytest.raises(ArtifactChangedError):
        store.copy(str(artifact), "model.bin", f"{artifact}-copy", etag=pinned.etag)
    assert not (artifact.parent / "one-copy" / "model.bin").exists()


def test_file_cut_while_it_is_read_is_an_error(
    store: LocalArtifactStore, artifact: Path
) -> None:
    with store.open(str(artifact), "model.bin") as chunks:
        os.truncate(artifact / "model.bin", 0)
        with pytest.raises(ArtifactChangedError, match="became shorter"):
            list(chunks)


def test_nothing_is_left_behind_by_failed_writes(
    store: LocalArtifactStore, root: Path
) -> None:
    with pytest.raises(InvalidInputError):
        store.write(str(root / "a"), "b", io.BytesIO(b"short"), 100)
    with pytest.raises(InvalidInputError):
        store.write(str(root / "a"), "c" * 300, io.BytesIO(b""), 0)

    assert list((root / ".incoming").iterdir()) == []


def test_deep_tree_needs_few_descriptors(store: LocalArtifactStore, root: Path) -> None:
    path = "/".join(["d"] * 300)
    store.write(str(root / "deep"), path, io.BytesIO(b"x"), 1)
    script = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))\n"
        "from pathlib import Path\n"
        "from registry.artifacts.local import LocalArtifactStore\n"
        "store = LocalArtifactStore(Path(sys.argv[1]))\n"
        "print(len(list(store.list_files(sys.argv[1] + '/deep'))))\n"
    )

    finished = subprocess.run(
        [sys.executable, "-c", script, root], capture_output=True, text=True, check=True
    )

    assert finished.stdout == "1\n"


def test_name_that_is_no_artifact_path_is_refused_when_listed(
    store: LocalArtifactStore, artifact: Path
) -> None:
    (artifact / "back\\slash").touch()

    with pytest.raises(InvalidInputError, match="backslash"):
        list(store.list_files(str(artifact)))


def test_root_that_cannot_be_created_or_opened_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = LocalArtifactStore(tmp_path / "file" / "artifacts")

    with pytest.raises(ArtifactStoreError, match="cannot be created: Not a directory"):
        store.prepare()
    with pytest.raises(ArtifactStoreError, match="cannot be opened"):
        list(store.list_files(f"{store.root_uri}/a"))
    with pytest.raises(ArtifactStoreError, match="cannot be opened"):
        store.write(f"{store.root_uri}/a", "b", io.BytesIO(b""), 0)


def test_root_that_cannot_be_written_is_a_clear_error(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tests may run as root, for whom no directory is read-only.
    monkeypatch.setattr(os, "access", lambda *_: False)

    with pytest.raises(ArtifactStoreError, match="cannot be written"):
        LocalArtifactStore(root).prepare()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_full_disk_is_an_error_of_the_store(
    store: LocalArtifactStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_to_full_disk(_descriptor: int, chunk: bytes) -> int:
        with Path("/dev/full").open("wb", buffering=0) as full:
            return full.write(chunk)

    monkeypatch.setattr(os, "write", write_to_full_disk)

    with pytest.raises(ArtifactStoreError, match="No space left on device"):
        store.write(str(root / "a"), "b", io.BytesIO(b"x"), 1)
    assert list((root / ".incoming").iterdir()) == []


def test_local_root_does_not_import_the_sdk() -> None:
    script = (
        "import sys\n"
        "from registry.artifacts.opening import open_store\n"
        "open_store('/tmp/nowhere', None)\n"
        "assert not {'minio', 'urllib3', 'certifi'} & sys.modules.keys()\n"
    )

    subprocess.run([sys.executable, "-c", script], check=True)
