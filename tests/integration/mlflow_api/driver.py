"""What the tests of MLflow's protocol ask of a registry."""

import dataclasses
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from tests.integration.api.driver import MODEL, Document, Driver, document_of
from tests.integration.conftest import signed_in

ROOT = "/api/2.0/mlflow"
AJAX_ROOT = "/ajax-api/2.0/mlflow"
#: Nobody here reads it: such a version is READY at once, and unverified.
SOURCE = "s3://elsewhere/model"


@dataclasses.dataclass(frozen=True)
class Mlflow:
    """A client of MLflow's protocol, and ``api`` for the same registry by ours."""

    api: Driver
    root: str = ROOT

    def send(self, method: str, path: str, **fields: Any) -> TestResponse:  # noqa: ANN401  # what JSON can say
        """One request, its fields where MLflow's client puts them."""
        if method == "GET":
            return self.api.client.get(self.root + path, query_string=fields)
        return self.api.client.open(self.root + path, method=method, json=fields)

    def done(self, method: str, path: str, **fields: Any) -> Document:  # noqa: ANN401  # as above
        """What a request answers that must succeed."""
        answer = self.send(method, path, **fields)
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return document_of(answer)

    def refused(self, code: str, method: str, path: str, **fields: Any) -> str:  # noqa: ANN401  # as above
        """The message of a refusal with this code."""
        return refusal_of(self.send(method, path, **fields), code)

    def keyed(self, path: str, **fields: object) -> TestResponse:
        """A POST with an idempotency key, the same in every call."""
        headers = {"Idempotency-Key": "job-17"}
        return self.api.client.post(self.root + path, json=fields, headers=headers)

    def create_model(self, name: str = MODEL, **fields: object) -> Document:
        answer = self.done("POST", "/registered-models/create", name=name, **fields)
        document: Document = answer["registered_model"]
        return document

    def model(self, name: str = MODEL) -> Document:
        answer = self.done("GET", "/registered-models/get", name=name)
        document: Document = answer["registered_model"]
        return document

    def create_version(self, name: str = MODEL, **fields: object) -> Document:
        sent = {"source": SOURCE, **fields}
        answer = self.done("POST", "/model-versions/create", name=name, **sent)
        document: Document = answer["model_version"]
        return document

    def create_versions(self, count: int, name: str = MODEL) -> None:
        """A model with so many READY versions, 1 first."""
        self.create_model(name)
        for _ in range(count):
            self.create_version(name)

    def version(self, number: int, name: str = MODEL) -> Document:
        answer = self.done("GET", "/model-versions/get", name=name, version=str(number))
        document: Document = answer["model_version"]
        return document

    def move(
        self, number: int, stage: str, name: str = MODEL, **fields: object
    ) -> Document:
        sent = {"name": name, "version": str(number), "stage": stage, **fields}
        answer = self.done("POST", "/model-versions/transition-stage", **sent)
        document: Document = answer["model_version"]
        return document

    def latest(self, name: str = MODEL, **fields: object) -> dict[str, str]:
        """The version that ``get-latest-versions`` has for each stage."""
        answer = self.done(
            "POST", "/registered-models/get-latest-versions", name=name, **fields
        )
        found = answer.get("model_versions", [])
        return {each["current_stage"]: each["version"] for each in found}

    def with_role(self, role: str) -> "Mlflow":
        """The same registry as somebody with this role sees it."""
        return dataclasses.replace(self, api=self.api.with_role(role))

    @property
    def app(self) -> Flask:
        return self.api.app


def mlflow_client(app: Flask) -> Mlflow:
    """A client signed in as admin."""
    return Mlflow(Driver(app, signed_in(app)))


def refusal_of(answer: TestResponse, code: str) -> str:
    """The message of an error; the statuses are those of MLflow's server."""
    document = document_of(answer)
    assert document["error_code"] == code, document
    assert answer.status_code == STATUSES[code]
    assert answer.mimetype == "application/json"
    assert set(document) == {"error_code", "message"}
    message: str = document["message"]
    assert message
    return message


STATUSES = {
    "BAD_REQUEST": 400,
    "ENDPOINT_NOT_FOUND": 404,
    "INVALID_PARAMETER_VALUE": 400,
    "INVALID_STATE": 400,
    "INVALID_STATE_TRANSITION": 400,
    "PERMISSION_DENIED": 403,
    "RESOURCE_ALREADY_EXISTS": 400,
    "RESOURCE_CONFLICT": 409,
    "RESOURCE_DOES_NOT_EXIST": 404,
    "TEMPORARILY_UNAVAILABLE": 503,
    "UNAUTHENTICATED": 401,
}
