"""Stage changes: allowed by policy, made whole, refused with all that is allowed."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from sqlalchemy import text

from registry.worker import BackgroundWork
from tests.integration.api.driver import (
    MODEL,
    ON_BOTH_DATABASES,
    Document,
    Driver,
    document_of,
    problem_of,
)

pytestmark = ON_BOTH_DATABASES


def artifact_file(api: Driver, number: int) -> Path:
    """Where the sealed file of a version lies."""
    source = api.version(number)["source"]
    return Path(unquote(urlsplit(source).path)) / "model.bin"


def overwrite(file: Path, content: bytes) -> None:
    file.chmod(0o644)
    file.write_bytes(content)


def test_promotion_is_answered_with_the_version_as_it_now_stands(api: Driver) -> None:
    api.ready_versions(1)

    answer = api.move(1, "Staging", reason="passed the shadow test")

    document = document_of(answer)
    assert answer.status_code == 200
    assert document["cause"] == "promotion"
    assert document["superseded"] is None
    assert document["transition_id"].startswith("trn_")
    assert document["version"] == api.version(1)
    assert document["version"]["stage"] == "Staging"


def test_stage_is_found_whatever_its_case(api: Driver) -> None:
    api.ready_versions(1)

    assert document_of(api.move(1, "sTAGING"))["version"]["stage"] == "Staging"


def test_promotion_over_an_incumbent_archives_it_in_the_same_change(
    api: Driver,
) -> None:
    api.ready_versions(2)
    api.serve(1)
    api.moved(2, "Staging")

    document = document_of(api.move(2, "Production", reason="better"))

    assert document["superseded"] == 1
    assert api.stages() == {1: "Archived", 2: "Production"}
    entered, left = api.read(f"/models/{MODEL}/history?limit=2")["items"]
    assert (
        entered.items()
        >= {
            "transition_id": document["transition_id"],
            "version": 2,
            "from_stage": "Staging",
            "to_stage": "Production",
            "cause": "promotion",
            "reason": "better",
        }.items()
    )
    assert (
        left.items()
        >= {
            "transition_id": document["transition_id"],
            "version": 1,
            "from_stage": "Production",
            "to_stage": "Archived",
            "cause": "superseded",
            "reason": "better",
        }.items()
    )
    assert entered["sequence"] == left["sequence"] + 1
    assert entered["at"] == left["at"]


def test_archival_leaves_production_empty(api: Driver) -> None:
    api.ready_versions(1)
    api.serve(1)

    document = document_of(api.move(1, "Archived"))

    assert document["cause"] == "archival"
    problem_of(api.get(f"/models/{MODEL}/stages/Production"), 404, "not-found")


@pytest.mark.parametrize(
    ("stages", "to_stage", "allowed"),
    [
        ([], "Production", ["Staging"]),
        ([], "Archived", ["Staging"]),
        ([], "None", ["Staging"]),
        (["Staging"], "Staging", ["Production", "Archived"]),
        (["Staging"], "None", ["Production", "Archived"]),
        (["Staging", "Production"], "Staging", ["Archived"]),
        (["Staging", "Archived"], "Production", []),
    ],
)
def test_refusal_names_what_is_allowed_and_changes_nothing(
    api: Driver, stages: list[str], to_stage: str, allowed: list[str]
) -> None:
    api.ready_versions(1)
    api.moved(1, *stages)
    before = api.dump()

    problem = problem_of(api.move(1, to_stage), 409, "transition-refused")

    assert problem["from_stage"] == (stages or ["None"])[-1]
    assert problem["to_stage"] == to_stage
    assert problem["allowed"] == allowed
    assert len(problem["reasons"]) == 1
    assert api.dump() == before


def test_version_whose_registration_is_pending_may_not_move(api: Driver) -> None:
    api.create_model()
    api.register()

    problem = problem_of(api.move(1, "Staging"), 409, "transition-refused")

    assert problem["reasons"] == ["its status is PENDING_REGISTRATION, not READY"]


def test_absent_version_is_not_found(api: Driver) -> None:
    api.create_model()

    problem_of(api.move(1, "Staging"), 404, "not-found")


def test_deleted_version_is_not_found(api: Driver) -> None:
    api.ready_versions(1)
    api.delete(f"/models/{MODEL}/versions/1")

    problem_of(api.move(1, "Staging"), 404, "not-found")


@pytest.mark.parametrize("expected", [None, 2, 99])
def test_promotion_over_another_incumbent_than_expected_is_refused(
    api: Driver, expected: int | None
) -> None:
    api.ready_versions(2)
    api.serve(1)
    api.moved(2, "Staging")
    before = api.dump()

    answer = api.move(2, "Production", expected_incumbent=expected)

    problem = problem_of(answer, 412, "stale")
    assert "found version 1" in problem["detail"]
    assert api.dump() == before


def test_promotion_over_the_expected_incumbent_is_made(api: Driver) -> None:
    api.ready_versions(2)
    api.moved(1, "Staging")
    empty = api.move(1, "Production", expected_incumbent=None)
    api.moved(2, "Staging")

    taken = api.move(2, "Production", expected_incumbent=1)

    assert (empty.status_code, taken.status_code) == (200, 200)


def test_expected_incumbent_in_an_empty_stage_is_stale(api: Driver) -> None:
    api.ready_versions(1)
    api.moved(1, "Staging")

    answer = api.move(1, "Production", expected_incumbent=7)

    problem = problem_of(answer, 412, "stale")
    assert problem["detail"] == "expected version 7 in Production, found no version"


def test_version_that_changed_since_it_was_seen_is_not_moved(api: Driver) -> None:
    api.ready_versions(1)
    path = f"/models/{MODEL}/versions/1"
    seen = api.get(path).headers["ETag"]
    api.patch(path, {"description": "bob's"})

    stale = api.post(
        f"{path}/transitions", {"to_stage": "Staging"}, headers={"If-Match": seen}
    )
    now = api.get(path).headers["ETag"]
    made = api.post(
        f"{path}/transitions", {"to_stage": "Staging"}, headers={"If-Match": now}
    )

    problem_of(stale, 412, "stale")
    assert made.status_code == 200
    assert api.get(path).headers["ETag"] not in {seen, now}


def test_changed_artifact_is_refused_and_recorded_once(api: Driver) -> None:
    api.ready_versions(1)
    overwrite(artifact_file(api, 1), b"v9")

    first = problem_of(api.move(1, "Staging"), 409, "artifact-changed")
    second = problem_of(api.move(1, "Staging"), 409, "artifact-changed")

    assert "model.bin has sha256" in first["differences"][0]
    assert first["differences"] == second["differences"]
    assert api.stages() == {1: "None"}
    assert api.version(1)["verified"] is False
    actions = [entry["action"] for entry in api.audit(MODEL)]
    assert actions.count("model_version.artifact_changed") == 1
    assert actions[-1] == "model_version.artifact_changed"


def test_lost_artifact_is_refused(api: Driver) -> None:
    api.ready_versions(1)
    artifact_file(api, 1).unlink()

    problem = problem_of(api.move(1, "Staging"), 409, "artifact-changed")

    assert "no artifact" in problem["differences"][0].lower()


def test_restored_artifact_may_move_and_is_verified_again(api: Driver) -> None:
    api.ready_versions(1)
    file = artifact_file(api, 1)
    overwrite(file, b"v9")
    api.move(1, "Staging")
    overwrite(file, b"v1")

    assert api.move(1, "Staging").status_code == 200
    assert api.version(1)["verified"] is True


def test_move_that_verifies_nothing_is_made_with_a_changed_artifact(
    api: Driver,
) -> None:
    api.ready_versions(1)
    api.serve(1)
    overwrite(artifact_file(api, 1), b"v9")

    assert api.move(1, "Archived").status_code == 200


def test_unverified_source_may_move_and_stays_unverified(api: Driver) -> None:
    api.create_model()
    api.register(source="gs://store-example/m")

    api.serve(1)

    assert api.version(1)["stage"] == "Production"
    assert api.version(1)["verified"] is False


def moves_announced(api: Driver) -> list[Document]:
    items = api.read("/events?limit=200")["items"]
    return [item["data"] for item in items if item["type"].endswith("stage_changed")]


def test_move_says_whether_its_artifact_is_verified(api: Driver) -> None:
    api.create_model()
    api.register(source="gs://store-example/m")
    api.ready()

    unread = api.moved(1, "Staging", "Production")
    read = api.moved(2, "Staging", "Production")

    BackgroundWork(api.app).place_events()
    history = api.read(f"/models/{MODEL}/history")["items"]
    assert (unread["verified"], read["verified"]) == (False, True)
    # Version 1 left for Archived as it had come.
    expected = [(1, False), (1, False), (2, True), (1, False), (2, True)]
    assert [
        (item["version"], item["verified"]) for item in reversed(history)
    ] == expected
    assert [
        (data["version"], data["verified"]) for data in moves_announced(api)
    ] == expected
    assert api.audit(MODEL)[-1]["verified"] is True


def test_history_of_a_former_release_does_not_know_what_was_verified(
    api: Driver,
) -> None:
    api.ready_versions(1)
    api.serve(1)
    with api.engine.begin() as connection:
        connection.execute(text("UPDATE stage_changes SET verified = NULL"))

    items = api.read(f"/models/{MODEL}/history")["items"]

    assert [item["verified"] for item in items] == [None, None]


def test_reason_is_kept_in_nfc_and_in_the_audit_log(api: Driver) -> None:
    api.ready_versions(1)

    api.move(1, "Staging", reason="u\u0308ber")

    assert api.read(f"/models/{MODEL}/history")["items"][0]["reason"] == "\u00fcber"
    assert api.audit(MODEL)[-1]["reason"] == "\u00fcber"


def test_time_of_a_change_never_lies_before_the_change_before(
    api: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import UTC, datetime

    api.ready_versions(1)
    first = api.moved(1, "Staging")["version"]["updated_at"]

    class EarlierClock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> "EarlierClock":
            del tz
            return cls(2000, 1, 1, tzinfo=UTC)

    monkeypatch.setattr("registry.services.transaction.datetime", EarlierClock)
    second = api.moved(1, "Production")["version"]["updated_at"]

    assert second == first


def test_version_that_changes_while_it_is_verified_is_not_moved(
    api: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.ready_versions(1)

    def change_meanwhile(*_: object) -> list[str]:
        with api.engine.begin() as connection:
            connection.exec_driver_sql(
                "UPDATE model_versions SET artifact_digest = 'x'"
            )
        return []

    monkeypatch.setattr("registry.artifacts.hashing.verify_manifest", change_meanwhile)

    problem = problem_of(api.move(1, "Staging"), 409, "conflict")
    assert "changed while its artifact was being verified" in problem["detail"]


def test_move_of_a_prompt_is_refused_when_it_is_previewed_as_when_it_is_made(
    api: Driver,
) -> None:
    is_prompt = {"mlflow.prompt.is_prompt": "true"}
    api.create_model("greet", tags=is_prompt)
    text = {**is_prompt, "mlflow.prompt.text": "Hello"}
    number = api.register("greet", source="prompt-template", tags=text)
    path = f"/models/greet/versions/{number}/transitions"

    told = api.get(f"{path}/preview?to_stage=Staging")
    done = api.post(path, {"to_stage": "Staging"})

    refused = problem_of(told, 409, "transition-refused")
    assert refused["reasons"] == document_of(done)["reasons"]
