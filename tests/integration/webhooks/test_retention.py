"""Retention: what is old and settled goes, and nothing else does."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tests.integration.webhooks.conftest import NOW, World
from webhooks import feed, record, redelivery
from webhooks.tables import Attempt, Delivery, EventRow

OLD = NOW - timedelta(days=100)
BEFORE = NOW - timedelta(days=90)


def deliver(world: World, count: int = 1) -> None:
    """Enqueue and acknowledge events a hundred days ago."""
    for number in range(count):
        world.enqueue(now=OLD, occurred_at=OLD, sequence=number)
        for claim in world.claim(now=OLD):
            world.record(claim, now=OLD)
    with world.begin() as session:
        feed.place(session)


def remaining(world: World) -> tuple[int, int, int]:
    """How many events, deliveries and attempts there are."""
    with world.begin() as session:
        events, stored, attempts = (
            session.scalar(select(func.count()).select_from(table)) or 0
            for table in (EventRow, Delivery, Attempt)
        )
    return events, stored, attempts


def remove(world: World, *, limit: int = 100) -> tuple[int, int]:
    with world.engine.begin() as cx:
        return (
            record.remove_deliveries(cx, before=BEFORE, limit=limit),
            record.remove_events(cx, before=BEFORE, limit=limit),
        )


def test_what_was_settled_long_ago_goes_with_its_attempts_and_event(
    world: World,
) -> None:
    world.subscribe()
    deliver(world, 2)

    assert remove(world) == (2, 2)
    assert remaining(world) == (0, 0, 0)
    assert remove(world) == (0, 0)


def test_a_batch_is_bounded_and_takes_the_oldest_first(world: World) -> None:
    world.subscribe()
    deliver(world, 3)

    assert remove(world, limit=2) == (2, 2)
    assert remaining(world) == (1, 1, 1)


@pytest.mark.parametrize("reason", [None, "every attempt failed"])
def test_what_is_live_stays_however_old(world: World, reason: str | None) -> None:
    world.subscribe()
    deliver(world)
    with world.begin() as session:
        row = session.get_one(Delivery, world.deliveries()[0].id)
        row.state, row.reason = "pending", reason

    assert remove(world) == (0, 0)
    assert remaining(world) == (1, 1, 1)


def test_what_was_settled_lately_stays_however_old_its_event(world: World) -> None:
    world.subscribe()
    world.enqueue(now=OLD, occurred_at=OLD)
    world.record(world.claim(now=NOW)[0], now=NOW)
    with world.begin() as session:
        feed.place(session)

    assert remove(world) == (0, 0)


def test_an_event_that_is_not_in_the_feed_yet_stays(world: World) -> None:
    world.enqueue(now=OLD, occurred_at=OLD)

    assert remove(world) == (0, 0)

    with world.begin() as session:
        feed.place(session)
    assert remove(world) == (0, 1)


def test_an_event_that_is_sent_again_stays(world: World) -> None:
    world.subscribe()
    deliver(world)
    with world.begin() as session:
        redelivery.redeliver(session, world.deliveries()[0].id, now=NOW)

    assert remove(world) == (1, 0)
    assert world.states() == ["pending"]


@pytest.mark.parametrize(
    "world", [pytest.param("postgresql", marks=pytest.mark.service)], indirect=True
)
def test_a_row_that_somebody_holds_is_left_for_the_next_time(world: World) -> None:
    world.subscribe()
    deliver(world)
    with Session(world.engine) as holder:
        holder.scalars(select(Delivery).with_for_update()).all()
        holder.scalars(select(EventRow).with_for_update()).all()

        assert remove(world) == (0, 0)

    assert remove(world) == (1, 1)
