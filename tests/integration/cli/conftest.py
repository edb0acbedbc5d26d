"""``stagegate`` called against a real server."""

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from registry.cli.main import stagegate
from tests.server import RunningServer

Run = Callable[..., Result]


def runner_of(server: RunningServer) -> Run:
    """Call ``stagegate`` as the admin of ``server``."""

    def invoke(*arguments: str, env: dict[str, str | None] | None = None) -> Result:
        ours: dict[str, str | None] = {
            "STAGEGATE_URL": server.url,
            "STAGEGATE_TOKEN": server.token,
            "GITHUB_RUN_ID": None,
            "CI_PIPELINE_ID": None,
            "BUILD_TAG": None,
        }
        return CliRunner().invoke(stagegate, arguments, env={**ours, **(env or {})})

    return invoke


@pytest.fixture
def run(server: RunningServer) -> Run:
    return runner_of(server)
