"""Receivers written for MLflow and for Databricks, told by our outbox."""

import base64
import hashlib
import hmac

import pytest

from tests.integration.webhooks.conftest import NOW, World, make_event
from tests.receiver import Receiver
from webhooks import record
from webhooks.outbox import enqueue_all
from webhooks.tables import Delivery

SECRET = "a secret of no value"
TAG_SET = "model_version.tag_set"


def test_mlflows_receivers_verify_every_attempt(
    world: World, receiver: Receiver
) -> None:
    receiver.answers = [503]
    world.subscribe(
        receiver.url,
        format="mlflow",
        event_types=[TAG_SET],
        credentials={"secret": SECRET},
        schedule_seconds=[0, 0],
    )
    world.enqueue(type=TAG_SET, is_opt_in=True)

    dispatcher = world.dispatcher()
    dispatcher.run_once()
    with world.begin() as session:
        session.query(Delivery).update({"next_attempt_at": NOW})
    dispatcher.run_once()

    first, second = receiver.requests
    identity = first.headers["x-mlflow-delivery-id"]
    assert (second.headers["x-mlflow-delivery-id"], second.body) == (
        identity,
        first.body,
    )
    for request in (first, second):
        message = b".".join(
            [identity.encode(), request.headers["x-mlflow-timestamp"].encode()]
        )
        digest = hmac.new(
            SECRET.encode(), message + b"." + request.body, hashlib.sha256
        ).digest()
        expected = f"v1,{base64.b64encode(digest).decode()}"
        assert request.headers["x-mlflow-signature"] == expected


def test_databricks_receivers_are_told_which_webhook_it_is(
    world: World, receiver: Receiver
) -> None:
    identity, _ = world.subscribe(
        receiver.url,
        format="databricks",
        credentials={"secret": SECRET, "authorization": "Bearer of-no-value"},
    )
    world.enqueue()

    world.dispatcher().run_once()

    (request,) = receiver.requests
    assert request.json()["webhook_id"] == identity
    assert request.headers["authorization"] == "Bearer of-no-value"
    digest = hmac.new(SECRET.encode(), request.body, hashlib.sha256).hexdigest()
    assert request.headers["x-databricks-signature"] == digest
    with world.begin() as session:
        (delivery,) = record.list_page(session, subscription_id=identity, limit=9)
        (attempt,) = record.list_attempts(session, delivery.id)
    recorded = attempt.request_headers or {}
    assert recorded["x-databricks-signature"] == "(redacted)"
    assert recorded["authorization"] == "(redacted)"


@pytest.mark.parametrize("name", ["mlflow", "databricks"])
def test_what_a_format_has_no_words_for_makes_no_delivery(
    world: World, name: str
) -> None:
    world.subscribe(format=name, event_types=["*", "webhook.*"])

    assert world.enqueue(type="model_version.updated").fanout == 0
    assert world.enqueue(type="webhook.failing", ordering_key="a").fanout == 0
    assert world.enqueue(type="model_version.registered").fanout == 1


def test_opt_in_events_go_to_those_who_name_their_type(world: World) -> None:
    world.subscribe()
    world.subscribe(event_types=["model_version.*"])
    named, _ = world.subscribe(event_types=["*", TAG_SET])

    events = [make_event(type=TAG_SET, is_opt_in=True), make_event(sequence=1)]
    with world.begin() as session:
        opt_in, ordinary = enqueue_all(session, events, now=NOW)

    assert (opt_in["fanout"], ordinary["fanout"]) == (1, 3)
    (told,) = (d for d in world.deliveries() if d.event_id == opt_in["id"])
    assert told.subscription_id == named


def test_a_test_shows_an_example_of_what_is_asked_for(
    world: World, receiver: Receiver
) -> None:
    identity, _ = world.subscribe(
        receiver.url, format="mlflow", event_types=["prompt.created", TAG_SET]
    )

    dispatcher = world.dispatcher()
    dispatcher.send_test(identity)
    dispatcher.send_test(identity, sample=TAG_SET)

    first, chosen = (request.json() for request in receiver.requests)
    assert first["entity"] == "prompt"
    assert (chosen["entity"], chosen["action"]) == ("model_version_tag", "set")
    assert "x-mlflow-signature" not in receiver.requests[0].headers
