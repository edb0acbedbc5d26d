"""Everything a receiver may do to a sender, as a table.

``python -m tests.bench hostile`` runs it against the real deadline, the tests
against a short one.
"""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial

from tests.certificates import Authority, Credential, self_signed
from tests.integration.webhooks.hostile import (
    Script,
    drip,
    flood,
    half_close,
    hostile_receiver,
    reset,
    say,
    say_and_stall,
)
from webhooks.sending.guard import AddressGuard
from webhooks.sending.sender import Sender, SendResult, Timeouts
from webhooks.sending.tls import Tls

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
HOST = "hooks.example"
BODY = b'{"type":"webhook.ping"}'
# More than the socket buffers of both ends take.
LARGE_BODY = b'{"x":"' + b"x" * 32_000_000 + b'"}'
OK = b"HTTP/1.1 200 OK\r\n"
DONE = OK + b"Content-Length: 0\r\n\r\n"
BOMB = gzip.compress(b"\0" * 20_000_000)
RECORD_HEAD = b"\x16\x03\x03\x40\x00"


@dataclass(frozen=True)
class Hostility:
    """One way to misbehave; ``certificate`` names the kind a TLS receiver shows."""

    name: str
    script: Script
    is_delivered: bool = False
    certificate: str | None = None
    speaks_tls: bool = True
    reads_request: bool = True
    body: bytes = field(default=BODY, repr=False)

    @property
    def is_https(self) -> bool:
        return self.certificate is not None


# What is a success, because its head is complete and in time.
_accepted = partial(Hostility, is_delivered=True)

HOSTILITIES = (
    Hostility("header lines dripped", drip(OK, b"x-drip: 1\r\n")),
    Hostility("one header dripped", drip(OK + b"x-drip: ", b"1")),
    Hostility("100 Continue dripped", drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n")),
    Hostility("103 Early Hints dripped", drip(b"", b"HTTP/1.1 103 Hints\r\n\r\n")),
    Hostility("100 Continue flooded", flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n")),
    Hostility("headers of a 100 dripped", drip(b"HTTP/1.1 100 C\r\n", b"x: 1\r\n")),
    Hostility("status line dripped", drip(b"HTTP/1.1 2", b"0")),
    _accepted("body dripped", drip(OK + b"Content-Length: 999999\r\n\r\n", b"x")),
    _accepted(
        "chunks dripped",
        drip(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ),
    _accepted(
        "chunk extension dripped",
        drip(OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x"),
    ),
    _accepted(
        "endless chunks",
        flood(
            OK + b"Transfer-Encoding: chunked\r\n\r\n",
            b"400\r\n" + b"x" * 1024 + b"\r\n",
        ),
    ),
    _accepted(
        "endless trailers",
        flood(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"x: 1\r\n"),
    ),
    _accepted(
        "bad chunk",
        say(OK + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\nx"),
    ),
    _accepted(
        "10 GB of body",
        flood(OK + b"Content-Length: 10000000000\r\n\r\n", b"x" * 65536),
    ),
    _accepted(
        "gzip bomb",
        say(
            OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB),
            BOMB,
        ),
    ),
    _accepted("body cut off", say(OK + b"Content-Length: 5\r\n\r\nx")),
    _accepted("body reset", reset(OK + b"Content-Length: 5\r\n\r\nx")),
    _accepted("body stalled", say_and_stall(OK + b"Content-Length: 5\r\n\r\nx")),
    Hostility("101 headers", say(OK + b"x: 1\r\n" * 101 + b"\r\n")),
    Hostility("endless headers", flood(OK, b"x: 1\r\n")),
    Hostility("header line of 1 MiB", say(OK + b"x: " + b"1" * 2**20 + b"\r\n\r\n")),
    Hostility(
        "two lengths",
        say(OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
    ),
    Hostility("head cut off", say(OK + b"x: 1\r\n")),
    Hostility("head cut off in a line", say(OK + b"x: 1")),
    Hostility("status line cut off", say(b"HTTP/1.1 200")),
    Hostility("garbage status line", say(b"HTTP/1.1 abc\r\n\r\n")),
    Hostility("garbage bytes", flood(b"", b"\x00\xff\r\n")),
    Hostility("another protocol", say(b"SSH-2.0-OpenSSH_9.2\r\n")),
    Hostility("HTTP/0.9", say(b"<html>ok</html>\r\n")),
    Hostility("no answer, then a reset", reset(b"")),
    Hostility("hung up", say()),
    Hostility("half closed without an answer", half_close(b"")),
    _accepted("half closed after the answer", half_close(OK + b"\r\nx")),
    Hostility("silence", say_and_stall(b"")),
    Hostility(
        "request never read", say_and_stall(b""), reads_request=False, body=LARGE_BODY
    ),
    Hostility(
        "handshake stalled",
        say_and_stall(b""),
        certificate="good",
        speaks_tls=False,
        reads_request=False,
    ),
    Hostility(
        "handshake dripped",
        drip(RECORD_HEAD, b"\0"),
        certificate="good",
        speaks_tls=False,
        reads_request=False,
    ),
    Hostility(
        "handshake of garbage",
        say(b"HTTP/1.1 400 No\r\n\r\n"),
        certificate="good",
        speaks_tls=False,
        reads_request=False,
    ),
    Hostility("header dripped over TLS", drip(OK, b"x: 1\r\n"), certificate="good"),
    _accepted("body dripped over TLS", drip(OK + b"\r\n", b"x"), certificate="good"),
    Hostility("expired certificate", say(DONE), certificate="expired"),
    Hostility("self-signed certificate", say(DONE), certificate="self-signed"),
    Hostility("certificate of another host", say(DONE), certificate="other host"),
    Hostility("certificate of another authority", say(DONE), certificate="stranger"),
    Hostility("client certificate demanded", say(DONE), certificate="demanding"),
)


class Certificates:
    """One authority, and a certificate of every kind."""

    def __init__(self) -> None:
        self.authority = Authority()

    @cached_property
    def credentials(self) -> dict[str, Credential]:
        return {
            "good": self.authority.issue(HOST),
            "demanding": self.authority.issue(HOST),
            "expired": self.authority.issue(HOST, valid_for=-timedelta(hours=1)),
            "other host": self.authority.issue("other.example"),
            "stranger": Authority("A stranger").issue(HOST),
            "self-signed": self_signed(HOST),
        }

    @property
    def trusted(self) -> Tls:
        return Tls(ca_certificate=self.authority.certificate)


def make_sender(timeouts: Timeouts) -> Sender:
    """A sender to which loopback is where every name leads."""
    guard = AddressGuard(
        ["127.0.0.0/8"],
        allow_http=True,
        resolver=lambda _host, _port: ["127.0.0.1"],
    )
    return Sender(guard, timeouts=timeouts)


@contextmanager
def serving(case: Hostility, certificates: Certificates) -> Iterator[str]:
    """Run the receiver; give its URL."""
    context = None
    if case.certificate is not None and case.speaks_tls:
        demanded = certificates.authority.certificate
        context = certificates.credentials[case.certificate].server_context(
            demanded if case.certificate == "demanding" else None
        )
    with hostile_receiver(
        case.script, context, reads_request=case.reads_request
    ) as port:
        yield f"{'https' if case.is_https else 'http'}://{HOST}:{port}/"


def send_to(case: Hostility, sender: Sender, certificates: Certificates) -> SendResult:
    """Send to the misbehaving receiver once."""
    with serving(case, certificates) as url:
        return sender.send(url, case.body, {}, now=NOW, tls=certificates.trusted)
