"""What holds for every call: both roots, sign-in, what is unknown, bad bodies."""

import base64
from typing import Any

import pytest

from registry.auth.permissions import Permission, permission_of
from tests.integration.api.driver import MODEL
from tests.integration.conftest import TOKEN
from tests.integration.mlflow_api.driver import AJAX_ROOT, ROOT, Mlflow, refusal_of

GET_MODEL = f"/registered-models/get?name={MODEL}"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{ROOT}/registered-models/list"),
        ("GET", f"{ROOT}/nothing"),
        ("GET", f"{AJAX_ROOT}/nothing"),
        ("POST", "/api/2.0/preview/mlflow/registered-models/get"),
        ("POST", f"{ROOT}/registered-models/get"),
        ("PATCH", f"{ROOT}/registered-models/create"),
        ("GET", f"{ROOT}//registered-models/get"),
        ("DELETE", f"{ROOT}/"),
    ],
)
def test_unknown_endpoint_is_told_as_such(
    mlflow: Mlflow, method: str, path: str
) -> None:
    answer = mlflow.api.client.open(path, method=method)

    message = refusal_of(answer, "ENDPOINT_NOT_FOUND")

    assert message == f"No handler for {method} {path}"


def test_both_roots_have_the_same_views(mlflow: Mlflow) -> None:
    by_root: dict[str, set[tuple[str, str]]] = {"mlflow": set(), "mlflow_ajax": set()}
    for rule in mlflow.app.url_map.iter_rules():
        tree, _, name = rule.endpoint.partition(".")
        if tree in by_root:
            by_root[tree] |= {(name, method) for method in rule.methods or ()}

    assert by_root["mlflow"] == by_root["mlflow_ajax"]
    assert ("models.get_registered_model", "GET") in by_root["mlflow"]


def test_views_ask_for_the_role_of_what_they_do(mlflow: Mlflow) -> None:
    expected = {}
    for rule in mlflow.app.url_map.iter_rules():
        if rule.endpoint.startswith(("mlflow.models", "mlflow.versions")):
            is_read = "GET" in (rule.methods or ())
            expected[rule.endpoint] = Permission.READ if is_read else Permission.WRITE
        elif rule.endpoint.startswith(("mlflow.aliases", "mlflow.tags")):
            name = rule.endpoint.rpartition(".")[2]
            is_read = name.startswith("get_")
            expected[rule.endpoint] = Permission.READ if is_read else Permission.WRITE
    expected["mlflow.stages.transition_model_version_stage"] = Permission.PROMOTE
    expected["mlflow.stages.get_latest_versions"] = Permission.READ

    found = {endpoint: permission_of(mlflow.app, endpoint) for endpoint in expected}

    assert found == expected


def test_mlflow_signs_in_by_basic_or_bearer(mlflow: Mlflow) -> None:
    mlflow.create_model()
    anonymous = mlflow.app.test_client()
    basic = base64.b64encode(f"anyone:{TOKEN}".encode()).decode()

    for credential in (f"Bearer {TOKEN}", f"Basic {basic}"):
        answer = anonymous.get(ROOT + GET_MODEL, headers={"Authorization": credential})
        assert answer.status_code == 200


@pytest.mark.parametrize("credential", [None, "Bearer wrong", "Basic eDp5", "Digest x"])
def test_without_a_valid_credential_nothing_is_told(
    mlflow: Mlflow, credential: str | None
) -> None:
    headers = {"Authorization": credential} if credential else {}

    answer = mlflow.app.test_client().get(ROOT + GET_MODEL, headers=headers)

    refusal_of(answer, "UNAUTHENTICATED")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="stagegate"'


@pytest.mark.parametrize("body", ["{", "[]", '{"name": "a", "name": "b"}'])
def test_body_that_is_no_json_object_is_refused(mlflow: Mlflow, body: str) -> None:
    answer = mlflow.api.client.post(
        f"{ROOT}/registered-models/create", data=body, content_type="application/json"
    )

    refusal_of(answer, "INVALID_PARAMETER_VALUE")


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/form-data"])
def test_body_of_another_type_is_refused(mlflow: Mlflow, content_type: str) -> None:
    answer = mlflow.api.client.post(
        f"{ROOT}/registered-models/create",
        data='{"name": "a"}',
        content_type=content_type,
    )

    assert "Content-Type" in refusal_of(answer, "INVALID_PARAMETER_VALUE")


def test_delete_reads_its_body_and_not_its_query(mlflow: Mlflow) -> None:
    mlflow.create_model()

    answer = mlflow.api.client.delete(f"{ROOT}/registered-models/delete?name={MODEL}")

    message = refusal_of(answer, "INVALID_PARAMETER_VALUE")
    assert message.startswith("Missing value for required parameter 'name'.")
    assert mlflow.model()["name"] == MODEL


def test_get_without_a_query_may_have_a_body(mlflow: Mlflow) -> None:
    mlflow.create_model()

    answer = mlflow.api.client.get(
        f"{ROOT}/registered-models/get", json={"name": MODEL}
    )

    assert answer.status_code == 200


def test_body_beyond_the_limit_is_refused(mlflow: Mlflow) -> None:
    answer = mlflow.send(
        "POST", "/registered-models/create", name="x" * (2 * 1024 * 1024)
    )

    assert answer.status_code == 413
    assert answer.get_json()["error_code"] == "BAD_REQUEST"


def test_unknown_fields_are_ignored_and_camel_case_is_read(mlflow: Mlflow) -> None:
    mlflow.create_model(deployment_job_id="7", unknown={"a": 1})

    created = mlflow.create_version(runId="r", runLink="l")

    assert (created["run_id"], created["run_link"]) == ("r", "l")


def test_wrong_types_are_refused_and_named(mlflow: Mlflow) -> None:
    wrong: dict[str, Any] = {"name": 5, "description": [], "tags": {"a": "b"}}
    for field, value in wrong.items():
        message = mlflow.refused(
            "INVALID_PARAMETER_VALUE",
            *("POST", "/registered-models/create"),
            **{"name": MODEL, field: value},
        )
        assert f"'{field}'" in message
