"""From the outbox to a real receiver and back into the record."""

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from tests.integration.webhooks.conftest import World
from tests.integration.webhooks.receiving import verify_by_svix
from tests.receiver import Answer, Receiver
from tests.waiting import wait_for
from webhooks import record, redelivery, subscriptions
from webhooks.errors import UnknownSubscriptionError
from webhooks.queue import dispatcher, recorder
from webhooks.queue.dispatcher import utc_now
from webhooks.roster.secrets import SecretBox
from webhooks.sending.prepare import Claim
from webhooks.tables import Delivery, Queue, Subscription

CANARY = "canary-6b1f"


def wait_for_states(world: World, expected: list[str]) -> None:
    wait_for(world.states, lambda states: states == expected)


class FailingDatabase:
    """Raises what a lost connection raises, as often as it is told to."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.failures_left = 0
        self.error: Exception = OperationalError("", None, ConnectionError())

    @contextmanager
    def begin(self) -> Iterator[Session]:
        if self.failures_left:
            self.failures_left -= 1
            raise self.error
        with self.world.begin() as session:
            yield session


def test_a_committed_event_reaches_its_receiver_signed(
    world: World, receiver: Receiver
) -> None:
    _, secret = world.subscribe(receiver.url)
    receiver.accept_secret(secret)
    row = world.enqueue(now=utc_now())

    assert world.dispatcher().run_once() == 1

    (request,) = receiver.verified
    verify_by_svix(secret, request)
    assert request.message_id == row.id
    assert request.headers["content-type"] == "application/json"
    assert request.json()["data"] == {"model": "fraud", "version": 7}
    assert world.states() == ["delivered"]


def test_both_secrets_sign_while_they_overlap(world: World, receiver: Receiver) -> None:
    identity, old = world.subscribe(receiver.url)
    with world.begin() as session:
        new, _ = subscriptions.rotate_secret(
            session, world.box, identity, now=utc_now(), overlap=timedelta(hours=24)
        )
    world.enqueue(now=utc_now())

    world.dispatcher().run_once()

    (request,) = receiver.requests
    for secret in (old, new):
        verify_by_svix(secret, request)


def test_retries_keep_id_and_bytes_and_the_order_of_the_key(world: World) -> None:
    with Receiver(answers=[503, Answer(429, {"Retry-After": "1"})]) as receiver:
        identity, _ = world.subscribe(receiver.url)
        rows = [world.enqueue(now=utc_now()) for _ in range(2)]
        clock = [utc_now()]
        sender = world.dispatcher(clock=lambda: clock[0])
        for _ in range(3):
            sender.run_once()
            clock[0] += timedelta(hours=1)
            with world.begin() as session:
                # PostgreSQL goes by its own clock, so the waits are cut short.
                due = utc_now() - timedelta(seconds=1)
                session.execute(update(Delivery).values(next_attempt_at=due))
                waiting = update(Queue).where(Queue.next_at.is_not(None))
                session.execute(waiting.values(next_at=due))
                session.get_one(Subscription, identity).held_back_until = None

        ids = [request.message_id for request in receiver.requests]
        bodies = {request.body for request in receiver.requests[:3]}

    assert ids == [rows[0].id] * 3 + [rows[1].id]
    assert len(bodies) == 1
    assert world.states() == ["delivered", "delivered"]


def test_a_replay_is_marked_and_keeps_its_id(world: World, receiver: Receiver) -> None:
    world.subscribe(receiver.url)
    world.enqueue(now=utc_now())
    sender = world.dispatcher()
    sender.run_once()
    with world.begin() as session:
        redelivery.redeliver(session, world.deliveries()[0].id, now=utc_now())

    sender.run_once()

    first, second = receiver.requests
    assert "webhook-replay" not in first.headers
    assert second.headers["webhook-replay"] == "true"
    assert (first.message_id, first.body) == (second.message_id, second.body)


def test_background_delivery_starts_at_a_wake_up_and_keeps_order(
    world: World, receiver: Receiver
) -> None:
    world.subscribe(receiver.url)
    sender = world.dispatcher(poll=timedelta(hours=1))
    sender.start()
    try:
        rows = []
        for number in range(12):
            rows.append(world.enqueue(ordering_key=str(number % 3), now=utc_now()))
            sender.wake()
        receiver.wait_for(12)  # before the poll
    finally:
        assert sender.stop()

    keys = {entry.event_id: entry.ordering_key for entry in world.deliveries()}
    for key in ("0", "1", "2"):
        sent = [r.message_id for r in receiver.requests if keys[r.message_id] == key]
        assert sent == [row.id for row in rows if row.ordering_key == key]
    assert world.states() == ["delivered"] * 12


def test_the_poll_finds_what_no_wake_up_announced(
    world: World, receiver: Receiver
) -> None:
    world.subscribe(receiver.url)
    sender = world.dispatcher()
    sender.start()
    try:
        world.enqueue(now=utc_now())
        receiver.wait_for(1)
    finally:
        sender.stop()


def test_no_more_is_claimed_than_can_be_sent(world: World) -> None:
    with Receiver(delay_seconds=0.4) as receiver:
        world.subscribe(receiver.url)
        for number in range(4):
            world.enqueue(ordering_key=str(number), now=utc_now())
        sender = world.dispatcher(concurrency=2)
        sender.start()
        try:
            receiver.wait_for(2)
            assert world.states().count("sending") == 2
            receiver.wait_for(4)
        finally:
            assert sender.stop()

    assert world.states() == ["delivered"] * 4


def test_stopping_lets_what_is_under_way_end(world: World) -> None:
    with Receiver(delay_seconds=0.3) as receiver:
        world.subscribe(receiver.url)
        world.enqueue(now=utc_now())
        sender = world.dispatcher()
        sender.start()
        receiver.wait_for(1)

        assert sender.stop()

    assert world.states() == ["delivered"]


def test_stopping_says_when_something_did_not_end_in_time(world: World) -> None:
    with Receiver(delay_seconds=0.6) as receiver:
        world.subscribe(receiver.url)
        world.enqueue(now=utc_now())
        sender = world.dispatcher()
        sender.start()
        receiver.wait_for(1)

        assert not sender.stop(timedelta(seconds=0.1))
        wait_for_states(world, ["delivered"])


def test_starting_twice_is_refused_and_stopping_twice_is_not(world: World) -> None:
    sender = world.dispatcher()
    sender.start()
    with pytest.raises(RuntimeError):
        sender.start()

    assert sender.stop()
    assert sender.stop()


@pytest.mark.parametrize(
    "error", [OperationalError("", None, ConnectionError()), KeyError("a bug")]
)
def test_the_loop_survives_a_database_that_is_away(
    world: World,
    receiver: Receiver,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    database = FailingDatabase(world)
    database.failures_left = 2
    database.error = error
    world.subscribe(receiver.url)
    world.enqueue(now=utc_now())
    sender = world.dispatcher(begin=database.begin)

    sender.start()
    try:
        receiver.wait_for(1)
        wait_for_states(world, ["delivered"])
    finally:
        sender.stop()

    assert database.failures_left == 0
    assert "failed" in caplog.text


def test_a_result_is_offered_again_when_the_database_was_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "RETRY_SECONDS", 0.02)
    database = FailingDatabase(world)

    def answer_and_cut(_request: object) -> int:
        database.failures_left = 2
        return 200

    with Receiver(answers=answer_and_cut) as receiver:
        world.subscribe(receiver.url)
        world.enqueue(now=utc_now())
        world.dispatcher(begin=database.begin).run_once()

    assert world.states() == ["delivered"]


def test_a_result_that_outlives_its_lease_is_given_up_and_sent_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "RETRY_SECONDS", 0.05)
    database = FailingDatabase(world)

    def answer_and_cut_once(_request: object) -> int:
        if len(receiver.requests) == 1:
            database.failures_left = 1000
        return 200

    with Receiver(answers=answer_and_cut_once) as receiver:
        world.subscribe(receiver.url)
        world.enqueue(now=utc_now())
        sender = world.dispatcher(begin=database.begin, lease=timedelta(seconds=0.2))
        with pytest.raises(OperationalError):
            sender.run_once()
        assert world.states() == ["sending"]
        database.failures_left = 0
        time.sleep(0.25)
        sender.run_once()

        first, second = receiver.requests

    assert (first.message_id, first.body) == (second.message_id, second.body)
    assert world.states() == ["delivered"]


def test_a_fault_while_recording_does_not_stop_the_others(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(*_: object, **__: object) -> bool:
        raise KeyError

    monkeypatch.setattr(dispatcher, "settle_results", stumble)
    world.subscribe(receiver.url)
    sender = world.dispatcher(concurrency=1)
    sender.start()
    try:
        for key in ("fraud", "churn"):
            world.enqueue(ordering_key=key, now=utc_now())
        receiver.wait_for(2)
    finally:
        sender.stop()


def test_a_secret_that_cannot_be_opened_fails_its_delivery_and_no_other(
    world: World, receiver: Receiver
) -> None:
    world.subscribe(receiver.url)
    foreign_box = SecretBox(["another key"])
    ours = world.box
    world.box = foreign_box
    world.subscribe(receiver.url)
    world.box = ours
    world.enqueue(now=utc_now())

    world.dispatcher().run_once()

    assert sorted(world.states()) == ["delivered", "pending"]
    assert len(receiver.requests) == 1
    (waiting,) = [row for row in world.deliveries() if row.state == "pending"]
    with world.begin() as session:
        (attempt,) = record.list_attempts(session, waiting.id)
    assert attempt.error == "the signing secret cannot be used"


def test_a_blocked_address_is_a_failed_attempt_that_tells_nothing(
    world: World,
) -> None:
    identity, _ = world.subscribe("http://localhost:9/")
    world.enqueue(now=utc_now())
    world.guard.allowed_networks = ()

    world.dispatcher().run_once()

    with world.begin() as session:
        (delivery,) = record.list_page(session, subscription_id=identity, limit=1)
        (attempt,) = record.list_attempts(session, delivery.id)
    assert attempt.outcome == "failed"
    assert attempt.status is None
    assert attempt.error is not None
    assert "127.0.0.1" not in attempt.error


def test_a_test_send_is_signed_answered_and_on_record(
    world: World, receiver: Receiver
) -> None:
    identity, secret = world.subscribe(receiver.url)
    receiver.accept_secret(secret)
    with world.begin() as session:
        subscriptions.pause(session, identity, now=utc_now())

    outcome = world.dispatcher().send_test(identity)

    (request,) = receiver.verified
    assert outcome.result.status == 200
    assert request.json()["type"] == "webhook.ping"
    with world.begin() as session:
        delivery = record.get(session, outcome.delivery_id)
        (attempt,) = record.list_attempts(session, outcome.delivery_id)
    assert (delivery.kind, delivery.state) == ("test", "delivered")
    assert attempt.outcome == "delivered"


def test_a_test_send_that_fails_is_not_retried_and_disables_nothing(
    world: World,
) -> None:
    with Receiver(answers=[410]) as receiver:
        identity, _ = world.subscribe(receiver.url)
        outcome = world.dispatcher().send_test(identity)

    assert outcome.result.error == "the receiver answered 410"
    assert world.states() == ["dead"]
    with world.begin() as session:
        row = subscriptions.get(session, identity)
    assert (row.state, row.consecutive_failures) == ("active", 0)


def test_a_test_of_an_unknown_subscription_is_refused(world: World) -> None:
    with pytest.raises(UnknownSubscriptionError):
        world.dispatcher().send_test("sub_never")


def test_two_dispatchers_send_each_delivery_once(
    world: World, receiver: Receiver
) -> None:
    world.subscribe(receiver.url)
    rows = [world.enqueue(ordering_key=str(n % 5), now=utc_now()) for n in range(20)]
    both = [world.dispatcher(), world.dispatcher()]
    for sender in both:
        sender.start()
    receiver.wait_for(20)
    wait_for_states(world, ["delivered"] * 20)
    for sender in both:
        assert sender.stop()

    assert sorted(r.message_id for r in receiver.requests) == sorted(
        row.id for row in rows
    )


def test_secrets_signatures_and_bodies_never_reach_the_log(
    world: World, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    threads = threading.active_count()
    _, secret = world.subscribe(receiver.url)
    world.enqueue(now=utc_now(), data={"note": CANARY})

    world.dispatcher().run_once()

    (request,) = receiver.requests
    assert json.loads(request.body)["data"]["note"] == CANARY
    webhook_lines = [
        record.getMessage() for record in caplog.records if "webhooks" in record.name
    ]
    assert webhook_lines
    for line in webhook_lines:
        assert CANARY not in line
        assert secret.removeprefix("whsec_") not in line
        assert request.headers["webhook-signature"] not in line
    with world.begin() as session:
        (attempt,) = record.list_attempts(session, world.deliveries()[0].id)
    assert attempt.request_headers is not None
    assert attempt.request_headers["webhook-signature"] == "(redacted)"
    assert threading.active_count() - threads < 20


def test_a_send_that_breaks_off_by_a_fault_of_ours_frees_its_sender(
    world: World, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    def stumble(claim: Claim) -> dict[str, str]:
        raise KeyError(claim.delivery_id)

    world.subscribe(receiver.url)
    world.enqueue(now=utc_now())
    sender = world.dispatcher(concurrency=1, lend=stumble)
    sender.start()
    wait_for(lambda: "webhook_delivery_failed" in caplog.text)

    assert sender.stop()
    assert world.states() == ["sending"]
