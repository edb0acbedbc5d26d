"""The environment that holds MLflow, for the tests of this directory."""

from collections.abc import Iterator

import pytest

from tests.mlflow.environment import WITHOUT_MLFLOW, MLflowEnvironment, provide
from tests.mlflow.servers import MLflowServer, mlflow_server
from tests.services.absence import report_absence


@pytest.fixture(scope="session")
def mlflow_environment() -> MLflowEnvironment:
    """The unmodified MLflow, in an environment of its own."""
    environment = provide()
    if environment is None:
        report_absence(WITHOUT_MLFLOW)
    return environment


@pytest.fixture(scope="session")
def mlflows_own(
    mlflow_environment: MLflowEnvironment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MLflowServer]:
    """MLflow's own server, on SQLite; it serves artifacts from a directory of its own.

    To start it takes seven seconds: who changes it leaves others their names.
    """
    directory = tmp_path_factory.mktemp("mlflow")
    with mlflow_server(mlflow_environment, directory) as server:
        yield server
