"""The image, built once for all tests that look at it or run it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.image import Image, built_image
from tests.deploy.pod import UID, Pod


@pytest.fixture(scope="session")
def image() -> Iterator[Image]:
    with built_image() as built:
        yield built


@pytest.fixture
def pod(image: Image, tmp_path: Path) -> Pod:
    """A pod with an empty data volume of its own."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    os.chown(data, UID, UID)
    return Pod(image, data)
