"""The application that the examples share, and who listens to it."""

from collections.abc import Mapping
from dataclasses import dataclass

from flask import Flask
from flask.testing import FlaskClient

from tests.integration.conftest import signed_in
from tests.stateful.rules import Wanted

ENDPOINT = "http://127.0.0.1:9/hook"  # nothing is sent: no dispatcher runs

SUBSCRIPTIONS = (
    Wanted(("*",)),
    Wanted(("model_version.stage_changed",), to_stages=("Production",)),
    Wanted(("*",), model_prefix="fraud-"),
    Wanted(("registered_model.created", "model_version.deleted")),
    Wanted(("*", "model_version.tag_set", "model_version.tag_deleted")),
)


@dataclass(frozen=True)
class World:
    """The application, a client of it, and the subscriptions by their id."""

    app: Flask
    client: FlaskClient
    subscriptions: Mapping[str, Wanted]


def make_world(app: Flask) -> World:
    """Subscribe to the application; one of the subscriptions is paused."""
    client = signed_in(app)
    ids = [_subscribe(client, wanted) for wanted in SUBSCRIPTIONS]
    paused = client.patch(f"/api/v1/webhooks/{ids[0]}", json={"state": "paused"})
    assert paused.status_code == 200, paused.text
    return World(app, client, dict(zip(ids, SUBSCRIPTIONS, strict=True)))


def _subscribe(client: FlaskClient, wanted: Wanted) -> str:
    body: dict[str, object] = {"url": ENDPOINT, "event_types": wanted.event_types}
    if wanted.model_prefix:
        body["model_pattern"] = f"{wanted.model_prefix}*"
    if wanted.to_stages:
        body["to_stages"] = wanted.to_stages
    answer = client.post("/api/v1/webhooks", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.get_json()["id"])
