"""Redelivery by filter: what was chosen is sent again once, in order, at its pace."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from tests.integration.webhooks.conftest import DELIVERED, FAILED, NOW, World
from tests.receiver import Receiver
from webhooks import redelivery, subscriptions
from webhooks.errors import UnknownSubscriptionError
from webhooks.redelivery import DeliveryFilter, Portion
from webhooks.tables import Delivery, DeliveryKind, ShownState, Subscription

# PostgreSQL's own clock tells when a delivery is due: "later" is later than that.
LATER = timedelta(days=3650)
ASKED_AT = NOW + timedelta(hours=1)
EVERYTHING = DeliveryFilter()


def minutes(number: int) -> datetime:
    return NOW + timedelta(minutes=number)


def deliver(world: World, count: int = 1, *, first: int = 1, **parts: object) -> None:
    """Enqueue events a minute apart and have them acknowledged."""
    for number in range(first, first + count):
        at = minutes(number)
        world.enqueue(now=at, occurred_at=at, sequence=number, **parts)
        for claim in world.claim(now=at):
            world.record(claim, DELIVERED, now=at)


def chosen_by(**filters: object) -> DeliveryFilter:
    return DeliveryFilter(**filters)  # type: ignore[arg-type]  # any field of it


def count(world: World, subscription_id: str, **filters: object) -> int:
    with world.begin() as session:
        return redelivery.count(session, subscription_id, chosen_by(**filters))


def send_in(
    session: Session,
    subscription_id: str,
    chosen: DeliveryFilter = EVERYTHING,
    *,
    after: int | None = None,
) -> Portion:
    return redelivery.send_portion(
        session, subscription_id, chosen, after=after, now=ASKED_AT
    )


def send_portion(
    world: World,
    subscription_id: str,
    chosen: DeliveryFilter,
    *,
    after: int | None = None,
) -> Portion:
    with world.begin() as session:
        return send_in(session, subscription_id, chosen, after=after)


def send(world: World, subscription_id: str, **filters: object) -> int:
    """Send portion after portion; say how many deliveries that were."""
    chosen = chosen_by(**filters)
    portion = send_portion(world, subscription_id, chosen)
    total = portion.count
    while (after := portion.next_position) is not None:
        portion = send_portion(world, subscription_id, chosen, after=after)
        total += portion.count
    return total


def copies(world: World) -> Sequence[Delivery]:
    with world.begin() as session:
        return session.scalars(
            select(Delivery)
            .where(Delivery.kind == DeliveryKind.REPLAY)
            .order_by(Delivery.next_attempt_at, Delivery.sequence)
        ).all()


def seconds_until_due(world: World) -> list[float]:
    return [(row.next_attempt_at - ASKED_AT).total_seconds() for row in copies(world)]


def set_copies(world: World, **values: object) -> None:
    is_copy = Delivery.kind == DeliveryKind.REPLAY
    with world.begin() as session:
        session.execute(update(Delivery).where(is_copy).values(**values))


def test_what_is_chosen_is_sent_again_with_id_bytes_and_order(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of the model, although it comes in two portions."""
    monkeypatch.setattr(redelivery, "LOOKED_AT_ONCE", 2)
    subscription_id, _ = world.subscribe(receiver.url)
    deliver(world, 3)
    originals = world.deliveries()

    sent = send(world, subscription_id)
    dispatcher = world.dispatcher(clock=lambda: NOW + LATER)
    set_copies(world, next_attempt_at=ASKED_AT)
    while dispatcher.run_once():
        pass

    assert sent == 3
    received = receiver.requests
    assert [request.headers["webhook-id"] for request in received] == [
        original.event_id for original in originals
    ]
    assert [request.body for request in received] == [row.body for row in originals]
    assert {request.headers["webhook-replay"] for request in received} == {"true"}
    found = sorted(copies(world), key=lambda copy: copy.sequence)
    assert [copy.state for copy in found] == ["delivered"] * 3
    assert [copy.replay_of for copy in found] == [row.id for row in originals]


def test_a_later_copy_waits_for_an_earlier_one_of_its_key_alone(world: World) -> None:
    subscription_id, _ = world.subscribe()
    deliver(world, 2)
    deliver(world, 1, first=3, ordering_key="iris")
    send(world, subscription_id)

    claimed = world.claim(now=minutes(90))

    first, _, other = world.deliveries()[:3]
    assert {claim.event_id for claim in claimed} == {first.event_id, other.event_id}


def test_a_new_event_does_not_wait_for_copies_of_its_model(world: World) -> None:
    subscription_id, _ = world.subscribe()
    deliver(world, 2)
    send(world, subscription_id)

    fresh = world.enqueue(now=minutes(61))

    assert fresh.id in {claim.event_id for claim in world.claim(now=minutes(61))}


@pytest.mark.parametrize(
    ("filters", "expected"),
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
        ({"subject_pattern": "fl?wers"}, 1),
        ({"states": [ShownState.DEAD]}, 1),
        ({"states": [ShownState.DEAD, ShownState.DELIVERED]}, 6),
        ({"states": [ShownState.SUPERSEDED]}, 0),
    ],
)
def test_what_is_sent_is_what_was_chosen_and_counted(
    world: World, filters: dict[str, object], expected: int
) -> None:
    subscription_id, _ = world.subscribe(on_poison="skip")
    deliver(world, 2)
    deliver(world, 2, first=3, type="model_version.registered")
    deliver(world, 1, first=5, type="registered_model.created", subject="iris")
    deliver(world, 1, first=6, subject="iris", former_subjects=["flowers"])
    world.enqueue(now=minutes(7))  # is on its way
    with world.begin() as session:
        session.get_one(Delivery, world.deliveries()[0].id).state = "dead"
    later_id, _ = world.subscribe()

    counted = count(world, subscription_id, **filters)
    assert copies(world) == []
    sent = send(world, subscription_id, **filters)

    assert (counted, sent, len(copies(world))) == (expected,) * 3
    assert send(world, later_id) == 0


@pytest.mark.parametrize(
    ("state", "again_before", "expected"),
    [
        ("pending", None, 0),
        ("sending", None, 0),
        ("delivered", None, 0),
        ("delivered", minutes(30), 0),
        ("delivered", minutes(90), 2),
        ("dead", None, 2),
    ],
)
def test_what_was_sent_again_is_sent_once_more_only_if_that_came_to_nothing(
    world: World,
    state: str,
    again_before: datetime | None,
    expected: int,
) -> None:
    subscription_id, _ = world.subscribe()
    deliver(world, 1)
    deliver(world, 1, first=2, ordering_key="iris")
    send(world, subscription_id)
    set_copies(world, state=state)

    counted = count(world, subscription_id, again_before=again_before)

    assert (counted, send(world, subscription_id, again_before=again_before)) == (
        expected,
        expected,
    )
    assert len(copies(world)) == 2 + expected


def test_a_portion_that_is_not_committed_is_sent_by_the_next_request(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redelivery, "LOOKED_AT_ONCE", 2)
    subscription_id, _ = world.subscribe()
    deliver(world, 5)
    first = send_portion(world, subscription_id, EVERYTHING)

    with Session(world.engine) as killed:
        send_in(killed, subscription_id, after=first.next_position)
        killed.rollback()

    assert (first.count, send(world, subscription_id)) == (2, 3)
    originals = [copy.replay_of for copy in copies(world)]
    assert originals == [row.id for row in world.deliveries()[:5]]


@pytest.mark.parametrize(
    "world", [pytest.param("postgresql", marks=pytest.mark.service)], indirect=True
)
def test_of_two_requests_at_a_time_the_second_waits_for_the_first(world: World) -> None:
    subscription_id, _ = world.subscribe()
    deliver(world, 2)

    with world.begin() as first, Session(world.engine) as second:
        send_in(first, subscription_id)
        second.connection().exec_driver_sql("SET LOCAL lock_timeout = '50ms'")
        with pytest.raises(OperationalError, match="lock timeout"):
            send_in(second, subscription_id)

    assert send(world, subscription_id) == 0


@pytest.mark.parametrize(("rate", "pause"), [(None, 0.1), (30, 2.0)])
def test_copies_are_due_at_the_rate_of_the_endpoint(
    world: World, monkeypatch: pytest.MonkeyPatch, rate: int | None, pause: float
) -> None:
    """Also from portion to portion, and from request to request."""
    monkeypatch.setattr(redelivery, "LOOKED_AT_ONCE", 2)
    subscription_id, _ = world.subscribe(rate_per_minute=rate)
    deliver(world, 5)
    deliver(world, 2, first=6, ordering_key="iris", subject="iris")

    send(world, subscription_id, subject_pattern="fraud")
    send(world, subscription_id)

    due = [number * pause for number in range(7)]
    assert seconds_until_due(world) == pytest.approx(due)


@pytest.mark.parametrize("trouble", ["pause", "breaker"])
def test_copies_keep_their_pace_when_their_endpoint_comes_back(
    world: World, trouble: str
) -> None:
    subscription_id, _ = world.subscribe(rate_per_minute=1)
    deliver(world, 3)
    send(world, subscription_id)
    if trouble == "pause":
        with world.begin() as session:
            subscriptions.pause(session, subscription_id, now=ASKED_AT)
            subscriptions.resume(session, subscription_id, now=ASKED_AT)
    else:
        (claim,) = world.claim(now=ASKED_AT)
        with world.begin() as session:
            subscription = session.get_one(Subscription, subscription_id)
            subscription.consecutive_failures, subscription.breaker_trips = 5, 1
        world.record(claim, DELIVERED, now=ASKED_AT)

    assert seconds_until_due(world) == [0, 60, 120]


def test_a_closed_subscription_holds_what_is_sent_again(world: World) -> None:
    subscription_id, _ = world.subscribe()
    deliver(world)
    with world.begin() as session:
        subscriptions.pause(session, subscription_id, now=ASKED_AT)

    assert send(world, subscription_id) == 1
    assert [copy.shown_state for copy in copies(world)] == ["held"]


def test_blocked_heads_go_on_where_they_stand(world: World) -> None:
    subscription_id, _ = world.subscribe()
    for key in ("fraud", "iris"):
        world.enqueue(ordering_key=key)
        world.enqueue(ordering_key=key)
    block_heads(world)
    assert sorted(world.states()) == ["blocked", "blocked", "held", "held"]

    assert count(world, subscription_id) == 0
    blocked = [ShownState.BLOCKED]
    assert count(world, subscription_id, states=blocked) == 2
    assert send(world, subscription_id, states=blocked) == 2
    assert send(world, subscription_id, states=blocked) == 0

    assert world.states() == ["pending"] * 4
    assert copies(world) == []
    heads = [row for row in world.deliveries() if row.sequence == 1]
    due = sorted(row.next_attempt_at for row in heads)
    assert due == [ASKED_AT, ASKED_AT + timedelta(seconds=0.1)]


def block_heads(world: World) -> None:
    with world.begin() as session:
        session.execute(
            update(Delivery).where(Delivery.sequence == 1).values(attempt_count=17)
        )
    for claim in world.claim():
        world.record(claim, FAILED)


@pytest.mark.parametrize(
    ("format_now", "expected"), [("smoke-signals", 0), ("cloudevents", 2)]
)
def test_what_was_never_rendered_is_sent_once_its_format_can_express_it(
    world: World, format_now: str, expected: int
) -> None:
    subscription_id, _ = world.subscribe()
    for number, key in enumerate(("fraud", "iris")):
        world.enqueue(ordering_key=key, now=minutes(number))
    bare = {"content_type": "", "body": b"", "rendered_as": None}
    unsent = world.deliveries()
    with world.begin() as session:
        session.get_one(Subscription, subscription_id).format = format_now
        for row, state in zip(unsent, ("dead", "pending"), strict=True):
            change = update(Delivery).where(Delivery.id == row.id)
            session.execute(change.values(state=state, reason="not rendered", **bare))

    states = [ShownState.DEAD, ShownState.BLOCKED]
    assert send(world, subscription_id, states=states) == expected

    sent = [row for row in world.deliveries() if row.state == "pending" and row.body]
    assert len(sent) == expected


def test_there_must_be_a_subscription(world: World) -> None:
    subscription_id, _ = world.subscribe()
    with world.begin() as session:
        subscriptions.delete(session, subscription_id, now=datetime.now(UTC))

    for absent in (subscription_id, "sub_absent"):
        with pytest.raises(UnknownSubscriptionError):
            send(world, absent)
