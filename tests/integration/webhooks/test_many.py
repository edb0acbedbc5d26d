"""Many events, many endpoints, many dispatchers: the order and the promises stay."""

from collections import defaultdict
from datetime import timedelta

import pytest

from tests.integration.webhooks.conftest import World, make_event
from tests.receiver import Answer, ReceivedRequest, Receiver
from tests.waiting import wait_for
from webhooks import outbox, subscriptions
from webhooks.queue.dispatcher import utc_now
from webhooks.tables import DeliveryState


def enqueue_many(world: World, count: int, keys: int) -> dict[str, list[str]]:
    """Enqueue in one transaction; give the ids of each key in their order."""
    expected: dict[str, list[str]] = defaultdict(list)
    events = [make_event(ordering_key=f"key-{n % keys}") for n in range(count)]
    with world.begin() as session:
        outbox.enqueue_all(session, events, now=utc_now())
    for event in events:
        expected[event.ordering_key].append(event.id)
    return expected


def by_key(
    requests: tuple[ReceivedRequest, ...], expected: dict[str, list[str]]
) -> dict[str, list[str]]:
    """Put what arrived beside what was expected, in the order of arrival.

    What was answered too late, on a busy machine, comes once more at once.
    """
    key_of = {found: key for key, ids in expected.items() for found in ids}
    arrived: dict[str, list[str]] = defaultdict(list)
    for request in requests:
        of_this_key = arrived[key_of[request.message_id]]
        if of_this_key[-1:] != [request.message_id]:
            of_this_key.append(request.message_id)
    return arrived


def are_delivered(states: list[str]) -> bool:
    return set(states) == {DeliveryState.DELIVERED}


@pytest.mark.parametrize(
    ("world", "count"),
    [("sqlite", 1000), pytest.param("postgresql", 200, marks=pytest.mark.service)],
    indirect=["world"],
)
def test_a_thousand_events_of_a_disabled_endpoint_arrive_in_order(
    world: World, count: int
) -> None:
    with Receiver(answers=[410]) as receiver:
        identity, _ = world.subscribe(receiver.url)
        first = enqueue_many(world, 1, 1)["key-0"]
        dispatcher = world.dispatcher(concurrency=16)
        dispatcher.run_once()
        expected = enqueue_many(world, count, 8)
        expected["key-0"][:0] = first
        assert dispatcher.run_once() == 0
        assert set(world.states()) == {"held"}
        receiver.clear()

        with world.begin() as session:
            subscriptions.resume(session, identity, now=utc_now())
        dispatcher.start()
        try:
            wait_for(world.states, are_delivered)
        finally:
            assert dispatcher.stop()
        requests = receiver.requests

    assert by_key(requests, expected) == expected


def test_eight_dispatchers_send_each_delivery_once_and_in_order(world: World) -> None:
    with Receiver() as receiver:
        world.subscribe(receiver.url)
        expected = enqueue_many(world, 80, 5)
        eight = [world.dispatcher(concurrency=2) for _ in range(8)]
        for dispatcher in eight:
            dispatcher.start()
        try:
            receiver.wait_for(80)
            wait_for(world.states, are_delivered)
        finally:
            ended = [dispatcher.stop() for dispatcher in eight]
        requests = receiver.requests

    assert ended == [True] * 8
    assert by_key(requests, expected) == expected


@pytest.mark.parametrize("world", ["sqlite"], indirect=True)
def test_a_hundred_endpoints_that_ask_for_an_hour_occupy_nobody(world: World) -> None:
    with (
        Receiver(answers=lambda _: Answer(429, {"Retry-After": "3600"})) as busy,
        Receiver() as free,
    ):
        for _ in range(100):
            world.subscribe(busy.url, event_types=["busy"])
        world.subscribe(free.url, event_types=["free"])
        dispatcher = world.dispatcher(concurrency=4)
        dispatcher.start()
        try:
            world.enqueue(type="busy", now=utc_now())
            dispatcher.wake()
            busy.wait_for(100)
            world.enqueue(type="free", now=utc_now())
            dispatcher.wake()
            free.wait_for(1)
            wait_for(world.states, lambda states: "sending" not in states)
        finally:
            assert dispatcher.stop()
        assert len(busy.requests) == 100

    waiting = [row for row in world.deliveries() if row.state == "pending"]
    assert len(waiting) == 100
    hour = timedelta(minutes=59)
    assert all(row.next_attempt_at > row.updated_at + hour for row in waiting)
