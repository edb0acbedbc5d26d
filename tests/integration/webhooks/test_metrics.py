"""What is counted of attempts, and what is read of the backlog."""

from datetime import timedelta

import pytest
from prometheus_client import REGISTRY

from tests.integration.webhooks.conftest import DELIVERED, FAILED, NOW, World
from webhooks import subscriptions
from webhooks.metrics import Backlog, read_backlogs
from webhooks.queue.claim import start_test
from webhooks.queue.settle import settle_results, sweep_expired_leases
from webhooks.tables import Delivery, ShownState, Subscription

LATER = NOW + timedelta(seconds=90)


def attempts(subscription_id: str, outcome: str) -> float:
    labels = {"webhook": subscription_id, "outcome": outcome}
    return REGISTRY.get_sample_value("stagegate_webhook_attempts_total", labels) or 0


def dead(subscription_id: str) -> float:
    labels = {"webhook": subscription_id}
    return REGISTRY.get_sample_value("stagegate_webhook_dead_total", labels) or 0


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0


def backlogs(world: World) -> dict[str, Backlog]:
    with world.begin() as session:
        return {
            found.subscription_id: found for found in read_backlogs(session, now=NOW)
        }


def test_an_acknowledged_delivery_counts_with_its_latency(world: World) -> None:
    subscription_id, _ = world.subscribe()
    world.enqueue(now=NOW - timedelta(seconds=20))
    seen = sample("stagegate_webhook_delivery_seconds_count")
    waited = sample("stagegate_webhook_delivery_seconds_sum")

    world.record(world.claim()[0], DELIVERED, now=NOW)

    assert attempts(subscription_id, "delivered") == 1
    assert sample("stagegate_webhook_delivery_seconds_count") == seen + 1
    assert sample("stagegate_webhook_delivery_seconds_sum") == waited + 20
    assert dead(subscription_id) == 0


def test_attempts_that_are_recorded_together_all_count(world: World) -> None:
    subscription_id, _ = world.subscribe()
    for key in ("fraud", "churn", "digits"):
        world.enqueue(ordering_key=key)
    answered = [(claim, DELIVERED) for claim in world.claim()]

    with world.begin() as session:
        settle_results(session, answered, now=NOW, jitter=lambda: 0.5)

    assert attempts(subscription_id, "delivered") == 3


def test_a_failed_attempt_counts_without_a_latency(world: World) -> None:
    subscription_id, _ = world.subscribe()
    world.enqueue()
    seen = sample("stagegate_webhook_delivery_seconds_count")
    timed = sample("stagegate_webhook_attempt_seconds_count", outcome="failed")

    world.record(world.claim()[0], FAILED)

    assert attempts(subscription_id, "failed") == 1
    assert sample("stagegate_webhook_delivery_seconds_count") == seen
    assert sample("stagegate_webhook_attempt_seconds_count", outcome="failed") == (
        timed + 1
    )


def test_an_attempt_whose_process_died_counts_as_unknown(world: World) -> None:
    subscription_id, _ = world.subscribe()
    world.enqueue()
    world.claim()

    with world.begin() as session:
        sweep_expired_leases(session, now=LATER)

    assert attempts(subscription_id, "unknown") == 1


def test_what_is_given_up_counts_as_dead_and_a_test_does_not(world: World) -> None:
    subscription_id, _ = world.subscribe(on_poison="skip")
    world.enqueue()
    with world.begin() as session:
        claim = start_test(
            session, subscription_id, now=NOW, lease=timedelta(seconds=60)
        )
    world.record(claim, FAILED)
    after_the_test = dead(subscription_id)
    (waiting,) = (entry for entry in world.deliveries() if entry.state == "pending")
    with world.begin() as session:
        session.get_one(Delivery, waiting.id).attempt_count = 1000

    world.record(world.claim()[0], FAILED)

    assert (after_the_test, dead(subscription_id)) == (0, 1)


def test_what_is_rolled_back_is_not_counted(world: World) -> None:
    subscription_id, _ = world.subscribe()
    world.enqueue()
    claim = world.claim()[0]
    with world.begin() as session:
        settle_results(session, [(claim, DELIVERED)], now=NOW, jitter=lambda: 0.5)
        session.rollback()

    counted = attempts(subscription_id, "delivered")
    world.record(claim, DELIVERED)

    assert (counted, attempts(subscription_id, "delivered")) == (0, 1)


def test_the_backlog_counts_what_waits_by_state(world: World) -> None:
    busy_id, _ = world.subscribe()
    idle_id, _ = world.subscribe("https://example.com/idle", event_types=["a.b"])
    gone_id, _ = world.subscribe("https://example.com/gone")
    for minutes in (3, 2, 1):
        world.enqueue(now=NOW - timedelta(minutes=minutes), ordering_key=str(minutes))
    with world.begin() as session:
        subscriptions.delete(session, gone_id, now=NOW)
    world.claim(limit=1)

    found = backlogs(world)

    assert found == {
        busy_id: Backlog(
            busy_id,
            "active",
            is_breaker_open=False,
            counts={ShownState.PENDING: 2, ShownState.SENDING: 1},
            oldest_pending_at=NOW - timedelta(minutes=2),
        ),
        idle_id: Backlog(idle_id, "active", is_breaker_open=False),
    }


@pytest.mark.parametrize(("minutes", "is_open"), [(1, True), (-1, False)])
def test_a_breaker_is_open_until_its_time(
    world: World, minutes: int, *, is_open: bool
) -> None:
    subscription_id, _ = world.subscribe()
    with world.begin() as session:
        subscription = session.get_one(Subscription, subscription_id)
        subscription.held_back_until = NOW + timedelta(minutes=minutes)

    assert backlogs(world)[subscription_id].is_breaker_open is is_open
