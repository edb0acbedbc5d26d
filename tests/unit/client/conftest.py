"""A fake registry and a client of it."""

from collections.abc import Iterator

import pytest

from registry.client import RegistryClient
from tests.unit.fake_registry import FakeRegistry

TOKEN = "sg_pat_test"


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as running:
        yield running


@pytest.fixture
def client(fake: FakeRegistry) -> Iterator[RegistryClient]:
    with RegistryClient(fake.url, TOKEN, timeout_seconds=5) as opened:
        yield opened
