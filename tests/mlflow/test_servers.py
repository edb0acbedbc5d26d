"""The servers start as the other tests of this directory expect."""

from pathlib import Path

import requests

from tests.mlflow.environment import VERSION, MLflowEnvironment
from tests.mlflow.servers import mlflow_server


def test_mlflows_own_server_is_of_the_pinned_version(
    mlflow_environment: MLflowEnvironment, tmp_path: Path
) -> None:
    with mlflow_server(mlflow_environment, tmp_path) as server:
        assert requests.get(f"{server.url}/version", timeout=10).text == VERSION
