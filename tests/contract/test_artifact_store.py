"""One contract for every artifact store: a local directory, and MinIO.

Where no MinIO can be had, moto's server stands in; what it cannot do is skipped.
"""

import hashlib
from collections.abc import Callable

import pytest

from registry.artifacts.hashing import (
    build_manifest,
    total_size,
)
from registry.artifacts.store import ArtifactStore
from registry.domain.manifests import FileEntry
from registry.errors import (
    ArtifactChangedError,
    ArtifactNotFoundError,
    InvalidInputError,
)
from tests.contract.stores import Opened, get, paths, put
from tests.hostile_paths import ACCEPTED_PATHS, HOSTILE_PATHS


def test_written_file_reads_back_with_its_digest(
    store: ArtifactStore, source: str
) -> None:
    entry = put(store, source, "data/model.bin", b"weights")

    assert entry == FileEntry(
        "data/model.bin", 7, hashlib.sha256(b"weights").hexdigest()
    )
    assert get(store, source, "data/model.bin") == b"weights"
    assert store.stat(source, "data/model.bin").size_bytes == 7


def test_empty_file_is_a_file(store: ArtifactStore, source: str) -> None:
    entry = put(store, source, "__init__.py", b"")

    assert entry.size_bytes == 0
    assert get(store, source, "__init__.py") == b""
    assert paths(store, source) == ["__init__.py"]


@pytest.mark.parametrize(
    ("start_and_length", "expected"),
    [
        ((0, None), b"0123456789"),
        ((3, None), b"3456789"),
        ((0, 4), b"0123"),
        ((4, 3), b"456"),
        ((9, 1), b"9"),
        ((8, 100), b"89"),
        ((0, 0), b""),
        ((5, 0), b""),
    ],
)
def test_range_of_a_file_is_read(
    store: ArtifactStore,
    source: str,
    start_and_length: tuple[int, int | None],
    expected: bytes,
) -> None:
    start, length = start_and_length
    put(store, source, "digits", b"0123456789")

    assert get(store, source, "digits", start=start, length=length) == expected


@pytest.mark.parametrize(
    ("start", "length"), [(10, None), (11, 5), (-1, None), (0, -1), (10, 0)]
)
def test_range_that_the_file_does_not_have_is_refused(
    store: ArtifactStore, source: str, start: int, length: int | None
) -> None:
    put(store, source, "digits", b"0123456789")

    with pytest.raises(InvalidInputError) as caught:
        get(store, source, "digits", start=start, length=length)

    assert caught.value.field == "range"


def test_reading_may_stop_half_way(store: ArtifactStore, source: str) -> None:
    put(store, source, "model.bin", bytes(5 * 1024 * 1024))

    with store.open(source, "model.bin") as chunks:
        first = next(chunks)

    assert 0 < len(first) <= 1024 * 1024
    assert len(get(store, source, "model.bin")) == 5 * 1024 * 1024


def test_error_of_the_reader_passes_through_unchanged(
    store: ArtifactStore, source: str
) -> None:
    put(store, source, "model.bin", b"weights")

    with pytest.raises(BrokenPipeError), store.open(source, "model.bin"):
        raise BrokenPipeError


def test_missing_file_is_not_found(store: ArtifactStore, source: str) -> None:
    put(store, source, "model.bin", b"weights")

    for path in ("other.bin", "model.bin/inner", "directory/model.bin"):
        with pytest.raises(ArtifactNotFoundError):
            store.stat(source, path)
        with pytest.raises(ArtifactNotFoundError):
            get(store, source, path)
        with pytest.raises(ArtifactNotFoundError):
            store.copy(source, path, f"{source}-copy", etag="0-0")


def test_directory_is_no_file(store: ArtifactStore, source: str) -> None:
    put(store, source, "data/model.bin", b"weights")

    with pytest.raises(ArtifactNotFoundError):
        get(store, source, "data")


def test_nothing_at_an_address_is_not_found(store: ArtifactStore, source: str) -> None:
    with pytest.raises(ArtifactNotFoundError):
        list(store.list_files(source))
    put(store, source, "a", b"")
    with pytest.raises(ArtifactNotFoundError):
        list(store.list_files(f"{source}/a/b"))


def test_listing_is_recursive_and_sorted_by_path(
    store: ArtifactStore, source: str
) -> None:
    for path in ("b", "a/z", "a-b", "a/c/d", "a.b", "B", "ü", "a b"):
        put(store, source, path, path.encode())
    put(store, f"{source}-neighbour", "x", b"")

    listed = list(store.list_files(source))

    names = [stored.path for stored in listed]
    assert names == ["B", "a b", "a-b", "a.b", "a/c/d", "a/z", "b", "ü"]
    assert names == sorted(names)
    assert [file.size_bytes for file in listed] == [len(n.encode()) for n in names]
    assert [store.stat(source, file.path) for file in listed] == listed
    assert total_size(listed) == sum(len(name.encode()) for name in names)


def test_listing_goes_beyond_one_page(store: ArtifactStore, source: str) -> None:
    names = [f"{number:04}" for number in range(1005)]
    for name in names:
        put(store, source, name, b"")

    assert paths(store, source) == names

    store.delete_tree(source)

    with pytest.raises(ArtifactNotFoundError):
        paths(store, source)


@pytest.mark.parametrize("start", [0, 2])
def test_source_may_name_a_single_file(
    store: ArtifactStore, source: str, start: int
) -> None:
    put(store, source, "model.pkl", b"weights")
    put(store, source, "model.pkl.old", b"old")
    single = f"{source}/model.pkl"

    (stored,) = store.list_files(single)
    store.copy(single, "model.pkl", f"{source}-copy", etag=stored.etag)

    assert (stored.path, stored.size_bytes) == ("model.pkl", 7)
    assert store.stat(single, "model.pkl") == stored
    assert get(store, single, "model.pkl", start=start) == b"weights"[start:]
    assert paths(store, f"{source}-copy") == ["model.pkl"]
    assert build_manifest(store, single).size_bytes == 7
    with pytest.raises(ArtifactNotFoundError):
        get(store, single, "other")


@pytest.mark.parametrize("path", HOSTILE_PATHS.values(), ids=HOSTILE_PATHS.keys())
def test_hostile_path_is_refused_by_every_call(
    store: ArtifactStore, source: str, path: str
) -> None:
    put(store, source, "a", b"content")
    calls: list[Callable[[], object]] = [
        lambda: put(store, source, path, b""),
        lambda: get(store, source, path),
        lambda: store.stat(source, path),
        lambda: store.copy(source, path, f"{source}-copy", etag="e"),
    ]
    for call in calls:
        with pytest.raises(InvalidInputError) as caught:
            call()
        assert caught.value.field == "path"


@pytest.mark.parametrize("path", ACCEPTED_PATHS)
def test_accepted_path_is_stored_or_refused_by_name(
    store: ArtifactStore, source: str, path: str
) -> None:
    try:
        put(store, source, path, b"content")
    except InvalidInputError as error:
        # A file system holds 255 bytes in a segment, whatever the rule allows.
        assert error.field == "path"  # noqa: PT017 - only one of two outcomes raises
        assert len(path.encode()) > 255
        return

    assert get(store, source, path) == b"content"
    assert paths(store, source) == [path]


def test_key_too_long_for_the_store_is_refused_when_read(
    store: ArtifactStore, source: str
) -> None:
    for path in ("a" * 1000, "/".join(["a" * 200] * 5)):
        with pytest.raises((InvalidInputError, ArtifactNotFoundError)):
            store.stat(source, path)


def test_file_and_directory_of_one_name_are_never_both_listed(
    store: ArtifactStore, source: str, opened: Opened
) -> None:
    put(store, source, "a", b"file")

    if opened.server is None:
        with pytest.raises(InvalidInputError):
            put(store, source, "a/b", b"inner")
        put(store, source, "d/b", b"inner")
        with pytest.raises(InvalidInputError):
            put(store, source, "d", b"file")
        return
    put(store, source, "a/b", b"inner")
    if opened.server.is_real:
        assert paths(store, source) == ["a"]
    else:
        with pytest.raises(InvalidInputError, match="also the directory"):
            build_manifest(store, source)
    store.delete_tree(source)
    with pytest.raises(ArtifactNotFoundError):
        store.stat(source, "a/b")


def test_file_is_replaced_and_its_etag_with_it(
    store: ArtifactStore, source: str
) -> None:
    put(store, source, "model.bin", b"old")
    before = store.stat(source, "model.bin")

    put(store, source, "model.bin", b"new")

    after = store.stat(source, "model.bin")
    assert get(store, source, "model.bin") == b"new"
    assert after.size_bytes == before.size_bytes
    assert after.etag != before.etag


def test_pinned_read_and_copy_are_refused_once_the_file_has_changed(
    store: ArtifactStore, source: str, opened: Opened
) -> None:
    put(store, source, "model.bin", b"good")
    pinned = store.stat(source, "model.bin")

    put(store, source, "model.bin", b"evil")

    with (
        pytest.raises(ArtifactChangedError),
        store.open(source, "model.bin", etag=pinned.etag),
    ):
        pytest.fail("the changed file was opened")
    if opened.server is not None and not opened.server.is_real:
        pytest.skip("moto's server does not compare the ETag of a copy's source")
    with pytest.raises(ArtifactChangedError):
        store.copy(source, "model.bin", f"{source}-copy", etag=pinned.etag)
    with pytest.raises(ArtifactNotFoundError):
        paths(store, f"{source}-copy")


def test_copy_is_independent_of_what_it_was_copied_from(
    store: ArtifactStore, source: str
) -> None:
    put(store, source, "data/ü x.bin", b"good")
    stored = store.stat(source, "data/ü x.bin")

    store.copy(source, stored.path, f"{source}-copy", etag=stored.etag)
    put(store, source, stored.path, b"evil")
    store.delete_tree(source)

    assert get(store, f"{source}-copy", stored.path) == b"good"


def test_deleting_a_tree_spares_its_neighbours(
    store: ArtifactStore, source: str
) -> None:
    put(store, source, "a/b", b"")
    put(store, source, "c", b"")
    put(store, f"{source}-neighbour", "a", b"")

    store.delete_tree(f"{source}/c")
    assert paths(store, source) == ["a/b"]
    store.delete_tree(source)
    store.delete_tree(source)

    with pytest.raises(ArtifactNotFoundError):
        paths(store, source)
    assert paths(store, f"{source}-neighbour") == ["a"]


def test_nothing_is_written_or_deleted_outside_the_root(
    store: ArtifactStore, opened: Opened
) -> None:
    root = store.root_uri
    parent, _, name = root.rpartition("/")
    outside = [root, f"{root}/", parent, f"{root}x/a", f"{parent}/x{name}/a", "a", ""]

    for target in outside:
        with pytest.raises(InvalidInputError) as caught:
            put(store, target, "a", b"")
        assert caught.value.field in {"source", "path"}
        with pytest.raises(InvalidInputError):
            store.delete_tree(target)
        with pytest.raises(InvalidInputError):
            store.copy(opened.address(), "a", target, etag="e")


@pytest.mark.parametrize(
    "foreign", ["https://host/model", "mlflow-artifacts:/1/a", "gs://b/k", "model", ""]
)
def test_address_of_another_kind_is_not_claimed(
    store: ArtifactStore, foreign: str
) -> None:
    assert store.claims(foreign) is False
    with pytest.raises(InvalidInputError):
        list(store.list_files(foreign))


def test_own_address_is_claimed_whether_or_not_something_is_there(
    store: ArtifactStore, source: str
) -> None:
    assert store.claims(source)
    assert store.claims(f"{source}/")
    assert store.claims(f"{source}/a/b.pkl")


def test_preparing_twice_changes_nothing(store: ArtifactStore, source: str) -> None:
    put(store, source, "a", b"")

    store.prepare()

    assert paths(store, source) == ["a"]
