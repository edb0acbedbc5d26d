"""Names and addresses that cost time: both are part of the deadline."""

import socket
import time
from collections.abc import Sequence

import pytest

from tests.hostile_receivers import BODY, HOST, NOW
from tests.integration.webhooks.hostile import black_holes
from tests.receiver import Receiver
from webhooks.sending.guard import AddressGuard
from webhooks.sending.sender import Sender, Timeouts

REFUSED = "The host could not be resolved to an allowed address."
# Far more than a loaded machine needs; what hangs, hangs for ever.
PATIENCE_SECONDS = 15
HOLES = [f"127.0.1.{number}" for number in range(1, 65)]
SHORT = Timeouts(0.4, 0.4, 0.5, refusal_seconds=0.01)


def guard_answering(addresses: Sequence[str]) -> AddressGuard:
    return AddressGuard(
        ["127.0.0.0/8", "::1/128"],
        allow_http=True,
        resolver=lambda _host, _port: addresses,
    )


@pytest.mark.allow_hosts(["127.0.0.1", *HOLES])
def test_64_black_holed_addresses_end_at_the_limit_for_connecting() -> None:
    sender = Sender(guard_answering(HOLES), timeouts=SHORT)
    started = time.monotonic()

    with black_holes(HOLES) as port:
        result = sender.send(f"http://{HOST}:{port}/", BODY, {}, now=NOW)

    assert time.monotonic() - started < PATIENCE_SECONDS
    assert result.error == "no connection in time"
    assert set(result.timings) == {"name"}


@pytest.mark.allow_hosts(["127.0.0.1", *HOLES])
def test_one_black_holed_address_leaves_time_for_the_next() -> None:
    sender = Sender(guard_answering([HOLES[0], "127.0.0.1"]), timeouts=Timeouts(4, 4))

    with black_holes(HOLES[:1]) as port, Receiver(port=port) as receiver:
        result = sender.send(f"http://{HOST}:{port}/", BODY, {}, now=NOW)

        assert len(receiver.requests) == 1
    assert (result.is_delivered, result.address) == (True, "127.0.0.1")


@pytest.mark.parametrize(
    "error",
    [
        socket.gaierror(socket.EAI_NONAME, "NXDOMAIN"),
        socket.gaierror(socket.EAI_AGAIN, "SERVFAIL"),
        TimeoutError(),
    ],
)
def test_a_name_that_fails_is_a_failed_attempt(error: OSError) -> None:
    def fail(_host: str, _port: int) -> Sequence[str]:
        raise error

    sender = Sender(AddressGuard(resolver=fail), timeouts=SHORT)

    result = sender.send(f"https://{HOST}/", BODY, {}, now=NOW)

    assert (result.is_delivered, result.error) == (False, REFUSED)


def test_an_address_of_the_other_family_alone_is_reached() -> None:
    sender = Sender(guard_answering(["::1"]), timeouts=SHORT)
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        port = listener.getsockname()[1]
        result = sender.send(f"http://{HOST}:{port}/", BODY, {}, now=NOW)

    assert result.address == "::1"
