"""Claiming, fencing, sweeping and settling, on both databases."""

import dataclasses
import threading
from datetime import timedelta

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from tests.integration.webhooks.conftest import (
    DELIVERED,
    FAILED,
    LEASE,
    NOW,
    World,
    make_event,
)
from webhooks import outbox, record, subscriptions
from webhooks.queue import claim as claims
from webhooks.queue.schedule import MAX_ATTEMPTS
from webhooks.queue.settle import (
    REASON_EXHAUSTED,
    REASON_TEST_FAILED,
    settle_results,
    sweep_expired_leases,
)
from webhooks.sending.sender import SendResult
from webhooks.tables import Attempt, AttemptOutcome, Delivery, Subscription

FAR = timedelta(days=30)
GONE = SendResult(AttemptOutcome.FAILED, status=410, error="answered 410")


def sweep(world: World, *, after: timedelta) -> int:
    with world.begin() as session:
        return sweep_expired_leases(session, now=NOW + after)


def attempts_of(world: World, delivery_id: str) -> list[Attempt]:
    with world.begin() as session:
        return list(record.list_attempts(session, delivery_id))


def exhaust(world: World, identity: str) -> None:
    """Fail the head until its budget, made small, is used up."""
    with world.begin() as session:
        subscriptions.get(session, identity).schedule_seconds = [0, 10, 10]
    for number in range(3):
        now = NOW + timedelta(minutes=number)
        (claim,) = world.claim(now=now)
        world.record(claim, FAILED, now=now)


def test_only_the_head_of_a_key_is_claimed_and_other_keys_flow(world: World) -> None:
    world.subscribe()
    for key in ("fraud", "fraud", "churn"):
        world.enqueue(ordering_key=key)

    first = world.claim()
    second = world.claim()

    assert len(first) == 2
    assert second == []
    assert world.states().count("pending") == 1


def test_the_next_of_a_key_follows_the_acknowledgement(world: World) -> None:
    world.subscribe()
    rows = [world.enqueue() for _ in range(3)]

    sent = []
    while taken := world.claim():
        (claim,) = taken
        sent.append(claim.event_id)
        assert world.record(claim)

    assert sent == [row.id for row in rows]
    assert world.states() == ["delivered"] * 3


def test_a_head_that_waits_for_its_retry_keeps_later_ones_waiting(
    world: World,
) -> None:
    world.subscribe()
    world.enqueue()
    world.enqueue()
    (claim,) = world.claim()
    world.record(claim, FAILED)

    assert world.claim(now=NOW + timedelta(seconds=1)) == []
    (again,) = world.claim(now=NOW + timedelta(seconds=5))
    assert (again.delivery_id, again.attempt) == (claim.delivery_id, 2)


def test_a_claim_never_exceeds_its_limit(world: World) -> None:
    world.subscribe()
    for number in range(5):
        world.enqueue(ordering_key=f"model-{number}")

    assert len(world.claim(limit=3)) == 3
    assert len(world.claim(limit=3)) == 2


def test_the_attempt_is_on_record_before_the_request(world: World) -> None:
    world.subscribe()
    world.enqueue()
    (claim,) = world.claim()

    (attempt,) = attempts_of(world, claim.delivery_id)

    assert (attempt.number, attempt.outcome, attempt.started_at) == (1, "started", NOW)
    assert attempt.finished_at is None


def test_a_result_is_kept_with_the_attempt(world: World) -> None:
    world.subscribe()
    world.enqueue()
    (claim,) = world.claim()
    result = dataclasses.replace(
        DELIVERED,
        request_headers={"webhook-id": claim.event_id},
        response_headers={"server": "x"},
        response_body=b"\x00\xff",
        duration_seconds=0.25,
    )

    world.record(claim, result, now=NOW + timedelta(seconds=1))

    (attempt,) = attempts_of(world, claim.delivery_id)
    assert (attempt.outcome, attempt.status, attempt.error) == ("delivered", 200, None)
    assert attempt.response_body == b"\x00\xff"
    assert attempt.response_headers == {"server": "x"}
    assert attempt.request_headers == {"webhook-id": claim.event_id}
    assert attempt.finished_at == NOW + timedelta(seconds=1)


def test_a_sender_that_lost_its_lease_is_fenced(world: World) -> None:
    world.subscribe()
    world.enqueue()
    (stale,) = world.claim()
    assert sweep(world, after=LEASE) == 1
    (fresh,) = world.claim(now=NOW + LEASE)

    assert not world.record(stale, FAILED)
    assert world.states() == ["sending"]
    assert world.record(fresh)
    assert not world.record(stale)
    assert world.states() == ["delivered"]
    outcomes = [entry.outcome for entry in attempts_of(world, fresh.delivery_id)]
    assert outcomes == ["unknown", "delivered"]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("late", [FAILED, DELIVERED])
def test_a_late_result_is_fenced_beside_that_of_the_next_claim(
    world: World, late: SendResult, order: int
) -> None:
    world.subscribe()
    world.enqueue()
    (stale,) = world.claim()
    sweep(world, after=LEASE)
    (fresh,) = world.claim(now=NOW + LEASE)
    answered = [(stale, late), (fresh, GONE)]

    with world.begin() as session:
        settle_results(session, answered[::order], now=NOW + LEASE, jitter=lambda: 0.5)

    attempts = attempts_of(world, fresh.delivery_id)
    assert [(one.outcome, one.status) for one in attempts] == [
        ("unknown", None),
        ("failed", 410),
    ]
    assert world.states() == ["held"]


def test_a_lease_that_still_runs_is_not_swept(world: World) -> None:
    world.subscribe()
    world.enqueue()
    world.claim()

    assert sweep(world, after=LEASE - timedelta(seconds=1)) == 0
    assert world.states() == ["sending"]


def test_a_stale_410_disables_nothing(world: World) -> None:
    identity, _ = world.subscribe()
    world.enqueue()
    (stale,) = world.claim()
    sweep(world, after=LEASE)

    world.record(stale, GONE)

    with world.begin() as session:
        assert subscriptions.get(session, identity).state == "active"


def test_an_exhausted_head_is_blocked_and_keeps_its_key_closed(world: World) -> None:
    identity, _ = world.subscribe()
    world.enqueue()
    world.enqueue()

    exhaust(world, identity)

    assert world.states() == ["blocked", "held"]
    assert world.deliveries()[0].reason == REASON_EXHAUSTED
    assert world.claim(now=NOW + FAR * 100) == []


@pytest.mark.parametrize("choice", ["skip", "latest_wins"])
def test_an_exhausted_delivery_is_dead_where_no_order_is_held(
    world: World, choice: str
) -> None:
    identity, _ = world.subscribe(on_poison=choice)
    world.enqueue()

    exhaust(world, identity)

    assert world.states() == ["dead"]


def test_crashes_use_the_budget_up_too(world: World) -> None:
    world.subscribe()
    world.enqueue()
    for number in range(MAX_ATTEMPTS):
        assert len(world.claim(now=NOW + FAR * number)) == 1
        sweep(world, after=FAR * number + LEASE)

    assert world.states() == ["blocked"]


def test_a_410_disables_the_subscription_and_holds_everything(world: World) -> None:
    identity, _ = world.subscribe()
    world.enqueue()
    world.enqueue()
    (claim,) = world.claim()

    world.record(claim, GONE)
    world.enqueue()

    assert world.states() == ["held"] * 3
    with world.begin() as session:
        assert subscriptions.get(session, identity).state == "disabled"


def test_a_410_after_the_subscription_was_deleted_ends_the_delivery(
    world: World,
) -> None:
    identity, _ = world.subscribe()
    world.enqueue()
    (claim,) = world.claim()
    with world.begin() as session:
        subscriptions.delete(session, identity, now=NOW)

    assert world.record(claim, GONE)

    assert world.states() == ["dead"]


def test_failures_in_a_row_are_counted_and_a_success_forgives_them(
    world: World,
) -> None:
    identity, _ = world.subscribe()
    world.enqueue()
    for number in range(2):
        (claim,) = world.claim(now=NOW + FAR * number)
        world.record(claim, FAILED, now=NOW + FAR * number)

    with world.begin() as session:
        failing = subscriptions.get(session, identity)
    (claim,) = world.claim(now=NOW + FAR * 3)
    world.record(claim)
    with world.begin() as session:
        well = subscriptions.get(session, identity)

    assert (failing.consecutive_failures, failing.failing_since) == (2, NOW)
    assert (well.consecutive_failures, well.failing_since) == (0, None)


def test_a_delivery_of_a_deleted_subscription_stops_nothing(world: World) -> None:
    """Deleting settles what waits; only a hand on the database leaves anything."""
    gone, _ = world.subscribe()
    world.subscribe()
    world.enqueue()
    with world.begin() as session:
        session.get_one(Subscription, gone).deleted_at = NOW

    (taken,) = world.claim(limit=1)

    assert taken.subscription_id != gone
    assert world.claim(limit=1) == []


def test_a_delivery_of_a_paused_subscription_is_held_when_met(world: World) -> None:
    identity, _ = world.subscribe()
    world.enqueue()
    with world.begin() as session:
        session.get_one(Subscription, identity).state = "paused"

    assert world.claim() == []
    assert world.states() == ["held"]


def test_an_open_breaker_keeps_deliveries_waiting(world: World) -> None:
    identity, _ = world.subscribe()
    world.enqueue()
    with world.begin() as session:
        subscriptions.get(session, identity).held_back_until = NOW + LEASE

    assert world.claim() == []
    assert len(world.claim(now=NOW + LEASE)) == 1


def test_the_database_forbids_an_unknown_state(world: World) -> None:
    world.subscribe()
    world.enqueue()
    (delivery,) = world.deliveries()
    values = {
        column.name: getattr(delivery, column.name)
        for column in Delivery.__table__.columns
    } | {"id": "dlv_other", "sequence": 9, "state": "lost"}

    def store() -> None:
        with world.begin() as session:
            session.execute(insert(Delivery).values(values))

    with pytest.raises(IntegrityError):
        store()


def test_many_claimers_keep_the_order_and_send_nothing_twice(world: World) -> None:
    world.subscribe()
    expected: dict[str, list[str]] = {}
    for number in range(60):
        key = f"model-{number % 6}"
        expected.setdefault(key, []).append(world.enqueue(ordering_key=key).id)
    sent: list[tuple[str, str]] = []
    keys = {entry.event_id: entry.ordering_key for entry in world.deliveries()}

    def work() -> None:
        idle_rounds = 0
        while idle_rounds < 40 and len(sent) < 60:
            taken = world.claim(limit=3)
            idle_rounds = 0 if taken else idle_rounds + 1
            for claim in taken:
                sent.append((keys[claim.event_id], claim.event_id))
                assert world.record(claim)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    by_key: dict[str, list[str]] = {}
    for key, event_id in sent:
        by_key.setdefault(key, []).append(event_id)
    assert by_key == expected


def test_concurrent_changes_of_one_key_get_numbers_without_gap(world: World) -> None:
    world.subscribe()

    def change() -> None:
        for _ in range(5):
            with world.begin() as session:
                outbox.enqueue(session, make_event(), now=NOW)

    threads = [threading.Thread(target=change) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [entry.sequence for entry in world.deliveries()] == list(range(1, 21))


def test_a_test_send_whose_process_died_is_not_repeated(world: World) -> None:
    identity, _ = world.subscribe()
    with world.begin() as session:
        claims.start_test(session, identity, now=NOW, lease=LEASE)

    assert sweep(world, after=LEASE) == 1

    assert world.states() == ["dead"]
    assert world.deliveries()[0].reason == REASON_TEST_FAILED
