"""Aliases and tags of models and versions."""

import pytest

from tests.integration.api.driver import MODEL, ON_BOTH_DATABASES, Document
from tests.integration.mlflow_api.driver import Mlflow, refusal_of

ALIAS = "/registered-models/alias"
TAGGED = {
    "model": ("/registered-models", {"name": MODEL}),
    "version": ("/model-versions", {"name": MODEL, "version": "1"}),
}


def alias_of(mlflow: Mlflow, alias: str) -> Document:
    answer = mlflow.done("GET", ALIAS, name=MODEL, alias=alias)
    version: Document = answer["model_version"]
    return version


def set_alias(mlflow: Mlflow, alias: str, number: int) -> None:
    answer = mlflow.done("POST", ALIAS, name=MODEL, alias=alias, version=str(number))
    assert answer == {}


def tags_of(mlflow: Mlflow, what: str) -> dict[str, str]:
    document = mlflow.model() if what == "model" else mlflow.version(1)
    return {tag["key"]: tag["value"] for tag in document.get("tags", [])}


@ON_BOTH_DATABASES
def test_alias_points_at_a_version_and_moves(mlflow: Mlflow) -> None:
    mlflow.create_versions(2)

    set_alias(mlflow, "champion", 1)
    first = alias_of(mlflow, "champion")
    set_alias(mlflow, "champion", 2)

    assert (first["version"], first["aliases"]) == ("1", ["champion"])
    assert alias_of(mlflow, "champion")["version"] == "2"
    assert mlflow.model()["aliases"] == [{"alias": "champion", "version": "2"}]


@pytest.mark.parametrize("alias", ["latest", "LATEST", "v1", "V23", "a b", "x" * 256])
def test_alias_that_breaks_a_rule_cannot_be_set(mlflow: Mlflow, alias: str) -> None:
    mlflow.create_versions(1)

    message = mlflow.refused(
        "INVALID_PARAMETER_VALUE", "POST", ALIAS, name=MODEL, alias=alias, version="1"
    )

    assert "'alias'" in message


@pytest.mark.parametrize("alias", ["v1x", "größe", "under_score-dash", "x" * 255])
def test_alias_within_the_rules_is_set(mlflow: Mlflow, alias: str) -> None:
    mlflow.create_versions(1)

    set_alias(mlflow, alias, 1)

    assert alias_of(mlflow, alias)["version"] == "1"


@ON_BOTH_DATABASES
def test_reading_an_alias_that_is_not_set_is_a_bad_parameter(mlflow: Mlflow) -> None:
    mlflow.create_versions(1)

    message = mlflow.refused(
        "INVALID_PARAMETER_VALUE", "GET", ALIAS, name=MODEL, alias="absent"
    )

    assert message == "Registered model alias absent not found."


@ON_BOTH_DATABASES
@pytest.mark.parametrize("alias", ["latest", "Latest"])
def test_latest_is_the_highest_version_that_is_not_deleted(
    mlflow: Mlflow, alias: str
) -> None:
    mlflow.create_versions(3)
    set_alias(mlflow, "champion", 2)
    mlflow.done("DELETE", "/model-versions/delete", name=MODEL, version="3")

    found = alias_of(mlflow, alias)

    assert (found["version"], found["aliases"]) == ("2", ["champion"])


def test_latest_of_a_model_without_versions_is_not_found(mlflow: Mlflow) -> None:
    mlflow.create_model()

    message = mlflow.refused(
        "RESOURCE_DOES_NOT_EXIST", "GET", ALIAS, name=MODEL, alias="latest"
    )

    assert MODEL in message


def test_deleting_an_alias_that_is_not_there_is_done_and_records_nothing(
    mlflow: Mlflow,
) -> None:
    mlflow.create_versions(1)
    set_alias(mlflow, "champion", 1)

    assert mlflow.done("DELETE", ALIAS, name=MODEL, alias="champion") == {}
    before = mlflow.api.dump()
    assert mlflow.done("DELETE", ALIAS, name=MODEL, alias="champion") == {}

    assert mlflow.api.dump() == before
    assert "aliases" not in mlflow.version(1)


@ON_BOTH_DATABASES
@pytest.mark.parametrize("what", TAGGED)
def test_tag_is_set_replaced_and_deleted(mlflow: Mlflow, what: str) -> None:
    path, named = TAGGED[what]
    mlflow.create_versions(1)

    for value in ("risk", "abuse"):
        answer = mlflow.done(
            "POST", f"{path}/set-tag", **named, key="team", value=value
        )
        assert answer == {}
    mlflow.done("POST", f"{path}/set-tag", **named, key="empty")

    assert tags_of(mlflow, what) == {"team": "abuse", "empty": ""}
    assert mlflow.done("DELETE", f"{path}/delete-tag", **named, key="team") == {}
    assert tags_of(mlflow, what) == {"empty": ""}


@pytest.mark.parametrize("what", TAGGED)
def test_deleting_a_tag_that_is_not_there_is_done_and_records_nothing(
    mlflow: Mlflow, what: str
) -> None:
    path, named = TAGGED[what]
    mlflow.create_versions(1)
    before = mlflow.api.dump()

    assert mlflow.done("DELETE", f"{path}/delete-tag", **named, key="absent") == {}

    assert mlflow.api.dump() == before


@pytest.mark.parametrize("what", TAGGED)
@pytest.mark.parametrize("key", ["a//b", "../a", "/a", "a?", "x" * 251])
def test_tag_key_that_breaks_a_rule_is_refused(
    mlflow: Mlflow, what: str, key: str
) -> None:
    path, named = TAGGED[what]
    mlflow.create_versions(1)

    answer = mlflow.send("POST", f"{path}/set-tag", **named, key=key, value="x")

    refusal_of(answer, "INVALID_PARAMETER_VALUE")
    assert tags_of(mlflow, what) == {}


def test_tag_value_is_bounded(mlflow: Mlflow) -> None:
    mlflow.create_model()
    path = "/registered-models/set-tag"

    mlflow.done("POST", path, name=MODEL, key="a", value="x" * 100_000)

    answer = mlflow.send("POST", path, name=MODEL, key="a", value="x" * 100_001)
    refusal_of(answer, "INVALID_PARAMETER_VALUE")
