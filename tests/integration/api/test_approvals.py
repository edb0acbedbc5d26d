"""Moves that others approve: who may, what an approval is for, and what is told."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import text

from tests.integration.api.driver import (
    MODEL,
    ON_BOTH_DATABASES,
    ROOT,
    Driver,
    document_of,
    problem_of,
)
from tests.integration.api.gated import (
    LOSS,
    approved,
    asked,
    checked,
    ci_job,
    decided,
    events_of,
    gated_policy,
    person,
    served,
    staged,
    state_of,
)
from tests.integration.api.test_transitions import artifact_file, overwrite
from tests.integration.conftest import SharedApps, close_app, make_app, signed_in

LONG_AGO = text("UPDATE transition_requests SET expires_at = '2020-01-01 00:00:00'")
PRODUCTION = {"to_stage": "Production"}
ASKS = {"model": MODEL, "version": 1, **PRODUCTION}
URGENT = {**PRODUCTION, "break_glass": True, "reason": "the site is down"}


@pytest.fixture
def asker(api: Driver) -> Driver:
    """Somebody who asks."""
    return api.with_role("promoter")


@pytest.fixture
def approver(api: Driver) -> Driver:
    return api.with_role("approver")


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


@ON_BOTH_DATABASES
def test_request_check_and_approval_bring_a_version_to_production(
    api: Driver, approver: Driver
) -> None:
    api.ready_versions(1)
    api.moved(1, "Staging")
    writer = api.with_role("writer")

    request = document_of(writer.post("/transition-requests", ASKS))
    too_early = problem_of(
        decided(approver, request, "approve"), 409, "transition-refused"
    )
    checked(writer, 1)
    after = approved(approver, request, "well done")

    assert too_early["reasons"] == ["check 'tests' is missing"]
    assert api.stages() == {1: "Production"}
    assert after["state"] == "approved"
    assert after["transition"]["version"]["stage"] == "Production"
    (line,) = api.read(f"/models/{MODEL}/history?stage=Production")["items"]
    assert line["request_id"] == request["id"]
    entry = api.audit(MODEL)[-1]
    assert entry["action"] == "model_version.stage_changed"
    assert entry["actor"]["name"] == "a approver"
    assert (entry["request"], entry["requested_by"]) == (request["id"], "a writer")
    assert entry["approved_by"] == ["a approver"]
    told = [event["type"].removeprefix("model_version.") for event in events_of(api)]
    assert told[-4:] == [
        "transition_request.created",
        "check_reported",
        "stage_changed",
        "transition_request.approved",
    ]


@pytest.mark.parametrize(
    "way", ["transition", "request", "alias", "mlflow", "mlflow alias", "databricks"]
)
def test_t7_nobody_approves_what_they_asked_for(api: Driver, way: str) -> None:
    staged(api)
    asker = api.with_role("admin")
    ask(asker, way)
    (request,) = api.read("/transition-requests")["items"]

    own_token = asker.with_token(role="approver")
    token_of_own_token = asker.with_role("admin").with_role("approver")
    for by in (asker, own_token, token_of_own_token, api):
        problem_of(decided(by, request, "approve"), 403, "self-approval")

    assert state_of(api, request) == "open"
    assert api.stages() == {1: "Staging"}
    approved(api.with_role("approver"), request)
    assert api.stages() == {1: "Production"}


def ask(by: Driver, way: str) -> None:
    """Bring version 1 to Production, by one of the ways in; it becomes a request."""
    mlflow, of_1 = "/api/2.0/mlflow", {"name": MODEL, "version": "1"}
    into = {**of_1, "stage": "Production"}
    asks: dict[str, Callable[[], object]] = {
        "transition": lambda: by.move(1, "Production"),
        "request": lambda: by.post("/transition-requests", ASKS),
        "alias": lambda: by.put(
            f"/models/{MODEL}/aliases/production", json={"version": 1}
        ),
        "mlflow": lambda: by.client.post(
            f"{mlflow}/model-versions/transition-stage", json=into
        ),
        "mlflow alias": lambda: by.client.post(
            f"{mlflow}/registered-models/alias", json={**of_1, "alias": "Production"}
        ),
        "databricks": lambda: by.client.post(
            f"{mlflow}/databricks/model-versions/transition-stage", json=into
        ),
    }
    asks[way]()


def test_t7_the_person_behind_a_ci_job_does_not_approve_for_it(api: Driver) -> None:
    staged(api)
    job = ci_job(api, human="https://idp#7")
    starter = person(api, "https://idp#7", role="approver")

    request = asked(job.move(1, "Production"))
    problem_of(decided(starter, request, "approve"), 403, "self-approval")

    assert api.stages() == {1: "Staging"}
    approved(api.with_role("approver"), request)


@ON_BOTH_DATABASES
def test_approval_is_used_up_by_its_move(
    api: Driver, asker: Driver, approver: Driver
) -> None:
    staged(api, 2)
    request = asked(asker.move(1, "Production"))
    approved(approver, request)
    served(api, 2)
    api.moved(1, "Staging")

    again = problem_of(decided(approver, request, "approve"), 409, "conflict")
    fresh = asked(asker.move(1, "Production"))

    assert "approved (by a approver)" in again["detail"]
    assert fresh["id"] != request["id"]
    assert api.stages() == {1: "Staging", 2: "Production"}


def test_two_approvals_take_two_persons(api: Driver) -> None:
    api.ready_versions(1, LOSS)
    maker = api.with_role("admin")
    first, second = api.with_role("approver"), api.with_role("approver")
    request = asked(maker.move(1, "Production", model=LOSS))

    assert approved(first, request)["transition"] is None
    assert approved(first, request, "again")["transition"] is None
    assert api.stages(LOSS) == {1: "None"}
    details = api.read(f"/transition-requests/{request['id']}")
    assert [each["comment"] for each in details["approvals"]] == ["again"]
    assert approved(second, request)["transition"]["version"]["stage"] == "Production"
    assert len(api.audit(LOSS)[-1]["approved_by"]) == 2


def test_two_approvals_are_not_of_a_token_and_its_maker(
    api: Driver, asker: Driver
) -> None:
    api.ready_versions(1, LOSS)
    request = asked(asker.move(1, "Production", model=LOSS))
    other = api.with_role("admin")
    middle = other.with_role("admin")

    for by in (other, middle, middle.with_role("approver")):
        assert approved(by, request)["transition"] is None

    assert api.stages(LOSS) == {1: "None"}


@pytest.mark.parametrize("how", ["reject", "cancel"])
@ON_BOTH_DATABASES
def test_closed_request_is_approved_no_more(
    api: Driver, approver: Driver, how: str
) -> None:
    staged(api)
    promoter = api.with_role("promoter")
    request = asked(promoter.move(1, "Production"))
    by = approver if how == "reject" else promoter

    closed = document_of(decided(by, request, how, "not now"))

    assert closed["state"] == f"{how}ed".replace("le", "lle")
    problem_of(decided(api, request, "approve"), 409, "conflict")
    problem_of(decided(approver, request, "approve"), 409, "conflict")
    assert (closed["comment"], api.stages()) == ("not now", {1: "Staging"})
    assert events_of(api)[-1]["type"].endswith(f"request.{closed['state']}")
    assert api.read("/transition-requests")["items"] == []


def test_only_who_asked_or_an_admin_cancels(
    api: Driver, asker: Driver, approver: Driver
) -> None:
    staged(api)
    request = asked(asker.move(1, "Production"))

    for by in (approver, api.with_role("promoter"), api.with_role("viewer")):
        problem_of(decided(by, request, "cancel"), 403, "forbidden")

    assert decided(api, request, "cancel").status_code == 200


def expires(api: Driver) -> None:
    with api.engine.begin() as connection:
        connection.execute(LONG_AGO)


def changes_artifact(api: Driver) -> None:
    overwrite(artifact_file(api, 1), b"other")


def moves_away_and_back(api: Driver) -> None:
    api.moved(1, "Archived", "Staging")


def breaks_glass_and_returns(api: Driver) -> None:
    path = f"/models/{MODEL}/versions/1/transitions"
    assert api.post(path, URGENT).status_code == 200
    api.moved(1, "Archived", "Staging")


@ON_BOTH_DATABASES
@pytest.mark.parametrize(
    "happens",
    [expires, changes_artifact, moves_away_and_back, breaks_glass_and_returns],
)
def test_t7_request_is_for_what_was_there(
    api: Driver, asker: Driver, approver: Driver, happens: Callable[[Driver], None]
) -> None:
    staged(api)
    request = asked(asker.move(1, "Production"))

    happens(api)

    assert decided(approver, request, "approve").status_code == 409
    assert api.stages() == {1: "Staging"}


def test_t7_request_is_for_one_revision_of_the_policy(
    api: Driver, asker: Driver, tmp_path: Path, database: dict[str, str]
) -> None:
    staged(api)
    request = asked(asker.move(1, "Production"))
    (tmp_path / "revised.toml").write_text(gated_policy() + "# revised\n")
    revised = make_app(tmp_path, POLICY_FILE=str(tmp_path / "revised.toml"), **database)

    by = Driver(revised, signed_in(revised)).with_role("approver")
    problem = problem_of(decided(by, request, "approve"), 409, "conflict")
    stands = state_of(by, request)
    close_app(revised)

    assert "void" in problem["detail"]
    assert stands == "void"
    assert api.stages() == {1: "Staging"}


def test_t7_approval_given_before_a_check_was_reported_again_counts_no_more(
    api: Driver,
    asker: Driver,
) -> None:
    api.ready_versions(1, "both-1")
    checked(api, 1, model="both-1")
    first, second = api.with_role("approver"), api.with_role("approver")
    request = asked(asker.move(1, "Production", model="both-1"))
    approved(first, request)

    checked(api, 1, model="both-1")
    after = approved(second, request)

    details = api.read(f"/transition-requests/{request['id']}")
    assert after["transition"] is None
    assert [each["valid"] for each in details["approvals"]] == [False, True]
    assert approved(first, request)["transition"] is not None


def test_t7_new_name_of_a_model_brings_its_own_number_of_approvals(
    api: Driver, asker: Driver, approver: Driver
) -> None:
    api.ready_versions(1, "one-1")
    request = asked(asker.move(1, "Production", model="one-1"))
    assert api.patch("/models/one-1", {"name": "loss-2"}).status_code == 200

    decided(approver, request, "approve")

    assert api.stages("loss-2") == {1: "None"}


def test_broken_glass_has_its_own_permission_reason_entry_and_event(
    api: Driver,
) -> None:
    staged(api)
    checked(api, 1, "failed")
    path = f"/models/{MODEL}/versions/1/transitions"
    breaker = api.with_role("break-glass")

    problem_of(api.with_role("promoter").post(path, URGENT), 403, "forbidden")
    problem_of(breaker.post(path, {**URGENT, "reason": " "}), 422, "invalid")
    assert api.stages() == {1: "Staging"}
    done = breaker.post(path, URGENT)

    assert document_of(done)["version"]["stage"] == "Production"
    entry = api.audit(MODEL)[-1]
    gates = ["check 'tests' has failed", "it takes 1 approvals"]
    assert (entry["broke_glass"], entry["reason"]) == (gates, URGENT["reason"])
    assert "approved_by" not in entry
    moved, broke = events_of(api)[-2:]
    assert moved["type"] == "model_version.stage_changed"
    assert broke["type"] == "model_version.broke_glass"
    assert broke["data"]["gates"] == gates
    assert broke["data"]["reason"] == URGENT["reason"]
    (line,) = api.read(f"/models/{MODEL}/history?stage=Production")["items"]
    assert line["broke_glass"] is True


def test_broken_glass_does_not_bring_in_a_changed_artifact(api: Driver) -> None:
    staged(api)
    overwrite(artifact_file(api, 1), b"other")
    path = f"/models/{MODEL}/versions/1/transitions"

    problem_of(api.post(path, URGENT), 409, "artifact-changed")

    assert api.stages() == {1: "Staging"}


def test_repeated_request_with_a_key_is_answered_with_the_same_202(
    api: Driver,
) -> None:
    staged(api)
    headers = {"Idempotency-Key": "job-17"}
    path = f"{ROOT}/models/{MODEL}/versions/1/transitions"
    first, again = (
        api.client.post(path, json=PRODUCTION, headers=headers) for _ in range(2)
    )

    assert (first.status_code, again.status_code) == (202, 202)
    assert first.data == again.data
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(api.read("/transition-requests?state=all")["items"]) == 1


def test_to_ask_again_finds_the_request_that_stands(
    api: Driver, asker: Driver, approver: Driver
) -> None:
    staged(api)
    entries = len(api.audit(MODEL))
    first, second = (asked(asker.move(1, "Production")) for _ in range(2))
    third = document_of(api.post("/transition-requests", ASKS))

    assert first == second == third
    assert len(api.audit(MODEL)) == entries + 1
    decided(approver, first, "reject")
    assert asked(asker.move(1, "Production"))["id"] != first["id"]


@ON_BOTH_DATABASES
def test_two_last_approvals_at_once_make_one_move(api: Driver, asker: Driver) -> None:
    staged(api)
    request = asked(asker.move(1, "Production"))
    approvers = [api.with_role("approver") for _ in range(4)]

    with ThreadPoolExecutor(len(approvers)) as pool:
        answers = list(
            pool.map(lambda by: decided(by, request, "approve").status_code, approvers)
        )

    assert sorted(answers) == [200, 409, 409, 409]
    assert len(api.read(f"/models/{MODEL}/history?stage=Production")["items"]) == 1
    types = [event["type"] for event in events_of(api)]
    assert sum("request.approved" in each for each in types) == 1


@ON_BOTH_DATABASES
def test_rollback_takes_approvals_where_the_policy_says_so(api: Driver) -> None:
    api.ready_versions(2, LOSS)
    served(api, 1, 2, model=LOSS)

    rollback = asked(api.with_role("promoter").rollback(LOSS, reason="worse"))

    assert (rollback["version"], rollback["is_rollback"]) == (1, True)
    assert api.stages(LOSS) == {1: "Archived", 2: "Production"}
    approved(api.with_role("approver"), rollback)
    assert api.stages(LOSS) == {1: "Production", 2: "Archived"}
    line = api.read(f"/models/{LOSS}/history")["items"][0]
    assert (line["cause"], line["request_id"]) == ("rollback", rollback["id"])


def test_automatic_rollback_waits_for_nobody_and_says_so(api: Driver) -> None:
    api.ready_versions(2, LOSS)
    served(api, 1, 2, model=LOSS)

    report = {"status": "failed", "environment": "eu"}
    path = f"/models/{LOSS}/versions/2/deployments"
    told = document_of(api.post(path, report))["automatic_rollback"]

    assert told["refused"] == "it takes 1 approvals"
    assert told["transition_id"] is None
    assert api.stages(LOSS) == {1: "Archived", 2: "Production"}
    assert api.read("/transition-requests")["items"] == []
