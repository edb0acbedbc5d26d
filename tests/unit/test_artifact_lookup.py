"""What is made of an address that the store claims and cannot read."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.artifacts.hashing import build_manifest, seal_upload, verify_manifest
from registry.artifacts.local import LocalArtifactStore
from registry.artifacts.store import StoredFile
from registry.domain.commands.registration import LinkedSource
from registry.domain.manifests import MAX_FILES, FileEntry, Manifest
from registry.domain.sources import Address
from registry.errors import (
    ArtifactAccessDeniedError,
    ArtifactNotFoundError,
    BucketNotFoundError,
    InvalidInputError,
    RegistryError,
)
from registry.services.artifacts import INLINE_FILES, inspect_address


class Endless(LocalArtifactStore):
    """``all`` has endlessly many files, nothing else any; ``listed`` counts them."""

    listed = 0

    def list_files(self, source: str) -> Iterator[StoredFile]:
        if not source.endswith("/all"):
            raise ArtifactNotFoundError
        for number in itertools.count():
            self.listed += 1
            yield StoredFile(f"{number:09}", 1, "etag")


class Claiming(LocalArtifactStore):
    """A store that claims all addresses, as one of S3 does, and reads none."""

    def __init__(self, root: Path, error: RegistryError) -> None:
        super().__init__(root)
        self._error = error

    def claims(self, source: str) -> bool:
        del source
        return True

    def list_files(self, source: str) -> Iterator[StoredFile]:
        del source
        raise self._error


ELSEWHERE = Address("s3://elsewhere/model", "s3")


@pytest.mark.parametrize("error", [BucketNotFoundError(), ArtifactAccessDeniedError()])
def test_bucket_that_is_not_open_to_us_is_of_another_store(
    tmp_path: Path, error: RegistryError
) -> None:
    link = inspect_address(Claiming(tmp_path, error), ELSEWHERE)

    assert link == LinkedSource(
        source="s3://elsewhere/model", is_readable=False, manifest=None
    )


@pytest.mark.parametrize("error", [BucketNotFoundError(), ArtifactAccessDeniedError()])
def test_own_bucket_that_is_not_open_to_us_is_an_error(
    tmp_path: Path, error: RegistryError
) -> None:
    own = Address(f"{tmp_path.as_uri()}/model", "file")

    with pytest.raises(type(error)):
        inspect_address(Claiming(tmp_path, error), own)


def test_bucket_that_is_open_must_hold_the_artifact(tmp_path: Path) -> None:
    store = Claiming(tmp_path, ArtifactNotFoundError())

    with pytest.raises(InvalidInputError, match="there is no artifact at s3://elsew"):
        inspect_address(store, ELSEWHERE)


def test_request_lists_no_more_than_it_would_hash(tmp_path: Path) -> None:
    store = Endless(tmp_path)

    link = inspect_address(store, Address(f"{tmp_path.as_uri()}/all", "file"))

    assert (link.is_readable, link.manifest) == (True, None)
    assert store.listed == INLINE_FILES + 1


def test_artifact_of_too_many_files_is_refused_before_any_is_read(
    tmp_path: Path,
) -> None:
    store = Endless(tmp_path)

    with pytest.raises(InvalidInputError, match="more than 100,000 files at file:"):
        build_manifest(store, f"{tmp_path.as_uri()}/all")

    assert store.listed == MAX_FILES + 1


def test_artifact_that_grew_beyond_the_limit_is_not_what_was_registered(
    tmp_path: Path,
) -> None:
    manifest = Manifest((FileEntry("model.bin", 1, "0" * 64),))

    (difference,) = verify_manifest(
        Endless(tmp_path), f"{tmp_path.as_uri()}/all", manifest
    )

    assert "more than 100,000 files" in difference


def test_upload_of_too_many_files_is_refused_before_any_is_copied(
    tmp_path: Path,
) -> None:
    store = Endless(tmp_path)
    root = tmp_path.as_uri()
    declared = Manifest((FileEntry("model.bin", 1, "0" * 64),))

    with pytest.raises(InvalidInputError, match="more than 100,000 files"):
        seal_upload(store, f"{root}/all", f"{root}/target", declared)

    assert store.listed == MAX_FILES + 1
