"""Sends to the whole corpus, with listeners that must hear nothing.

The port rule would refuse most of it before the address rule is asked, so here the
listener's port counts as a common one.
"""

import socket
from collections.abc import Iterator, Sequence

import pytest

from tests.hostile_addresses import HOSTILE_ADDRESSES, HOSTILE_NAMES, HOSTILE_URLS
from tests.hostile_receivers import BODY, NOW
from tests.receiver import Answer, Receiver
from webhooks.sending import guard as guarding
from webhooks.sending.guard import AddressGuard
from webhooks.sending.sender import Sender, SendResult, Timeouts

REFUSED = "The host could not be resolved to an allowed address."
NOT_ALLOWED = "the URL is not allowed"
SHORT = Timeouts(1.0, 1.0, 2.0, refusal_seconds=0.01)


@pytest.fixture
def trap(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver on loopback that must never be reached."""
    with Receiver() as listening:
        ports = {80, 443, 8443, listening.port}
        monkeypatch.setitem(guarding.COMMON_PORTS, "http", ports)
        yield listening
        assert listening.requests == ()


@pytest.fixture
def connected_to(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What anybody tried to connect to."""
    tried: list[object] = []
    connect = socket.create_connection

    def record(address: tuple[str, int], timeout: float) -> socket.socket:
        tried.append(address)
        return connect(address, timeout)

    monkeypatch.setattr(socket, "create_connection", record)
    return tried


def guard_answering(*addresses: str) -> AddressGuard:
    return AddressGuard(allow_http=True, resolver=lambda _host, _port: addresses)


def post(url: str, guard: AddressGuard) -> SendResult:
    return Sender(guard, timeouts=SHORT).send(url, BODY, {}, now=NOW)


def test_no_hostile_address_is_reached_by_a_name(
    trap: Receiver, connected_to: list[object], subtests: pytest.Subtests
) -> None:
    for address in HOSTILE_ADDRESSES:
        with subtests.test(address):
            url = f"http://hooks.example:{trap.port}/"
            result = post(url, guard_answering(address))

            assert (result.error, result.address, result.timings) == (REFUSED, None, {})
            assert connected_to == []


def test_no_hostile_address_is_reached_beside_a_public_one(
    trap: Receiver, connected_to: list[object], subtests: pytest.Subtests
) -> None:
    for address in HOSTILE_ADDRESSES:
        with subtests.test(address):
            guard = guard_answering("93.184.216.34", address)

            result = post(f"http://hooks.example:{trap.port}/", guard)

            assert result.error == REFUSED
            assert connected_to == []


def test_no_hostile_address_is_reached_by_its_url(
    trap: Receiver, connected_to: list[object], subtests: pytest.Subtests
) -> None:
    for address in HOSTILE_ADDRESSES:
        with subtests.test(address):
            host = f"[{address}]" if ":" in address else address

            result = post(f"http://{host}:{trap.port}/", AddressGuard(allow_http=True))

            assert result.error == NOT_ALLOWED
            assert connected_to == []


def test_no_hostile_url_is_sent_to(
    connected_to: list[object], subtests: pytest.Subtests
) -> None:
    for url in HOSTILE_URLS:
        with subtests.test(url):
            result = post(url, AddressGuard())

            assert result.error == NOT_ALLOWED
            assert connected_to == []


def test_no_name_of_this_machine_is_reached(
    trap: Receiver, connected_to: list[object], subtests: pytest.Subtests
) -> None:
    for name in HOSTILE_NAMES:
        with subtests.test(name):
            result = post(f"http://{name}:{trap.port}/", AddressGuard(allow_http=True))

            assert result.error in {REFUSED, NOT_ALLOWED}
            assert connected_to == []


def test_the_trap_would_hear_what_reached_it(trap: Receiver) -> None:
    allowing = AddressGuard(["127.0.0.1/32"], allow_http=True)

    assert post(trap.url, allowing).is_delivered
    trap.clear()


def test_a_name_that_is_rebound_between_check_and_use_is_asked_once() -> None:
    answers = [["127.0.0.1"], ["127.0.0.2"]]
    asked: list[str] = []

    def rebind(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        return answers[len(asked) - 1]

    # 127.0.0.1 stands for the public address and 127.0.0.2 for the inside one.
    guard = AddressGuard(["127.0.0.1/32"], allow_http=True, resolver=rebind)
    with Receiver() as public:
        first = post(f"http://hooks.example:{public.port}/", guard)
        second = post(f"http://hooks.example:{public.port}/", guard)

    assert (first.is_delivered, first.address) == (True, "127.0.0.1")
    assert (second.error, second.address) == (REFUSED, None)
    assert len(asked) == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location", ["http://169.254.169.254/latest/meta-data/", "/hook", "//127.0.0.2/"]
)
def test_a_redirect_leads_nowhere(
    status: int, location: str, connected_to: list[object]
) -> None:
    guard = AddressGuard(["127.0.0.1/32"], allow_http=True)
    with Receiver(answers=[Answer(status, {"Location": location})]) as receiver:
        result = post(receiver.url, guard)

        assert len(receiver.requests) == 1
    assert (result.is_delivered, result.status) == (False, status)
    assert len(connected_to) == 1


def test_an_inside_name_takes_as_long_to_refuse_as_one_that_is_none() -> None:
    """A refusal takes a whole number of grains, whatever the resolver took."""
    timeouts = Timeouts(5.0, 5.0, 10.0, refusal_seconds=0.2)
    durations = [
        Sender(guard_answering(*answers), timeouts=timeouts)
        .send("https://hooks.example/", BODY, {}, now=NOW)
        .duration_seconds
        for answers in (["10.0.0.1"], [])
    ]

    assert min(durations) >= 0.2


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_proxies_of_the_environment_are_not_reached(
    scheme: str, trap: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = f"http://127.0.0.1:{trap.port}"
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy)
        monkeypatch.setenv(name.lower(), proxy)
    monkeypatch.setenv("NO_PROXY", "nothing.example")

    result = post(f"{scheme}://hooks.example/", guard_answering("10.0.0.1"))

    assert result.error == REFUSED
