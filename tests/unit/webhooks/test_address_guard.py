"""The corpus of hostile URLs and addresses: none may pass."""

import ipaddress
import socket
import threading

import pytest

from tests.hostile_addresses import HOSTILE_ADDRESSES, HOSTILE_URLS
from tests.waiting import STALL_SECONDS
from webhooks.errors import BlockedAddressError, UnreachableError
from webhooks.sending.guard import (
    MAX_THREADS,
    AddressGuard,
    canonical_address,
    embedded_ipv4,
)

PUBLIC = ["93.184.216.34", "8.8.8.8", "2606:4700:4700::1111", "2a00:1450:4001::1"]


def test_no_hostile_address_is_allowed(subtests: pytest.Subtests) -> None:
    for text in HOSTILE_ADDRESSES:
        with subtests.test(text):
            assert not AddressGuard().allows(canonical_address(text), 443)


def test_no_hostile_url_is_accepted(subtests: pytest.Subtests) -> None:
    for url in HOSTILE_URLS:
        with subtests.test(url), pytest.raises(ValueError, match=r"\w"):
            AddressGuard().check_url(url)


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_is_allowed(text: str) -> None:
    assert AddressGuard().allows(canonical_address(text), 443)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook",
        "https://example.com",
        "https://EXAMPLE.com:8443/a?b=c%20d",
        "https://xn--mnchen-3ya.example/",
        "https://93.184.216.34/",
        "https://[2606:4700:4700::1111]/",
    ],
)
def test_an_ordinary_url_is_accepted(url: str) -> None:
    AddressGuard().check_url(url)


@pytest.mark.parametrize("port", [1, 22, 80, 8080, 65535])
def test_a_public_address_is_reached_at_the_common_ports_only(port: int) -> None:
    guard = AddressGuard()

    assert not guard.allows(canonical_address("8.8.8.8"), port)
    assert guard.allows(canonical_address("8.8.8.8"), 8443)


def test_plain_http_is_for_operators_who_allow_it() -> None:
    guard = AddressGuard(allow_http=True)

    guard.check_url("http://example.com/")
    assert guard.allows(canonical_address("8.8.8.8"), 80, "http")
    assert not guard.allows(canonical_address("8.8.8.8"), 80, "https")


def test_an_allowed_network_is_reached_at_any_port() -> None:
    guard = AddressGuard(["10.1.0.0/16", "fd12::/16"])

    assert guard.allows(canonical_address("10.1.2.3"), 12000)
    assert guard.allows(canonical_address("::ffff:10.1.2.3"), 12000)
    assert guard.allows(canonical_address("fd12::1"), 8080)
    assert not guard.allows(canonical_address("10.2.0.1"), 443)
    guard.check_url("https://jenkins.ci.svc:8080/")
    guard.check_url("https://10.1.2.3:8080/")


def test_loopback_is_reached_when_the_operator_lists_it() -> None:
    guard = AddressGuard(["127.0.0.0/8", "::1/128"])

    assert guard.allows(canonical_address("127.0.0.1"), 5000)
    assert guard.allows(canonical_address("::1"), 5000)


@pytest.mark.parametrize(
    "text",
    [
        *("169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200"),
        *("192.0.0.192", "fd00:ec2::254", "fd20:ce::254", "fe80::1"),
        *("64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "::169.254.169.254"),
        *("0.0.0.1", "224.0.0.1", "ff02::1"),
        "2001:0:4136:e378:8000:63bf:5601:5601",
    ],
)
def test_metadata_stays_denied_whatever_the_operator_allows(text: str) -> None:
    guard = AddressGuard(["0.0.0.0/0", "::/0"])

    assert not guard.allows(canonical_address(text), 80)


@pytest.mark.parametrize(
    ("text", "embedded"),
    [
        ("64:ff9b::a9fe:a9fe", ["169.254.169.254"]),
        ("2002:7f00:1::", ["127.0.0.1"]),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", ["192.0.2.45"]),
        ("::7f00:1", ["127.0.0.1"]),
        ("2606:4700::5efe:a00:1", ["10.0.0.1"]),
        ("2606:4700::200:5efe:a00:1", ["10.0.0.1"]),
        ("::1", []),
        ("2606:4700::1", []),
        ("8.8.8.8", []),
    ],
)
def test_embedded_ipv4_is_decoded(text: str, embedded: list[str]) -> None:
    assert [str(inner) for inner in embedded_ipv4(canonical_address(text))] == embedded


@pytest.mark.parametrize(
    "text",
    [
        "64:ff9b:1:a9fe:a9:fe00::",  # /48
        "64:ff9b:1:a9:fe:a9fe::",  # /56
        "64:ff9b:1::a9:fea9:fe00:0",  # /64
        "64:ff9b:1::a9fe:a9fe",  # /96
    ],
)
def test_every_place_of_a_local_nat64_prefix_is_read(text: str) -> None:
    assert ipaddress.IPv4Address("169.254.169.254") in embedded_ipv4(
        canonical_address(text)
    )
    assert not AddressGuard(["64:ff9b:1::/48"]).allows(canonical_address(text), 443)


def test_a_network_that_is_none_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="network"):
        AddressGuard(["10.0.0.0/99"])


def vet(guard: AddressGuard) -> list[str]:
    return guard.vet("hooks.example", 443, scheme="https", timeout_seconds=0.3)


def test_vetting_gives_each_allowed_address_once() -> None:
    guard = AddressGuard(resolver=lambda _host, _port: ["8.8.8.8", "8.8.8.8"])

    assert vet(guard) == ["8.8.8.8"]


@pytest.mark.parametrize("error", [socket.gaierror(), UnicodeError(), OSError()])
def test_a_name_that_does_not_resolve_reads_like_a_blocked_one(
    error: Exception,
) -> None:
    def fail(_host: str, _port: int) -> list[str]:
        raise error

    with pytest.raises(BlockedAddressError) as refusal:
        vet(AddressGuard(resolver=fail))

    assert refusal.value.message == BlockedAddressError().message


def test_stalled_resolvers_are_bounded_and_do_not_stop_the_caller() -> None:
    release = threading.Event()

    def stall(_host: str, _port: int) -> list[str]:
        release.wait(STALL_SECONDS)
        return ["8.8.8.8"]

    guard = AddressGuard(resolver=stall)
    before = threading.active_count()
    for number in range(MAX_THREADS + 2):
        with pytest.raises(BlockedAddressError):
            guard.vet(f"{number}.example", 443, scheme="https", timeout_seconds=0.005)

    stalled = threading.active_count() - before
    release.set()

    assert stalled <= MAX_THREADS


def test_the_peer_is_judged_again_after_connecting() -> None:
    """An address that changes its verdict between vetting and connecting."""

    class Forgetful(AddressGuard):
        verdicts = 0

        def allows(self, *_: object) -> bool:
            self.verdicts += 1
            return self.verdicts == 1

    guard = Forgetful(resolver=lambda _host, _port: ["127.0.0.1"])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(BlockedAddressError):
            guard.connect("hooks.example", port, scheme="http", timeout_seconds=1)


def connect_through(
    monkeypatch: pytest.MonkeyPatch, outcome: object, timeout_seconds: float = 1
) -> None:
    def create(*_: object) -> object:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(socket, "create_connection", create)
    guard = AddressGuard(resolver=lambda _host, _port: ["8.8.8.8"])
    guard.connect("h.example", 443, scheme="https", timeout_seconds=timeout_seconds)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (TimeoutError(), "no connection in time"),
        (ConnectionRefusedError(), "the connection was refused"),
        (OSError(113, "No route to host"), "no connection could be made"),
    ],
)
def test_a_failed_connection_is_said_in_our_words(
    monkeypatch: pytest.MonkeyPatch, error: OSError, sentence: str
) -> None:
    with pytest.raises(UnreachableError) as failure:
        connect_through(monkeypatch, error)

    assert failure.value.message == sentence


def test_a_peer_that_is_gone_at_once_is_unreachable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as unconnected, pytest.raises(UnreachableError):
        connect_through(monkeypatch, unconnected)


def test_no_address_is_tried_when_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = AddressGuard()
    monkeypatch.setattr(guard, "vet", lambda *_, **__: ["8.8.8.8"])

    with pytest.raises(UnreachableError, match="in time"):
        guard.connect("h.example", 443, scheme="https", timeout_seconds=0)
