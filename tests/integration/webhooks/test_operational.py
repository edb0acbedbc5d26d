"""What the owner of an endpoint is told of its trouble."""

import pytest

from tests.integration.webhooks.conftest import (
    DELIVERED,
    FAILED,
    LEASE,
    NOW,
    World,
)
from tests.integration.webhooks.failing import (
    HOUR,
    MINUTE,
    PROBE_AT,
    WATCHED,
    announced,
    asking_to,
    operational,
    probe,
    refused,
    row_of,
    trip,
)
from webhooks.queue.schedule import OPEN_AFTER
from webhooks.queue.settle import REASON_EXHAUSTED, sweep_expired_leases
from webhooks.sending.prepare import Claim
from webhooks.tables import Subscription


def is_about(claim: Claim, identity: str) -> bool:
    return claim.subscription_id == identity


def test_the_owner_is_warned_once_at_each_threshold_and_told_of_the_recovery(
    world: World,
) -> None:
    failing, _ = world.subscribe(description="deploys fraud")
    watcher, _ = world.subscribe(event_types=WATCHED, targets=["Production"])
    world.enqueue()
    for hours in (0, 1, 2, 25, 97):
        now = NOW + hours * HOUR
        (claim,) = [one for one in world.claim(now=now) if is_about(one, failing)]
        world.record(claim, FAILED, now=now)
    now = NOW + 100 * HOUR
    (claim,) = [one for one in world.claim(now=now) if is_about(one, failing)]
    world.record(claim, DELIVERED, now=now)

    assert operational(world, watcher) == ["webhook.failing"] * 3 + [
        "webhook.recovered"
    ]
    told = {one.type: one.data for one in announced(world)}
    assert told["webhook.recovered"]["subscription_id"] == failing
    assert told["webhook.failing"]["description"] == "deploys fraud"
    assert told["webhook.failing"]["status"] == 500


def test_where_an_endpoint_redirects_to_is_no_news_for_others(world: World) -> None:
    failing, _ = world.subscribe()
    world.subscribe(event_types=WATCHED)
    world.enqueue()
    for hours in (0, 1):
        now = NOW + hours * HOUR
        (claim,) = [one for one in world.claim(now=now) if is_about(one, failing)]
        said = "the receiver answered 302, a redirect to https://inside.example/"
        world.record(claim, refused(302, error=said), now=now)

    (warning,) = announced(world)
    assert warning.data["error"] == "the receiver answered 302"


def test_an_opened_breaker_alone_ends_with_the_news_of_recovery(world: World) -> None:
    world.subscribe()
    watcher, _ = world.subscribe(event_types=["webhook.recovered"])
    trip(world)
    (claim,) = probe(world, PROBE_AT)
    world.record(claim, DELIVERED, now=PROBE_AT)

    assert operational(world, watcher) == ["webhook.recovered"]


def test_a_single_failure_is_no_news(world: World) -> None:
    world.subscribe()
    world.subscribe(event_types=WATCHED)
    world.enqueue()
    (claim,) = world.claim()
    world.record(claim, FAILED)
    (claim,) = world.claim(now=NOW + MINUTE)
    world.record(claim, DELIVERED, now=NOW + MINUTE)

    assert announced(world) == []


@pytest.mark.parametrize(
    ("on_poison", "types"),
    [
        ("hold", ["webhook.exhausted", "webhook.key_blocked"]),
        ("skip", ["webhook.exhausted"]),
    ],
)
def test_a_delivery_whose_attempts_are_used_up_is_announced(
    world: World, on_poison: str, types: list[str]
) -> None:
    world.subscribe(on_poison=on_poison, schedule_seconds=[0])
    watcher, _ = world.subscribe(event_types=WATCHED)
    event = world.enqueue()
    (claim,) = world.claim()

    world.record(claim, FAILED)

    assert operational(world, watcher) == types
    told = announced(world)[0].data
    assert told["event_id"] == event.id
    assert (told["attempts"], told["reason"]) == (1, REASON_EXHAUSTED)


def test_a_crash_that_uses_the_attempts_up_is_announced_too(world: World) -> None:
    world.subscribe(schedule_seconds=[0])
    watcher, _ = world.subscribe(event_types=WATCHED)
    world.enqueue()
    world.claim()

    with world.begin() as session:
        sweep_expired_leases(session, now=NOW + LEASE)

    assert operational(world, watcher) == ["webhook.exhausted", "webhook.key_blocked"]


def test_trouble_with_an_operational_event_makes_no_further_one(world: World) -> None:
    world.subscribe(schedule_seconds=[0])
    watcher, _ = world.subscribe(event_types=WATCHED, schedule_seconds=[0])
    world.subscribe(event_types=WATCHED)
    world.enqueue()
    (claim,) = world.claim()
    world.record(claim, FAILED)
    before = len(announced(world))

    now = NOW + MINUTE
    for claim in world.claim(now=now):
        if claim.subscription_id == watcher:
            world.record(claim, refused(410), now=now)

    assert row_of(world, watcher).state == "disabled"
    assert len(announced(world)) == before


def test_a_warning_is_left_to_a_failure_that_may_announce_it(world: World) -> None:
    failing, _ = world.subscribe(event_types=["*", "webhook.*"])
    troubled, _ = world.subscribe(schedule_seconds=[0, 0], on_poison="skip")
    world.enqueue()
    for claim in world.claim():
        if is_about(claim, troubled):
            world.record(claim, asking_to("disable", 500))
        else:
            world.record(claim, FAILED)
    later = NOW + 2 * HOUR

    taken = {one.event_type: one for one in world.claim(now=later)}
    world.record(taken["webhook.disabled"], FAILED, now=later)
    assert row_of(world, failing).warnings == 0
    world.record(taken["model_version.stage_changed"], FAILED, now=later)

    assert row_of(world, failing).warnings == 1
    assert "webhook.failing" in {one.type for one in announced(world)}


def test_a_success_of_an_operational_event_recovers_in_silence(world: World) -> None:
    watcher, _ = world.subscribe(event_types=WATCHED)
    world.subscribe(event_types=WATCHED)
    world.subscribe(schedule_seconds=[0])
    world.enqueue()
    (claim,) = world.claim()
    world.record(claim, FAILED)
    with world.begin() as session:
        row = session.get_one(Subscription, watcher)
        row.consecutive_failures, row.breaker_trips = OPEN_AFTER, 1
    before = len(announced(world))

    (claim,) = probe(world, NOW)
    world.record(claim, DELIVERED)

    assert row_of(world, watcher).consecutive_failures == 0
    assert len(announced(world)) == before
