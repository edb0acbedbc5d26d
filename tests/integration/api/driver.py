"""What the tests of the API ask of a registry, in one word each."""

import base64
import dataclasses
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, MetaData, select
from werkzeug.test import TestResponse

from registry.persistence.database import db
from registry.persistence.tables import Base
from registry.web.parts import Parts
from registry.worker import BackgroundWork
from tests.integration.conftest import signed_in
from webhooks.tables import Base as WebhooksBase

ON_BOTH_DATABASES = pytest.mark.parametrize(
    "database",
    ["sqlite", pytest.param("postgresql", marks=pytest.mark.service)],
    indirect=True,
)
ROOT = "/api/v1"
MODEL = "fraud"
FILES: Mapping[str, bytes] = {"model.bin": b"weights", "data/labels.txt": b"0\n1\n"}

Document = dict[str, Any]
#: Rows by table; ``last_used_at`` is left out, since signing in may write it.
Dump = dict[str, list[tuple[Any, ...]]]


def document_of(answer: TestResponse) -> Document:
    """The answer's JSON object."""
    document = answer.get_json()
    assert isinstance(document, dict), answer.get_data(as_text=True)
    return document


def declared(files: Mapping[str, bytes]) -> Document:
    """The body of ``finalize`` for these files."""
    return {
        "files": [
            {
                "path": path,
                "size_bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
            for path, content in files.items()
        ]
    }


def cursor_of(text: str) -> str:
    """A cursor with this JSON inside."""
    return base64.urlsafe_b64encode(text.encode()).decode()


@dataclasses.dataclass(frozen=True)
class Driver:
    """A signed-in client of one application."""

    app: Flask
    client: FlaskClient

    def get(self, path: str, **options: Any) -> TestResponse:  # noqa: ANN401  # the client's own options
        return self.client.get(ROOT + path, **options)

    def post(self, path: str, body: object = None, **options: Any) -> TestResponse:  # noqa: ANN401  # as above
        if body is not None:
            options["json"] = body
        return self.client.post(ROOT + path, **options)

    def put(self, path: str, **options: Any) -> TestResponse:  # noqa: ANN401  # as above
        return self.client.put(ROOT + path, **options)

    def patch(self, path: str, body: object, **options: Any) -> TestResponse:  # noqa: ANN401  # as above
        return self.client.patch(ROOT + path, json=body, **options)

    def delete(self, path: str, **options: Any) -> TestResponse:  # noqa: ANN401  # as above
        return self.client.delete(ROOT + path, **options)

    def read(self, path: str) -> Document:
        """The document at a path that must be there."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.get_data(as_text=True)
        document = document_of(answer)
        answer.close()
        return document

    def create_model(self, name: str = MODEL, **members: object) -> Document:
        answer = self.post("/models", {"name": name, **members})
        assert answer.status_code == 201, answer.get_data(as_text=True)
        return document_of(answer)

    def register(self, model: str = MODEL, **members: object) -> int:
        """A version that waits for its upload, or is linked to a ``source``."""
        answer = self.post(f"/models/{model}/versions", members)
        assert answer.status_code == 201, answer.get_data(as_text=True)
        return int(document_of(answer)["version"])

    def upload(
        self, number: int, files: Mapping[str, bytes] = FILES, *, model: str = MODEL
    ) -> Document:
        """Upload the files of a pending version and declare them complete."""
        for path, content in files.items():
            answer = self.put(
                f"/models/{model}/versions/{number}/artifacts/{path}", data=content
            )
            assert answer.status_code == 201, answer.get_data(as_text=True)
        answer = self.post(
            f"/models/{model}/versions/{number}/finalize", declared(files)
        )
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return document_of(answer)

    def ready(self, model: str = MODEL, **members: object) -> int:
        """A READY version with an artifact of its own."""
        number = self.register(model, **members)
        uploaded = self.upload(number, {"model.bin": b"v%d" % number}, model=model)
        assert uploaded["status"] == "READY"
        return number

    def ready_versions(self, count: int, model: str = MODEL) -> list[int]:
        """A model with so many READY versions, 1 first."""
        self.create_model(model)
        return [self.ready(model) for _ in range(count)]

    def version(self, number: int, model: str = MODEL) -> Document:
        return self.read(f"/models/{model}/versions/{number}")

    def stages(self, model: str = MODEL) -> dict[int, str]:
        """The stage of each version."""
        items = self.read(f"/models/{model}/versions?limit=200")["items"]
        return {item["version"]: item["stage"] for item in items}

    def move(
        self, number: int, to_stage: str, *, model: str = MODEL, **members: object
    ) -> TestResponse:
        body = {"to_stage": to_stage, **members}
        return self.post(f"/models/{model}/versions/{number}/transitions", body)

    def moved(self, number: int, *stages: str, model: str = MODEL) -> Document:
        """Move a version through stages; every move must be made."""
        document: Document = {}
        for stage in stages:
            answer = self.move(number, stage, model=model)
            assert answer.status_code == 200, answer.get_data(as_text=True)
            document = document_of(answer)
        return document

    def serve(self, *numbers: int) -> None:
        """Bring versions to Production, one after the other."""
        for number in numbers:
            self.moved(number, "Staging", "Production")

    def rollback(self, model: str = MODEL, **members: object) -> TestResponse:
        return self.post(f"/models/{model}/rollback", members)

    def audit(self, model: str | None = None) -> list[Document]:
        """Audit entries, oldest first, each with its sealed text parsed."""
        query = "/audit?limit=200" + (f"&model={model}" if model else "")
        items = self.read(query)["items"]
        return [{**item, **json.loads(item["entry"])} for item in reversed(items)]

    def with_role(self, role: str) -> "Driver":
        """The same registry as somebody with this role sees it."""
        return self.with_token(name=f"a {role}", role=role)

    def with_token(self, **members: object) -> "Driver":
        """The same registry as the bearer of such a token sees it."""
        answer = self.post("/tokens", {"name": "somebody", **members})
        assert answer.status_code == 201, answer.get_data(as_text=True)
        return self.with_secret(document_of(answer)["token"])

    def with_secret(self, secret: str) -> "Driver":
        """The same registry as whoever sends this as a token sees it."""
        return Driver(self.app, signed_in(self.app, secret))

    @property
    def parts(self) -> Parts:
        found: Parts = self.app.extensions["stagegate"]
        return found

    @property
    def engine(self) -> Engine:
        with self.app.app_context():
            return db.engine

    def work_in_background(self) -> None:
        """Complete the registrations that were left to the background."""
        BackgroundWork(self.app).complete_registrations()

    def dump(self) -> Dump:
        """Everything that is stored, as the driver reads it."""
        rows: Dump = {}
        with self.engine.connect() as connection:
            cursor = connection.connection.cursor()
            for name, query in _all_rows().items():
                cursor.execute(query)
                rows[name] = [tuple(row) for row in cursor.fetchall()]
        return rows


@cache
def _all_rows() -> Mapping[str, str]:
    """The query of each table's rows."""
    queries = {}
    metadata: tuple[MetaData, ...] = (Base.metadata, WebhooksBase.metadata)
    for table in (t for each in metadata for t in each.sorted_tables):
        columns = [c for c in table.columns if c.name != "last_used_at"]
        queries[table.name] = str(select(*columns).order_by(*table.primary_key.columns))
    return queries


def problem_of(answer: TestResponse, status: int, slug: str) -> Document:
    """The problem document of a refusal, its common members checked."""
    assert answer.status_code == status, answer.get_data(as_text=True)
    assert answer.mimetype == "application/problem+json"
    document = document_of(answer)
    assert document["type"] == f"urn:stagegate:problem:{slug}"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    assert document["instance"].startswith("/")
    return document
