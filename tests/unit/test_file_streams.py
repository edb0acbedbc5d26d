"""A file on its way out is held to its manifest before its last piece is let go."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.artifacts.streams import held_to
from registry.domain.manifests import FileEntry
from registry.errors import ArtifactChangedError

CHUNKS = st.lists(st.binary(min_size=1, max_size=5), min_size=1, max_size=5)


def entry_of(content: bytes) -> FileEntry:
    return FileEntry("model.bin", len(content), hashlib.sha256(content).hexdigest())


@given(CHUNKS)
def test_file_that_is_what_was_registered_passes_whole(chunks: list[bytes]) -> None:
    content = b"".join(chunks)

    assert b"".join(held_to(entry_of(content), chunks)) == content


@given(CHUNKS, CHUNKS)
def test_file_that_is_not_never_passes_whole(
    chunks: list[bytes], registered: list[bytes]
) -> None:
    content = b"".join(registered)
    if b"".join(chunks) == content:
        return
    passed: list[bytes] = []
    pieces = held_to(entry_of(content), chunks)

    with pytest.raises(ArtifactChangedError, match=r"model.bin has ") as caught:
        passed.extend(pieces)

    assert sum(map(len, passed)) < len(content)
    assert caught.value.differences == (str(caught.value),)


def test_file_of_which_nothing_came_is_found_changed() -> None:
    with pytest.raises(ArtifactChangedError, match="has 0 bytes, the manifest says 1"):
        list(held_to(entry_of(b"x"), []))
