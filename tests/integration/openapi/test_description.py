"""The OpenAPI document: valid, complete, and about the routes that there are."""

import itertools
import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from openapi_spec_validator import validate
from werkzeug.test import TestResponse

from registry.api.openapi_examples import BODY_EXAMPLES
from registry.domain.roles import Action

PROBLEM = "application/problem+json"
PREFIX = "/api/v1"
# The document and the page that shows it do not describe themselves.
SELF = ("/api/v1/openapi.json", "/api/v1/docs")
PATH_VALUES = {"number": "1", "path": "model/model.pkl", "stage": "Staging"}
BY_THE_HTTP_SERVER = "414"
METHODS = frozenset({"get", "post", "put", "patch", "delete"})

Operation = tuple[str, str, dict[str, Any]]


@pytest.fixture
def document(app: Flask) -> dict[str, Any]:
    answer = app.test_client().get(f"{PREFIX}/openapi.json")
    assert answer.status_code == 200
    assert answer.mimetype == "application/json"
    found: dict[str, Any] = answer.get_json()
    return found


#: Their query says what about.
ASKED_FOR_MORE = {"list_transition_deliveries", "preview_transition"}


def operations(document: dict[str, Any]) -> Iterator[Operation]:
    for path, item in document["paths"].items():
        for method in METHODS & item.keys():
            yield method, path, item[method]


def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    validate(document)


def test_every_route_is_documented_and_nothing_else(
    app: Flask, document: dict[str, Any]
) -> None:
    served = {
        (method.lower(), re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith(PREFIX) and not rule.rule.startswith(SELF)
        for method in rule.methods or ()
    }
    documented = {(method, path) for method, path, _ in operations(document)}
    assert {entry for entry in served if entry[0] in METHODS} == documented


def test_operations_have_an_id_of_their_own_a_summary_and_a_tag(
    document: dict[str, Any],
) -> None:
    found = [operation for _, _, operation in operations(document)]
    ids = [operation["operationId"] for operation in found]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in ids)
    assert all(operation["summary"] and operation["tags"] for operation in found)


def test_every_refusal_is_a_problem_document(document: dict[str, Any]) -> None:
    components = document["components"]["responses"]
    for _, path, operation in operations(document):
        for status, response in operation["responses"].items():
            name = response.get("$ref", "").rpartition("/")[2]
            content = (components[name] if name else response).get("content", {})
            is_refusal = status[0] in "45" and status != BY_THE_HTTP_SERVER
            assert (list(content) == [PROBLEM]) == is_refusal, path


def test_operations_say_which_action_they_take_and_that_they_may_refuse(
    document: dict[str, Any],
) -> None:
    for _, path, operation in operations(document):
        if operation.get("security") == []:  # nobody is signed in there
            assert path == "/api/v1/oidc/exchange"
            continue
        assert re.search(
            rf"Takes who may \*({'|'.join(Action)})\*", operation.get("description", "")
        ), path
        assert "403" in operation["responses"], path


def test_examples_are_what_their_schemas_allow(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name, example in BODY_EXAMPLES.items():
        assert schemas[name]["example"] == example
    bodies = {
        content["schema"]["$ref"].rpartition("/")[2]
        for _, _, operation in operations(document)
        for content in operation.get("requestBody", {}).get("content", {}).values()
        if "$ref" in content["schema"]
    }
    assert bodies == BODY_EXAMPLES.keys()


def send(
    client: FlaskClient, operation: Operation, headers: dict[str, str]
) -> TestResponse:
    """Send what the document's examples say."""
    method, path, described = operation
    url = re.sub(r"{(\w+)}", lambda name: PATH_VALUES.get(name[1], "absent"), path)
    content = described.get("requestBody", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema", {}).get("$ref")
    body = BODY_EXAMPLES[schema.rpartition("/")[2]] if schema else None
    return client.open(url, method=method.upper(), json=body, headers=headers)


def takes(operation: Operation, header: str) -> bool:
    return any(
        parameter.get("$ref", "").endswith(f"/{header}")
        for parameter in operation[2]["parameters"]
    )


@pytest.mark.parametrize(
    ("header", "malformed"), [("Idempotency-Key", "a b"), ("If-Match", 'W/"weak"')]
)
def test_a_header_is_documented_exactly_where_it_is_honoured(
    client: FlaskClient, document: dict[str, Any], header: str, malformed: str
) -> None:
    for operation in operations(document):
        answer = send(client, operation, {header: malformed})
        errors = (answer.get_json(silent=True) or {}).get("errors", {})
        is_honoured = answer.status_code == 422 and header in errors
        assert is_honoured == takes(operation, header), operation[:2]


def test_examples_are_accepted_as_far_as_their_values_go(
    client: FlaskClient, document: dict[str, Any]
) -> None:
    for operation in operations(document):
        answer = send(client, operation, {})
        is_asked_for_more = operation[2]["operationId"] in ASKED_FOR_MORE
        assert is_asked_for_more or answer.status_code != 422, answer.text


def test_statuses_of_examples_are_documented(
    client: FlaskClient, document: dict[str, Any]
) -> None:
    anonymous = client.application.test_client()
    for sender, operation in itertools.product(
        (client, anonymous), list(operations(document))
    ):
        answer = send(sender, operation, {})
        assert str(answer.status_code) in operation[2]["responses"], operation[:2]
