"""Breaker, probes, warnings, disabling and what is announced, on both databases."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.integration.webhooks.conftest import (
    DELIVERED,
    FAILED,
    LEASE,
    NOW,
    World,
)
from webhooks import deliveries, subscriptions
from webhooks.breaker import FIRST_PROBE, OPEN_AFTER
from webhooks.claims import Claim, claim_due, claim_probes
from webhooks.health import (
    REASON_ASKED,
    REASON_GONE,
    REASON_ONLY_FAILURES,
    put_off_resting,
)
from webhooks.results import record_results, sweep_expired_leases
from webhooks.sending.sender import SendResult
from webhooks.tables import AttemptOutcome, Delivery, EventRow, Subscription
from webhooks.unacknowledged import REASON_ABORTED, REASON_EXHAUSTED

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
OPENED_AT = NOW + MINUTE
PROBE_AT = OPENED_AT + FIRST_PROBE
WATCHED = ["webhook.*"]


def refused(
    status: int = 500,
    **parts: Any,  # noqa: ANN401  # Any field of SendResult.
) -> SendResult:
    return replace(FAILED, status=status, **parts)


def asking_to(control: str, status: int = 200) -> SendResult:
    good = status == 200
    return SendResult(
        AttemptOutcome.DELIVERED if good else AttemptOutcome.FAILED,
        status=status,
        response_headers={"webhook-delivery": control},
    )


def row_of(world: World, identity: str) -> Subscription:
    with world.begin() as session:
        return session.get_one(Subscription, identity)


def delivery_of(world: World, key: str) -> Delivery:
    (found,) = [one for one in world.deliveries() if one.ordering_key == key]
    return found


def trip(world: World, *, keys: int = OPEN_AFTER) -> None:
    """Fail once on each of some keys, all under way at once."""
    for number in range(keys):
        world.enqueue(ordering_key=f"key-{number}")
    claims = world.claim(limit=50)
    assert len(claims) == keys
    for claim in claims:
        world.record(claim, FAILED, now=OPENED_AT)


def probe(world: World, now: datetime) -> list[Claim]:
    with world.begin() as session:
        return claim_probes(session, now=now, limit=8, lease=LEASE)


def operational(world: World, identity: str) -> list[str]:
    """Give the types of what a watching subscription is to receive, in order."""
    rows = [one for one in world.deliveries() if one.subscription_id == identity]
    return [one.event_type for one in sorted(rows, key=lambda one: one.sequence)]


def announced(world: World) -> list[EventRow]:
    with world.begin() as session:
        query = session.query(EventRow).where(EventRow.type.startswith("webhook."))
        return query.all()


def test_an_open_breaker_lets_nothing_pass_until_its_probe(world: World) -> None:
    identity, _ = world.subscribe()
    trip(world)
    world.enqueue(ordering_key="new", now=OPENED_AT)

    assert row_of(world, identity).breaker_until == PROBE_AT
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
        row = deliveries.get(session, claim.delivery_id)
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
        row = deliveries.get(session, claim.delivery_id)
    assert (row.state, row.attempts_forgiven) == ("pending", 1)


def test_a_probe_that_is_too_old_expires_instead(world: World) -> None:
    world.subscribe(max_age_seconds=10)
    trip(world)

    assert probe(world, PROBE_AT) == []
    assert world.states().count("expired") == 1


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
    assert row.breaker_until is None
    assert len(world.claim(now=PROBE_AT, limit=50)) == OPEN_AFTER
    retried = [one for one in world.deliveries() if one.state == "sending"]
    assert [one.attempts_forgiven for one in retried] == [1] * OPEN_AFTER


def test_what_comes_while_an_endpoint_rests_waits_with_the_others(world: World) -> None:
    identity, _ = world.subscribe()
    trip(world)
    world.subscribe("https://example.com/another")
    world.enqueue(ordering_key="late")

    with world.begin() as session:
        put_off_resting(session, now=OPENED_AT)
    late = [one for one in world.deliveries() if one.ordering_key == "late"]
    due = {one.subscription_id: one.next_attempt_at for one in late}
    rests_until = row_of(world, identity).breaker_until
    (probed,) = probe(world, PROBE_AT)
    world.record(probed, DELIVERED, now=PROBE_AT)

    assert due.pop(identity) == rests_until == PROBE_AT
    assert list(due.values()) == [NOW]
    claimed = {claim.delivery_id for claim in world.claim(limit=50, now=PROBE_AT)}
    assert claimed | {probed.delivery_id} >= {each.id for each in late}


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
    due = {one.next_attempt_at for one in world.deliveries()}
    assert due == {NOW + HOUR}


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


def is_about(claim: Claim, identity: str) -> bool:
    return claim.subscription_id == identity


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
        settled = record_results(session, answered, now=NOW, jitter=lambda: 0.5)

    assert settled == {claims[1].delivery_id, claims[2].delivery_id}
    assert sorted(world.states()) == ["delivered", "pending", "sending"]
