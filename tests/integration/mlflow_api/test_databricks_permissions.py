"""Databricks' permissions of a model, as the role bindings that they are."""

from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.integration.api.driver import MODEL, ON_BOTH_DATABASES, Document, Driver
from tests.integration.mlflow_api.driver import Mlflow

ANN = "https://idp.example.com#7f3a"
LEADS = {"group_name": "leads", "permission_level": "CAN_MANAGE_PRODUCTION_VERSIONS"}
OF_ANN = {"user_name": ANN, "permission_level": "CAN_READ"}


class Permissions:
    """The calls about one model, as the SDK makes them."""

    def __init__(self, api: Driver, model: str = MODEL) -> None:
        api.create_model(model)
        shown = api.client.get(
            "/api/2.0/mlflow/databricks/registered-models/get",
            query_string={"name": model},
        ).get_json()
        self.id = shown["registered_model_databricks"]["id"]
        self.api = api

    def call(
        self, method: str, path: str = "", caller: Driver | None = None, **body: object
    ) -> TestResponse:
        path = f"/api/2.0/permissions/registered-models/{self.id}{path}"
        client = (caller or self.api).client
        return client.open(path, method=method, json=body or None)

    def set(self, method: str, *entries: Document) -> dict[str, Any]:
        answer = self.call(method, access_control_list=list(entries))
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return by_subject(answer)


def by_subject(answer: TestResponse) -> dict[str, Any]:
    """The levels of each, those that are inherited with where from."""
    return {
        entry.get("group_name") or entry["user_name"]: [
            (one["permission_level"], *one.get("inherited_from_object", ()))
            for one in entry["all_permissions"]
        ]
        for entry in answer.get_json()["access_control_list"]
    }


@pytest.fixture
def permissions(mlflow: Mlflow) -> Permissions:
    return Permissions(mlflow.api)


@ON_BOTH_DATABASES
def test_levels_are_set_updated_and_replaced(permissions: Permissions) -> None:
    first = permissions.set("PUT", LEADS, OF_ANN)
    edits = {**OF_ANN, "permission_level": "CAN_EDIT"}
    updated = permissions.set("PATCH", edits)
    again = permissions.set("PATCH", edits)
    shown = by_subject(permissions.call("GET"))
    bindings = permissions.api.read("/role-bindings")["items"]
    replaced = permissions.set("PUT", OF_ANN)

    leads = [("CAN_MANAGE_PRODUCTION_VERSIONS",)]
    assert first == {"leads": leads, ANN: [("CAN_READ",)]}
    assert updated == again == shown == {"leads": leads, ANN: [("CAN_EDIT",)]}
    assert {(b["subject"], b["role"], b["models"]) for b in bindings} == {
        ("leads", "promoter", MODEL),
        (ANN, "writer", MODEL),
    }
    assert replaced == {ANN: [("CAN_READ",)]}
    actions = [entry["action"] for entry in permissions.api.audit()]
    assert (actions.count("role.granted"), actions.count("role.revoked")) == (4, 3)
    assert permissions.api.read("/audit/verify")["ok"]


def test_roles_by_pattern_are_inherited_and_stay(permissions: Permissions) -> None:
    for role, models in (
        *(("admin", "*"), ("writer", "fr*"), ("approver", MODEL)),
        *(("promoter", "churn*"), ("viewer", "*")),
    ):
        bound = {"subject_kind": "group", "subject": role, "role": role}
        permissions.api.post("/role-bindings", {**bound, "models": models})

    shown = permissions.set("PUT", LEADS)

    assert shown == {
        "admin": [("CAN_MANAGE", "/registered-models/*")],
        "viewer": [("CAN_READ", "/registered-models/*")],
        "writer": [("CAN_EDIT", "/registered-models/fr*")],
        "approver": [("CAN_READ",)],
        "leads": [("CAN_MANAGE_PRODUCTION_VERSIONS",)],
    }
    document = permissions.call("GET").get_json()
    assert document["object_id"] == f"/registered-models/{permissions.id}"
    assert document["object_type"] == "registered-model"


@pytest.mark.parametrize(
    "entry",
    [
        {"group_name": "leads", "permission_level": "CAN_MANAGE"},
        {"group_name": "leads", "permission_level": "CAN_MANAGE_STAGING_VERSIONS"},
        {"group_name": "leads"},
        {"permission_level": "CAN_READ"},
        {**OF_ANN, "group_name": "leads"},
    ],
)
def test_what_no_role_says_is_refused(
    permissions: Permissions, entry: Document
) -> None:
    for method in ("PUT", "PATCH"):
        answer = permissions.call(method, access_control_list=[entry])

        assert answer.status_code == 400
        assert answer.get_json()["error_code"] == "INVALID_PARAMETER_VALUE"
    assert permissions.api.read("/role-bindings")["items"] == []


def test_lists_without_end_and_names_that_are_patterns_are_refused(
    mlflow: Mlflow,
) -> None:
    plain, pattern = Permissions(mlflow.api), Permissions(mlflow.api, "fraud*")

    for asked, entries in ((plain, [LEADS] * 201), (pattern, [LEADS])):
        answer = asked.call("PUT", access_control_list=entries)
        assert answer.status_code == 400
    assert mlflow.api.read("/role-bindings")["items"] == []


def test_admins_alone_see_and_set_and_readers_are_told_the_levels(
    permissions: Permissions,
) -> None:
    reader = permissions.api.with_token(role="reader", models="fraud*")
    stranger = permissions.api.with_token(role="promoter", models="churn*")

    for caller in (reader, stranger):
        assert permissions.call("GET", caller=caller).status_code == 403
        for method in ("PUT", "PATCH"):
            answer = permissions.call(method, caller=caller, access_control_list=[])
            assert answer.status_code == 403
    levels = permissions.call("GET", "/permissionLevels", reader).get_json()
    assert [level["permission_level"] for level in levels["permission_levels"]] == [
        *("CAN_READ", "CAN_EDIT", "CAN_MANAGE_PRODUCTION_VERSIONS", "CAN_MANAGE")
    ]
    assert permissions.call("GET", "/permissionLevels", stranger).status_code == 403
    permissions.id = "absent"
    assert permissions.call("GET").status_code == 404
    assert permissions.call("GET", "/permissionLevels").status_code == 404
    assert permissions.call("GET", "/permissionLevels", reader).status_code == 403
