"""Databricks' calls about moves that others approve."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import NotFound, PermissionDenied
from databricks.sdk.service.ml import (
    Activity,
    ActivityAction,
    ActivityType,
    ModelRegistryAPI,
)
from flask import Flask

from registry.settings import packaged_config
from tests.integration.api.driver import MODEL, ON_BOTH_DATABASES
from tests.integration.conftest import SharedApps, close_app
from tests.integration.mlflow_api.driver import Mlflow, mlflow_client
from tests.receiver import Receiver
from tests.server import RunningServer, running_server

REQUESTS = "/transition-requests"
TO = (MODEL, "1", "Staging")
TO_STAGING = {"name": MODEL, "version": "1", "stage": "Staging"}
REQUESTED = "REQUESTED_TRANSITION"
APPROVE, REJECT, CANCEL = (
    f"{what}_TRANSITION_REQUEST" for what in ("APPROVE", "REJECT", "CANCEL")
)


def policy_file(directory: Path, *, approvals: int) -> Path:
    """The default policy, in which a move to Staging takes approvals."""
    policy = packaged_config("policy.toml").read_text("utf-8")
    rule = '[[moves]]\nfrom = "None"\nto = "Staging"\n'
    assert rule in policy
    path = directory / "policy.toml"
    path.write_text(policy.replace(rule, f"{rule}approvals = {approvals}\n"), "utf-8")
    return path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    policy = policy_file(tmp_path, approvals=1)
    with running_server(tmp_path, POLICY_FILE=str(policy)) as server:
        yield server


@pytest.fixture
def asking(server: RunningServer) -> ModelRegistryAPI:
    """The SDK of whoever has a version to move."""
    client = server.client()
    client.create_model(MODEL)
    client.register(MODEL, "s3://elsewhere/model")
    return workspace(server, token_of(server, "alice"))


@pytest.fixture
def deciding(server: RunningServer) -> ModelRegistryAPI:
    """The SDK of somebody else, who may approve."""
    return workspace(server, token_of(server, "bob"))


def token_of(server: RunningServer, name: str) -> str:
    return str(server.client().tokens.create(name, "admin").token)


def workspace(server: RunningServer, token: str) -> ModelRegistryAPI:
    client = WorkspaceClient(host=server.url, token=token, auth_type="pat")
    return client.model_registry


def test_the_sdk_of_databricks_asks_lists_rejects_and_cancels(
    asking: ModelRegistryAPI, deciding: ModelRegistryAPI
) -> None:
    first = asking.create_transition_request(*TO, comment="ready").request
    (listed,) = deciding.list_transition_requests(MODEL, "1")
    rejected = deciding.reject_transition_request(*TO, comment="too soon").activity
    asking.create_transition_request(*TO)
    cancelled = asking.delete_transition_request(*TO, "alice").activity

    assert first
    assert (first.user_id, first.comment) == ("alice", "ready")
    assert first.available_actions == [
        ActivityAction.REJECT_TRANSITION_REQUEST,
        ActivityAction.CANCEL_TRANSITION_REQUEST,
    ]
    assert told(listed) == (ActivityType.REQUESTED_TRANSITION, "alice", "ready")
    assert (listed.from_stage, listed.to_stage) == ("None", "Staging")
    assert listed.creation_timestamp == first.creation_timestamp
    assert told(rejected) == (ActivityType.REJECTED_REQUEST, "bob", "too soon")
    assert told(cancelled) == (ActivityType.CANCELLED_REQUEST, "alice", "")
    assert list(deciding.list_transition_requests(MODEL, "1")) == []


def test_t7_the_sdk_of_databricks_approves_for_others_only(
    asking: ModelRegistryAPI, deciding: ModelRegistryAPI, server: RunningServer
) -> None:
    asking.create_transition_request(*TO)

    def approve_as(sdk: ModelRegistryAPI) -> Activity | None:
        return sdk.approve_transition_request(
            *TO, archive_existing_versions=False, comment="good"
        ).activity

    with pytest.raises(PermissionDenied):
        approve_as(asking)
    before = server.client().get_version(MODEL, 1).stage
    approved = approve_as(deciding)

    assert before == "None"
    assert told(approved) == (ActivityType.APPROVED_REQUEST, "bob", "good")
    assert server.client().get_version(MODEL, 1).stage == "Staging"
    with pytest.raises(NotFound):
        approve_as(deciding)


def told(activity: Activity | None) -> tuple[object, ...]:
    assert activity
    return activity.activity_type, activity.user_id, activity.comment


@pytest.fixture
def twice(
    tmp_path: Path, database: dict[str, str], shared_apps: SharedApps
) -> Iterator[Mlflow]:
    """A registry in which a move to Staging takes two approvals."""
    (tmp_path / "policy").mkdir()
    policy = policy_file(tmp_path / "policy", approvals=2)
    app = shared_apps.lend(tmp_path, {"POLICY_FILE": str(policy), **database})
    yield admin(mlflow_client(app), "alice")
    close_app(app)


@pytest.fixture
def mlflow(app: Flask) -> Mlflow:
    """As alice sees it, who made nobody's token."""
    return admin(mlflow_client(app), "alice")


def admin(mlflow: Mlflow, name: str) -> Mlflow:
    """The same registry as another admin sees it."""
    of_all = mlflow_client(mlflow.app).api
    return dataclasses.replace(mlflow, api=of_all.with_token(name=name, role="admin"))


def ask(mlflow: Mlflow, **fields: object) -> dict[str, Any]:
    answer = mlflow.done("POST", f"{REQUESTS}/create", **{**TO_STAGING, **fields})
    request: dict[str, Any] = answer["request"]
    return request


def approve(mlflow: Mlflow, **fields: object) -> dict[str, Any]:
    answer = mlflow.done("POST", f"{REQUESTS}/approve", **{**TO_STAGING, **fields})
    activity: dict[str, Any] = answer["activity"]
    return activity


def listed(mlflow: Mlflow, version: str = "1") -> list[dict[str, Any]]:
    answer = mlflow.done("GET", f"{REQUESTS}/list", name=MODEL, version=version)
    found: list[dict[str, Any]] = answer.get("requests", [])
    return found


@ON_BOTH_DATABASES
def test_a_request_may_be_approved_though_the_policy_asks_for_nobody(
    mlflow: Mlflow,
) -> None:
    mlflow.create_versions(2)
    bob = admin(mlflow, "bob")

    asked = ask(mlflow, comment="ready", stage="staging")
    again = ask(mlflow)
    before = listed(bob)
    other = listed(bob, "2")
    activity = approve(bob, comment="fine")

    assert asked.items() >= {"to_stage": "Staging", "comment": "ready"}.items()
    assert again == asked
    (request,) = before
    assert other == []
    assert request["activity_type"] == REQUESTED
    assert request["available_actions"] == [APPROVE, REJECT, CANCEL]
    assert activity["id"] == request["id"]
    assert activity["system_comment"] == "Version 1 is in Staging now."
    assert mlflow.version(1)["current_stage"] == "Staging"
    assert listed(bob) == []
    moved = mlflow.api.audit(MODEL)[-1]
    assert moved.items() >= {"approved_by": ["bob"]}.items()


def test_actions_are_those_that_the_caller_may_take(mlflow: Mlflow) -> None:
    mlflow.create_versions(1)
    writer, other = mlflow.with_role("writer"), mlflow.with_role("promoter")

    own = ask(writer)["available_actions"]
    (seen_by_other,) = listed(other)
    (seen_by_admin,) = listed(admin(mlflow, "bob"))

    assert own == [CANCEL]
    assert seen_by_other["available_actions"] == []
    assert seen_by_admin["available_actions"] == [APPROVE, REJECT, CANCEL]
    for call in ("approve", "reject"):
        mlflow_says = other.refused(
            "PERMISSION_DENIED", "POST", f"{REQUESTS}/{call}", **TO_STAGING
        )
        assert mlflow_says
    mine = {**TO_STAGING, "creator": "a writer"}
    other.refused("PERMISSION_DENIED", "DELETE", f"{REQUESTS}/delete", **mine)
    writer.done("DELETE", f"{REQUESTS}/delete", **mine)


def test_several_approve_the_same(twice: Mlflow) -> None:
    twice.create_versions(1)
    bob, eve = admin(twice, "bob"), admin(twice, "eve")
    ask(twice)

    other_move = bob.refused(
        "INVALID_PARAMETER_VALUE",
        *("POST", f"{REQUESTS}/approve"),
        **TO_STAGING,
        archive_existing_versions=True,
    )
    first = approve(bob)
    between = twice.version(1)["current_stage"]
    approve(eve)

    assert "archive_existing_versions" in other_move
    assert first["system_comment"] == "It takes 2 approvals in all."
    assert between == "None"
    assert twice.version(1)["current_stage"] == "Staging"


def test_who_alone_approves_says_whether_others_are_archived(mlflow: Mlflow) -> None:
    mlflow.create_versions(2)
    mlflow.move(2, "Staging")
    bob = admin(mlflow, "bob")
    ask(mlflow)

    approve(bob, archive_existing_versions=True)

    assert mlflow.version(1)["current_stage"] == "Staging"
    assert mlflow.version(2)["current_stage"] == "Archived"


@pytest.mark.parametrize(
    ("method", "call", "fields", "code"),
    [
        ("POST", "create", {"stage": "Nowhere"}, "INVALID_PARAMETER_VALUE"),
        ("POST", "create", {"stage": "Production"}, "INVALID_STATE_TRANSITION"),
        ("POST", "create", {"version": "9"}, "RESOURCE_DOES_NOT_EXIST"),
        ("POST", "approve", {}, "RESOURCE_DOES_NOT_EXIST"),
        ("POST", "reject", {}, "RESOURCE_DOES_NOT_EXIST"),
        ("DELETE", "delete", {"creator": "bob"}, "RESOURCE_DOES_NOT_EXIST"),
        ("DELETE", "delete", {}, "INVALID_PARAMETER_VALUE"),
        ("GET", "list", {"version": "9"}, "RESOURCE_DOES_NOT_EXIST"),
        ("POST", "other", {}, "ENDPOINT_NOT_FOUND"),
    ],
)
def test_what_is_not_there_is_refused(
    mlflow: Mlflow, *, method: str, call: str, fields: dict[str, str], code: str
) -> None:
    mlflow.create_versions(1)

    mlflow.refused(code, method, f"{REQUESTS}/{call}", **{**TO_STAGING, **fields})


def test_a_request_of_another_creator_is_not_cancelled(mlflow: Mlflow) -> None:
    mlflow.create_versions(1)
    ask(mlflow)
    theirs = {**TO_STAGING, "creator": "bob"}

    mlflow.refused("RESOURCE_DOES_NOT_EXIST", "DELETE", f"{REQUESTS}/delete", **theirs)

    assert len(listed(mlflow)) == 1


def test_a_request_that_is_void_is_neither_listed_nor_approved(mlflow: Mlflow) -> None:
    mlflow.create_versions(1)
    ask(mlflow)
    mlflow.move(1, "Staging")
    mlflow.move(1, "Archived")

    assert listed(mlflow) == []
    admin(mlflow, "bob").refused(
        "RESOURCE_CONFLICT", "POST", f"{REQUESTS}/approve", **TO_STAGING
    )


def test_a_repeated_approval_is_answered_once(mlflow: Mlflow) -> None:
    mlflow.create_versions(1)
    ask(mlflow)
    bob = admin(mlflow, "bob")

    first = bob.keyed(f"{REQUESTS}/approve", **TO_STAGING)
    again = bob.keyed(f"{REQUESTS}/approve", **TO_STAGING)

    assert first.status_code == again.status_code == 200
    assert first.get_json() == again.get_json()


def test_mlflow_is_told_that_its_move_became_a_request(twice: Mlflow) -> None:
    twice.create_versions(1)
    move = ("POST", "/model-versions/transition-stage")

    message = twice.refused("INVALID_STATE_TRANSITION", *move, **TO_STAGING)
    again = twice.refused("INVALID_STATE_TRANSITION", *move, **TO_STAGING)

    (request,) = listed(twice)
    assert f"stagegate requests approve {request['id']}" in message
    assert again == message


def test_webhooks_of_databricks_are_told_who_asks_for_which_stage(
    mlflow: Mlflow, receiver: Receiver
) -> None:
    mlflow.create_versions(1)
    for name in ("TRANSITION_REQUEST_CREATED", "TRANSITION_REQUEST_TO_STAGING_CREATED"):
        mlflow.done(
            *("POST", "/registry-webhooks/create"),
            http_url_spec={"url": receiver.url},
            events=[name],
        )
    of_others = {"url": receiver.url, "to_stages": ["Production"]}
    types = ["transition_request.created"]
    mlflow.api.post("/webhooks", {**of_others, "event_types": types})

    ask(mlflow)
    while mlflow.api.parts.dispatcher.run_once():
        pass

    told = sorted(request.json()["event"] for request in receiver.requests)
    assert told == [
        *("TRANSITION_REQUEST_CREATED", "TRANSITION_REQUEST_TO_STAGING_CREATED"),
    ]
    assert receiver.requests[0].json()["to_stage"] == "Staging"
