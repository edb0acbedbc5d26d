"""MLflow's client, unmodified, where others are to approve a move."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.client import RegistryClient
from tests.integration.mlflow_api.test_transition_requests import policy_file
from tests.mlflow.environment import MLflowEnvironment
from tests.mlflow.notebook import Notebook, Refusal, notebook
from tests.server import RunningServer, running_server

pytestmark = [pytest.mark.service, pytest.mark.long]

#: MLflow's client sends a 5xx again for minutes.
AT_ONCE_SECONDS = 60.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    policy = policy_file(tmp_path, approvals=1)
    with running_server(tmp_path, POLICY_FILE=str(policy)) as server:
        client = server.client()
        client.create_model("fraud")
        client.register("fraud", "s3://elsewhere/model")
        yield server


@pytest.fixture
def alice(
    server: RunningServer, mlflow_environment: MLflowEnvironment, tmp_path: Path
) -> Iterator[Notebook]:
    with notebook(
        mlflow_environment,
        tmp_path / "alice",
        MLFLOW_TRACKING_URI=server.url,
        MLFLOW_TRACKING_TOKEN=server.token,
    ) as running:
        yield running


def test_move_that_others_approve_is_an_error_that_names_its_request(
    server: RunningServer, alice: Notebook
) -> None:
    client = server.client()
    bob = str(client.tokens.create("bob", "admin").token)
    began_at = time.monotonic()

    asked = [
        alice.ask("transition", model="fraud", version="1", stage="Staging"),
        alice.ask("transition", model="fraud", version="1", stage="Staging"),
    ]
    seconds = time.monotonic() - began_at

    (request,) = client.requests.list()
    for refusal in asked:
        assert isinstance(refusal, Refusal)
        assert refusal.error_code == "INVALID_STATE_TRANSITION"
        assert f"stagegate requests approve {request.id}" in refusal.message
    assert seconds < AT_ONCE_SECONDS
    assert client.get_version("fraud", 1).stage == "None"
    with RegistryClient(server.url, bob) as deciding:
        deciding.requests.approve(request.id)
    again = alice.ask("transition", model="fraud", version="1", stage="Staging")
    assert again == "Staging"


def test_alias_of_a_stage_is_an_error_that_names_its_request(
    server: RunningServer, alice: Notebook
) -> None:
    refusal = alice.ask("set_alias", model="fraud", alias="staging", version="1")

    (request,) = server.client().requests.list()
    assert isinstance(refusal, Refusal)
    assert request.id in refusal.message
    assert server.client().get_version("fraud", 1).stage == "None"
