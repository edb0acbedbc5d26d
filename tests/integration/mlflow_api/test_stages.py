"""``transition-stage`` and ``get-latest-versions``, under both policies."""

from pathlib import Path

import pytest

from tests.integration.api.driver import MODEL, ON_BOTH_DATABASES, Document
from tests.integration.conftest import close_app, make_app
from tests.integration.mlflow_api.driver import Mlflow, mlflow_client

STRICT_POLICY = Path(__file__).parents[3] / "config" / "policy.toml"
TRANSITION = ("POST", "/model-versions/transition-stage")
LATEST = "/registered-models/get-latest-versions"


def fields_of(number: int, stage: str, **more: object) -> Document:
    return {"name": MODEL, "version": str(number), "stage": stage, **more}


@ON_BOTH_DATABASES
def test_promotion_archives_the_incumbent_whatever_the_flag_says(
    mlflow: Mlflow,
) -> None:
    mlflow.create_versions(2)
    for number, flag in ((1, True), (2, False)):
        mlflow.move(number, "Staging")
        moved = mlflow.move(number, "Production", archive_existing_versions=flag)
        assert (moved["version"], moved["current_stage"]) == (str(number), "Production")

    assert mlflow.api.stages() == {1: "Archived", 2: "Production"}


def test_stage_is_taken_in_any_case(mlflow: Mlflow) -> None:
    mlflow.create_versions(1)

    assert mlflow.move(1, "staging")["current_stage"] == "Staging"
    assert mlflow.latest(stages=["STAGING"]) == {"Staging": "1"}


def test_unknown_stage_is_refused_in_mlflows_words(mlflow: Mlflow) -> None:
    mlflow.create_versions(1)
    expected = (
        "Invalid Model Version stage: Shadow. "
        "Value must be one of None, Staging, Production, Archived."
    )

    refused = mlflow.refused(
        "INVALID_PARAMETER_VALUE", *TRANSITION, **fields_of(1, "Shadow")
    )
    asked = mlflow.refused(
        "INVALID_PARAMETER_VALUE", "POST", LATEST, name=MODEL, stages=["Shadow"]
    )

    assert (refused, asked) == (expected, expected)


def test_move_that_the_policy_refuses_names_the_allowed_stages(mlflow: Mlflow) -> None:
    mlflow.create_versions(1)

    message = mlflow.refused(
        "INVALID_STATE_TRANSITION", *TRANSITION, **fields_of(1, "Production")
    )

    assert message == (
        "version 1 may not move from None to Production: None to Production is not "
        "an allowed move. Allowed from None: Staging"
    )


def test_return_to_production_is_refused_with_the_way_to_roll_back(
    mlflow: Mlflow,
) -> None:
    mlflow.create_versions(2)
    mlflow.api.serve(1, 2)

    message = mlflow.refused(
        "INVALID_STATE_TRANSITION", *TRANSITION, **fields_of(1, "Production")
    )

    assert "allowed by rollback only" in message
    assert "stagegate rollback 'fraud' --to 1" in message
    assert 'POST /api/v1/models/fraud/rollback with {"to_version": 1}' in message


@ON_BOTH_DATABASES
def test_move_to_the_present_stage_changes_and_records_nothing(mlflow: Mlflow) -> None:
    mlflow.create_versions(1)
    moved = mlflow.move(1, "Staging")
    before = mlflow.api.dump()

    again = mlflow.move(1, "Staging", archive_existing_versions=True)

    assert again == moved
    assert mlflow.api.dump() == before


def test_move_to_the_present_stage_empties_a_shared_stage_when_asked(
    open_mlflow: Mlflow,
) -> None:
    open_mlflow.create_versions(3)
    for number in (1, 2, 3):
        open_mlflow.move(number, "Production")

    open_mlflow.move(2, "Production", archive_existing_versions=True)

    stages = {1: "Archived", 2: "Production", 3: "Archived"}
    assert open_mlflow.api.stages() == stages


@ON_BOTH_DATABASES
def test_flag_empties_a_shared_stage_in_one_transaction(mlflow: Mlflow) -> None:
    mlflow.create_versions(3)
    for number in (1, 2):
        mlflow.move(number, "Staging")
    before = mlflow.api.dump()

    mlflow.move(3, "Staging", archive_existing_versions=True)

    after = mlflow.api.dump()
    assert mlflow.api.stages() == {1: "Archived", 2: "Archived", 3: "Staging"}
    assert len(after["audit_entries"]) == len(before["audit_entries"]) + 1
    entry = mlflow.api.audit()[-1]
    assert entry["after"] == {
        "stage": "Staging",
        "superseded": [1, 2],
        "superseded_to": "Archived",
    }
    changes = after["stage_changes"][len(before["stage_changes"]) :]
    assert len(changes) == 3
    assert len(after["webhook_events"]) == len(before["webhook_events"]) + 3
    history = mlflow.api.read(f"/models/{MODEL}/history")["items"][:3]
    assert [each["cause"] for each in history] == ["promotion"] + ["superseded"] * 2
    assert len({each["transition_id"] for each in history}) == 1


def test_without_the_flag_a_shared_stage_keeps_who_is_in_it(mlflow: Mlflow) -> None:
    mlflow.create_versions(2)

    mlflow.move(1, "Staging")
    mlflow.move(2, "Staging", archive_existing_versions=False)

    assert mlflow.api.stages() == {1: "Staging", 2: "Staging"}


@pytest.mark.parametrize("stage", ["None", "archived"])
def test_flag_is_refused_for_stages_where_nothing_serves(
    open_mlflow: Mlflow, stage: str
) -> None:
    open_mlflow.create_versions(1)

    message = open_mlflow.refused(
        "INVALID_PARAMETER_VALUE",
        *TRANSITION,
        **fields_of(1, stage, archive_existing_versions=True),
    )

    assert message.endswith("Valid stages are Staging, Production")


def test_flag_as_text_is_refused(mlflow: Mlflow) -> None:
    mlflow.create_versions(1)

    message = mlflow.refused(
        "INVALID_PARAMETER_VALUE",
        *TRANSITION,
        **fields_of(1, "Staging", archive_existing_versions="true"),
    )

    assert "'archive_existing_versions'" in message


def test_any_stage_follows_any_under_the_open_policy(open_mlflow: Mlflow) -> None:
    stages = ("None", "Staging", "Production", "Archived")
    open_mlflow.create_versions(1)

    for from_stage in stages:
        for to_stage in stages:
            open_mlflow.move(1, from_stage)
            assert open_mlflow.move(1, to_stage)["current_stage"] == to_stage


def test_who_may_not_leave_a_shared_stage_holds_up_the_promotion(
    mlflow: Mlflow,
) -> None:
    """A version that is not READY may not move, wherever to."""
    mlflow.create_versions(2)
    mlflow.move(1, "Staging")
    with mlflow.api.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE model_versions SET status = 'FAILED_REGISTRATION' WHERE number = 1"
        )

    message = mlflow.refused(
        "INVALID_STATE_TRANSITION",
        *TRANSITION,
        **fields_of(2, "Staging", archive_existing_versions=True),
    )

    assert "version 1 may not move from Staging to Archived" in message
    assert mlflow.api.stages() == {1: "Staging", 2: "None"}


def test_who_is_verified_for_its_archival_is_archived_by_itself(
    tmp_path: Path,
) -> None:
    """Nobody hashes the artifacts of those who leave while the lock is held."""
    policy = tmp_path / "policy.toml"
    archival = 'from = "Staging"\nto = "Archived"\n'
    policy.write_text(
        STRICT_POLICY.read_text().replace(
            archival, f"{archival}verify_artifact = true\n"
        )
    )
    app = make_app(tmp_path / "verifying", POLICY_FILE=str(policy))
    mlflow = mlflow_client(app)
    mlflow.create_versions(2)
    mlflow.move(1, "Staging")

    message = mlflow.refused(
        "RESOURCE_CONFLICT",
        *TRANSITION,
        **fields_of(2, "Staging", archive_existing_versions=True),
    )

    assert message.startswith("version 1 must be archived by itself")
    assert mlflow.api.stages() == {1: "Staging", 2: "None"}
    close_app(app)


@ON_BOTH_DATABASES
def test_latest_is_the_highest_number_and_not_the_last_move(
    open_mlflow: Mlflow,
) -> None:
    open_mlflow.create_versions(3)
    for number in (3, 1):
        open_mlflow.move(number, "Staging")

    assert open_mlflow.latest() == {"None": "2", "Staging": "3"}


def test_latest_versions_come_by_either_method(mlflow: Mlflow) -> None:
    mlflow.create_versions(2)
    mlflow.move(1, "Staging")

    got = mlflow.done("GET", LATEST, name=MODEL, stages=["Staging", "None"])
    one = mlflow.done("GET", LATEST, name=MODEL, stages="Staging")

    posted = mlflow.done("POST", LATEST, name=MODEL, stages=["None", "Staging"])
    assert got == posted
    assert [each["version"] for each in one["model_versions"]] == ["1"]


def test_nothing_in_the_stages_asked_for_is_an_empty_answer(mlflow: Mlflow) -> None:
    mlflow.create_versions(1)

    answer = mlflow.done("POST", LATEST, name=MODEL, stages=["Production"])

    assert answer == {}


def test_artifact_that_changed_is_not_promoted(mlflow: Mlflow) -> None:
    mlflow.api.ready_versions(1)
    place = mlflow.api.version(1)["source"].removeprefix("file://")
    with open(f"{place}/model.bin", "wb") as file:  # noqa: PTH123  # the path is text
        file.write(b"tampered")

    message = mlflow.refused(
        "RESOURCE_CONFLICT", *TRANSITION, **fields_of(1, "Staging")
    )

    assert "is not what was registered" in message
    assert mlflow.api.stages() == {1: "None"}
