"""Breaker, probes and rests."""

from dataclasses import replace
from datetime import timedelta

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
    OPENED_AT,
    PROBE_AT,
    probe,
    refused,
    row_of,
    trip,
)
from webhooks import record, subscriptions
from webhooks.queue.claim import claim_due
from webhooks.queue.schedule import FIRST_PROBE, OPEN_AFTER
from webhooks.queue.settle import settle_results, sweep_expired_leases
from webhooks.tables import Delivery

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


def delivery_of(world: World, key: str) -> Delivery:
    (found,) = [one for one in world.deliveries() if one.ordering_key == key]
    return found


def test_an_open_breaker_lets_nothing_pass_until_its_probe(world: World) -> None:
    identity, _ = world.subscribe()
    trip(world)
    world.enqueue(ordering_key="new", now=OPENED_AT)

    assert row_of(world, identity).held_back_until == PROBE_AT
    assert world.claim(now=PROBE_AT - SECOND) == []
    assert len(world.claim(now=PROBE_AT)) == 1


def test_one_probe_at_a_time_whoever_asks(world: World) -> None:
    world.subscribe()
    trip(world)

    assert len(probe(world, PROBE_AT)) == 1
    assert probe(world, PROBE_AT) == []
    with world.begin() as session:
        due = claim_due(session, now=PROBE_AT + DAY, limit=8, lease=LEASE)
    assert due == []


def test_two_endpoints_are_probed_side_by_side(world: World) -> None:
    first, _ = world.subscribe()
    second, _ = world.subscribe()
    for number in range(OPEN_AFTER):
        world.enqueue(ordering_key=f"key-{number}")
    for claim in world.claim(limit=50):
        world.record(claim, FAILED, now=OPENED_AT)

    assert {one.subscription_id for one in probe(world, PROBE_AT)} == {first, second}


def test_a_probe_before_its_time_costs_no_attempt(world: World) -> None:
    world.subscribe()
    trip(world)
    for number in range(OPEN_AFTER):
        with world.begin() as session:
            row = session.get_one(Delivery, delivery_of(world, f"key-{number}").id)
            row.next_attempt_at = NOW + HOUR

    (claim,) = probe(world, PROBE_AT)
    assert claim.is_probe
    world.record(claim, FAILED, now=PROBE_AT)

    with world.begin() as session:
        row = record.get(session, claim.delivery_id)
    assert (row.attempt_count, row.attempts_forgiven) == (2, 1)
    assert row.next_attempt_at == NOW + HOUR
    assert probe(world, PROBE_AT + FIRST_PROBE) == []
    assert len(probe(world, PROBE_AT + 2 * FIRST_PROBE)) == 1


def test_a_probe_whose_process_died_costs_no_attempt_either(world: World) -> None:
    world.subscribe()
    trip(world)
    with world.begin() as session:
        for row in session.query(Delivery):
            row.next_attempt_at = NOW + DAY
    (claim,) = probe(world, PROBE_AT)

    with world.begin() as session:
        assert sweep_expired_leases(session, now=PROBE_AT + LEASE) == 1

    with world.begin() as session:
        row = record.get(session, claim.delivery_id)
    assert (row.state, row.attempts_forgiven) == ("pending", 1)


def test_a_success_closes_the_breaker_and_tries_all_that_waits(world: World) -> None:
    identity, _ = world.subscribe()
    trip(world)
    with world.begin() as session:
        for waiting in session.query(Delivery):
            waiting.next_attempt_at = NOW + HOUR
    new = world.enqueue(ordering_key="new", now=OPENED_AT)
    (claim,) = probe(world, PROBE_AT)
    assert claim.event_id == new.id

    world.record(claim, DELIVERED, now=PROBE_AT)

    row = row_of(world, identity)
    assert (row.consecutive_failures, row.breaker_trips) == (0, 0)
    assert row.held_back_until is None
    assert len(world.claim(now=PROBE_AT, limit=50)) == OPEN_AFTER
    retried = [one for one in world.deliveries() if one.state == "sending"]
    assert [one.attempts_forgiven for one in retried] == [1] * OPEN_AFTER


def test_what_comes_while_an_endpoint_rests_waits_with_the_others(world: World) -> None:
    identity, _ = world.subscribe()
    trip(world)
    world.subscribe("https://example.com/another")
    world.enqueue(ordering_key="late")

    (meanwhile,) = world.claim(limit=50, now=OPENED_AT)
    (probed,) = probe(world, PROBE_AT)
    world.record(probed, DELIVERED, now=PROBE_AT)
    claimed = world.claim(limit=50, now=PROBE_AT)

    assert meanwhile.subscription_id != identity
    assert {claim.subscription_id for claim in claimed} == {identity}
    late = {one.id for one in world.deliveries() if one.ordering_key == "late"}
    sent = {claim.delivery_id for claim in [meanwhile, probed, *claimed]}
    assert sent >= late


def test_who_enables_an_active_endpoint_again_has_everything_tried_now(
    world: World,
) -> None:
    identity, _ = world.subscribe()
    trip(world)

    with world.begin() as session:
        subscriptions.resume(session, identity, now=OPENED_AT)

    assert len(world.claim(limit=50, now=OPENED_AT)) == OPEN_AFTER


def test_an_overloaded_endpoint_is_left_alone_on_every_key(world: World) -> None:
    world.subscribe()
    for key in ("a", "b"):
        world.enqueue(ordering_key=key)
    (claim,) = world.claim(limit=1)

    world.record(claim, refused(429, retry_after=HOUR), now=NOW)

    assert world.claim(now=NOW + HOUR - SECOND) == []
    assert len(world.claim(now=NOW + HOUR)) == 2


def test_another_endpoint_flows_while_one_rests(world: World) -> None:
    world.subscribe()
    other, _ = world.subscribe()
    world.enqueue()
    for claim in world.claim():
        is_other = claim.subscription_id == other
        world.record(claim, DELIVERED if is_other else refused(503), now=NOW)
    world.enqueue()

    (claim,) = world.claim()

    assert claim.subscription_id == other


def test_a_schedule_of_its_own_begins_with_the_delay_before_the_first_attempt(
    world: World,
) -> None:
    world.subscribe(schedule_seconds=[60, 120])
    world.enqueue()

    assert world.claim(now=NOW + 59 * SECOND) == []
    (claim,) = world.claim(now=NOW + MINUTE)
    world.record(claim, FAILED, now=NOW + MINUTE)
    assert world.deliveries()[0].next_attempt_at == NOW + 3 * MINUTE


def test_results_of_several_endpoints_are_recorded_together(world: World) -> None:
    for _ in range(3):
        world.subscribe()
    world.enqueue()
    claims = world.claim()
    lost = replace(claims[0], lease_token="another")
    answered = [(lost, DELIVERED), (claims[1], FAILED), (claims[2], DELIVERED)]

    with world.begin() as session:
        settled = settle_results(session, answered, now=NOW, jitter=lambda: 0.5)

    assert settled == {claims[1].delivery_id, claims[2].delivery_id}
    assert sorted(world.states()) == ["delivered", "pending", "sending"]
