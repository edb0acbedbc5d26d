"""What the operator opens, as it is written and as it is meant."""

import ipaddress

import pytest

from webhooks.errors import BlockedAddressError
from webhooks.sending.guard import AddressGuard, AllowedNetwork


@pytest.mark.parametrize(
    ("text", "network", "port"),
    [
        ("10.0.0.0/8", "10.0.0.0/8", None),
        ("10.0.0.0/8:8080", "10.0.0.0/8", 8080),
        ("10.1.2.3", "10.1.2.3/32", None),
        ("10.1.2.3:80", "10.1.2.3/32", 80),
        ("fd00::/8", "fd00::/8", None),
        ("fd00::/8:65535", "fd00::/8", 65535),
        ("fd00::1:8080", "fd00::1:8080/128", None),
    ],
)
def test_a_network_is_read_with_its_port(
    text: str, network: str, port: int | None
) -> None:
    read = AllowedNetwork.parse(text)

    assert read == AllowedNetwork(ipaddress.ip_network(network), port)


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/8:", "10.0.0.0/8:0"),
        *("10.0.0.0/8:65536", "10.0.0.0/8:-1", "10.0.0.0/8:\u0661", "10.0.0.0/8:1:2"),
        *("10.0.0.0:/8", "hooks.example:8080", "[fd00::1]:80"),
    ],
)
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        AllowedNetwork.parse(text)


def vet(guard: AddressGuard, host: str, port: int) -> list[str]:
    return guard.vet(host, port, scheme="http", timeout_seconds=1)


def test_one_port_of_a_network_opens_no_other() -> None:
    guard = AddressGuard(["10.0.0.0/8:8080"], allow_http=True)

    assert vet(guard, "10.1.2.3", 8080) == ["10.1.2.3"]
    for port in (80, 443, 8081):
        with pytest.raises(BlockedAddressError):
            vet(guard, "10.1.2.3", port)
    with pytest.raises(BlockedAddressError):
        vet(guard, "192.168.0.1", 8080)


def test_a_port_that_nothing_opens_is_refused_when_a_name_is_saved() -> None:
    guard = AddressGuard(["10.0.0.0/8:8080"], allow_http=True)

    guard.check_url("http://jenkins.example:8080/")
    guard.check_url("http://10.1.2.3:8080/")
    for url in ("http://jenkins.example:8081/", "http://10.1.2.3:8081/"):
        with pytest.raises(ValueError, match="port"):
            guard.check_url(url)


def test_a_metadata_service_is_opened_by_no_port() -> None:
    guard = AddressGuard(["169.254.0.0/16:80"], allow_http=True)

    with pytest.raises(BlockedAddressError):
        vet(guard, "169.254.169.254", 80)
