"""A repeated request is answered from its key, whatever has happened since."""

from tests.integration.api.driver import MODEL, ON_BOTH_DATABASES
from tests.integration.mlflow_api.driver import SOURCE, Mlflow

MOVE = {"name": MODEL, "version": "1", "stage": "Staging"}


@ON_BOTH_DATABASES
def test_repeated_move_is_replayed_where_the_policy_would_now_refuse_it(
    mlflow: Mlflow,
) -> None:
    mlflow.create_versions(1)
    path = "/model-versions/transition-stage"
    first = mlflow.keyed(path, **MOVE)
    mlflow.move(1, "Production")
    before = mlflow.api.dump()

    second = mlflow.keyed(path, **MOVE)

    assert (first.status_code, second.status_code) == (200, 200)
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert second.data == first.data
    assert mlflow.api.dump() == before


def test_repeated_move_is_replayed_by_databricks_paths_as_well(mlflow: Mlflow) -> None:
    mlflow.create_versions(1)
    path = "/databricks/model-versions/transition-stage"
    first = mlflow.keyed(path, **MOVE, archive_existing_versions=False)
    mlflow.move(1, "Production")

    second = mlflow.keyed(path, **MOVE, archive_existing_versions=False)

    assert (first.status_code, second.status_code) == (200, 200)
    assert second.headers["Idempotent-Replayed"] == "true"
    assert second.data == first.data


@ON_BOTH_DATABASES
def test_repeated_registration_is_replayed_although_its_model_is_gone(
    mlflow: Mlflow,
) -> None:
    mlflow.create_model()
    path = "/model-versions/create"
    first = mlflow.keyed(path, name=MODEL, source=SOURCE)
    mlflow.done("DELETE", "/registered-models/delete", name=MODEL)
    before = mlflow.api.dump()

    second = mlflow.keyed(path, name=MODEL, source=SOURCE)

    assert (first.status_code, second.status_code) == (200, 200)
    assert second.headers["Idempotent-Replayed"] == "true"
    assert second.data == first.data
    assert mlflow.api.dump() == before
