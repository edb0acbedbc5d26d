"""Names that stall, fail and are asked for many times at once."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.waiting import STALL_SECONDS
from webhooks.sending import guard
from webhooks.sending.guard import MAX_THREADS, BoundedResolver, resolve_by_system


class StallingNames:
    """A resolver that answers once it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.may_answer = threading.Event()

    def __call__(self, host: str, _port: int) -> Sequence[str]:
        self.asked.append(host)
        self.may_answer.wait(STALL_SECONDS)
        return ["192.0.2.1"]


@pytest.fixture
def names() -> Iterator[StallingNames]:
    stalling = StallingNames()
    yield stalling
    stalling.may_answer.set()


def test_a_stalled_name_has_no_addresses(names: StallingNames) -> None:
    assert BoundedResolver(names).resolve("a.example", 443, 0.01) == ()


def test_a_stalled_name_occupies_one_thread_however_often_it_is_asked(
    names: StallingNames,
) -> None:
    resolver = BoundedResolver(names)

    for _ in range(3 * MAX_THREADS):
        assert resolver.resolve("a.example", 443, 0.001) == ()

    assert names.asked == ["a.example"]


def test_threads_are_bounded_and_other_names_wait_for_one(
    names: StallingNames,
) -> None:
    resolver = BoundedResolver(names)

    for number in range(MAX_THREADS + 3):
        assert resolver.resolve(f"{number}.example", 443, 0.001) == ()

    assert len(names.asked) == MAX_THREADS
    names.may_answer.set()
    found = resolver.resolve("late.example", 443, STALL_SECONDS)
    assert found == ["192.0.2.1"]


def test_everyone_who_waits_for_a_name_gets_its_answer(names: StallingNames) -> None:
    resolver = BoundedResolver(names)

    with ThreadPoolExecutor(8) as pool:
        waiting = [
            pool.submit(resolver.resolve, "a.example", 443, STALL_SECONDS)
            for _ in range(8)
        ]
        names.may_answer.set()
        answers = [each.result() for each in waiting]

    assert answers == [["192.0.2.1"]] * 8


def resolving_threads() -> set[threading.Thread]:
    return {
        thread for thread in threading.enumerate() if thread.name == "webhook-resolver"
    }


def test_one_lookup_after_another_takes_one_thread() -> None:
    before = resolving_threads()
    used: set[threading.Thread] = set()

    def answer(_host: str, _port: int) -> Sequence[str]:
        used.add(threading.current_thread())
        return ["192.0.2.1"]

    resolver = BoundedResolver(answer)
    for number in range(20):
        name = f"{number}.example"
        assert resolver.resolve(name, 443, STALL_SECONDS) == ["192.0.2.1"]

    # One that has answered may not yet be waiting again.
    assert len(used) == len(used - before) <= 2


def test_a_thread_that_waits_in_vain_ends_and_the_next_name_starts_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guard, "IDLE_SECONDS", 0.01)
    before = resolving_threads()
    resolver = BoundedResolver(lambda _host, _port: ["192.0.2.1"])

    for _ in range(2):
        assert resolver.resolve("a.example", 443, STALL_SECONDS) == ["192.0.2.1"]
        for thread in resolving_threads() - before:
            thread.join(STALL_SECONDS)
        assert resolving_threads() <= before


def test_names_are_resolved_after_a_fork() -> None:
    code = """
import os, sys
from webhooks.sending.guard import BoundedResolver
resolver = BoundedResolver(lambda host, port: [host])
assert resolver.resolve("192.0.2.1", 443, 10) == ["192.0.2.1"]
child = os.fork()
if not child:
    os._exit(resolver.resolve("192.0.2.2", 443, 10) != ["192.0.2.2"])
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

    subprocess.run((sys.executable, "-c", code), check=True, timeout=60)


@pytest.mark.parametrize(
    "error",
    [
        socket.gaierror(socket.EAI_NONAME, "NXDOMAIN"),
        socket.gaierror(socket.EAI_AGAIN, "SERVFAIL"),
        OSError("no route to the name server"),
        UnicodeError("label too long"),
    ],
)
def test_a_name_that_fails_has_no_addresses_and_can_be_asked_again(
    error: Exception,
) -> None:
    answers: list[Exception | Sequence[str]] = [error, ["192.0.2.1"]]

    def answer(_host: str, _port: int) -> Sequence[str]:
        next_one = answers.pop(0)
        if isinstance(next_one, Exception):
            raise next_one
        return next_one

    resolver = BoundedResolver(answer)

    assert resolver.resolve("a.example", 443, STALL_SECONDS) == ()
    assert resolver.resolve("a.example", 443, STALL_SECONDS) == ["192.0.2.1"]


def test_the_system_resolver_knows_this_machine() -> None:
    assert "127.0.0.1" in resolve_by_system("127.0.0.1", 443)
