"""What a consumer is told of duplicates, order and work under way: both stores."""

import json
import multiprocessing
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.receiver import (
    BusyError,
    MemoryStore,
    Message,
    Receiver,
    SQLiteStore,
    Standing,
    Store,
    Ticket,
)
from webhooks.sending.prepare import new_secret, sign

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SECRET = new_secret()

MakeStore = Callable[..., Store]


@pytest.fixture(params=["memory", "sqlite"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> MakeStore:
    if request.param == "memory":
        return MemoryStore
    return lambda **choices: SQLiteStore(tmp_path / "seen.db", **choices)


@pytest.fixture
def receiver(make_store: MakeStore) -> Receiver:
    return Receiver(SECRET, store=make_store())


def receive(
    receiver: Receiver,
    number: int,
    *,
    model: str | None = "fraud",
    sequence: Any = ...,  # noqa: ANN401  # Anything JSON has; the number unless given.
    happened_at: datetime = NOW,
    now: datetime = NOW,
    is_replay: bool = False,
) -> Message:
    """Receive event ``number``, whose id and sequence follow from it."""
    data = {"model": model, "sequence": number if sequence is ... else sequence}
    body = json.dumps(
        {
            "type": "model_version.stage_changed",
            "timestamp": happened_at.isoformat(),
            "data": data if model is not None else {},
        }
    ).encode()
    headers = sign(f"msg_{number}", now, body, [SECRET])
    if is_replay:
        headers["webhook-replay"] = "true"
    return receiver.receive(headers, body, now)


def done(receiver: Receiver, number: int, **choices: Any) -> Standing:  # noqa: ANN401  # as above
    with receive(receiver, number, **choices) as message:
        return message.standing


def test_a_message_is_new_until_it_is_done(receiver: Receiver) -> None:
    first = receive(receiver, 1)
    first.release()
    second = receive(receiver, 1)
    second.done()
    third = receive(receiver, 1)

    standings = [message.standing for message in (first, second, third)]

    assert standings == [Standing.NEW, Standing.NEW, Standing.DUPLICATE]
    assert [message.is_new for message in (first, second, third)] == [True, True, False]


def test_work_that_fails_leaves_the_message_new(receiver: Receiver) -> None:
    with pytest.raises(RuntimeError), receive(receiver, 1):
        raise RuntimeError

    assert done(receiver, 1) is Standing.NEW
    assert done(receiver, 1) is Standing.DUPLICATE


def test_done_and_release_count_once(receiver: Receiver) -> None:
    with receive(receiver, 1) as message:
        message.done()
        message.release()
        message.done()

    assert done(receiver, 1) is Standing.DUPLICATE


def test_an_event_that_was_overtaken_is_told_as_out_of_order(
    receiver: Receiver,
) -> None:
    standings = [done(receiver, number) for number in (2, 5, 3, 5, 6)]

    assert standings == [
        Standing.NEW,
        Standing.NEW,
        Standing.OUT_OF_ORDER,
        Standing.DUPLICATE,
        Standing.NEW,
    ]


def test_an_event_overtakes_only_once_it_is_done(receiver: Receiver) -> None:
    receive(receiver, 5).release()

    assert done(receiver, 3) is Standing.NEW


def test_a_second_message_with_a_known_place_is_out_of_order(
    receiver: Receiver,
) -> None:
    done(receiver, 5)

    assert done(receiver, 6, sequence=5) is Standing.OUT_OF_ORDER


def test_models_do_not_overtake_each_other(receiver: Receiver) -> None:
    done(receiver, 9)

    assert done(receiver, 1, model="churn") is Standing.NEW


def test_a_model_made_anew_under_an_old_name_starts_again(receiver: Receiver) -> None:
    done(receiver, 50)
    later = NOW + timedelta(seconds=1)

    assert done(receiver, 1, happened_at=later) is Standing.NEW
    assert done(receiver, 51) is Standing.OUT_OF_ORDER
    assert done(receiver, 2, happened_at=later) is Standing.NEW


@pytest.mark.parametrize("sequence", [None, "7", 7.0, True, -1, 2**63])
def test_what_is_no_sequence_has_no_order(receiver: Receiver, sequence: object) -> None:
    done(receiver, 5)

    assert done(receiver, 6, sequence=sequence) is Standing.NEW
    assert done(receiver, 3) is Standing.OUT_OF_ORDER


def test_events_about_no_model_are_deduplicated_and_not_ordered(
    receiver: Receiver,
) -> None:
    with receive(receiver, 2, model=None):
        standings = [done(receiver, number, model=None) for number in (1, 1)]

    assert standings == [Standing.NEW, Standing.DUPLICATE]


def test_a_replay_is_told_and_is_outside_the_order(receiver: Receiver) -> None:
    done(receiver, 5)

    with receive(receiver, 3, is_replay=True) as replay:
        assert replay.is_replay
        assert replay.is_new
    ahead = done(receiver, 9, is_replay=True)

    assert ahead is Standing.NEW
    assert done(receiver, 6) is Standing.NEW
    assert done(receiver, 3, is_replay=True) is Standing.DUPLICATE
    assert done(receiver, 3) is Standing.DUPLICATE


def test_a_message_under_way_keeps_its_model_closed(receiver: Receiver) -> None:
    with receive(receiver, 5):
        for is_replay in (False, True):
            for number in (5, 6):
                with pytest.raises(BusyError) as refusal:
                    receive(receiver, number, is_replay=is_replay)
                assert refusal.value.status == 503
        assert done(receiver, 7, model="churn") is Standing.NEW

    assert done(receiver, 6) is Standing.NEW


def test_a_replay_under_way_keeps_its_model_closed(receiver: Receiver) -> None:
    with receive(receiver, 5, is_replay=True), pytest.raises(BusyError):
        receive(receiver, 6)


def test_work_that_nobody_finishes_ends_by_itself(receiver: Receiver) -> None:
    abandoned = receive(receiver, 5)

    with pytest.raises(BusyError):
        receive(receiver, 5, now=NOW + timedelta(minutes=10, microseconds=-1))
    with receive(receiver, 5, now=NOW + timedelta(minutes=10)) as second:
        assert second.is_new
        abandoned.release()
        with pytest.raises(BusyError):
            receive(receiver, 6, now=NOW + timedelta(minutes=10))


def test_work_that_took_too_long_is_remembered_all_the_same(
    receiver: Receiver,
) -> None:
    slow = receive(receiver, 5)
    later = NOW + timedelta(minutes=10)
    second = receive(receiver, 5, now=later)
    slow.done()

    assert done(receiver, 5, now=later) is Standing.DUPLICATE
    second.done()
    assert done(receiver, 5, now=later) is Standing.DUPLICATE


def test_late_work_does_not_turn_the_order_back(receiver: Receiver) -> None:
    slow = receive(receiver, 5)
    later = NOW + timedelta(minutes=10)
    done(receiver, 6, now=later)
    slow.done()

    assert done(receiver, 7, sequence=6, now=later) is Standing.OUT_OF_ORDER


def test_only_so_many_messages_are_remembered(make_store: MakeStore) -> None:
    receiver = Receiver(SECRET, store=make_store(max_entries=3))
    for number in range(1, 6):
        done(receiver, number, model=None)

    assert done(receiver, 3, model=None) is Standing.DUPLICATE
    assert done(receiver, 2, model=None) is Standing.NEW


def test_memory_forgets_the_model_that_was_quiet_longest() -> None:
    receiver = Receiver(SECRET, store=MemoryStore(max_entries=2))
    for number, model in [(5, "a"), (6, "b"), (7, "a"), (8, "c")]:
        done(receiver, number, model=model)

    assert done(receiver, 1, model="a") is Standing.OUT_OF_ORDER
    assert done(receiver, 2, model="b") is Standing.NEW


def test_one_message_in_many_threads_is_worked_on_once(receiver: Receiver) -> None:
    gate = threading.Barrier(8)

    def take(_thread: int) -> str:
        gate.wait()
        try:
            return done(receiver, 1)
        except BusyError:
            return "busy"

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(take, range(8)))

    assert outcomes.count(Standing.NEW) == 1


def test_a_file_is_remembered_over_restarts_and_processes(tmp_path: Path) -> None:
    path = tmp_path / "seen.db"
    done(Receiver(SECRET, store=SQLiteStore(path)), 5)

    with multiprocessing.get_context("spawn").Pool(1) as pool:
        elsewhere = pool.apply(_received_elsewhere, (path, SECRET))

    assert elsewhere == [Standing.DUPLICATE, Standing.OUT_OF_ORDER, Standing.NEW]


def _received_elsewhere(path: Path, secret: str) -> list[str]:
    global SECRET  # noqa: PLW0603  # A spawned process made one of its own.
    SECRET = secret
    receiver = Receiver(secret, store=SQLiteStore(path))
    return [str(done(receiver, number)) for number in (5, 3, 6)]


def test_a_file_that_cannot_be_written_leaves_the_message_new(tmp_path: Path) -> None:
    """Answering 2xx would be a lie, so the error reaches the consumer."""
    path = tmp_path / "seen.db"
    receiver = Receiver(SECRET, store=SQLiteStore(path))
    message = receive(receiver, 1)
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE latest")
    connection.close()

    with pytest.raises(sqlite3.OperationalError), message:
        pass

    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT * FROM done").fetchall() == []
    connection.close()


Step = tuple[str, int, str | None, bool, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["done", "release", "leave"]),
        st.integers(1, 6),
        st.sampled_from(["a", "b", None]),
        st.booleans(),
        st.integers(0, 3),
    ),
    max_size=30,
)


@given(STEPS)
def test_both_stores_say_the_same_of_any_story(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step]
) -> None:
    file = tmp_path_factory.mktemp("story") / "seen.db"

    assert told(SQLiteStore(file), steps) == told(MemoryStore(), steps)


def told(store: Store, steps: list[Step]) -> list[str]:
    """What the store says of each step; holds last two ticks."""
    outcomes: list[str] = []
    for tick, (action, number, key, is_replay, instant) in enumerate(steps):
        ticket = Ticket(
            message_id=f"msg_{number}_{key}",
            key=key,
            position=None if is_replay or key is None else (instant, number),
            received_at=tick,
            busy_until=tick + 2,
            token=str(tick),
        )
        try:
            outcomes.append(store.begin(ticket))
        except BusyError:
            outcomes.append("busy")
        if outcomes[-1] == Standing.NEW and action != "leave":
            (store.finish if action == "done" else store.release)(ticket)
    return outcomes
