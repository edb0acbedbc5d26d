"""Endpoints that are disabled, and messages that are given up."""

import pytest

from tests.integration.webhooks.conftest import (
    DELIVERED,
    FAILED,
    NOW,
    World,
)
from tests.integration.webhooks.failing import (
    HOUR,
    MINUTE,
    WATCHED,
    announced,
    asking_to,
    operational,
    refused,
    row_of,
)
from webhooks import subscriptions
from webhooks.queue.health import (
    REASON_ASKED,
    REASON_GONE,
    REASON_ONLY_FAILURES,
)
from webhooks.queue.settle import REASON_ABORTED
from webhooks.sending.sender import SendResult


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (refused(410), REASON_GONE),
        (asking_to("disable", 500), REASON_ASKED),
        (asking_to("Disable"), REASON_ASKED),
    ],
)
def test_a_receiver_can_have_its_endpoint_disabled(
    world: World, result: SendResult, reason: str
) -> None:
    identity, _ = world.subscribe()
    watcher, _ = world.subscribe(event_types=WATCHED)
    for _ in range(2):
        world.enqueue()
    (claim,) = world.claim()

    world.record(claim, result)
    world.enqueue()

    row = row_of(world, identity)
    assert (row.state, row.state_reason) == ("disabled", reason)
    ours = [one for one in world.deliveries() if one.subscription_id == identity]
    first = "delivered" if result.is_delivered else "held"
    assert [one.state for one in ours] == [first, "held", "held"]
    assert operational(world, watcher) == ["webhook.disabled"]
    with world.begin() as session:
        subscriptions.resume(session, identity, now=NOW)
    assert row_of(world, identity).state_reason is None


def test_disabling_twice_is_announced_once(world: World) -> None:
    world.subscribe()
    for key in ("a", "b"):
        world.enqueue(ordering_key=key)

    for claim in world.claim():
        world.record(claim, refused(410))

    assert [one.type for one in announced(world)] == ["webhook.disabled"]
    assert world.states() == ["held", "held"]


def test_a_deleted_subscription_cannot_be_disabled(world: World) -> None:
    identity, _ = world.subscribe()
    world.enqueue()
    (claim,) = world.claim()
    with world.begin() as session:
        subscriptions.delete(session, identity, now=NOW)

    world.record(claim, asking_to("disable"))

    assert row_of(world, identity).state == "active"
    assert world.states() == ["delivered"]


def test_five_days_of_only_failures_disable_and_hold(world: World) -> None:
    identity, _ = world.subscribe()
    for _ in range(3):
        world.enqueue()
    now = NOW
    for _ in range(10):
        (claim,) = world.claim(now=now)
        world.record(claim, FAILED, now=now)
        now += 13 * HOUR
    assert row_of(world, identity).state == "active"

    (claim,) = world.claim(now=now)
    world.record(claim, FAILED, now=now)

    row = row_of(world, identity)
    assert (row.state, row.state_reason) == ("disabled", REASON_ONLY_FAILURES)
    assert world.states() == ["held"] * 3
    with world.begin() as session:
        subscriptions.resume(session, identity, now=now)
    assert row_of(world, identity).failing_since is None
    sent = []
    while taken := world.claim(now=now):
        sent.append(taken[0].event_id)
        world.record(taken[0], DELIVERED, now=now)
    assert len(sent) == 3


def test_an_aborted_message_is_given_up_and_the_next_one_tells_of_the_gap(
    world: World,
) -> None:
    world.subscribe()
    for _ in range(3):
        world.enqueue()
    (claim,) = world.claim()

    world.record(claim, asking_to("abort-message", 422))

    first = world.deliveries()[0]
    assert (first.state, first.reason) == ("dead", REASON_ABORTED)
    assert announced(world) == []
    gaps = []
    now = NOW + MINUTE
    while taken := world.claim(now=now):
        gaps.append(taken[0].follows_gap)
        world.record(taken[0], DELIVERED, now=now)
    assert gaps == [True, False]


def test_a_newer_one_takes_the_place_of_what_failed_while_being_sent(
    world: World,
) -> None:
    world.subscribe(on_poison="latest_wins")
    world.enqueue()
    (claim,) = world.claim()
    newer = world.enqueue()

    world.record(claim, FAILED)

    assert world.states() == ["superseded", "pending"]
    (claim,) = world.claim()
    assert claim.event_id == newer.id
    world.record(claim, DELIVERED)


def test_a_newer_one_for_another_stage_takes_no_place(world: World) -> None:
    world.subscribe(on_poison="latest_wins")
    world.enqueue()
    (claim,) = world.claim()
    world.enqueue(target="Archived")

    world.record(claim, FAILED)

    assert world.states() == ["pending", "pending"]
