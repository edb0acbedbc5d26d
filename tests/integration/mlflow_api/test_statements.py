"""How many statements a call issues, sign-in included."""

from collections.abc import Sequence

import pytest

from tests.integration.api.driver import MODEL, ON_BOTH_DATABASES, Document
from tests.integration.mlflow_api.driver import Mlflow
from tests.integration.statements import statements_of

LATEST = "/registered-models/get-latest-versions"
READS: Sequence[tuple[str, str, Document]] = (
    ("GET", "/registered-models/get", {"name": MODEL}),
    ("POST", LATEST, {"name": MODEL}),
    ("GET", LATEST, {"name": MODEL, "stages": "Staging"}),
    ("GET", "/registered-models/alias", {"name": MODEL, "alias": "champion"}),
    ("GET", "/registered-models/alias", {"name": MODEL, "alias": "latest"}),
    ("GET", "/model-versions/get", {"name": MODEL, "version": "1"}),
)
CHANGES: Sequence[tuple[str, str, Document]] = (
    ("POST", "/model-versions/create", {"name": MODEL, "source": "s3://elsewhere/m"}),
    (
        "POST",
        "/model-versions/transition-stage",
        {"name": MODEL, "version": "1", "stage": "Staging"},
    ),
    (
        "POST",
        "/model-versions/set-tag",
        {"name": MODEL, "version": "1", "key": "a", "value": "b"},
    ),
    (
        "POST",
        "/registered-models/set-tag",
        {"name": MODEL, "key": "a", "value": "b"},
    ),
    (
        "POST",
        "/registered-models/alias",
        {"name": MODEL, "alias": "blue", "version": "1"},
    ),
    ("PATCH", "/registered-models/update", {"name": MODEL, "description": "x"}),
    (
        "POST",
        "/registered-models/rename",
        {"name": MODEL, "new_name": MODEL},
    ),
)


def prepare(mlflow: Mlflow, versions: int) -> None:
    """A model with so many versions: one in each stage, the rest in None."""
    mlflow.create_model(tags=[{"key": "team", "value": "risk"}])
    for number in range(1, versions + 1):
        mlflow.create_version(tags=[{"key": "team", "value": "risk"}])
        alias = "champion" if number == 1 else f"alias-{number}"
        mlflow.done(
            "POST",
            "/registered-models/alias",
            name=MODEL,
            alias=alias,
            version=str(number),
        )
    mlflow.api.serve(2, 3)
    mlflow.move(4, "Staging")


def count(mlflow: Mlflow, method: str, path: str, fields: Document) -> int:
    with statements_of(mlflow.app) as seen:
        mlflow.done(method, path, **fields)
    return len(seen)


@ON_BOTH_DATABASES
def test_every_read_is_one_statement_beside_the_sign_in(mlflow: Mlflow) -> None:
    prepare(mlflow, 8)

    counts = {str(read): count(mlflow, *read) for read in READS}

    assert set(counts.values()) == {2}, counts


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: str(change[1]))
def test_no_change_takes_more_statements_for_more_rows(
    mlflow: Mlflow, open_mlflow: Mlflow, change: tuple[str, str, Document]
) -> None:
    """Two registries, so that both see the change for the first time."""
    prepare(mlflow, 4)
    prepare(open_mlflow, 12)

    few, many = count(mlflow, *change), count(open_mlflow, *change)

    assert few == many
    assert few <= 20
