"""A registry under each policy, driven by MLflow's protocol."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests.integration.api.driver import FILES
from tests.integration.conftest import SharedApps, close_app
from tests.integration.mlflow_api.driver import Mlflow, mlflow_client
from tests.tracking_server import FakeTracking

OPEN_POLICY = Path(__file__).parents[3] / "config" / "policy-open.toml"


@pytest.fixture
def mlflow(app: Flask) -> Mlflow:
    """Under the default policy, which is strict."""
    return mlflow_client(app)


@pytest.fixture
def open_mlflow(
    tmp_path: Path, database: dict[str, str], shared_apps: SharedApps
) -> Iterator[Mlflow]:
    """Under the policy that allows what MLflow itself allows."""
    settings = {"POLICY_FILE": str(OPEN_POLICY), **database}
    app = shared_apps.lend(tmp_path / "open", settings)
    yield mlflow_client(app)
    close_app(app)


@pytest.fixture(scope="session")
def tracking_server() -> Iterator[FakeTracking]:
    with FakeTracking() as running:
        yield running


@pytest.fixture
def tracking(tracking_server: FakeTracking) -> FakeTracking:
    """One address for all tests, so that they can share an application."""
    tracking_server.start_anew()
    return tracking_server


@pytest.fixture
def tracked(
    tmp_path: Path,
    tracking: FakeTracking,
    database: dict[str, str],
    shared_apps: SharedApps,
) -> Iterator[Mlflow]:
    """A registry that knows a tracking server, and has a model."""
    app = shared_apps.lend(tmp_path, {"TRACKING_URI": tracking.url, **database})
    mlflow = mlflow_client(app)
    mlflow.create_model()
    yield mlflow
    close_app(app)


@pytest.fixture
def artifacts(tracked: Mlflow) -> Path:
    """A directory of model files that the registry's store can read."""
    directory = Path(tracked.api.parts.settings.artifact_root) / "1" / "artifacts"
    for path, content in FILES.items():
        (directory / "model" / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / "model" / path).write_bytes(content)
    return directory
