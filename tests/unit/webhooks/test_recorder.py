"""Results that wait for their database, with one that is away as told."""

import time
from collections.abc import Sequence

import pytest
from sqlalchemy.exc import DataError, OperationalError

from tests.unit.webhooks.claim_samples import make_claim
from webhooks.queue import recorder
from webhooks.queue.recorder import MAX_AT_ONCE, Recorder
from webhooks.queue.settle import Answered
from webhooks.sending.sender import SendResult
from webhooks.tables import AttemptOutcome

DELIVERED = SendResult(AttemptOutcome.DELIVERED, status=200)
AWAY = OperationalError("", None, ConnectionError())
REFUSED = DataError("", None, ValueError())


class Database:
    """Keeps what it is given, and raises what it is told to."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.errors: dict[str, Exception] = {}

    def record(self, answered: Sequence[Answered]) -> None:
        ids = [claim.delivery_id for claim, _ in answered]
        for identity in ids:
            if identity in self.errors:
                raise self.errors[identity]
        self.batches.append(ids)

    @property
    def recorded(self) -> set[str]:
        return {identity for batch in self.batches for identity in batch}


def add(
    waiting: Recorder,
    count: int,
    *,
    seconds: float = 60,
    subscription_id: str = "sub_1",
) -> list[str]:
    claims = [make_claim(subscription_id=subscription_id) for _ in range(count)]
    for claim in claims:
        waiting.add(claim, DELIVERED, time.monotonic() + seconds)
    return [claim.delivery_id for claim in claims]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "RETRY_SECONDS", 0.01)


def test_what_waits_is_recorded_together_as_far_as_it_fits() -> None:
    database = Database()
    waiting = Recorder(database.record)
    ids = add(waiting, MAX_AT_ONCE + 1)

    waiting.flush()

    assert [len(batch) for batch in database.batches] == [MAX_AT_ONCE, 1]
    assert database.recorded == set(ids)
    assert len(waiting) == 0


def test_a_database_that_is_away_is_asked_again() -> None:
    database = Database()
    waiting = Recorder(database.record)
    ids = add(waiting, 3)
    database.errors[ids[0]] = AWAY
    waiting.flush()
    assert (len(waiting), database.batches) == (3, [])

    database.errors.clear()
    waiting.flush_all()

    assert database.recorded == set(ids)


@pytest.mark.parametrize("sqlstate", ["40P01", "55P03"])
def test_one_result_that_waits_for_a_lock_does_not_take_others_along(
    sqlstate: str,
) -> None:
    database = Database()
    waiting = Recorder(database.record)
    ids = add(waiting, 2) + add(waiting, 1, subscription_id="sub_2")
    waited = ConnectionError()
    waited.sqlstate = sqlstate  # type: ignore[attr-defined]  # As psycopg's errors have it.
    database.errors[ids[0]] = OperationalError("", None, waited)

    waiting.flush()

    # What goes to the same subscription would wait for the same lock.
    assert database.recorded == {ids[2]}
    assert len(waiting) == 2
    database.errors.clear()
    waiting.flush_all()
    assert database.recorded == set(ids)


def test_a_database_that_refused_is_left_alone_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recorder, "RETRY_SECONDS", 30.0)
    database = Database()
    waiting = Recorder(database.record)
    ids = add(waiting, 1)
    database.errors[ids[0]] = AWAY
    waiting.flush()

    database.errors.clear()
    waiting.flush()

    assert len(waiting) == 1


def test_a_result_is_offered_no_longer_than_its_lease() -> None:
    database = Database()
    waiting = Recorder(database.record)
    ids = add(waiting, 1, seconds=0)
    database.errors[ids[0]] = AWAY

    waiting.flush_all()

    assert (len(waiting), database.batches) == (0, [])


@pytest.mark.parametrize(("error", "left"), [(REFUSED, 1), (KeyError("a bug"), 0)])
def test_one_that_cannot_be_recorded_takes_no_other_along(
    error: Exception, left: int
) -> None:
    database = Database()
    waiting = Recorder(database.record)
    ids = add(waiting, 3)
    database.errors[ids[1]] = error

    waiting.flush()

    assert database.recorded == {ids[0], ids[2]}
    assert len(waiting) == left
