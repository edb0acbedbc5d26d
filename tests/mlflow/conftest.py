"""The environment that holds MLflow, for the tests of this directory."""

import pytest

from tests.mlflow.environment import WITHOUT_MLFLOW, MLflowEnvironment, provide
from tests.services.absence import report_absence


@pytest.fixture(scope="session")
def mlflow_environment() -> MLflowEnvironment:
    """The unmodified MLflow, in an environment of its own."""
    environment = provide()
    if environment is None:
        report_absence(WITHOUT_MLFLOW)
    return environment
