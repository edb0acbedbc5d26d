"""What waits behind a blocked head is held, and is let go with it."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from tests.integration.webhooks.conftest import FAILED, NOW, World
from webhooks import redelivery, subscriptions
from webhooks.queue.schedule import MAX_ATTEMPTS
from webhooks.tables import REASON_BEHIND, Delivery

LATER = NOW + timedelta(hours=1)
DAY = timedelta(days=1)
KEY = "model-1"


def block(world: World) -> str:
    """Use up the attempts of a delivery; give its id."""
    world.enqueue(ordering_key=KEY)
    with world.begin() as session:
        session.execute(update(Delivery).values(attempt_count=MAX_ATTEMPTS - 1))
    (claim,) = world.claim()
    world.record(claim, FAILED)
    (row,) = world.deliveries()
    assert row.state == "blocked"
    return row.id


def followers(world: World) -> list[tuple[str, str | None]]:
    rows = [row for row in world.deliveries() if row.ordering_key == KEY]
    return [(row.state, row.reason) for row in rows[1:]]


def test_what_is_there_and_what_comes_is_held_behind_a_blocked_head(
    world: World,
) -> None:
    world.subscribe()
    world.enqueue(ordering_key=KEY)
    world.enqueue(ordering_key=KEY)
    with world.begin() as session:
        session.execute(update(Delivery).values(attempt_count=MAX_ATTEMPTS - 1))
    (claim,) = world.claim()

    world.record(claim, FAILED)
    world.enqueue(ordering_key=KEY)
    another = world.enqueue(ordering_key="another")

    assert followers(world) == [("held", REASON_BEHIND)] * 2
    (other,) = world.claim()
    assert other.event_id == another.id


@pytest.mark.parametrize("way", [redelivery.redeliver, redelivery.skip])
def test_they_are_let_go_with_it(world: World, way: object) -> None:
    world.subscribe()
    head = block(world)
    world.enqueue(ordering_key=KEY)
    assert callable(way)

    with world.begin() as session:
        way(session, head, now=LATER)
    world.enqueue(ordering_key=KEY)

    assert followers(world) == [("pending", None)] * 2


def test_pausing_and_resuming_lets_nothing_past_a_blocked_head(world: World) -> None:
    identity, _ = world.subscribe()
    head = block(world)
    world.enqueue(ordering_key=KEY)

    with world.begin() as session:
        subscriptions.pause(session, identity, now=LATER)
    world.enqueue(ordering_key=KEY)
    with world.begin() as session:
        subscriptions.resume(session, identity, now=LATER)

    assert followers(world) == [("held", REASON_BEHIND)] * 2
    with world.begin() as session:
        redelivery.skip(session, head, now=LATER)
    assert followers(world) == [("pending", None)] * 2


def test_what_is_let_go_while_paused_waits_for_the_resumption(world: World) -> None:
    identity, _ = world.subscribe()
    head = block(world)
    world.enqueue(ordering_key=KEY)

    with world.begin() as session:
        subscriptions.pause(session, identity, now=LATER)
        redelivery.skip(session, head, now=LATER)

    assert followers(world) == [("held", "paused")]
    with world.begin() as session:
        subscriptions.resume(session, identity, now=LATER)
    assert followers(world) == [("pending", None)]


def test_what_is_newer_takes_the_place_of_a_blocked_head_that_is_held_no_more(
    world: World,
) -> None:
    identity, _ = world.subscribe()
    head = block(world)
    world.enqueue(ordering_key=KEY)

    with world.begin() as session:
        subscriptions.update_fields(
            session,
            world.guard,
            identity,
            {"on_poison": "latest_wins"},
            box=world.box,
            now=LATER,
        )
    world.enqueue(ordering_key=KEY)

    states = {row.id: row.state for row in world.deliveries()}
    assert states.pop(head) == "superseded"
    assert list(states.values()) == ["superseded", "pending"]
