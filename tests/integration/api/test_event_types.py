"""What events are said to be, held against what a receiver gets of every type."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from flask import Flask
from jsonschema import Draft202012Validator
from sqlalchemy import text

from registry.settings import packaged_config
from tests.integration.api.driver import MODEL, Driver, document_of, problem_of
from tests.integration.conftest import close_app, make_app
from tests.receiver import Receiver

COMMENTS = "/api/2.0/mlflow/comments"
IS_PROMPT = {"mlflow.prompt.is_prompt": "true"}
CONTENT = {**IS_PROMPT, "mlflow.prompt.text": "Hello {{name}}", "a": "b"}
WATCHED = """
[[override]]
models = "gated"
[[override.moves]]
from = "None"
to = "Staging"
via = "promotion"
approvals = 2
[[override.moves]]
from = "Staging"
to = "Production"
via = "promotion"
"""
LONG_AGO = text("UPDATE webhook_subscriptions SET failing_since = '2020-01-01'")


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    policy = tmp_path / "policy.toml"
    policy.write_text(packaged_config("policy.toml").read_text() + WATCHED)
    app = make_app(tmp_path, POLICY_FILE=str(policy))
    yield app
    close_app(app)


def test_every_event_is_sent_as_its_schema_says(
    api: Driver, receiver: Receiver
) -> None:
    types = [item["type"] for item in api.read("/event-types?limit=200")["items"]]
    watcher = {"url": receiver.url, "event_types": types}
    webhook = document_of(api.post("/webhooks", watcher))["id"]
    assert api.post(f"/webhooks/{webhook}/test").status_code == 200

    tell_of_a_model(api)
    tell_of_a_prompt(api)
    tell_of_trouble(api)
    tell_of_gates(api)

    api.parts.dispatcher.run_once()
    bodies = [request.json() for request in receiver.requests]
    assert {body["type"] for body in bodies} == set(types)
    described = api.read("/openapi.json")["webhooks"]
    assert described.keys() == set(types)
    for body in bodies:
        schema = api.read(f"/event-types/{body['type']}")
        content = described[body["type"]]["post"]["requestBody"]["content"]
        assert content["application/json"]["schema"] == schema
        checker = Draft202012Validator.FORMAT_CHECKER
        Draft202012Validator(closed(schema), format_checker=checker).validate(body)


def test_an_event_that_never_happens_has_no_schema(api: Driver) -> None:
    problem_of(api.get("/event-types/model_version.exploded"), 404, "not-found")


def test_event_types_come_in_pages(api: Driver) -> None:
    first = api.read("/event-types?limit=1")
    second = api.read(f"/event-types?limit=1&cursor={first['next_cursor']}")
    assert [*first["items"], *second["items"]] == [
        {"type": "deployment.updated", "opt_in": False},
        {"type": "model_version.alias_deleted", "opt_in": False},
    ]


def closed(schema: Any) -> Any:  # noqa: ANN401  # any part of a schema
    """The schema of what has no member that it does not name."""
    if not isinstance(schema, dict):
        return schema
    shut = {name: closed(part) for name, part in schema.items()}
    if "properties" in shut:
        shut["unevaluatedProperties"] = False
    return shut


def tell_of_a_model(api: Driver) -> None:
    api.ready_versions(3)
    api.patch(f"/models/{MODEL}", {"description": "whether", "tags": {"a": "b"}})
    api.serve(1, 2)
    api.rollback(reason="worse")
    report = {"status": "succeeded", "environment": "eu", "url": "https://ci.example/1"}
    assert api.post(f"/models/{MODEL}/versions/1/deployments", report).status_code < 300
    tell_of_a_version(api, MODEL, 3)
    lose_artifact(api, 1)
    api.patch(f"/models/{MODEL}", {"name": "loss"})
    api.create_model("idle")
    api.delete("/models/idle")


def tell_of_a_prompt(api: Driver) -> None:
    api.create_model("greet", tags=IS_PROMPT)
    api.patch("/models/greet", {"tags": {"team": "care"}})
    api.patch("/models/greet", {"tags": {"team": None}})
    number = api.register("greet", source="prompt-template", tags=CONTENT)
    report = {"status": "pending", "environment": "eu"}
    path = f"/models/greet/versions/{number}"
    assert api.post(f"{path}/deployments", report).status_code < 300
    check = {"name": "tests", "status": "passed"}
    assert api.post(f"{path}/checks", check).status_code < 300
    tell_of_a_version(api, "greet", number)
    api.patch("/models/greet", {"name": "welcome"})
    api.delete("/models/welcome")


def tell_of_a_version(api: Driver, model: str, number: int) -> None:
    """All that can happen to versions of both kinds; it ends with its deletion."""
    version = f"/models/{model}/versions/{number}"
    api.patch(version, {"description": "new", "tags": {"key": "é"}})
    api.patch(version, {"tags": {"key": None}})
    api.post(f"{version}/checks", {"name": "tests", "status": "passed"})
    api.put(f"/models/{model}/aliases/best", json={"version": number})
    api.delete(f"/models/{model}/aliases/best")
    told = {"name": model, "version": str(number), "comment": "well"}
    made = api.client.post(f"{COMMENTS}/create", json=told).get_json()["comment"]
    edited = {"id": made["id"], "comment": "better"}
    api.client.patch(f"{COMMENTS}/update", json=edited)
    api.client.delete(f"{COMMENTS}/delete", json={"id": made["id"]})
    assert api.delete(version).status_code == 204


def tell_of_gates(api: Driver) -> None:
    """Requests that end in each way, a hold, and broken glass."""
    api.create_model("gated")
    api.ready("gated")
    version = "/models/gated/versions/1"
    asked = {"model": "gated", "version": 1, "to_stage": "Staging"}
    approvers = api.with_role("approver"), api.with_role("approver")
    writer = api.with_role("admin").with_role("writer")
    asker = document_of(writer.post("/transition-requests", asked))
    assert (
        writer.post(f"/transition-requests/{asker['id']}/cancel", {}).status_code == 200
    )
    for decisions in ("reject", "approve approve"):
        made = document_of(writer.post("/transition-requests", asked))
        for decision, by in zip(decisions.split(), approvers, strict=False):
            path = f"/transition-requests/{made['id']}/{decision}"
            assert by.post(path, {}).status_code == 200
    api.put("/models/gated/holds/Production", json={"reason": "an incident"})
    past = {"to_stage": "Production", "reason": "urgent", "break_glass": True}
    assert api.post(f"{version}/transitions", past).status_code == 200
    assert api.delete("/models/gated/holds/Production").status_code == 204


def lose_artifact(api: Driver, number: int) -> None:
    source = urlsplit(api.version(number)["source"]).path
    (Path(unquote(source)) / "model.bin").unlink()
    assert api.post(f"/models/{MODEL}/versions/{number}/verify").status_code == 409


def tell_of_trouble(api: Driver) -> None:
    """An endpoint that fails, recovers, and is gone."""
    with Receiver(answers=[500, 500, 200, 410]) as endpoint:
        failing = {"url": endpoint.url, "schedule_seconds": [0]}
        assert api.post("/webhooks", failing).status_code == 201
        for name in ("failed", "warned", "recovered", "gone"):
            api.create_model(name)
            api.parts.dispatcher.run_once()
            with api.engine.begin() as connection:
                connection.execute(LONG_AGO)
