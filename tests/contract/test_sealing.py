"""Manifests of what lies in a store, and uploads sealed against them."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import pytest

from registry.artifacts.hashing import (
    build_manifest,
    seal_upload,
    verify_manifest,
)
from registry.artifacts.store import ArtifactStore
from registry.domain.manifests import FileEntry, Manifest
from registry.errors import (
    ArtifactChangedError,
    ArtifactNotFoundError,
    ConflictError,
    InvalidInputError,
)
from tests.contract.stores import Opened, get, paths, put


def test_manifest_of_a_directory_is_verified_and_every_change_is_named(
    store: ArtifactStore, source: str
) -> None:
    for path in ("same", "gone", "grown", "edited"):
        put(store, source, path, b"content")
    manifest = build_manifest(store, source)
    assert verify_manifest(store, source, manifest) == []

    store.delete_tree(f"{source}/gone")
    put(store, source, "grown", b"content and more")
    put(store, source, "edited", b"tnetnoc")
    put(store, source, "added", b"")

    differences = verify_manifest(store, source, manifest)
    assert [sentence.split(" ", 2)[:2] for sentence in differences] == [
        ["added", "is"],
        ["edited", "has"],
        ["gone", "is"],
        ["grown", "has"],
    ]
    assert "sha256" in differences[1]
    store.delete_tree(source)
    assert len(verify_manifest(store, source, manifest)) == 1


def declare(files: dict[str, bytes]) -> Manifest:
    return Manifest(
        tuple(
            FileEntry(path, len(content), hashlib.sha256(content).hexdigest())
            for path, content in files.items()
        )
    )


def test_upload_that_is_what_was_declared_is_sealed(
    store: ArtifactStore, opened: Opened
) -> None:
    files = {"MLmodel": b"flavor", "data/model.pkl": b"weights", "empty": b""}
    upload, target = opened.address(), opened.address()
    for path, content in files.items():
        put(store, upload, path, content)

    sealed = seal_upload(store, upload, target, declare(files))

    assert sealed == declare(files)
    assert verify_manifest(store, target, sealed) == []
    store.delete_tree(upload)
    assert seal_upload(store, upload, target, declare(files)) == sealed


@pytest.mark.parametrize(
    ("uploaded", "message"),
    [
        ({"a": b"good"}, "b is missing"),
        ({"a": b"good", "b": b"good", "c": b""}, "c is not in the manifest"),
        ({"a": b"good", "b": b"longer"}, "b has 6 bytes, the manifest says 4"),
        ({"a": b"good", "b": b"evil"}, "b has sha256"),
        ({"a": b"evil", "B": b"good"}, "B is not in the manifest. b is missing"),
    ],
)
def test_upload_that_is_not_what_was_declared_leaves_nothing_at_the_target(
    store: ArtifactStore, opened: Opened, uploaded: dict[str, bytes], message: str
) -> None:
    upload, target = opened.address(), opened.address()
    for path, content in uploaded.items():
        put(store, upload, path, content)

    with pytest.raises(InvalidInputError, match=message) as caught:
        seal_upload(store, upload, target, declare({"a": b"good", "b": b"good"}))

    assert caught.value.field == "files"
    assert len(paths(store, upload)) == len(uploaded)
    with pytest.raises(ArtifactNotFoundError):
        paths(store, target)


def test_sealing_without_an_upload_is_not_found(
    store: ArtifactStore, opened: Opened
) -> None:
    with pytest.raises(ArtifactNotFoundError):
        seal_upload(store, opened.address(), opened.address(), declare({"a": b""}))


def test_sealing_never_touches_another_artifact_at_the_target(
    store: ArtifactStore, opened: Opened
) -> None:
    upload, target = opened.address(), opened.address()
    put(store, target, "a", b"served")
    put(store, upload, "a", b"mallory")

    with pytest.raises(ConflictError):
        seal_upload(store, upload, target, declare({"a": b"mallory"}))

    assert get(store, target, "a") == b"served"


class SwappingStore:
    """Replaces an uploaded file right after it was listed."""

    def __init__(self, store: ArtifactStore, upload: str) -> None:
        self._store = store
        self._upload = upload

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def list_files(self, source: str) -> Iterator[object]:
        yield from list(self._store.list_files(source))
        if source == self._upload:
            put(self._store, source, "a", b"evil")


def test_upload_swapped_between_listing_and_copying_is_refused(
    store: ArtifactStore, opened: Opened
) -> None:
    upload, target = opened.address(), opened.address()
    put(store, upload, "a", b"good")
    swapping = cast("ArtifactStore", SwappingStore(store, upload))

    # Where a store ignores the pin, as moto's does, the digest of the copy tells.
    with pytest.raises((ArtifactChangedError, InvalidInputError)):
        seal_upload(swapping, upload, target, declare({"a": b"good"}))

    with pytest.raises(ArtifactNotFoundError):
        paths(store, target)


class MiscountingStore(SwappingStore):
    """Lists every file one byte too long."""

    def list_files(self, source: str) -> Iterator[object]:
        for stored in self._store.list_files(source):
            yield replace(stored, size_bytes=stored.size_bytes + 1)


def test_file_that_is_not_as_long_as_listed_is_a_difference(
    store: ArtifactStore, source: str
) -> None:
    put(store, source, "a", b"good")
    miscounting = cast("ArtifactStore", MiscountingStore(store, source))

    assert verify_manifest(miscounting, source, declare({"a": b"good"})) == [
        "a has been changed while it was read."
    ]
