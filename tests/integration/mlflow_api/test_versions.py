"""``model-versions``: registered, shown, described, deleted."""

import pytest

from tests.integration.api.driver import MODEL, ON_BOTH_DATABASES
from tests.integration.mlflow_api.driver import SOURCE, Mlflow, refusal_of

WITH_A_VERSION = [
    ("GET", "/model-versions/get", {}),
    ("PATCH", "/model-versions/update", {"description": "x"}),
    ("POST", "/model-versions/transition-stage", {"stage": "Staging"}),
    ("DELETE", "/model-versions/delete", {}),
    ("POST", "/model-versions/set-tag", {"key": "a", "value": "b"}),
    ("DELETE", "/model-versions/delete-tag", {"key": "a"}),
    ("POST", "/registered-models/alias", {"alias": "champion"}),
]


@ON_BOTH_DATABASES
def test_created_version_is_answered_and_found(mlflow: Mlflow) -> None:
    mlflow.create_model()

    created = mlflow.create_version(
        run_id="a" * 32,
        run_link="https://tracking.example/runs/1",
        model_id="m-1",
        description="first",
        tags=[{"key": "team", "value": "risk"}],
    )

    assert created == {
        "name": MODEL,
        "version": "1",
        "creation_timestamp": created["creation_timestamp"],
        "last_updated_timestamp": created["creation_timestamp"],
        "user_id": "bootstrap",
        "current_stage": "None",
        "description": "first",
        "source": SOURCE,
        "run_id": "a" * 32,
        "run_link": "https://tracking.example/runs/1",
        "model_id": "m-1",
        "status": "READY",
        "tags": [{"key": "team", "value": "risk"}],
    }
    assert mlflow.version(1) == created
    ours = mlflow.api.version(1)
    assert ours["source"] == SOURCE
    assert ours["run_id"] == "a" * 32


def test_texts_that_mlflow_answers_empty_are_there(mlflow: Mlflow) -> None:
    mlflow.create_model()

    created = mlflow.create_version(run_id="", run_link="", description="")

    assert (created["run_id"], created["run_link"]) == ("", "")
    assert created["description"] == ""
    assert not {"tags", "aliases", "status_message", "model_id"} & set(created)
    assert mlflow.api.version(1)["run_id"] is None


def test_numbers_run_on_behind_deleted_versions(mlflow: Mlflow) -> None:
    mlflow.create_versions(2)
    mlflow.done("DELETE", "/model-versions/delete", name=MODEL, version="2")

    assert mlflow.create_version()["version"] == "3"


@pytest.mark.parametrize("missing", ["name", "source"])
def test_creation_needs_name_and_source(mlflow: Mlflow, missing: str) -> None:
    fields = {"name": MODEL, "source": SOURCE, missing: ""}

    message = mlflow.refused(
        "INVALID_PARAMETER_VALUE", "POST", "/model-versions/create", **fields
    )

    assert message.startswith(f"Missing value for required parameter '{missing}'.")


def test_source_below_our_artifact_root_is_pinned(mlflow: Mlflow) -> None:
    mlflow.api.create_model()
    mlflow.api.ready()
    uploaded = mlflow.api.version(1)

    linked = mlflow.create_version(source=uploaded["source"])

    assert linked["status"] == "READY"
    assert mlflow.api.version(2)["artifact_digest"] == uploaded["artifact_digest"]


def test_large_artifact_is_pending_until_its_manifest_is_complete(
    mlflow: Mlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.services.artifacts.INLINE_BYTES", 1)
    mlflow.api.create_model()
    mlflow.api.register()
    mlflow.api.put(f"/models/{MODEL}/versions/1/artifacts/model.bin", data=b"large")

    created = mlflow.create_version(source=mlflow.api.version(1)["source"])

    assert created["status"] == "PENDING_REGISTRATION"
    mlflow.api.work_in_background()
    assert mlflow.version(2)["status"] == "READY"


def test_nothing_at_the_source_is_refused(mlflow: Mlflow) -> None:
    mlflow.api.create_model()
    root = mlflow.api.parts.store.root_uri

    message = mlflow.refused(
        "INVALID_PARAMETER_VALUE",
        *("POST", "/model-versions/create"),
        name=MODEL,
        source=f"{root}/nothing",
    )

    assert "there is no artifact" in message
    assert mlflow.latest() == {}


def test_creation_that_is_sent_again_makes_another_version(mlflow: Mlflow) -> None:
    mlflow.create_model()

    sent = [mlflow.create_version()["version"] for _ in range(2)]

    assert sent == ["1", "2"]


def test_update_describes_a_version_and_without_a_description_clears_it(
    mlflow: Mlflow,
) -> None:
    mlflow.create_versions(1)
    fields = {"name": MODEL, "version": "1"}

    answer = mlflow.done("PATCH", "/model-versions/update", **fields, description="new")

    assert answer["model_version"]["description"] == "new"
    cleared = mlflow.done("PATCH", "/model-versions/update", **fields)
    assert cleared["model_version"]["description"] == ""


def test_aliases_of_a_version_are_in_every_answer_about_it(mlflow: Mlflow) -> None:
    mlflow.create_versions(1)
    for alias in ("champion", "blue"):
        mlflow.done(
            "POST", "/registered-models/alias", name=MODEL, alias=alias, version="1"
        )

    found = [
        mlflow.version(1),
        mlflow.done("GET", "/registered-models/alias", name=MODEL, alias="blue")[
            "model_version"
        ],
        mlflow.done("POST", "/registered-models/get-latest-versions", name=MODEL)[
            "model_versions"
        ][0],
        mlflow.done("PATCH", "/model-versions/update", name=MODEL, version="1")[
            "model_version"
        ],
        mlflow.move(1, "Staging"),
    ]

    assert [each["aliases"] for each in found] == [["blue", "champion"]] * 5


@pytest.mark.parametrize(("method", "path", "fields"), WITH_A_VERSION)
def test_version_that_does_not_exist_is_told_in_mlflows_words(
    mlflow: Mlflow, method: str, path: str, fields: dict[str, str]
) -> None:
    mlflow.create_versions(1)

    for version in ("2", "0", "-1", "99999999999999999999"):
        message = mlflow.refused(
            "RESOURCE_DOES_NOT_EXIST",
            *(method, path),
            name=MODEL,
            version=version,
            **fields,
        )
        assert message == f"Model Version (name={MODEL}, version={version}) not found"


@pytest.mark.parametrize(("method", "path", "fields"), WITH_A_VERSION)
def test_version_that_is_no_number_is_refused(
    mlflow: Mlflow, method: str, path: str, fields: dict[str, str]
) -> None:
    mlflow.create_versions(1)

    for version in ("1.0", "one", "1e3"):
        message = mlflow.refused(
            "INVALID_PARAMETER_VALUE",
            *(method, path),
            name=MODEL,
            version=version,
            **fields,
        )
        assert version in message


def test_version_as_a_json_number_is_refused(mlflow: Mlflow) -> None:
    mlflow.create_versions(1)

    answer = mlflow.send("PATCH", "/model-versions/update", name=MODEL, version=1)

    assert "'version'" in refusal_of(answer, "INVALID_PARAMETER_VALUE")


def test_deleted_version_is_gone_everywhere_with_its_aliases(mlflow: Mlflow) -> None:
    mlflow.create_versions(1)
    mlflow.done(
        "POST", "/registered-models/alias", name=MODEL, alias="champion", version="1"
    )

    assert (
        mlflow.done("DELETE", "/model-versions/delete", name=MODEL, version="1") == {}
    )

    for method, path, fields in WITH_A_VERSION:
        mlflow.refused(
            "RESOURCE_DOES_NOT_EXIST", method, path, name=MODEL, version="1", **fields
        )
    assert mlflow.latest() == {}
    assert "aliases" not in mlflow.model()


def test_version_in_use_is_not_deleted_under_the_strict_policy(mlflow: Mlflow) -> None:
    mlflow.create_versions(1)
    mlflow.move(1, "Staging")

    message = mlflow.refused(
        "INVALID_STATE", "DELETE", "/model-versions/delete", name=MODEL, version="1"
    )

    assert message == (
        "version 1 is in Staging; only versions in Archived, None may be deleted"
    )


def test_version_in_production_is_deleted_under_the_open_policy(
    open_mlflow: Mlflow,
) -> None:
    open_mlflow.create_versions(1)
    open_mlflow.move(1, "Production")

    open_mlflow.done("DELETE", "/model-versions/delete", name=MODEL, version="1")

    assert open_mlflow.latest() == {}
