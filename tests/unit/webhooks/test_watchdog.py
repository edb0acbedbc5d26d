"""Deadlines of many sends, watched by one thread."""

import io
import os
import threading

import pytest

from tests.waiting import STALL_SECONDS
from webhooks.sending.exchange import HeadReader, Watchdog


def watching_threads() -> int:
    return sum(
        thread.name == "webhook-watchdog" and thread.is_alive()
        for thread in threading.enumerate()
    )


def test_what_is_not_released_expires() -> None:
    is_over = threading.Event()

    Watchdog(0.01).watch(is_over.set)

    assert is_over.wait(STALL_SECONDS)


def test_deadlines_fall_due_in_their_order() -> None:
    seen: list[int] = []
    is_over = threading.Event()
    watchdog = Watchdog(0.01)

    for number in range(100):
        watchdog.watch(lambda number=number: seen.append(number))  # type: ignore[misc]  # Bound now.
    watchdog.watch(is_over.set)

    assert is_over.wait(STALL_SECONDS)
    assert seen == list(range(100))


def test_what_is_released_does_not_expire() -> None:
    seen: list[str] = []
    is_over = threading.Event()
    watchdog = Watchdog(0.2)

    def expire() -> None:
        seen.append("released")

    watchdog.watch(expire)
    watchdog.watch(is_over.set)
    watchdog.release(expire)

    assert is_over.wait(STALL_SECONDS)
    assert seen == []
    watchdog.release(expire)


def test_one_thread_watches_them_all() -> None:
    before = watching_threads()
    watchdog = Watchdog(STALL_SECONDS)

    events = [threading.Event() for _ in range(50)]
    for event in events:
        watchdog.watch(event.set)

    assert watching_threads() <= before + 1
    for event in events:
        watchdog.release(event.set)


def test_it_goes_on_after_a_pause_and_after_a_callback_that_raised(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watchdog = Watchdog(0.01)
    watchdog.watch(lambda: 1 // 0)  # type: ignore[arg-type]  # It never returns.

    for _ in range(3):
        is_over = threading.Event()
        watchdog.watch(is_over.set)
        assert is_over.wait(STALL_SECONDS)

    assert "webhook_watchdog_failed" in caplog.text


def test_what_has_come_is_not_read_once_time_is_over() -> None:
    is_over = threading.Event()
    reader = HeadReader(io.FileIO(_lines(), "rb"), is_over.is_set)
    assert reader.readline() == b"HTTP/1.1 100 Continue\r\n"

    is_over.set()

    with pytest.raises(TimeoutError):
        reader.readline()
    reader.close()


def _lines() -> int:
    """A pipe with lines in it that nobody writes to any more."""
    reading, writing = os.pipe()
    os.write(writing, b"HTTP/1.1 100 Continue\r\n\r\n" * 3)
    os.close(writing)
    return reading
