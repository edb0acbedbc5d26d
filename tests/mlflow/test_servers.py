"""MLflow's own server starts as the README says."""

import re
from pathlib import Path

import pytest
import requests

from tests.mlflow.environment import MLflowEnvironment
from tests.mlflow.servers import mlflow_server

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.service
@pytest.mark.long
def test_readme_gives_an_address_of_the_database_that_mlflow_takes(
    mlflow_environment: MLflowEnvironment, postgres_url: str, tmp_path: Path
) -> None:
    (scheme,) = re.findall(
        r"mlflow server --backend-store-uri (\S+?)://…", README.read_text("utf-8")
    )
    address = f"{scheme}://{postgres_url.partition('://')[2]}"

    with mlflow_server(
        mlflow_environment, tmp_path, backend_store_uri=address
    ) as server:
        found = requests.get(
            f"{server.url}/api/2.0/mlflow/experiments/search?max_results=1", timeout=30
        )

    assert found.status_code == 200, found.text
