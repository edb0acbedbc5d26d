"""Reading the record, sending again, skipping."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from tests.integration.webhooks.conftest import DELIVERED, FAILED, NOW, World
from webhooks import record, redelivery, subscriptions
from webhooks.errors import DeliveryStateError, UnknownDeliveryError
from webhooks.tables import Delivery, Queue, ShownState

LATER = NOW + timedelta(hours=1)


def redeliver(world: World, delivery_id: str) -> Delivery:
    with world.begin() as session:
        return redelivery.redeliver(session, delivery_id, now=LATER)


def deliver_one(world: World) -> str:
    world.enqueue()
    (claim,) = world.claim()
    world.record(claim, DELIVERED)
    return claim.delivery_id


def block_one(world: World) -> str:
    world.enqueue()
    with world.begin() as session:
        (delivery,) = record.list_page(session, limit=1)
        delivery.reason = "every attempt failed"
        delivery.attempt_count = 18
        session.execute(update(Queue).values(state="blocked"))
    return delivery.id


def test_deliveries_are_listed_newest_first_by_page_and_filter(world: World) -> None:
    identity, _ = world.subscribe()
    world.subscribe()
    rows = [
        world.enqueue(ordering_key=str(n), now=NOW + timedelta(seconds=n))
        for n in range(3)
    ]

    with world.begin() as session:
        first = record.list_page(session, subscription_id=identity, limit=2)
        second = record.list_page(
            session,
            subscription_id=identity,
            state=ShownState.PENDING,
            limit=2,
            before=first[-1].id,
        )
        of_event = record.list_page(session, event_id=rows[0].id, limit=10)

    assert [entry.event_id for entry in first] == [rows[2].id, rows[1].id]
    assert [entry.event_id for entry in second] == [rows[0].id]
    assert len(of_event) == 2


def test_an_unknown_delivery_is_said_to_be_unknown(world: World) -> None:
    with world.begin() as session:
        with pytest.raises(UnknownDeliveryError):
            record.get(session, "dlv_never")
        with pytest.raises(UnknownDeliveryError):
            record.list_attempts(session, "dlv_never")
        with pytest.raises(UnknownDeliveryError):
            redelivery.redeliver(session, "dlv_never", now=NOW)


def test_a_delivered_one_is_sent_again_outside_the_order(world: World) -> None:
    world.subscribe()
    original = deliver_one(world)
    world.enqueue()
    world.enqueue()

    replay = redeliver(world, original)
    taken = world.claim(now=LATER)

    claim = next(entry for entry in taken if entry.delivery_id == replay.id)
    (before,) = [entry for entry in world.deliveries() if entry.id == original]
    assert len(taken) == 2
    assert (claim.kind, replay.replay_of) == ("replay", original)
    assert (claim.event_id, claim.body) == (before.event_id, before.body)
    assert before.state == "delivered"


def test_a_replay_that_fails_for_good_is_dead_and_blocks_nothing(world: World) -> None:
    world.subscribe()
    replay = redeliver(world, deliver_one(world))
    with world.begin() as session:
        record.get(session, replay.id).attempt_count = 17

    (claim,) = world.claim(now=LATER)
    world.record(claim, FAILED)

    assert world.states() == ["delivered", "dead"]


def test_a_replay_for_a_paused_subscription_is_held(world: World) -> None:
    identity, _ = world.subscribe()
    original = deliver_one(world)
    with world.begin() as session:
        subscriptions.pause(session, identity, now=NOW)

    assert redeliver(world, original).shown_state == "held"


def test_a_blocked_head_gets_a_fresh_budget_and_keeps_its_turn(world: World) -> None:
    world.subscribe()
    blocked = block_one(world)
    world.enqueue()
    assert world.claim(now=LATER) == []

    again = redeliver(world, blocked)

    assert again.id == blocked
    (claim,) = world.claim(now=LATER)
    assert (claim.delivery_id, claim.attempt) == (blocked, 19)
    world.record(claim, FAILED)
    assert world.states() == ["pending", "pending"]


def test_skipping_a_blocked_head_lets_its_key_go_on(world: World) -> None:
    world.subscribe()
    blocked = block_one(world)
    following = world.enqueue()

    with world.begin() as session:
        skipped = redelivery.skip(session, blocked, now=LATER)

    assert (skipped.state, skipped.reason) == ("dead", redelivery.REASON_SKIPPED)
    (claim,) = world.claim(now=LATER)
    assert claim.event_id == following.id


def test_only_a_blocked_delivery_can_be_skipped(world: World) -> None:
    world.subscribe()
    delivered = deliver_one(world)

    with world.begin() as session, pytest.raises(DeliveryStateError):
        redelivery.skip(session, delivered, now=LATER)


def test_what_is_still_on_its_way_is_not_sent_again(world: World) -> None:
    world.subscribe()
    world.enqueue()

    with pytest.raises(DeliveryStateError, match="still on its way"):
        redeliver(world, world.deliveries()[0].id)


def test_nothing_is_sent_again_to_a_deleted_subscription(world: World) -> None:
    identity, _ = world.subscribe()
    original = deliver_one(world)
    with world.begin() as session:
        subscriptions.delete(session, identity, now=NOW)

    with pytest.raises(DeliveryStateError, match="deleted"):
        redeliver(world, original)


def test_newest_attempts_are_listed_first_and_gone_on_with_below_a_number(
    world: World,
) -> None:
    world.subscribe(schedule_seconds=[0, 10, 10])
    world.enqueue()
    for number in range(3):
        now = NOW + timedelta(minutes=number)
        (claim,) = world.claim(now=now)
        world.record(claim, FAILED, now=now)

    with world.begin() as session:
        numbers = [
            [
                attempt.number
                for attempt in record.newest_attempts(
                    session, claim.delivery_id, below=below, limit=2
                )
            ]
            for below in (None, 2)
        ]

    assert numbers == [[3, 2], [1]]
