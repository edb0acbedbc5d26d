"""What the tests of a registry that knows a tracking server share."""

from typing import Any

from tests.integration.api.driver import MODEL, Document
from tests.integration.mlflow_api.driver import Mlflow
from tests.tracking_server import MODEL_ID

CREATE = "/model-versions/create"
LOGGED = f"models:/{MODEL_ID}"
OTHER_RUN = "f" * 32


def place_of(mlflow: Mlflow, number: int = 1, name: str = MODEL) -> str:
    place: str = mlflow.api.version(number, name)["download_uri"]
    return place


def created(mlflow: Mlflow, source: str, **fields: Any) -> Document:  # noqa: ANN401  # what JSON can say
    """The new version as both APIs show it."""
    document = mlflow.create_version(source=source, **fields)
    return {**mlflow.api.version(int(document["version"])), "mlflow": document}
