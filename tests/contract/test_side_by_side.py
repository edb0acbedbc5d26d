"""Names that a store may mix up: asked of the store, before anything is uploaded."""

import unicodedata
from collections.abc import Callable, Iterator
from typing import BinaryIO, cast

import pytest

from registry.artifacts.side_by_side import MAX_TRIED, check_names
from registry.artifacts.store import ArtifactStore, StoredFile
from registry.domain.manifests import FileEntry
from registry.errors import ArtifactNotFoundError, InvalidInputError
from tests.contract.stores import Opened, get, paths, put

PAIRS = (
    *("README", "readme", "straße", "STRASSE"),
    *("u\u0308", "\u00fc", "A/x", "a/y"),
)


def test_names_that_differ_only_in_case_or_form_are_kept_apart(
    store: ArtifactStore, opened: Opened
) -> None:
    source, trial = opened.address(), opened.address()

    check_names(store, PAIRS, trial=trial)
    for name in PAIRS:
        put(store, source, name, name.encode())

    assert paths(store, source) == sorted(PAIRS)
    assert [get(store, source, name) for name in PAIRS] == [n.encode() for n in PAIRS]
    with pytest.raises(ArtifactNotFoundError):
        paths(store, trial)


class MixingStore:
    """Keeps files as a file system does that takes one spelling for another."""

    def __init__(self, store: ArtifactStore, fold: Callable[[str], str]) -> None:
        self._store = store
        self._fold = fold
        self.tried: list[str] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def write(
        self, source: str, path: str, stream: BinaryIO, size_bytes: int | None
    ) -> FileEntry:
        self.tried.append(path)
        return self._store.write(source, self._fold(path), stream, size_bytes)

    def list_files(self, source: str) -> Iterator[StoredFile]:
        return self._store.list_files(source)


def composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


@pytest.mark.parametrize(
    ("names", "fold"),
    [
        (["README", "readme"], str.lower),
        (["a/README", "b", "a/readme"], str.lower),
        (["A/x", "a/y"], str.lower),
        (["u\u0308", "\u00fc"], composed),
        (["straße", "STRASSE"], str.casefold),
    ],
)
def test_names_that_a_store_mixes_up_are_refused_and_nothing_is_left(
    store: ArtifactStore, source: str, names: list[str], fold: Callable[[str], str]
) -> None:
    mixing = cast("ArtifactStore", MixingStore(store, fold))

    with pytest.raises(InvalidInputError, match="cannot tell") as caught:
        check_names(mixing, names, trial=source)

    assert caught.value.field == "files"
    with pytest.raises(ArtifactNotFoundError):
        paths(store, source)


def test_name_that_is_too_long_for_the_store_is_refused_and_nothing_is_left(
    store: ArtifactStore, source: str
) -> None:
    for names in (["a" * 255], ["a", "b" * 256], ["c/" * 500 + "d"]):
        try:
            check_names(store, names, trial=source)
        except InvalidInputError as error:
            assert error.field == "path"  # noqa: PT017  either may be
            assert len(names[-1]) > 255
        with pytest.raises(ArtifactNotFoundError):
            paths(store, source)


def test_ordinary_names_are_not_tried_and_of_many_alike_ones_only_some(
    store: ArtifactStore, source: str
) -> None:
    mixing = MixingStore(store, str)
    trying = cast("ArtifactStore", mixing)

    check_names(trying, [f"model/part-{n}.bin" for n in range(1000)], trial=source)
    assert mixing.tried == []
    check_names(trying, [f"{c}-{n}" for n in range(100) for c in "aA"], trial=source)
    assert len(mixing.tried) == MAX_TRIED
