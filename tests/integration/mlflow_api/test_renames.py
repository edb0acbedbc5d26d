"""A model's name chooses its rules, and a rename is no way around them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask

from registry.settings import packaged_config
from tests.integration.api.driver import MODEL, ON_BOTH_DATABASES, problem_of
from tests.integration.conftest import SharedApps, close_app
from tests.integration.mlflow_api.driver import Mlflow, refusal_of

PAST_STAGING = (
    '[[override.moves]]\nfrom = "None"\nto = "Production"\nvia = "promotion"\n'
    '[[override.moves]]\nfrom = "*"\nto = "Archived"\nvia = "archival"\n'
)
OVERRIDES = f"""
[[override]]
models = "lab-*"
{PAST_STAGING}
[[override]]
models = "trial-*"
{PAST_STAGING}
[[override]]
models = "kept-*"
[override.deletion]
stages = ["None"]
[[override]]
models = "plain-*"
"""

#: Renames a model; None when that was done, else why it was refused.
Rename = Callable[[Mlflow, str, str], str | None]


def by_our_api(mlflow: Mlflow, old: str, new: str) -> str | None:
    answer = mlflow.api.patch(f"/models/{old}", {"name": new})
    if answer.status_code == 200:
        return None
    return str(problem_of(answer, 409, "conflict")["detail"])


def by_mlflows(mlflow: Mlflow, old: str, new: str) -> str | None:
    path = "/registered-models/rename"
    answer = mlflow.send("POST", path, name=old, new_name=new)
    if answer.status_code == 200:
        return None
    return refusal_of(answer, "RESOURCE_CONFLICT")


THROUGH_BOTH_APIS = pytest.mark.parametrize("rename", [by_our_api, by_mlflows])


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("policy") / "policy.toml"
    file.write_text(packaged_config("policy.toml").read_text() + OVERRIDES)
    return file


@pytest.fixture
def app(
    tmp_path: Path, policy: Path, database: dict[str, str], shared_apps: SharedApps
) -> Iterator[Flask]:
    app = shared_apps.lend(tmp_path, {"POLICY_FILE": str(policy), **database})
    yield app
    close_app(app)


@ON_BOTH_DATABASES
@THROUGH_BOTH_APIS
def test_model_with_versions_in_use_does_not_take_a_name_with_other_rules(
    mlflow: Mlflow, rename: Rename
) -> None:
    mlflow.create_versions(3, "lab-fraud")
    for number in (1, 3):
        mlflow.move(number, "Production", "lab-fraud")
    mlflow.create_versions(2)
    mlflow.move(1, "Staging")
    before = mlflow.api.dump()

    refused = [rename(mlflow, "lab-fraud", "card"), rename(mlflow, MODEL, "lab-card")]

    reason = (
        "the policy has other rules for models of that name; they were not asked "
        "about versions "
    )
    assert refused == [f"{reason}3 in Production", f"{reason}1 in Staging"]
    assert mlflow.api.dump() == before


def test_refused_rename_leaves_description_and_tags_alone(mlflow: Mlflow) -> None:
    mlflow.create_versions(1, "lab-fraud")
    mlflow.move(1, "Production", "lab-fraud")

    answer = mlflow.api.patch(
        "/models/lab-fraud", {"name": "card", "description": "x", "tags": {"a": "b"}}
    )

    problem_of(answer, 409, "conflict")
    assert set(mlflow.model("lab-fraud")).isdisjoint({"description", "tags"})


@ON_BOTH_DATABASES
@THROUGH_BOTH_APIS
def test_model_without_versions_in_use_takes_any_name(
    mlflow: Mlflow, rename: Rename
) -> None:
    mlflow.create_versions(3, "lab-fraud")
    mlflow.move(1, "Archived", "lab-fraud")

    assert rename(mlflow, "lab-fraud", MODEL) is None

    assert mlflow.api.stages() == {1: "Archived", 2: "None", 3: "None"}


@THROUGH_BOTH_APIS
@pytest.mark.parametrize(
    ("old", "new"),
    [("lab-a", "lab-b"), ("lab-a", "trial-a"), ("a", "plain-a"), ("plain-a", "a")],
)
def test_rules_that_are_the_same_for_both_names_hold_up_no_rename(
    mlflow: Mlflow, rename: Rename, old: str, new: str
) -> None:
    mlflow.create_versions(1, old)
    stage = "Production" if old.startswith("lab") else "Staging"
    mlflow.move(1, stage, old)

    assert rename(mlflow, old, new) is None

    assert mlflow.latest(new) == {stage: "1"}


@THROUGH_BOTH_APIS
def test_version_that_may_not_be_deleted_is_not_renamed_to_where_it_may(
    mlflow: Mlflow, rename: Rename
) -> None:
    mlflow.create_versions(1, "kept-a")
    for stage in ("Staging", "Archived"):
        mlflow.move(1, stage, "kept-a")

    refusal = rename(mlflow, "kept-a", "a")

    assert refusal is not None
    assert refusal.endswith("versions 1 in Archived")


@THROUGH_BOTH_APIS
def test_deleted_version_holds_up_no_rename(mlflow: Mlflow, rename: Rename) -> None:
    mlflow.create_versions(1, "lab-a")
    mlflow.move(1, "Production", "lab-a")
    with mlflow.api.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE model_versions SET deleted_at = created_at, exclusive_stage = NULL"
        )

    assert rename(mlflow, "lab-a", "a") is None


def test_versions_of_one_number_are_found_by_their_models_new_names(
    mlflow: Mlflow,
) -> None:
    for name in ("a", "b"):
        mlflow.create_model(name)
        mlflow.create_version(name)
    mlflow.done("POST", "/registered-models/rename", name="a", new_name="z")

    found = mlflow.done(
        "GET", "/model-versions/search", order_by="version_number DESC"
    )["model_versions"]

    assert [version["name"] for version in found] == ["b", "z"]
