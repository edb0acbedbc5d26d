"""What waits when a format changes is sent as it was rendered."""

import base64
import hmac
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.integration.webhooks.conftest import World
from tests.receiver import ReceivedRequest, Receiver
from webhooks import redelivery, subscriptions
from webhooks.redelivery import DeliveryFilter
from webhooks.tables import Delivery, Subscription

JENKINS: dict[str, Any] = {
    "format": "jenkins",
    "options": {
        "trigger": "build",
        "user": "ci",
        "parameters": {"MODEL": "data.model"},
    },
    "credentials": {"token": "of-no-value", "secret": "shared-text"},
}
BASIC = "Basic " + base64.b64encode(b"ci:of-no-value").decode()


def turn_into(world: World, identity: str, name: str, **changes: Any) -> None:  # noqa: ANN401  # Any field of SubscriptionSpec.
    with world.begin() as session:
        subscriptions.update_fields(
            session,
            world.guard,
            identity,
            {"format": name, "options": {}, **changes},
            box=world.box,
            now=datetime.now(UTC),
        )


def send_all(world: World) -> None:
    dispatcher = world.dispatcher()
    while dispatcher.run_once():
        pass


def test_the_old_format_keeps_its_bytes_its_sign_in_and_its_receipt(
    world: World,
) -> None:
    with Receiver() as receiver:
        url = f"{receiver.url.removesuffix('hook')}job/deploy/buildWithParameters"
        identity, _ = world.subscribe(url, **JENKINS)
        old = world.enqueue(now=datetime.now(UTC))
        before = world.deliveries()[0].body
        turn_into(world, identity, "standard")
        new = world.enqueue(now=datetime.now(UTC))

        send_all(world)
        first, second = receiver.requests

    assert (first.message_id, second.message_id) == (old.id, new.id)
    assert first.body == before
    assert first.headers["content-type"].startswith("application/x-www-form-urlencoded")
    assert first.headers["authorization"] == BASIC
    assert second.headers["content-type"] == "application/json"
    assert "authorization" not in second.headers


def signed_as_databricks(request: ReceivedRequest) -> bool:
    expected = hmac.new(b"shared-text", request.body, "sha256").hexdigest()
    return request.headers.get("x-databricks-signature") == expected


def test_what_is_sent_again_is_signed_as_it_was_rendered(world: World) -> None:
    """By hand and by a filter, and through a second change of the format."""
    with Receiver() as receiver:
        identity, _ = world.subscribe(
            receiver.url,
            format="databricks",
            credentials={"secret": "shared-text"},
        )
        at = datetime.now(UTC)
        world.enqueue(
            type="model_version.registered",
            data={"model": "fraud", "version": 1},
            now=at,
            occurred_at=at,
        )
        send_all(world)
        (original,) = world.deliveries()
        turn_into(world, identity, "cloudevents")
        turn_into(world, identity, "standard")

        with world.begin() as session:
            redelivery.redeliver(session, original.id, now=datetime.now(UTC))
        send_all(world)
        again = DeliveryFilter(again_before=datetime.now(UTC))
        with world.begin() as session:
            portion = redelivery.send_portion(
                session, identity, again, after=None, now=datetime.now(UTC)
            )
        assert portion.count == 1
        send_all(world)

        requests = receiver.requests
    assert len(requests) == 3
    assert len({request.body for request in requests}) == 1
    assert all(map(signed_as_databricks, requests))


def test_other_options_of_the_same_format_hold_for_what_waits(world: World) -> None:
    """A wrong user is put right for the next attempt, not for the next event."""
    url = "https://example.com/job/deploy/buildWithParameters"
    identity, _ = world.subscribe(url, **JENKINS)
    world.enqueue()
    options = {**JENKINS["options"], "user": "deployer"}
    turn_into(world, identity, "jenkins", options=options)

    (claim,) = world.claim(now=datetime.now(UTC) + timedelta(seconds=1))

    assert (claim.format, claim.options) == ("jenkins", options)


def test_the_first_format_stands_on_what_it_rendered(world: World) -> None:
    identity, _ = world.subscribe(format="cloudevents")
    world.enqueue()
    turn_into(world, identity, "standard")
    world.enqueue()
    turn_into(world, identity, "cloudevents")

    with world.begin() as session:
        query = session.query(Delivery).order_by(Delivery.sequence)
        formats = [(row.rendered_as or {}).get("format") for row in query]
        present = session.get_one(Subscription, identity).format
    assert (formats, present) == (["cloudevents", "standard"], "cloudevents")
