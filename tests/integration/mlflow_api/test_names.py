"""Names that are hard to carry: by MLflow's protocol, by ours, by the command line."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.integration.cli.conftest import Run, runner_of
from tests.integration.mlflow_api.driver import Mlflow
from tests.server import RunningServer, running_server

NAMES = (
    "with spaces ",
    "größe 模型 🚀",
    "'single' \"double\" `back`",
    "@&%=?#+;,",
    "%2F %41",
    "back\\slash",
    "a..b...",
    "<b>{}[]|^~",
    "$(HOME) * !",
    "-dash",
    "x" * 256,
)


def version_path(name: str) -> str:
    return f"/models/{quote(name, safe='')}/versions/1"


@pytest.mark.parametrize("name", NAMES)
def test_name_goes_through_both_apis(mlflow: Mlflow, name: str) -> None:
    created = mlflow.create_model(name)
    mlflow.create_version(name)
    mlflow.move(1, "Staging", name)
    alias = {"name": name, "alias": "champion"}
    mlflow.done("POST", "/registered-models/alias", **alias, version="1")

    assert created["name"] == name
    assert mlflow.version(1, name)["name"] == name
    found = mlflow.done("GET", "/registered-models/alias", **alias)
    assert found["model_version"]["name"] == name
    assert mlflow.latest(name) == {"Staging": "1"}
    ours = mlflow.api.read(version_path(name))
    assert (ours["model"], ours["stage"]) == (name, "Staging")


@pytest.mark.parametrize("name", NAMES)
def test_name_given_by_our_api_is_found_by_mlflows(mlflow: Mlflow, name: str) -> None:
    mlflow.api.create_model(name)

    assert mlflow.model(name)["name"] == name
    renamed = mlflow.done(
        "POST", "/registered-models/rename", name=name, new_name="plain"
    )
    assert renamed["registered_model"]["name"] == "plain"


def test_name_is_one_whatever_its_composition(mlflow: Mlflow) -> None:
    mlflow.create_model("café")

    assert mlflow.model("cafe\u0301")["name"] == "café"
    mlflow.refused(
        "RESOURCE_ALREADY_EXISTS",
        *("POST", "/registered-models/create"),
        name="cafe\u0301",
    )


def test_names_that_differ_in_case_are_two(mlflow: Mlflow) -> None:
    mlflow.create_model("Fraud")
    mlflow.create_model("fraud", description="another")

    assert "description" not in mlflow.model("Fraud")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    directory: Path = tmp_path_factory.mktemp("names")
    with running_server(directory) as server:
        yield server


@pytest.fixture
def run_command(running: RunningServer) -> Run:
    return runner_of(running)


@pytest.mark.parametrize("name", NAMES)
def test_name_given_by_mlflow_is_known_to_the_command_line(
    running: RunningServer, run_command: Run, name: str
) -> None:
    with running.http() as http:
        root = f"{running.url}/api/2.0/mlflow"
        for path, fields in (
            ("registered-models/create", {"name": name}),
            ("model-versions/create", {"name": name, "source": "s3://elsewhere/m"}),
        ):
            answer = http.post(f"{root}/{path}", json=fields)
            assert answer.status_code == 200, answer.text

        promoted = run_command("promote", "--to", "Staging", "--", name, "1")
        assert promoted.exit_code == 0, promoted.output

        fields = {"name": name, "version": "1"}
        found = http.get(f"{root}/model-versions/get", params=fields).json()
    assert found["model_version"]["current_stage"] == "Staging"
