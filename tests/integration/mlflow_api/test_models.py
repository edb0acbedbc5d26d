"""``registered-models``: registered, shown, described, renamed, deleted."""

from collections.abc import Callable

import pytest

from tests.integration.api.driver import MODEL, ON_BOTH_DATABASES
from tests.integration.mlflow_api.driver import AJAX_ROOT, Mlflow


def timestamps(mlflow: Mlflow) -> dict[str, int]:
    """When the model was last updated, and its version 1."""
    return {
        "model": mlflow.model()["last_updated_timestamp"],
        "version": mlflow.version(1)["last_updated_timestamp"],
    }


def set_alias(mlflow: Mlflow, alias: str, number: int) -> None:
    mlflow.done(
        "POST",
        "/registered-models/alias",
        name=MODEL,
        alias=alias,
        version=str(number),
    )


def set_tag(mlflow: Mlflow, path: str, **fields: str) -> None:
    mlflow.done("POST", path, name=MODEL, key="k", value="v", **fields)


def update_model(mlflow: Mlflow) -> None:
    mlflow.done("PATCH", "/registered-models/update", name=MODEL, description="d")


def update_version(mlflow: Mlflow) -> None:
    mlflow.done(
        "PATCH", "/model-versions/update", name=MODEL, version="1", description="d"
    )


def rename(mlflow: Mlflow) -> None:
    for old, new in ((MODEL, "other"), ("other", MODEL)):
        mlflow.done("POST", "/registered-models/rename", name=old, new_name=new)


def delete_version(mlflow: Mlflow, number: int) -> None:
    mlflow.done("DELETE", "/model-versions/delete", name=MODEL, version=str(number))


@ON_BOTH_DATABASES
def test_created_model_is_answered_and_found(mlflow: Mlflow) -> None:
    created = mlflow.create_model(
        description="finds fraud", tags=[{"key": "team", "value": "risk"}]
    )

    assert created == {
        "name": MODEL,
        "creation_timestamp": created["creation_timestamp"],
        "last_updated_timestamp": created["creation_timestamp"],
        "description": "finds fraud",
        "tags": [{"key": "team", "value": "risk"}],
    }
    assert mlflow.model() == created
    assert mlflow.api.read(f"/models/{MODEL}")["tags"] == {"team": "risk"}


def test_times_are_whole_milliseconds(mlflow: Mlflow) -> None:
    created = mlflow.create_model()["creation_timestamp"]

    assert type(created) is int
    assert 1_700_000_000_000 < created < 5_000_000_000_000


def test_what_is_empty_is_left_out(mlflow: Mlflow) -> None:
    assert set(mlflow.create_model(description="", tags=[])) == {
        "name",
        "creation_timestamp",
        "last_updated_timestamp",
    }


def test_of_a_repeated_tag_key_the_last_value_counts(mlflow: Mlflow) -> None:
    tags = [{"key": "a", "value": "1"}, {"key": "a", "value": "2"}, {"key": "b"}]

    created = mlflow.create_model(tags=tags)

    assert created["tags"] == [{"key": "a", "value": "2"}, {"key": "b", "value": ""}]


@ON_BOTH_DATABASES
def test_name_that_is_taken_is_refused_in_mlflows_words(mlflow: Mlflow) -> None:
    mlflow.create_model()

    message = mlflow.refused(
        "RESOURCE_ALREADY_EXISTS", "POST", "/registered-models/create", name=MODEL
    )

    assert message == f"Registered Model (name={MODEL}) already exists."


@pytest.mark.parametrize("name", ["a/b", "a:b", ".", "..", "x" * 257, "a\nb", "a\0b"])
def test_name_that_breaks_a_rule_is_refused(mlflow: Mlflow, name: str) -> None:
    message = mlflow.refused(
        "INVALID_PARAMETER_VALUE", "POST", "/registered-models/create", name=name
    )

    assert "'name'" in message


@pytest.mark.parametrize(
    ("method", "path", "fields"),
    [
        ("GET", "/registered-models/get", {}),
        ("PATCH", "/registered-models/update", {"description": "x"}),
        ("POST", "/registered-models/rename", {"new_name": "other"}),
        ("DELETE", "/registered-models/delete", {}),
        ("POST", "/registered-models/get-latest-versions", {}),
        ("GET", "/registered-models/get-latest-versions", {}),
        ("POST", "/registered-models/set-tag", {"key": "a", "value": "b"}),
        ("DELETE", "/registered-models/delete-tag", {"key": "a"}),
        ("POST", "/registered-models/alias", {"alias": "a", "version": "1"}),
        ("GET", "/registered-models/alias", {"alias": "a"}),
        ("GET", "/registered-models/alias", {"alias": "latest"}),
        ("DELETE", "/registered-models/alias", {"alias": "a"}),
        ("POST", "/model-versions/create", {"source": "s3://elsewhere/model"}),
    ],
)
def test_model_that_does_not_exist_is_told_in_mlflows_words(
    mlflow: Mlflow, method: str, path: str, fields: dict[str, str]
) -> None:
    message = mlflow.refused(
        "RESOURCE_DOES_NOT_EXIST", method, path, name="absent", **fields
    )

    assert message == "Registered Model with name=absent not found"


def test_update_describes_a_model_and_without_a_description_clears_it(
    mlflow: Mlflow,
) -> None:
    mlflow.create_model()

    answer = mlflow.done(
        "PATCH", "/registered-models/update", name=MODEL, description="new"
    )

    assert answer["registered_model"]["description"] == "new"
    cleared = mlflow.done("PATCH", "/registered-models/update", name=MODEL)
    assert "description" not in cleared["registered_model"]


@ON_BOTH_DATABASES
def test_rename_keeps_versions_tags_aliases_and_stages(mlflow: Mlflow) -> None:
    mlflow.create_versions(2)
    mlflow.move(1, "Staging")
    set_alias(mlflow, "champion", 2)
    mlflow.done(
        "POST", "/registered-models/set-tag", name=MODEL, key="team", value="risk"
    )

    answer = mlflow.done(
        "POST", "/registered-models/rename", name=MODEL, new_name="abuse"
    )

    renamed = answer["registered_model"]
    assert renamed["name"] == "abuse"
    assert renamed["tags"] == [{"key": "team", "value": "risk"}]
    assert renamed["aliases"] == [{"alias": "champion", "version": "2"}]
    assert mlflow.latest("abuse") == {"None": "2", "Staging": "1"}
    assert {each["name"] for each in renamed["latest_versions"]} == {"abuse"}
    assert mlflow.send("GET", "/registered-models/get", name=MODEL).status_code == 404


def test_rename_onto_another_model_is_refused_and_onto_itself_is_done(
    mlflow: Mlflow,
) -> None:
    mlflow.create_model()
    mlflow.create_model("other")

    mlflow.refused(
        "RESOURCE_ALREADY_EXISTS",
        *("POST", "/registered-models/rename"),
        name=MODEL,
        new_name="other",
    )

    same = mlflow.done("POST", "/registered-models/rename", name=MODEL, new_name=MODEL)
    assert same["registered_model"]["name"] == MODEL


def test_blank_new_name_is_missing(mlflow: Mlflow) -> None:
    mlflow.create_model()

    message = mlflow.refused(
        "INVALID_PARAMETER_VALUE",
        *("POST", "/registered-models/rename"),
        name=MODEL,
        new_name=" ",
    )

    assert message.startswith("Missing value for required parameter 'new_name'.")


def test_deleted_model_is_gone_and_its_name_starts_at_version_1(
    mlflow: Mlflow,
) -> None:
    mlflow.create_versions(2)

    assert mlflow.done("DELETE", "/registered-models/delete", name=MODEL) == {}

    assert mlflow.send("GET", "/registered-models/get", name=MODEL).status_code == 404
    mlflow.create_model()
    assert mlflow.create_version()["version"] == "1"


def test_model_with_a_version_in_use_is_not_deleted_under_the_strict_policy(
    mlflow: Mlflow,
) -> None:
    mlflow.create_versions(1)
    mlflow.move(1, "Staging")

    message = mlflow.refused(
        "INVALID_STATE", "DELETE", "/registered-models/delete", name=MODEL
    )

    assert message == (
        "versions 1 are in use; only versions in Archived, None may be deleted"
    )


def test_model_with_a_version_in_production_is_deleted_under_the_open_policy(
    open_mlflow: Mlflow,
) -> None:
    open_mlflow.create_versions(1)
    open_mlflow.move(1, "Production")

    open_mlflow.done("DELETE", "/registered-models/delete", name=MODEL)

    answer = open_mlflow.send("GET", "/registered-models/get", name=MODEL)
    assert answer.status_code == 404


def test_latest_versions_of_a_model_come_by_stage_with_tags_and_no_aliases(
    mlflow: Mlflow,
) -> None:
    mlflow.create_model()
    mlflow.create_version(tags=[{"key": "a", "value": "b"}])
    mlflow.create_version()
    mlflow.create_version()
    mlflow.move(1, "Staging")
    set_alias(mlflow, "champion", 1)

    latest = mlflow.model()["latest_versions"]

    assert [(each["current_stage"], each["version"]) for each in latest] == [
        ("None", "3"),
        ("Staging", "1"),
    ]
    assert latest[1]["tags"] == [{"key": "a", "value": "b"}]
    assert not any("aliases" in each for each in latest)


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        (update_model, {"model"}),
        (rename, {"model", "version"}),
        (lambda mlflow: mlflow.create_version(), {"model"}),
        (lambda mlflow: delete_version(mlflow, 2), {"model"}),
        (lambda mlflow: mlflow.move(1, "Staging"), {"model", "version"}),
        (update_version, {"version"}),
        (lambda mlflow: set_tag(mlflow, "/registered-models/set-tag"), set()),
        (lambda mlflow: set_tag(mlflow, "/model-versions/set-tag", version="1"), set()),
        (lambda mlflow: set_alias(mlflow, "champion", 1), set()),
    ],
    ids=[
        *("update model", "rename", "create version", "delete version", "transition"),
        *("update version", "tag model", "tag version", "alias"),
    ],
)
def test_last_updated_moves_with_what_mlflow_counts_as_an_update(
    mlflow: Mlflow,
    change: Callable[[Mlflow], object],
    moved: set[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mlflow.create_versions(2)
    before = timestamps(mlflow)
    later(monkeypatch)

    change(mlflow)

    after = timestamps(mlflow)
    assert {what for what in after if after[what] > before[what]} == moved


def test_transition_moves_the_time_of_the_version_that_it_archives(
    mlflow: Mlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow.create_versions(2)
    for number in (1, 2):
        mlflow.move(number, "Staging")
    mlflow.move(1, "Production")
    before = mlflow.version(1)["last_updated_timestamp"]
    later(monkeypatch)

    mlflow.move(2, "Production")

    archived = mlflow.version(1)
    assert archived["current_stage"] == "Archived"
    assert archived["last_updated_timestamp"] > before


def test_pages_in_a_browser_find_the_same_under_their_own_root(mlflow: Mlflow) -> None:
    created = mlflow.create_model()

    answer = mlflow.api.client.get(f"{AJAX_ROOT}/registered-models/get?name={MODEL}")

    assert answer.get_json() == {"registered_model": created}


def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let changes happen a minute from now, so that no clock need tick."""
    from datetime import datetime, timedelta, tzinfo

    class LaterClock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "datetime":  # type: ignore[override]  # a plain one is meant
            return datetime.now(tz) + timedelta(minutes=1)

    monkeypatch.setattr("registry.web.commands.datetime", LaterClock)
