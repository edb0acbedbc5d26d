"""A subscription that is told to go elsewhere starts anew there, in order."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.webhooks.conftest import FAILED, NOW, World
from tests.receiver import Receiver
from webhooks import subscriptions
from webhooks.queue.schedule import OPEN_AFTER
from webhooks.tables import Subscription

LATER = NOW + timedelta(seconds=10)


def change(
    world: World,
    identity: str,
    *,
    now: datetime = LATER,
    **changes: Any,  # noqa: ANN401  # Any field of SubscriptionSpec.
) -> None:
    with world.begin() as session:
        subscriptions.update_fields(
            session, world.guard, identity, changes, box=world.box, now=now
        )


def fail_until_the_breaker_opens(world: World, *, now: datetime = NOW) -> None:
    for number in range(OPEN_AFTER):
        for _ in range(2):
            world.enqueue(ordering_key=f"key-{number}", now=now)
    claims = world.claim(limit=50, now=now)
    assert len(claims) == OPEN_AFTER
    for claim in claims:
        world.record(claim, FAILED, now=now)


def health_of(world: World, identity: str) -> tuple[int, datetime | None, int]:
    with world.begin() as session:
        row = session.get_one(Subscription, identity)
        return row.consecutive_failures, row.held_back_until, row.breaker_trips


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "https://example.com/moved"},
        {"headers": {"X-Team": "fraud"}},
        {"credentials": {"token": "another one"}},
        {"credentials": {"token": None}, "headers": {}},
    ],
    ids=["url", "header", "credential", "credential removed"],
)
def test_a_new_place_is_tried_at_once_head_first_with_every_attempt(
    world: World, changes: dict[str, Any]
) -> None:
    identity, _ = world.subscribe(credentials={"token": "the old one"})
    fail_until_the_breaker_opens(world)
    assert world.claim(now=LATER) == []

    change(world, identity, **changes)

    assert health_of(world, identity) == (0, None, 0)
    claims = world.claim(now=LATER, limit=50)
    heads = [one for one in world.deliveries() if one.sequence == 1]
    assert {claim.delivery_id for claim in claims} == {head.id for head in heads}
    assert [(one.attempt_count, one.attempts_forgiven) for one in heads] == [
        (2, 1)
    ] * OPEN_AFTER
    assert not any(claim.is_probe for claim in claims)


def test_what_says_nothing_of_the_place_forgives_nothing(world: World) -> None:
    identity, _ = world.subscribe()
    fail_until_the_breaker_opens(world)
    before = health_of(world, identity)

    change(world, identity, description="the same place", event_types=["*"])
    change(world, identity, url="https://example.com/hook")

    assert health_of(world, identity) == before
    assert world.claim(now=LATER) == []


def test_what_is_held_or_blocked_stays_so_at_a_new_place(world: World) -> None:
    identity, _ = world.subscribe(schedule_seconds=[0])
    world.enqueue()
    (claim,) = world.claim()
    world.record(claim, FAILED)
    with world.begin() as session:
        subscriptions.pause(session, identity, now=NOW)
    world.enqueue(ordering_key="other")

    change(world, identity, url="https://example.com/moved")

    assert sorted(world.states()) == ["blocked", "held"]


def test_the_answer_of_the_old_address_says_nothing_of_the_new_one(
    world: World,
) -> None:
    identity, _ = world.subscribe()
    world.enqueue()
    (claim,) = world.claim()
    change(world, identity, url="https://example.com/moved")

    world.record(claim, replace(FAILED, status=503), now=LATER)

    assert health_of(world, identity) == (0, None, 0)
    assert world.states() == ["pending"]
    (row,) = world.deliveries()
    assert (row.next_attempt_at, row.attempts_forgiven) == (LATER, 1)


def test_a_dead_address_is_replaced_and_the_backlog_arrives_in_order(
    world: World,
) -> None:
    with Receiver(answers=lambda _: 503) as old, Receiver() as new:
        identity, _ = world.subscribe(old.url)
        rows = [world.enqueue(now=datetime.now(UTC)) for _ in range(4)]
        dispatcher = world.dispatcher()
        dispatcher.run_once()
        assert dispatcher.run_once() == 0

        change(world, identity, url=new.url, now=datetime.now(UTC))
        while dispatcher.run_once():
            pass

        assert [one.message_id for one in new.requests] == [row.id for row in rows]
        assert len(old.requests) == 1
        assert old.requests[0].body == new.requests[0].body
    assert world.states() == ["delivered"] * 4
