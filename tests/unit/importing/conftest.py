"""A scripted MLflow server."""

from collections.abc import Iterator

import pytest

from tests.unit.fake_registry import FakeRegistry
from tests.unit.importing.mlflow_pages import MlflowPages


@pytest.fixture
def pages() -> Iterator[MlflowPages]:
    with FakeRegistry() as running:
        yield MlflowPages(running)
