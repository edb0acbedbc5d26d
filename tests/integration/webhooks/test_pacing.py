"""An endpoint is sent to no faster than its owner allows, whoever sends."""

from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from tests.integration.webhooks.conftest import FAILED, LEASE, NOW, World
from tests.receiver import Receiver
from webhooks import subscriptions
from webhooks.queue.claim import claim_due
from webhooks.queue.fairness import Pace
from webhooks.queue.schedule import FIRST_PROBE, OPEN_AFTER
from webhooks.roster.members import read_members
from webhooks.sending.prepare import Claim
from webhooks.tables import Attempt, Subscription

SECOND = timedelta(seconds=1)


def enqueue_keys(world: World, count: int) -> None:
    for number in range(count):
        world.enqueue(ordering_key=f"key-{number:03}")


def change(world: World, identity: str, **changes: Any) -> None:  # noqa: ANN401  # Any field of SubscriptionSpec.
    with world.begin() as session:
        subscriptions.update_fields(
            session, world.guard, identity, changes, box=world.box, now=NOW
        )


def test_a_backlog_goes_out_at_the_rate_and_in_its_order(world: World) -> None:
    world.subscribe(rate_per_minute=6)
    rows = [world.enqueue() for _ in range(3)]

    sent: list[tuple[str, float]] = []
    for seconds in range(31):
        now = NOW + seconds * SECOND
        for claim in world.claim(now=now):
            sent.append((claim.event_id, seconds))
            world.record(claim, now=now)

    assert sent == [(rows[0].id, 0), (rows[1].id, 9), (rows[2].id, 19)]


def test_many_keys_share_the_rate_of_their_endpoint(world: World) -> None:
    world.subscribe(rate_per_minute=60)
    enqueue_keys(world, 30)

    counts = [len(world.claim(now=NOW + n * SECOND, limit=50)) for n in range(10)]

    assert counts == [2] + [1] * 9


def test_other_endpoints_are_not_slowed_down_by_a_backlog_that_waits(
    world: World,
) -> None:
    paced, _ = world.subscribe(rate_per_minute=1)
    free, _ = world.subscribe()
    enqueue_keys(world, 20)

    claims = world.claim(limit=10) + world.claim(limit=50)

    assert [one.subscription_id for one in claims].count(paced) == 1
    assert [one.subscription_id for one in claims].count(free) == 20


def test_the_pace_holds_over_every_dispatcher_and_restart(world: World) -> None:
    world.subscribe(rate_per_minute=6)
    enqueue_keys(world, 5)
    assert len(world.claim()) == 1

    again = World(world.engine, world.box, world.guard)

    assert again.claim(now=NOW + 8 * SECOND) == []
    assert len(again.claim(now=NOW + 9 * SECOND)) == 1


def test_retries_and_probes_count(world: World) -> None:
    identity, _ = world.subscribe(rate_per_minute=1)
    with world.begin() as session:
        row = session.get_one(Subscription, identity)
        row.consecutive_failures = OPEN_AFTER - 1
    enqueue_keys(world, 2)
    (claim,) = world.claim()
    world.record(claim, FAILED)
    probe_at = NOW + FIRST_PROBE

    assert world.claim(now=probe_at) == []
    (probe,) = world.claim(now=NOW + 59 * SECOND)
    world.record(probe, now=NOW + 59 * SECOND)
    assert world.claim(now=NOW + 59 * SECOND) == []


def test_a_new_rate_holds_at_once_and_none_is_none(world: World) -> None:
    identity, _ = world.subscribe(rate_per_minute=1)
    enqueue_keys(world, 20)
    assert len(world.claim()) == 1
    assert world.claim() == []

    change(world, identity, rate_per_minute=60)
    assert len(world.claim()) == 2
    change(world, identity, description="the rate stays")
    assert world.claim() == []
    change(world, identity, rate_per_minute=None)

    assert len(world.claim(limit=50)) == 17


@pytest.mark.parametrize("world", ["postgresql"], indirect=True)
@pytest.mark.service
def test_of_two_dispatchers_one_takes_and_the_other_passes_over(world: World) -> None:
    world.subscribe(rate_per_minute=6)
    enqueue_keys(world, 4)

    def claim(session: Any) -> list[Claim]:  # noqa: ANN401  # A session.
        return claim_due(session, now=NOW, limit=2, lease=LEASE)

    with ExitStack() as stack:
        sessions = [stack.enter_context(world.begin()) for _ in range(2)]
        assert [len(claim(session)) for session in sessions] == [1, 0]


def test_a_row_that_is_gone_is_passed_over(world: World) -> None:
    identity, _ = world.subscribe(rate_per_minute=6)
    with world.begin() as session:
        cx = session.connection()
        unknown = replace(read_members(cx)[identity], id="sub_unknown")
        pace = Pace(cx, NOW)

        assert [pace.take(unknown), pace.take(unknown)] == [False, False]
        pace.write()

        assert pace.passed_over == {"sub_unknown"}


def test_a_recovered_endpoint_gets_its_backlog_at_its_rate(world: World) -> None:
    """120 a minute are 2 in each second, by the clock that claims go by."""
    with Receiver() as receiver:
        world.subscribe(receiver.url, rate_per_minute=120)
        for number in range(6):
            world.enqueue(ordering_key=f"key-{number}", now=datetime.now(UTC))
        dispatcher = world.dispatcher()
        dispatcher.start()
        try:
            receiver.wait_for(6)
        finally:
            assert dispatcher.stop()

    with world.begin() as session:
        started = sorted(session.scalars(select(Attempt.started_at)))
    # Three at once, of which the slack gives two, then one each half second.
    for count, at in enumerate(started):
        assert at - started[0] >= (count - 2) * SECOND / 2
