"""What a writer cannot bring about: that another version serves, or none."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from registry.settings import packaged_config
from tests.integration.api.driver import MODEL, ON_BOTH_DATABASES, Driver, problem_of
from tests.integration.conftest import SharedApps, close_app


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The open one, which protects no stage from deletion."""
    file = tmp_path_factory.mktemp("policy") / "policy.toml"
    file.write_text(packaged_config("policy-open.toml").read_text())
    return file


@pytest.fixture
def app(
    tmp_path: Path, policy: Path, database: dict[str, str], shared_apps: SharedApps
) -> Iterator[Flask]:
    app = shared_apps.lend(tmp_path, {"POLICY_FILE": str(policy), **database})
    yield app
    close_app(app)


def serve_one(api: Driver) -> None:
    api.ready_versions(2)
    api.moved(1, "Production")


@ON_BOTH_DATABASES
def test_writer_may_not_delete_what_is_in_use(api: Driver) -> None:
    serve_one(api)
    writer = api.with_role("writer")

    problem_of(writer.delete(f"/models/{MODEL}/versions/1"), 403, "forbidden")
    problem_of(writer.delete(f"/models/{MODEL}"), 403, "forbidden")

    assert api.stages() == {1: "Production", 2: "None"}
    assert writer.delete(f"/models/{MODEL}/versions/2").status_code == 204
    promoter = api.with_role("promoter")
    assert promoter.delete(f"/models/{MODEL}/versions/1").status_code == 204


@ON_BOTH_DATABASES
def test_writer_may_not_rename_a_model_in_use(api: Driver) -> None:
    serve_one(api)
    writer, renamed = api.with_role("writer"), {"name": "old"}

    refused = writer.patch(f"/models/{MODEL}", renamed)

    problem_of(refused, 403, "forbidden")
    assert writer.patch(f"/models/{MODEL}", {"description": "x"}).status_code == 200
    assert writer.patch(f"/models/{MODEL}", {"name": MODEL}).status_code == 200
    promoter = api.with_role("promoter")
    assert promoter.patch(f"/models/{MODEL}", renamed).status_code == 200


def test_writer_deletes_and_renames_a_model_that_nobody_uses(api: Driver) -> None:
    serve_one(api)
    api.moved(1, "Archived")
    writer = api.with_role("writer")

    assert writer.patch(f"/models/{MODEL}", {"name": "old"}).status_code == 200
    assert writer.delete("/models/old/versions/1").status_code == 204
    assert writer.delete("/models/old").status_code == 204


MLFLOW = "/api/2.0/mlflow"
CALLS = {
    "a version": (
        "DELETE",
        "/model-versions/delete",
        {"name": MODEL, "version": "1"},
    ),
    "a model": ("DELETE", "/registered-models/delete", {"name": MODEL}),
    "a name": ("POST", "/registered-models/rename", {"name": MODEL, "new_name": "old"}),
}


@pytest.mark.parametrize(("method", "path", "body"), CALLS.values(), ids=CALLS)
def test_writer_may_not_by_mlflows_calls_either(
    api: Driver, method: str, path: str, body: dict[str, str]
) -> None:
    serve_one(api)
    writer = api.with_role("writer")

    answer = writer.client.open(MLFLOW + path, method=method, json=body)

    assert answer.status_code == 403
    assert answer.get_json()["error_code"] == "PERMISSION_DENIED"
    assert api.stages()[1] == "Production"
