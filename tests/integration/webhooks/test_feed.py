"""The feed: every committed event once, in order, however late it is committed."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from tests.integration.webhooks.conftest import NOW, World, make_event
from webhooks import feed, outbox
from webhooks.feed import FeedPage
from webhooks.queue.claim import start_test

LEASE = timedelta(seconds=60)


def read(
    world: World,
    after: int = 0,
    *,
    limit: int = 100,
    **chosen: Any,  # noqa: ANN401  # the filters of the feed
) -> FeedPage:
    with world.begin() as session:
        return feed.read(session, after=after, limit=limit, **chosen)


def place(world: World, *, limit: int = 100) -> int:
    with world.begin() as session:
        return feed.place(session, limit=limit)


def ids(page: FeedPage) -> list[str]:
    return [event.id for event in page.events]


def test_an_event_is_shown_once_it_has_a_position(world: World) -> None:
    event = world.enqueue()
    before = read(world)

    assert place(world) == 1
    after = read(world)

    assert (ids(before), before.has_unplaced, before.next_position) == ([], True, 0)
    assert (ids(after), after.has_unplaced, after.next_position) == (
        [event.id],
        False,
        1,
    )


def test_nothing_is_placed_twice(world: World) -> None:
    world.enqueue()

    assert [place(world), place(world)] == [1, 0]
    with world.begin() as session:
        assert not feed.has_unplaced(session)


def test_events_of_one_instant_are_placed_by_their_numbers(world: World) -> None:
    later = world.enqueue(sequence=2)
    sooner = world.enqueue(sequence=1)

    place(world)

    assert ids(read(world)) == [sooner.id, later.id]


def test_positions_have_no_gap_over_several_rounds(world: World) -> None:
    for number in range(5):
        world.enqueue(sequence=number)

    placed = [place(world, limit=2) for _ in range(4)]

    assert placed == [2, 2, 1, 0]
    positions = [event.position for event in read(world).events]
    assert positions == [1, 2, 3, 4, 5]


def test_a_reader_goes_on_where_it_stopped(world: World) -> None:
    events = [world.enqueue(sequence=number).id for number in range(5)]
    place(world)

    first = read(world, limit=2)
    second = read(world, first.next_position, limit=2)
    third = read(world, second.next_position, limit=2)
    nothing = read(world, third.next_position, limit=2)

    assert ids(first) + ids(second) + ids(third) == events
    assert (ids(nothing), nothing.next_position) == ([], 5)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"event_type": "model_version.registered"}, ["b"]),
        ({"event_type": "model_version.*"}, ["a", "b"]),
        ({"event_type": "*"}, ["a", "b", "c"]),
        ({"event_type": "model_versio_.*"}, []),
        ({"subject": "iris"}, ["c"]),
        ({"event_type": "model_version.*", "subject": "iris"}, []),
    ],
)
def test_a_reader_may_choose_by_type_and_subject(
    world: World, chosen: dict[str, Any], expected: list[str]
) -> None:
    made = {
        world.enqueue(sequence=1).id: "a",
        world.enqueue(sequence=2, type="model_version.registered").id: "b",
        world.enqueue(sequence=3, type="registered_model.created", subject="iris").id: (
            "c"
        ),
    }
    place(world)

    page = read(world, **chosen)

    assert [made[event_id] for event_id in ids(page)] == expected
    assert page.next_position == 3, "what was not chosen is not looked at again"


def test_events_about_subscriptions_are_not_shown(world: World) -> None:
    subscription_id, _ = world.subscribe()
    with world.begin() as session:
        start_test(session, subscription_id, now=NOW, lease=LEASE)

    place(world)

    assert ids(read(world)) == []
    assert read(world).next_position == 1


@pytest.mark.parametrize(
    "world", [pytest.param("postgresql", marks=pytest.mark.service)], indirect=True
)
def test_an_event_that_commits_late_is_never_skipped(world: World) -> None:
    with Session(world.engine, expire_on_commit=False) as slow:
        # Its instant and its id come first, its commit comes last.
        late = outbox.enqueue(slow, make_event(ordering_key="slow"), now=NOW)
        quick = world.enqueue(
            ordering_key="quick", occurred_at=NOW + timedelta(seconds=1)
        )
        place(world)
        seen = read(world)
        slow.commit()
    place(world)

    behind = read(world, seen.next_position)

    assert ids(seen) == [quick.id]
    assert ids(behind) == [late.id]
    assert ids(read(world)) == [quick.id, late.id]


@pytest.mark.parametrize(
    "world", [pytest.param("postgresql", marks=pytest.mark.service)], indirect=True
)
def test_one_at_a_time_gives_positions(world: World) -> None:
    world.enqueue(sequence=1)
    with Session(world.engine) as first:
        feed.place(first)
        world.enqueue(sequence=2)
        with Session(world.engine) as second, second.begin():
            second.execute(text("SET LOCAL lock_timeout = '100ms'"))
            with pytest.raises(OperationalError, match="lock timeout"):
                feed.place(second)
        seen_meanwhile = ids(read(world))
        first.commit()
    place(world)

    assert seen_meanwhile == []
    assert [event.position for event in read(world).events] == [1, 2]


def test_a_reader_among_writers_sees_every_event_once_and_in_order(
    world: World,
) -> None:
    keys, count = ("a", "b", "c"), 10

    def write(key: str) -> None:
        for number in range(count):
            world.enqueue(
                ordering_key=key,
                sequence=number,
                occurred_at=NOW + timedelta(seconds=number),
            )

    seen: list[tuple[str, int]] = []
    after = 0
    with ThreadPoolExecutor(len(keys)) as writers:
        writing = [writers.submit(write, key) for key in keys]
        while True:
            are_done = all(writer.done() for writer in writing)
            place(world)
            page = read(world, after)
            seen += [(event.ordering_key, event.sequence) for event in page.events]
            after = page.next_position
            if are_done and not page.events:
                break
        for writer in writing:
            writer.result()

    assert len(seen) == len(keys) * count
    for key in keys:
        assert [number for name, number in seen if name == key] == list(range(count))
