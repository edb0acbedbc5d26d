"""What MLflow's webhooks deliver, and what a test of one tells."""

import time
from importlib import import_module
from typing import Any

from tests.mlflow.conformance.cases import section
from tests.mlflow.conformance.receiving import Delivery
from tests.mlflow.conformance.world import SOURCE, World

CASES = section(__name__, delivers=True)

SECRET = "a secret of the receiver's"
RUN = "1234567890abcdef"
QUIET_SECONDS = 1.5
PAIRS = (
    ("registered_model", "created"),
    ("model_version", "created"),
    ("model_version_tag", "set"),
    ("model_version_tag", "deleted"),
    ("model_version_alias", "created"),
    ("model_version_alias", "deleted"),
    ("prompt", "created"),
    ("prompt_version", "created"),
    ("prompt_tag", "set"),
    ("prompt_tag", "deleted"),
    ("prompt_version_tag", "set"),
    ("prompt_version_tag", "deleted"),
    ("prompt_alias", "created"),
    ("prompt_alias", "deleted"),
    ("budget_policy", "exceeded"),
)
BACKWARDS = (
    "registered_model.created",
    "model_version_tag.set",
    "model_version.created",
)


def hook(world: World, *events: str, path: str = "/hook", **fields: object) -> str:
    """A webhook on an address of its own; its name finds what it is told."""
    name = world.name("hook")
    world.client.create_webhook(
        name=name, url=world.endpoint.url(name, path), events=list(events), **fields
    )
    return name


def identity_of(world: World, name: str) -> str:
    """The id of the webhook that was made last."""
    newest = world.client.list_webhooks(max_results=1)[0]
    assert newest.name == name
    identity: str = newest.webhook_id
    return identity


def told(world: World, name: str, entity: str, action: str) -> dict[str, Any]:
    """The data of the one event that the webhook is told of."""
    (delivery,) = world.endpoint.told(name)
    document = delivery.document
    assert (document["entity"], document["action"]) == (entity, action)
    assert set(document) == {"entity", "action", "timestamp", "data"}
    assert delivery.headers["content-type"] == "application/json"
    return delivery.data


def example(entity: str, action: str) -> dict[str, Any]:
    """The example that MLflow itself has for an event."""
    of = import_module("mlflow.entities.webhook")
    event = of.WebhookEvent(of.WebhookEntity(entity), of.WebhookAction(action))
    types = import_module("mlflow.webhooks.types")
    return dict(types.get_example_payload_for_event(event))


@CASES.case
def a_new_model_is_told(world: World) -> None:
    name = hook(world, "registered_model.created")
    model = world.model(tags={"k": "v"}, description="d")
    data = told(world, name, "registered_model", "created")
    assert data == {"name": model, "tags": {"k": "v"}, "description": "d"}


@CASES.case
def a_new_model_without_anything_is_told_so(world: World) -> None:
    name = hook(world, "registered_model.created")
    model = world.model()
    data = told(world, name, "registered_model", "created")
    assert (data["name"], data["tags"]) == (model, {})
    assert not data["description"]


@CASES.case
def a_new_version_is_told(world: World) -> None:
    name = hook(world, "model_version.created")
    version = world.version(run_id=RUN, tags={"k": "v"}, description="d")
    assert told(world, name, "model_version", "created") == {
        "name": version.name,
        "version": version.version,
        "source": SOURCE,
        "run_id": RUN,
        "tags": {"k": "v"},
        "description": "d",
    }


@CASES.case
def a_tag_of_a_version_is_told(world: World) -> None:
    version = world.version(tags={"before": "x"})
    name = hook(world, "model_version_tag.set")
    world.client.set_model_version_tag(version.name, "1", "k", "v")
    expected = {"name": version.name, "version": "1", "key": "k", "value": "v"}
    assert told(world, name, "model_version_tag", "set") == expected


@CASES.case
def a_tag_that_is_deleted_is_told(world: World) -> None:
    version = world.version(tags={"k": "v"})
    name = hook(world, "model_version_tag.deleted")
    world.client.set_model_version_tag(version.name, "1", "k", "w")
    world.client.delete_model_version_tag(version.name, "1", "k")
    expected = {"name": version.name, "version": "1", "key": "k"}
    assert told(world, name, "model_version_tag", "deleted") == expected


@CASES.case
def an_alias_is_told(world: World) -> None:
    version = world.version()
    name = hook(world, "model_version_alias.created")
    world.client.set_registered_model_alias(version.name, "best", "1")
    expected = {"name": version.name, "alias": "best", "version": "1"}
    assert told(world, name, "model_version_alias", "created") == expected


@CASES.case
def an_alias_that_is_deleted_is_told(world: World) -> None:
    version = world.version()
    name = hook(world, "model_version_alias.deleted")
    world.client.set_registered_model_alias(version.name, "best", "1")
    world.client.delete_registered_model_alias(version.name, "best")
    expected = {"name": version.name, "alias": "best"}
    assert told(world, name, "model_version_alias", "deleted") == expected


@CASES.case
def nobody_is_told_of_what_they_did_not_ask_for(world: World) -> None:
    name = hook(world, "model_version_alias.deleted")
    version = world.version(tags={"k": "v"})
    world.client.set_registered_model_alias(version.name, "best", "1")
    world.bring(version, "Staging")
    time.sleep(QUIET_SECONDS)
    assert world.endpoint.told(name, 0) == []


@CASES.case
def a_webhook_that_is_disabled_or_deleted_is_told_nothing(world: World) -> None:
    disabled = hook(world, "registered_model.created", status="DISABLED")
    deleted = hook(world, "registered_model.created")
    world.client.delete_webhook(identity_of(world, deleted))
    world.model()
    time.sleep(QUIET_SECONDS)
    assert world.endpoint.told(disabled, 0) == world.endpoint.told(deleted, 0) == []


@CASES.case
def a_secret_signs_and_another_one_does_not_verify(world: World) -> None:
    name = hook(world, "registered_model.created", secret=SECRET)
    world.model(description="ü 🚀")
    (delivery,) = world.endpoint.told(name)
    assert delivery.is_signed_with(SECRET)
    assert not delivery.is_signed_with("another")


@CASES.case
def without_a_secret_there_is_no_signature(world: World) -> None:
    name = hook(world, "registered_model.created")
    world.model()
    (delivery,) = world.endpoint.told(name)
    assert "x-mlflow-signature" not in delivery.headers
    assert delivery.headers["x-mlflow-delivery-id"]
    assert abs(int(delivery.headers["x-mlflow-timestamp"]) - time.time()) < 60


@CASES.case
def every_delivery_has_an_id_of_its_own(world: World) -> None:
    name = hook(world, "registered_model.created")
    for _ in range(3):
        world.model()
    ids = {_id_of(each) for each in world.endpoint.told(name, 3)}
    assert len(ids) == 3


@CASES.case
def a_receiver_that_fails_is_asked_again_within_seconds(world: World) -> None:
    name = hook(world, "registered_model.created", path="/flaky")
    model = world.model()
    deliveries = world.endpoint.told(name, 3)
    assert [each.status for each in deliveries] == [500, 500, 200]
    assert {each.data["name"] for each in deliveries} == {model}
    assert len({_id_of(each) for each in deliveries}) == 1


@CASES.case
def a_receiver_that_asks_for_patience_is_left_alone_as_long(world: World) -> None:
    name = hook(world, "registered_model.created", path="/limited")
    started_at = time.monotonic()
    world.model()
    deliveries = world.endpoint.told(name, 2)
    assert [each.status for each in deliveries] == [429, 200]
    assert time.monotonic() - started_at >= 2


@CASES.each(PAIRS)
def a_test_shows_mlflows_own_example(world: World, pair: tuple[str, str]) -> None:
    name = hook(world, ".".join(pair), secret=SECRET)
    result = world.client.test_webhook(identity_of(world, name))
    assert (result.success, result.response_status) == (True, 200)
    assert result.error_message is None
    assert result.response_body == '{"detail": "told"}'
    assert told(world, name, *pair) == example(*pair)
    assert world.endpoint.told(name)[0].is_signed_with(SECRET)


@CASES.case
def a_test_may_be_of_any_event(world: World) -> None:
    name = hook(world, "registered_model.created", "model_version.created")
    identity = identity_of(world, name)
    world.client.test_webhook(identity, event="model_version.created")
    world.client.test_webhook(identity, event="prompt_alias.deleted")
    of = [each.document["entity"] for each in world.endpoint.told(name, 2)]
    assert of == ["model_version", "prompt_alias"]


@CASES.each((400, 401, 404, 410))
def a_test_that_is_refused_has_a_status_and_no_error(world: World, status: int) -> None:
    name = hook(world, "registered_model.created", path=f"/status/{status}")
    result = world.client.test_webhook(identity_of(world, name))
    assert (result.success, result.response_status) == (False, status)
    assert result.error_message is None
    assert result.response_body is not None


@CASES.case
def a_test_that_reaches_nobody_has_an_error_and_no_status(world: World) -> None:
    webhook = world.client.create_webhook(
        name="hook", url="http://127.0.0.1:1/", events=["registered_model.created"]
    )
    result = world.client.test_webhook(webhook.webhook_id)
    assert (result.success, result.response_status) == (False, None)
    assert result.error_message


@CASES.stricter("MLflow follows redirects, as a GET without a body")
def a_test_says_where_a_redirect_leads(world: World) -> None:
    name = hook(world, "registered_model.created", path="/status/302")
    result = world.client.test_webhook(identity_of(world, name))
    assert result.success is False
    if not world.is_mlflow:
        assert result.response_status == 302
        assert f"a redirect to http://127.0.0.1:{world.endpoint.port}/hook;" in (
            result.error_message
        )
        assert "not followed" in result.error_message


@CASES.case
def a_disabled_webhook_can_be_tested(world: World) -> None:
    name = hook(world, "registered_model.created", status="DISABLED")
    assert world.client.test_webhook(identity_of(world, name)).success


@CASES.stricter("MLflow sorts the events of a webhook")
def events_are_given_back_in_the_order_given(world: World) -> None:
    identity = identity_of(world, hook(world, *BACKWARDS))
    found = world.client.get_webhook(identity)
    events = [str(event) for event in found.events]
    assert events == (sorted(BACKWARDS) if world.is_mlflow else list(BACKWARDS))


def _id_of(delivery: Delivery) -> str:
    return delivery.headers["x-mlflow-delivery-id"]
