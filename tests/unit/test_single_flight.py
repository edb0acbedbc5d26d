"""Work that several ask for at once is done once."""

import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from registry.web.single_flight import RecentKeys, SingleFlight, StillRunningError
from tests.waiting import STALL_SECONDS

Flights = SingleFlight[str, str]


@contextmanager
def two_callers(
    work: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Future[str], Future[str]]]:
    """Two who meet: the work goes on once the second one has begun to wait."""
    begun, joined = threading.Event(), threading.Event()

    def slow_work() -> str:
        begun.set()
        assert joined.wait(STALL_SECONDS)
        return work()

    def wait(running: list[Future[str]], timeout: float) -> object:
        joined.set()
        return futures.wait(running, timeout)

    monkeypatch.setattr("registry.web.single_flight.wait", wait)
    flights = Flights()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(flights.run, "a", slow_work, wait_seconds=0)
        assert begun.wait(STALL_SECONDS)
        second = threads.submit(flights.run, "a", work, wait_seconds=STALL_SECONDS)
        yield first, second


def test_callers_that_meet_share_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []

    def work() -> str:
        runs.append(1)
        return "done"

    with two_callers(work, monkeypatch) as callers:
        assert [each.result() for each in callers] == ["done", "done"]
    assert len(runs) == 1


def test_error_reaches_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> str:
        raise OSError("the disk is away")

    with two_callers(work, monkeypatch) as callers:
        errors = [each.exception() for each in callers]

    assert [str(error) for error in errors] == ["the disk is away"] * 2
    assert errors[0] is errors[1]


def test_who_has_waited_long_enough_is_told_and_the_run_goes_on() -> None:
    flights = Flights()

    def work() -> str:
        with pytest.raises(StillRunningError):
            flights.run("a", lambda: "another", wait_seconds=0)
        return "done"

    assert flights.run("a", work, wait_seconds=0) == "done"


def test_another_key_waits_for_nobody() -> None:
    flights = Flights()

    def work() -> str:
        return flights.run("b", lambda: "beside", wait_seconds=0)

    assert flights.run("a", work, wait_seconds=0) == "beside"


def test_nothing_is_kept_for_who_comes_after() -> None:
    flights = Flights()

    def fail() -> str:
        raise OSError

    with pytest.raises(OSError):  # noqa: PT011  # any will do
        flights.run("a", fail, wait_seconds=0)
    results = [
        flights.run("a", lambda each=each: each, wait_seconds=0)  # type: ignore[misc]  # mypy cannot infer it
        for each in ("first", "second")
    ]

    assert results == ["first", "second"]
    assert not vars(flights)["_running"]


def test_keys_that_were_added_last_are_remembered() -> None:
    keys = RecentKeys[str](most=2)

    for key in ("a", "b", "b", "c"):
        keys.add(key)

    assert [key for key in "abc" if key in keys] == ["b", "c"]
