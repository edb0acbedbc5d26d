"""Streams that trickle, break off, or are not as long as they said."""

import hashlib
import io
import os
import threading
from typing import BinaryIO, cast

import pytest

from registry.artifacts.store import ArtifactStore
from registry.errors import (
    ArtifactNotFoundError,
    ArtifactStoreError,
    InvalidInputError,
)
from tests.contract.stores import get, paths

PART_BYTES = 16 * 1024 * 1024


class Trickle(io.RawIOBase):
    """A stream that hands out a few bytes at a time, as a socket may."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def read(self, size: int = -1) -> bytes:
        return self._content.read(min(size, 1000) if size >= 0 else 1000)


class Breaking(io.RawIOBase):
    """A stream whose client goes away."""

    def __init__(self, good_bytes: int) -> None:
        self._left = good_bytes

    def read(self, size: int = -1) -> bytes:
        if not self._left:
            raise ConnectionResetError("the client went away")
        count = min(size, self._left)
        self._left -= count
        return bytes(count)


@pytest.mark.parametrize("size_bytes", [None, PART_BYTES + 12345])
def test_stream_larger_than_a_part_arrives_whole_with_and_without_a_size(
    store: ArtifactStore, source: str, size_bytes: int | None
) -> None:
    content = os.urandom(PART_BYTES + 12345)

    stream = cast("BinaryIO", Trickle(content))
    entry = store.write(source, "model.bin", stream, size_bytes)

    assert entry.sha256 == hashlib.sha256(content).hexdigest()
    assert hashlib.sha256(get(store, source, "model.bin")).hexdigest() == entry.sha256


@pytest.mark.parametrize("announced", [0, 6, 8, 7 + PART_BYTES])
def test_stream_of_another_length_than_announced_leaves_nothing(
    store: ArtifactStore, source: str, announced: int
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        store.write(source, "model.bin", io.BytesIO(b"weights"), announced)

    assert caught.value.field == "size_bytes"
    with pytest.raises(ArtifactNotFoundError):
        paths(store, source)


def test_negative_size_is_refused(store: ArtifactStore, source: str) -> None:
    with pytest.raises(InvalidInputError):
        store.write(source, "model.bin", io.BytesIO(b""), -1)


@pytest.mark.parametrize("good_bytes", [10, PART_BYTES * 2])
def test_broken_stream_leaves_nothing_and_no_thread(
    store: ArtifactStore, source: str, good_bytes: int
) -> None:
    threads = set(threading.enumerate())

    stream = cast("BinaryIO", Breaking(good_bytes))
    with pytest.raises((OSError, ArtifactStoreError)):
        store.write(source, "model.bin", stream, PART_BYTES * 3)

    with pytest.raises(ArtifactNotFoundError):
        paths(store, source)
    assert set(threading.enumerate()) <= threads
