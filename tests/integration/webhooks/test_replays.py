"""Replays: a range is sent again once, in order, at its pace, whatever dies."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from tests.integration.webhooks.conftest import DELIVERED, NOW, World
from tests.receiver import Receiver
from webhooks import replays, retention, subscriptions
from webhooks.errors import (
    InvalidReplayError,
    ReplayStateError,
    UnknownReplayError,
    UnknownSubscriptionError,
)
from webhooks.replays import ReplaySpec
from webhooks.tables import (
    Delivery,
    DeliveryKind,
    Replay,
    Subscription,
)

# PostgreSQL's own clock tells when a replay is due: "later" is later than that.
LATER = timedelta(days=3650)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tests say what time it is, on PostgreSQL too."""
    monkeypatch.setattr(replays, "database_now", lambda _session, now: now)


def minutes(number: int) -> datetime:
    return NOW + timedelta(minutes=number)


def deliver(world: World, count: int = 1, *, first: int = 1, **parts: object) -> None:
    """Enqueue events a minute apart and have them acknowledged."""
    for number in range(first, first + count):
        at = minutes(number)
        world.enqueue(now=at, occurred_at=at, sequence=number, **parts)
        for claim in world.claim(now=at):
            world.record(claim, DELIVERED, now=at)


def create(world: World, subscription_id: str, **chosen: object) -> Replay:
    now = chosen.pop("now", minutes(60))
    assert isinstance(now, datetime)
    with world.begin() as session:
        return replays.create(
            session,
            subscription_id,
            ReplaySpec(**chosen),  # type: ignore[arg-type]  # any field of it
            created_by="alice",
            now=now,
        )


def count(world: World, subscription_id: str, **chosen: object) -> int:
    with world.begin() as session:
        return replays.count(
            session,
            subscription_id,
            ReplaySpec(**chosen),  # type: ignore[arg-type]  # any field of it
            now=minutes(60),
        )


def step(world: World, now: datetime) -> int | None:
    with world.begin() as session:
        return replays.step(session, now=now)


def run(world: World, *, start: datetime | None = None) -> list[int]:
    """Step as often as something is due, a second apart; say what each stored."""
    now, stored = start or minutes(60), []
    while (number := step(world, now)) is not None:
        stored.append(number)
        now += timedelta(minutes=2)
    return stored


def copies(world: World) -> Sequence[Delivery]:
    with world.begin() as session:
        return session.scalars(
            select(Delivery)
            .where(Delivery.kind == DeliveryKind.REPLAY)
            .order_by(Delivery.next_attempt_at, Delivery.sequence)
        ).all()


def find(world: World, replay: Replay) -> Replay:
    with world.begin() as session:
        return replays.get(session, replay.subscription_id, replay.id)


def test_a_replay_sends_everything_again_with_id_bytes_and_order(
    world: World, receiver: Receiver
) -> None:
    subscription_id, _ = world.subscribe(receiver.url)
    deliver(world, 3)
    originals = world.deliveries()

    replay = create(world, subscription_id)
    stored = run(world)
    world.dispatcher(clock=lambda: NOW + LATER).run_once()

    assert (stored, replay.total) == ([3], 3)
    received = receiver.requests
    assert [entry.headers["webhook-id"] for entry in received] == [
        original.event_id for original in originals
    ]
    assert [entry.body for entry in received] == [entry.body for entry in originals]
    assert {entry.headers["webhook-replay"] for entry in received} == {"true"}
    assert [entry.state for entry in copies(world)] == ["delivered"] * 3
    assert [entry.replay_of for entry in copies(world)] == [
        original.id for original in originals
    ]
    ended = find(world, replay)
    assert (ended.state, ended.done, ended.created_by) == ("done", 3, "alice")


def test_a_later_copy_waits_for_an_earlier_one_of_its_key_alone(world: World) -> None:
    subscription_id, _ = world.subscribe()
    deliver(world, 2)
    deliver(world, 1, first=3, ordering_key="iris")
    create(world, subscription_id)
    step(world, minutes(60))

    claimed = world.claim(now=minutes(90))

    first, _, other = world.deliveries()[:3]
    assert {claim.event_id for claim in claimed} == {first.event_id, other.event_id}


def test_a_new_event_does_not_wait_for_a_replay(world: World) -> None:
    subscription_id, _ = world.subscribe()
    deliver(world, 2)
    create(world, subscription_id)
    step(world, minutes(60))

    fresh = world.enqueue(now=minutes(61))

    assert fresh.id in {claim.event_id for claim in world.claim(now=minutes(61))}


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, 6),
        ({"since": minutes(2)}, 5),
        ({"until": minutes(2)}, 2),
        ({"since": minutes(2), "until": minutes(4)}, 3),
        ({"event_types": ["model_version.registered"]}, 2),
        ({"event_types": ["registered_model.*", "model_version.registered"]}, 3),
        ({"event_types": ["*"]}, 6),
        ({"subject_pattern": "ir*"}, 2),
        ({"subject_pattern": "IR*"}, 0),
        ({"delivery_states": ["dead"]}, 1),
        ({"delivery_states": ["dead", "delivered"]}, 6),
        ({"delivery_states": ["superseded"]}, 0),
    ],
)
def test_a_replay_sends_what_was_chosen_and_its_count_says_so(
    world: World, chosen: dict[str, object], expected: int
) -> None:
    subscription_id, _ = world.subscribe(on_poison="skip")
    deliver(world, 2)
    deliver(world, 2, first=3, type="model_version.registered")
    deliver(world, 1, first=5, type="registered_model.created", subject="iris")
    deliver(world, 1, first=6, subject="iris")
    with world.begin() as session:
        session.get_one(Delivery, world.deliveries()[0].id).state = "dead"

    counted = count(world, subscription_id, **chosen)
    replay = create(world, subscription_id, **chosen)
    run(world)

    assert (counted, replay.total, len(copies(world))) == (expected,) * 3
    assert find(world, replay).state == "done"


def test_counting_stores_nothing(world: World) -> None:
    subscription_id, _ = world.subscribe()
    deliver(world)

    assert count(world, subscription_id) == 1

    with world.begin() as session:
        assert replays.list_page(session, subscription_id, limit=10) == []
        assert not replays.has_running(session)


def test_what_is_on_its_way_or_was_never_rendered_is_not_sent_again(
    world: World,
) -> None:
    subscription_id, _ = world.subscribe()
    deliver(world, 2)
    world.enqueue(now=minutes(3))
    with world.begin() as session:
        unrendered = session.get_one(Delivery, world.deliveries()[0].id)
        unrendered.state, unrendered.content_type = "dead", ""

    assert count(world, subscription_id) == 1


def test_what_is_settled_after_the_replay_was_asked_for_is_not_part_of_it(
    world: World,
) -> None:
    subscription_id, _ = world.subscribe()
    deliver(world, 1)
    waiting = world.enqueue(now=minutes(2), occurred_at=minutes(2))
    replay = create(world, subscription_id)
    for claim in world.claim(now=minutes(61)):
        world.record(claim, DELIVERED, now=minutes(61))

    run(world, start=minutes(62))

    assert waiting.id not in {entry.event_id for entry in copies(world)}
    assert find(world, replay).done == replay.total == 1


def test_events_of_another_subscription_are_not_sent(world: World) -> None:
    subscription_id, _ = world.subscribe()
    deliver(world, 2)
    late_id, _ = world.subscribe("https://example.com/other")
    deliver(world, 1, first=3)

    assert count(world, late_id) == 1
    assert count(world, subscription_id) == 3


def test_a_copy_is_not_copied_again(world: World) -> None:
    subscription_id, _ = world.subscribe()
    deliver(world, 2)
    create(world, subscription_id)
    run(world)
    for _ in range(2):
        for claim in world.claim(now=minutes(70)):
            world.record(claim, DELIVERED, now=minutes(70))

    assert [entry.state for entry in copies(world)] == ["delivered"] * 2
    assert count(world, subscription_id) == 2


def test_a_replay_keeps_its_pace(world: World) -> None:
    subscription_id, _ = world.subscribe()
    deliver(world, 5)
    create(world, subscription_id, per_second=2.0)

    at_once = step(world, minutes(60))
    too_soon = step(world, minutes(60) + timedelta(seconds=0.9))
    in_time = step(world, minutes(60) + timedelta(seconds=1))
    at_last = step(world, minutes(60) + timedelta(seconds=2))

    assert (at_once, too_soon, in_time, at_last) == (2, None, 2, 1)
    due = [
        (entry.next_attempt_at - minutes(60)).total_seconds() for entry in copies(world)
    ]
    assert due == [0, 0.5, 1, 1.5, 2]


def test_a_slow_pace_is_one_at_a_time(world: World) -> None:
    subscription_id, _ = world.subscribe()
    deliver(world, 2)
    create(world, subscription_id, per_second=0.1)

    assert step(world, minutes(60)) == 1
    assert step(world, minutes(60) + timedelta(seconds=9)) is None
    assert step(world, minutes(60) + timedelta(seconds=10)) == 1


def test_a_step_that_is_not_committed_is_made_again(world: World) -> None:
    subscription_id, _ = world.subscribe()
    deliver(world, 3)
    replay = create(world, subscription_id, per_second=1.0)
    step(world, minutes(60))

    with Session(world.engine) as killed:
        replays.step(killed, now=minutes(61))
        killed.rollback()

    assert find(world, replay).done == 1
    run(world, start=minutes(62))
    assert len(copies(world)) == 3
    assert len({entry.replay_of for entry in copies(world)}) == 3


@pytest.mark.parametrize(
    "world", [pytest.param("postgresql", marks=pytest.mark.service)], indirect=True
)
def test_two_processes_do_not_take_the_same_replay(world: World) -> None:
    subscription_id, _ = world.subscribe()
    deliver(world, 2)
    create(world, subscription_id)

    with world.begin() as one:
        mine = replays.step(one, now=minutes(60))
        theirs = step(world, minutes(60))

    assert (mine, theirs) == (2, None)


def test_subjects_that_do_not_match_are_passed_over_in_steps(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "LOOKED_AT_ONCE", 2)
    subscription_id, _ = world.subscribe()
    deliver(world, 4)
    deliver(world, 3, first=5, subject="iris")
    replay = create(world, subscription_id, subject_pattern="iris", per_second=1.0)

    stored = run(world)

    assert stored == [0, 0, 1, 1, 1]
    assert len(copies(world)) == 3
    assert find(world, replay).state == "done"


@pytest.mark.parametrize(
    ("pattern", "chosen"), [("old", 2), ("new", 2), ("o?d", 2), ("OLD", 0), ("*", 3)]
)
def test_a_pattern_finds_what_was_renamed_by_either_name(
    world: World, pattern: str, chosen: int
) -> None:
    subscription_id, _ = world.subscribe()
    deliver(world, 2, subject="new", former_subjects=["older", "old"])
    deliver(world, 1, first=3, subject="other")

    assert count(world, subscription_id, subject_pattern=pattern) == chosen
    create(world, subscription_id, subject_pattern=pattern)
    run(world)

    assert len(copies(world)) == chosen


def test_a_closed_subscription_makes_a_replay_wait(world: World) -> None:
    subscription_id, _ = world.subscribe()
    deliver(world)
    create(world, subscription_id)
    with world.begin() as session:
        subscriptions.pause(session, subscription_id, now=minutes(60))

    waited = step(world, minutes(60))
    too_soon = step(world, minutes(60) + timedelta(seconds=1))
    with world.begin() as session:
        subscriptions.resume(session, subscription_id, now=minutes(61))
        session.get_one(Subscription, subscription_id).breaker_until = minutes(62)
    broken = step(world, minutes(61))
    healed = step(world, minutes(63))

    assert (waited, too_soon, broken, healed) == (0, None, 0, 1)


def test_deleting_the_subscription_ends_its_replays(world: World) -> None:
    subscription_id, _ = world.subscribe()
    deliver(world)
    replay = create(world, subscription_id)
    with world.begin() as session:
        subscriptions.delete(session, subscription_id, now=minutes(60))

    assert step(world, minutes(60)) == 0
    assert find(world, replay).state == "cancelled"
    assert copies(world) == []


def test_a_cancelled_replay_sends_nothing_more(world: World) -> None:
    subscription_id, _ = world.subscribe()
    deliver(world, 2)
    replay = create(world, subscription_id, per_second=1.0)
    step(world, minutes(60))
    with world.begin() as session:
        replays.cancel(session, subscription_id, replay.id, now=minutes(61))

    assert step(world, minutes(61)) is None
    assert len(copies(world)) == 1
    with world.begin() as session, pytest.raises(ReplayStateError, match="cancelled"):
        replays.cancel(session, subscription_id, replay.id, now=minutes(62))


def test_a_replay_of_nothing_is_done_at_once(world: World) -> None:
    subscription_id, _ = world.subscribe()

    replay = create(world, subscription_id)

    assert (replay.state, replay.total) == ("done", 0)
    assert step(world, minutes(60)) is None


def test_what_retention_removed_meanwhile_is_not_waited_for(world: World) -> None:
    subscription_id, _ = world.subscribe()
    deliver(world, 2)
    replay = create(world, subscription_id)
    with world.begin() as session:
        retention.remove_deliveries(session, before=minutes(30))

    assert run(world) == [0]
    assert (find(world, replay).state, find(world, replay).done) == ("done", 0)


def test_replays_are_listed_newest_first(world: World) -> None:
    subscription_id, _ = world.subscribe()
    made = [create(world, subscription_id, now=minutes(60 + n)).id for n in range(3)]

    with world.begin() as session:
        first = replays.list_page(session, subscription_id, limit=2)
        rest = replays.list_page(session, subscription_id, limit=2, before=first[-1].id)

    assert [entry.id for entry in (*first, *rest)] == made[::-1]


def test_a_replay_is_found_under_its_own_subscription_only(world: World) -> None:
    subscription_id, _ = world.subscribe()
    other_id, _ = world.subscribe()
    replay = create(world, subscription_id)

    with world.begin() as session:
        for wrong in ((other_id, replay.id), (subscription_id, "rpl_absent")):
            with pytest.raises(UnknownReplayError):
                replays.get(session, *wrong)
            with pytest.raises(UnknownReplayError):
                replays.cancel(session, *wrong, now=NOW)


@pytest.mark.parametrize(
    ("chosen", "field"),
    [
        ({"per_second": 0.001}, "per_second"),
        ({"per_second": 1000.0}, "per_second"),
        ({"per_second": float("nan")}, "per_second"),
        ({"since": minutes(2), "until": minutes(1)}, "until"),
        ({"event_types": ["mod*"]}, "event_types"),
        ({"delivery_states": ["pending"]}, "delivery_states"),
    ],
)
def test_a_replay_that_breaks_a_rule_is_refused_by_its_field(
    world: World, chosen: dict[str, object], field: str
) -> None:
    subscription_id, _ = world.subscribe()

    with pytest.raises(InvalidReplayError) as caught:
        create(world, subscription_id, **chosen)

    assert caught.value.field == field


def test_a_replay_needs_a_subscription(world: World) -> None:
    with pytest.raises(UnknownSubscriptionError):
        create(world, "sub_absent")
