"""Holds of a stage: by a rollback against CI jobs, by hand against everybody."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import text

from registry.domain.timestamps import rfc3339
from tests.integration.api.driver import (
    MODEL,
    ON_BOTH_DATABASES,
    Document,
    Driver,
    document_of,
    problem_of,
)
from tests.integration.api.gated import (
    approved,
    asked,
    checked,
    ci_job,
    decided,
    events_of,
    gated_policy,
    served,
    staged,
)
from tests.integration.conftest import SharedApps, close_app

HOLD = f"/models/{MODEL}/holds/Production"


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("policy") / "policy.toml"
    file.write_text(gated_policy())
    return file


@pytest.fixture
def app(
    tmp_path: Path, policy: Path, database: dict[str, str], shared_apps: SharedApps
) -> Iterator[Flask]:
    app = shared_apps.lend(tmp_path, {"POLICY_FILE": str(policy), **database})
    yield app
    close_app(app)


def rolled_back(api: Driver) -> None:
    """Version 2 has served after version 1, and was rolled back; 3 is in Staging."""
    staged(api, 3)
    served(api, 1, 2)
    assert api.rollback(reason="worse").status_code == 200
    api.moved(2, "Staging")


def holds_of(api: Driver) -> list[Document]:
    holds: list[Document] = api.read(f"/models/{MODEL}")["holds"]
    return holds


@ON_BOTH_DATABASES
def test_rollback_by_a_person_holds_the_stage_against_ci_jobs(api: Driver) -> None:
    rolled_back(api)
    job, approver = ci_job(api), api.with_role("approver")

    (hold,) = holds_of(api)
    refusal = problem_of(job.move(2, "Production"), 409, "transition-refused")

    assert (
        hold.items()
        >= {
            "stage": "Production",
            "version": 2,
            "reason": "worse",
            "by": "bootstrap",
            "until": None,
        }.items()
    )
    (reason,) = refusal["reasons"]
    assert "held after the rollback of version 2 by bootstrap" in reason
    assert "(worse)" in reason
    line = api.read(f"/models/{MODEL}/history?stage=Production")["items"][0]
    assert (line["version"], line["cause"], line["held"]) == (1, "rollback", True)
    (told,) = [e for e in events_of(api) if e["data"].get("held") is True]
    assert told["data"]["cause"] == "rollback"
    # Nor does a request bring it back that a job makes by itself.
    asks = {"model": MODEL, "version": 2, "to_stage": "Production"}
    request = document_of(job.post("/transition-requests", asks))
    assert decided(approver, request, "approve").status_code == 409
    assert api.read(f"/models/{MODEL}/stages/Production")["version"] == 1


def test_newer_version_goes_past_a_hold_with_a_persons_approval(api: Driver) -> None:
    rolled_back(api)

    request = asked(ci_job(api).move(3, "Production"))
    problem_of(
        decided(ci_job(api, "approver", "p2"), request, "approve"), 403, "forbidden"
    )
    approved(api.with_role("approver"), request)

    assert api.read(f"/models/{MODEL}/stages/Production")["version"] == 3
    assert holds_of(api) == []


def test_ci_job_neither_lifts_a_hold_nor_does_away_with_one(api: Driver) -> None:
    rolled_back(api)
    job = ci_job(api)
    soon = rfc3339(datetime.now(UTC) + timedelta(seconds=1))

    problem_of(job.delete(HOLD), 403, "forbidden")
    job.put(HOLD, json={"reason": "mine", "until": soon})
    with api.engine.begin() as connection:  # as if that second were over
        was = {"was": soon[:19], "is": "2020-01-01T00:00:00"}
        statement = "UPDATE registered_models SET holds = replace(holds, :was, :is)"
        connection.execute(text(statement), was)

    problem_of(job.move(2, "Production"), 409, "transition-refused")


def test_ci_job_does_not_replace_a_hold_by_hand(api: Driver) -> None:
    staged(api)
    assert api.put(HOLD, json={"reason": "an incident"}).status_code == 200
    soon = rfc3339(datetime.now(UTC) + timedelta(seconds=1))

    problem_of(
        ci_job(api).put(HOLD, json={"reason": "mine", "until": soon}), 403, "forbidden"
    )

    assert [hold["reason"] for hold in holds_of(api)] == ["an incident"]


@ON_BOTH_DATABASES
def test_hold_by_hand_holds_everybody_until_it_ends(api: Driver) -> None:
    staged(api)
    promoter, approver = api.with_role("promoter"), api.with_role("approver")
    request = asked(promoter.move(1, "Production"))
    until = rfc3339(datetime.now(UTC) + timedelta(hours=1))

    hold = document_of(api.put(HOLD, json={"reason": "an incident", "until": until}))
    refusals = [
        promoter.move(1, "Production"),
        ci_job(api).move(1, "Production"),
        decided(approver, request, "approve"),
    ]

    assert (hold["until"], hold["version"]) == (until, None)
    for answer in refusals:
        (reason,) = problem_of(answer, 409, "transition-refused")["reasons"]
        assert reason == (
            f"Production is held by bootstrap until {until} (an incident)"
        )
    with api.engine.begin() as connection:  # as if the hour were over
        was = {"was": until[:19], "is": "2020-01-01T00:00:00"}
        statement = (
            "UPDATE registered_models SET "
            "holds = CAST(replace(CAST(holds AS TEXT), :was, :is) AS JSON)"
            if api.engine.dialect.name == "postgresql"
            else "UPDATE registered_models SET holds = replace(holds, :was, :is)"
        )
        connection.execute(text(statement), was)
    approved(approver, request)
    assert api.stages() == {1: "Production"}


def test_hold_is_told_and_lifted(api: Driver) -> None:
    staged(api)

    api.put(HOLD, json={"reason": "an incident"})
    assert api.delete(HOLD).status_code == 204
    problem_of(api.delete(HOLD), 404, "not-found")

    held, lifted = events_of(api)[-2:]
    assert held["type"].endswith("hold_set")
    assert lifted["type"].endswith("hold_lifted")
    assert lifted["data"]["hold"] == held["data"]["hold"]
    entries = [entry["action"].split(".")[1] for entry in api.audit(MODEL)[-2:]]
    assert entries == ["hold_set", "hold_lifted"]
    assert asked(api.with_role("promoter").move(1, "Production"))["state"] == "open"


@pytest.mark.parametrize(
    "body",
    [
        {"reason": " "},
        {"reason": "x", "until": "2020-01-01T00:00:00Z"},
        {"reason": "x", "until": "tomorrow"},
        {},
    ],
)
def test_hold_needs_a_reason_and_an_end_to_come(api: Driver, body: Document) -> None:
    api.create_model()

    problem_of(api.put(HOLD, json=body), 422, "invalid")

    assert holds_of(api) == []


def test_automatic_rollback_leaves_a_hold_against_ci_jobs(api: Driver) -> None:
    rolled_back(api)
    api.moved(2, "Archived")

    report = {"status": "failed", "environment": "eu"}
    path = f"/models/{MODEL}/versions/1/deployments"
    told = document_of(api.post(path, report))["automatic_rollback"]

    assert told["to_version"] == 2
    assert [hold["version"] for hold in holds_of(api)] == [2]
    refusal = problem_of(ci_job(api).rollback(), 409, "transition-refused")
    assert "held after the rollback of version 2" in refusal["detail"]


def test_automatic_rollback_keeps_out_of_a_stage_that_is_held_by_hand(
    api: Driver,
) -> None:
    staged(api, 2)
    served(api, 1, 2)
    api.put(HOLD, json={"reason": "an incident"})

    report = {"status": "failed", "environment": "eu"}
    told = document_of(api.post(f"/models/{MODEL}/versions/2/deployments", report))

    assert "Production is held" in told["automatic_rollback"]["refused"]
    assert api.stages() == {1: "Archived", 2: "Production"}


def test_preview_shows_every_gate_as_it_stands(api: Driver) -> None:
    api.ready_versions(2)
    api.moved(1, "Staging")
    promoter, approver = api.with_role("promoter"), api.with_role("approver")
    preview = f"/models/{MODEL}/versions/1/transitions/preview?to_stage=production"

    before = promoter.read(preview)
    checked(api, 1)
    request = asked(promoter.move(1, "Production"))
    api.put(HOLD, json={"reason": "an incident"})
    held = promoter.read(preview)
    api.delete(HOLD)
    passing = approver.read(preview)
    nowhere = promoter.read(preview.replace("versions/1", "versions/2"))

    states = {gate["kind"]: gate["state"] for gate in before["gates"]}
    assert states == {"status": "passed", "artifact": "passed", "check": "pending"}
    assert before["reasons"] == ["check 'tests' is missing"]
    assert (before["allowed"], before["approvals_needed"]) == (False, 1)
    assert before["request"] is None
    assert {g["kind"]: g["state"] for g in held["gates"]}["hold"] == "failed"
    assert held["request"]["id"] == request["id"]
    assert (passing["reasons"], passing["approvals_given"]) == ([], 0)
    assert passing["allowed"] is False
    assert nowhere["cause"] is None
    assert nowhere["gates"] == []
    assert nowhere["reasons"] == ["None to Production is not an allowed move"]
