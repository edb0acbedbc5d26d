"""What dies before it is sent is an exhausted delivery in every respect."""

import logging
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from tests.integration.webhooks.conftest import (
    DELIVERED,
    FAILED,
    NOW,
    World,
    make_event,
)
from tests.integration.webhooks.failing import WATCHED, announced, operational
from tests.integration.webhooks.test_metrics import backlogs, dead
from tests.receiver import Receiver
from webhooks import outbox, redelivery, subscriptions
from webhooks.errors import DeliveryStateError
from webhooks.queue.dispatcher import utc_now
from webhooks.queue.schedule import MAX_ATTEMPTS
from webhooks.tables import REASON_BEHIND, Delivery

LATER = NOW + timedelta(hours=1)
#: Twenty-five times an address that may not be shortened is more than GitHub takes.
TOO_MUCH: dict[str, Any] = {
    "format": "github",
    "options": {
        "dispatch": "workflow",
        "ref": "main",
        "inputs": {f"input_{n}": "data.source" for n in range(25)},
    },
    "credentials": {"token": "token-of-the-receiver"},
}
LONG = {"model": "fraud", "version": 7, "source": "s3://" + "a" * 3000}


def subscribe(world: World, **choices: object) -> str:
    identity, _ = world.subscribe(**{**TOO_MUCH, **choices})
    return identity


def mend(world: World, identity: str, url: str | None = None) -> None:
    """Choose what GitHub takes, or another receiver."""
    changes: dict[str, Any] = {"format": "standard", "options": {}}
    with world.begin() as session:
        subscriptions.update_fields(
            session,
            world.guard,
            identity,
            changes if url is None else {**changes, "url": url},
            box=world.box,
            now=LATER,
        )


def redeliver(world: World, delivery_id: str) -> Delivery:
    with world.begin() as session:
        return redelivery.redeliver(session, delivery_id, now=LATER)


def of(world: World, identity: str) -> list[Delivery]:
    return [row for row in world.deliveries() if row.subscription_id == identity]


def states(world: World, identity: str) -> list[str]:
    return [row.state for row in of(world, identity)]


def test_it_blocks_its_key_and_holds_what_comes_after(world: World) -> None:
    identity = subscribe(world)

    world.enqueue(data=LONG)
    world.enqueue()
    other = world.enqueue(ordering_key="another")

    head, follower = [row for row in of(world, identity) if row.ordering_key == "fraud"]
    assert head.state == "blocked"
    assert head.reason is not None
    assert head.reason.startswith("not rendered: ")
    assert "GitHub" in head.reason
    assert (follower.state, follower.reason) == ("held", REASON_BEHIND)
    (claim,) = world.claim()
    assert claim.event_id == other.id


def test_the_events_of_one_change_wait_for_each_other_too(world: World) -> None:
    identity = subscribe(world)
    events = [make_event(data=LONG), make_event()]

    with world.begin() as session:
        outbox.enqueue_all(session, events, now=NOW)

    assert states(world, identity) == ["blocked", "held"]


@pytest.mark.parametrize(
    ("choices", "state", "types"),
    [
        ({}, "blocked", ["webhook.exhausted", "webhook.key_blocked"]),
        ({"on_poison": "skip"}, "dead", ["webhook.exhausted"]),
        ({"on_poison": "latest_wins"}, "dead", ["webhook.exhausted"]),
    ],
)
def test_it_is_announced_counted_and_logged(
    world: World,
    caplog: pytest.LogCaptureFixture,
    *,
    choices: dict[str, str],
    state: str,
    types: list[str],
) -> None:
    identity = subscribe(world, **choices)
    watcher, _ = world.subscribe(event_types=WATCHED)

    with caplog.at_level(logging.ERROR):
        event = world.enqueue(data=LONG)

    (lost,) = of(world, identity)
    assert lost.state == state
    assert operational(world, watcher) == types
    told = announced(world)[0].data
    assert (told["delivery_id"], told["event_id"]) == (lost.id, event.id)
    assert (told["attempts"], told["reason"]) == (0, lost.reason)
    assert dead(identity) == (1 if state == "dead" else 0)
    assert backlogs(world)[identity].counts == ({"blocked": 1} if not choices else {})
    assert f"webhook_delivery_given_up delivery={lost.id}" in caplog.text


def test_what_is_rolled_back_is_not_counted(world: World) -> None:
    identity = subscribe(world, on_poison="skip")

    with Session(world.engine, expire_on_commit=False) as session:
        outbox.enqueue(session, make_event(data=LONG), now=NOW)
        session.rollback()
        outbox.enqueue(session, make_event(), now=NOW)
        session.commit()

    assert dead(identity) == 0
    assert states(world, identity) == ["pending"]


def test_a_dead_one_lets_its_key_go_on_and_the_next_one_says_so(world: World) -> None:
    subscribe(world, on_poison="skip")
    world.enqueue(data=LONG)
    following = world.enqueue()

    (claim,) = world.claim()

    assert (claim.event_id, claim.follows_gap) == (following.id, True)


def test_what_comes_before_it_is_sent(world: World) -> None:
    identity = subscribe(world)
    first = world.enqueue()
    world.enqueue(data=LONG)
    world.enqueue()

    (claim,) = world.claim()
    world.record(claim, DELIVERED)

    assert claim.event_id == first.id
    assert states(world, identity) == ["delivered", "blocked", "held"]
    assert world.claim(now=LATER) == []


def test_a_paused_one_is_blocked_and_stays_so_when_it_is_resumed(world: World) -> None:
    identity = subscribe(world)
    with world.begin() as session:
        subscriptions.pause(session, identity, now=NOW)
    world.enqueue(data=LONG)
    world.enqueue()

    with world.begin() as session:
        subscriptions.resume(session, identity, now=LATER)

    assert states(world, identity) == ["blocked", "held"]


def test_trouble_with_news_about_trouble_makes_no_more_news(world: World) -> None:
    subscribe(world)
    # An unknown format can express nothing; this one is told of the other.
    watcher, _ = world.subscribe(event_types=["webhook.*"])
    with world.begin() as session:
        subscriptions.get(session, watcher).format = "smoke-signals"

    world.enqueue(data=LONG)

    assert [event.type for event in announced(world)] == [
        "webhook.exhausted",
        "webhook.key_blocked",
    ]
    assert states(world, watcher) == ["blocked", "blocked"]


def test_it_is_sent_in_its_turn_once_its_subscription_can_say_it(
    world: World, receiver: Receiver
) -> None:
    identity = subscribe(world)
    lost = world.enqueue(data=LONG, hop=3, now=utc_now())
    following = world.enqueue(now=utc_now())
    (head, _) = of(world, identity)
    with pytest.raises(DeliveryStateError, match="still cannot be rendered"):
        redeliver(world, head.id)
    assert states(world, identity) == ["blocked", "held"]

    mend(world, identity, receiver.url)
    again = redeliver(world, head.id)
    world.dispatcher().run_once()

    assert (again.id, again.state) == (head.id, "pending")
    first, second = receiver.requests
    assert (first.message_id, second.message_id) == (lost.id, following.id)
    assert first.json()["data"] == LONG
    assert first.headers["webhook-hop"] == "3"
    assert states(world, identity) == ["delivered", "delivered"]


def test_a_dead_one_is_sent_outside_the_order(world: World, receiver: Receiver) -> None:
    identity = subscribe(world, on_poison="skip")
    lost = world.enqueue(data=LONG)
    (original,) = of(world, identity)

    mend(world, identity, receiver.url)
    again = redeliver(world, original.id)
    world.dispatcher().run_once()

    assert (again.kind, again.replay_of) == ("replay", original.id)
    (request,) = receiver.requests
    assert request.message_id == lost.id
    assert request.headers["webhook-replay"] == "true"


def test_of_two_blocked_ones_the_first_lets_go_what_is_between_them(
    world: World,
) -> None:
    identity = subscribe(world)
    for data in ({}, LONG, {}, LONG, {}):
        world.enqueue(data=data)
    # The first one fails, too.
    with world.begin() as session:
        session.execute(update(Delivery).values(attempt_count=MAX_ATTEMPTS - 1))
    (claim,) = world.claim()
    world.record(claim, FAILED)
    assert states(world, identity) == ["blocked", "blocked", "held", "blocked", "held"]
    first, second, third, fourth, _ = of(world, identity)

    with world.begin() as session:
        redelivery.skip(session, first.id, now=LATER)
    assert states(world, identity) == ["dead", "blocked", "held", "blocked", "held"]
    with world.begin() as session:
        redelivery.skip(session, second.id, now=LATER)
    world.enqueue()
    assert states(world, identity) == [
        *("dead", "dead", "pending", "blocked", "pending", "pending")
    ]
    assert [claim.delivery_id for claim in world.claim()] == [third.id]
    with world.begin() as session:
        redelivery.skip(session, fourth.id, now=LATER)
    world.enqueue()

    assert states(world, identity) == [
        *("dead", "dead", "sending", "dead", "pending", "pending", "pending")
    ]
