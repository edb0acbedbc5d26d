"""What is made of an address that the store claims and cannot read."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.artifacts.local import LocalArtifactStore
from registry.artifacts.store import StoredFile
from registry.domain.sources import Address
from registry.errors import (
    ArtifactAccessDeniedError,
    ArtifactNotFoundError,
    BucketNotFoundError,
    InvalidInputError,
    RegistryError,
)
from registry.services.artifacts import LinkedSource, inspect_address


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
