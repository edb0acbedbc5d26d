"""A registry under each policy, driven by MLflow's protocol."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests.integration.conftest import close_app, make_app
from tests.integration.mlflow_api.driver import Mlflow, mlflow_client

OPEN_POLICY = Path(__file__).parents[3] / "config" / "policy-open.toml"


@pytest.fixture
def mlflow(app: Flask) -> Mlflow:
    """Under the default policy, which is strict."""
    return mlflow_client(app)


@pytest.fixture
def open_mlflow(tmp_path: Path, database: dict[str, str]) -> Iterator[Mlflow]:
    """Under the policy that allows what MLflow itself allows."""
    app = make_app(tmp_path / "open", POLICY_FILE=str(OPEN_POLICY), **database)
    yield mlflow_client(app)
    close_app(app)
