"""A fake registry, and a way to call the command line against it."""

from collections.abc import Callable, Iterator, Mapping

import pytest
from click.testing import CliRunner, Result

from registry.cli.main import stagegate
from tests.unit.fake_registry import FakeRegistry

Run = Callable[..., Result]


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as running:
        yield running


@pytest.fixture
def run(fake: FakeRegistry) -> Run:
    """Call ``stagegate`` with the fake's address and a token in the environment."""

    def invoke(*arguments: str, env: Mapping[str, str | None] | None = None) -> Result:
        ours: dict[str, str | None] = {
            "STAGEGATE_URL": fake.url,
            "STAGEGATE_TOKEN": "sg_pat_test",
            "GITHUB_RUN_ID": None,
            "CI_PIPELINE_ID": None,
            "BUILD_TAG": None,
        }
        return CliRunner().invoke(stagegate, arguments, env={**ours, **(env or {})})

    return invoke
