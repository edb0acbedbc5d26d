"""Who fails too often is told when to come back."""

from dataclasses import dataclass

import pytest

from registry.auth import rate_limits
from registry.auth.rate_limits import FailureLimit
from registry.errors import TooManyAttemptsError

HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"


@dataclass
class Clock:
    """A clock that stands still until it is told otherwise."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limit(clock: Clock) -> FailureLimit:
    return FailureLimit(burst=3, per_minute=6, clock=clock)


def fail(limit: FailureLimit, times: int, source: str = HERE) -> None:
    for _ in range(times):
        limit.note_failure(source)


def seconds_to_wait(limit: FailureLimit, source: str = HERE) -> int:
    with pytest.raises(TooManyAttemptsError) as caught:
        limit.note_failure(source)
    return caught.value.retry_after_seconds


def test_failures_beyond_the_burst_are_told_to_come_back(limit: FailureLimit) -> None:
    fail(limit, 3)

    assert seconds_to_wait(limit) == 10  # six a minute


def test_refusal_does_not_prolong_itself(limit: FailureLimit, clock: Clock) -> None:
    fail(limit, 3)
    clock.seconds = 9.0
    assert seconds_to_wait(limit) == 1
    assert seconds_to_wait(limit) == 1

    clock.seconds = 10.0

    fail(limit, 1)
    assert seconds_to_wait(limit) == 10


def test_rest_fills_the_bucket_and_no_more(limit: FailureLimit, clock: Clock) -> None:
    fail(limit, 3)
    clock.seconds = 3600.0

    fail(limit, 3)

    assert seconds_to_wait(limit) == 10


def test_one_source_is_not_held_to_the_failures_of_another(limit: FailureLimit) -> None:
    fail(limit, 3)

    fail(limit, 3, ELSEWHERE)


def test_who_has_not_failed_passes_and_nothing_is_counted(limit: FailureLimit) -> None:
    for _ in range(100):
        limit.check(HERE)

    fail(limit, 3)
    with pytest.raises(TooManyAttemptsError):
        limit.check(HERE)


def test_sources_of_one_ipv6_network_are_one(limit: FailureLimit) -> None:
    fail(limit, 2, "2001:db8:0:1::1")
    fail(limit, 1, "2001:db8:0:1:ffff::2")

    assert seconds_to_wait(limit, "2001:db8:0:1::3") == 10
    fail(limit, 3, "2001:db8:0:2::1")


def test_source_without_an_address_is_one_as_well(limit: FailureLimit) -> None:
    fail(limit, 3, "")

    assert seconds_to_wait(limit, "") == 10


def test_memory_is_bounded_and_who_failed_last_is_kept(
    limit: FailureLimit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limits, "MAX_SOURCES", 2)
    for source in ("192.0.2.7", HERE, ELSEWHERE):
        fail(limit, 3, source)

    assert seconds_to_wait(limit, HERE) == seconds_to_wait(limit, ELSEWHERE) == 10
    fail(limit, 3, "192.0.2.7")  # forgotten


def test_forgotten_failures_count_no_more(limit: FailureLimit) -> None:
    fail(limit, 3)

    limit.forget()

    fail(limit, 3)
