"""One POST against receivers that behave, misbehave and attack."""

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.integration.webhooks.hostile import (
    Script,
    drip,
    hostile_receiver,
    say,
    say_and_stall,
)
from tests.receiver import Answer, Receiver
from webhooks.address_guard import AddressGuard
from webhooks.sender import MAX_BODY_BYTES, Sender, SendResult, Timeouts

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
BODY = b'{"type":"webhook.ping"}'
DEADLINE_SECONDS = 0.6
OK_HEAD = b"HTTP/1.1 200 OK\r\n"


def loopback_guard(addresses: Sequence[str] = ("127.0.0.1",)) -> AddressGuard:
    return AddressGuard(
        ["127.0.0.0/8", "::1/128"],
        allow_http=True,
        resolver=lambda _host, _port: addresses,
    )


def make_sender(
    guard: AddressGuard | None = None, tls: ssl.SSLContext | None = None
) -> Sender:
    timeouts = Timeouts(0.5, 0.5, DEADLINE_SECONDS)
    return Sender(guard or loopback_guard(), timeouts=timeouts, tls=tls)


def post(url: str, sender: Sender | None = None) -> SendResult:
    headers = {"content-type": "application/json", "webhook-signature": "v1,x"}
    return (sender or make_sender()).send(url, BODY, headers, now=NOW)


def attack(script: Script) -> SendResult:
    with hostile_receiver(script) as port:
        return post(f"http://hooks.example:{port}/")


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_every_2xx_is_an_acknowledgement(status: int) -> None:
    with Receiver(answers=[status]) as receiver:
        result = post(receiver.url)

    assert result.is_delivered
    assert (result.status, result.error) == (status, None)
    assert receiver.requests[0].body == BODY


@pytest.mark.parametrize("status", [304, 400, 401, 404, 409, 410, 429, 500, 503, 599])
def test_every_other_status_is_a_failure(status: int) -> None:
    with Receiver(answers=[status]) as receiver:
        result = post(receiver.url)

    assert not result.is_delivered
    assert (result.status, result.error) == (status, f"the receiver answered {status}")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_failure_and_is_not_followed(status: int) -> None:
    with Receiver() as elsewhere:
        answer = Answer(status, {"Location": elsewhere.url})
        with Receiver(answers=[answer]) as receiver:
            result = post(receiver.url)

        assert elsewhere.requests == ()
    assert (result.is_delivered, result.status) == (False, status)


def test_the_host_header_is_the_name_and_not_the_address() -> None:
    with Receiver() as receiver:
        post(f"http://hooks.example:{receiver.port}/a?b=c")

    (request,) = receiver.requests
    assert request.headers["host"] == f"hooks.example:{receiver.port}"
    assert request.path == "/a?b=c"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["connection"] == "close"


def test_proxies_and_netrc_of_the_environment_have_no_effect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("default login mallory password planted\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")

    with Receiver() as receiver:
        result = post(receiver.url)

    assert result.is_delivered
    assert "authorization" not in receiver.requests[0].headers


def test_signatures_are_redacted_in_what_is_kept() -> None:
    with Receiver() as receiver:
        result = post(receiver.url)

    assert result.request_headers["webhook-signature"] == "(redacted)"
    assert receiver.requests[0].headers["webhook-signature"] == "v1,x"


def test_retry_after_of_a_failure_is_read() -> None:
    answer = Answer(503, {"Retry-After": "Fri, 20 Nov 2026 12:10:00 GMT"})
    with Receiver(answers=[answer]) as receiver:
        result = post(receiver.url)

    assert result.retry_after == timedelta(minutes=10)


def test_a_large_answer_is_cut_at_64_kib() -> None:
    with Receiver(answers=[Answer(200, body=b"x" * 300_000)]) as receiver:
        result = post(receiver.url)

    assert result.is_delivered
    assert result.response_body == b"x" * MAX_BODY_BYTES


@pytest.mark.parametrize("status", [200, 302])
def test_a_compressed_bomb_stays_compressed(status: int) -> None:
    bomb = gzip.compress(b"\0" * 20_000_000)
    headers = {"Content-Encoding": "gzip", "Location": "http://hooks.example/"}
    with Receiver(answers=[Answer(status, headers, bomb)]) as receiver:
        result = post(receiver.url)

    assert result.response_body == bomb[:MAX_BODY_BYTES]


@pytest.mark.parametrize(
    "script",
    [
        drip(OK_HEAD, b"x-drip: 1\r\n"),
        drip(OK_HEAD + b"x-drip: ", b"1"),
        drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        drip(b"HTTP/1.1 2", b"0"),
    ],
    ids=["header lines", "one header", "interim answers", "status line"],
)
def test_a_dripped_head_ends_at_the_deadline_and_is_no_success(script: Script) -> None:
    started = time.monotonic()

    result = attack(script)

    assert time.monotonic() - started < DEADLINE_SECONDS + 0.5
    assert not result.is_delivered
    assert result.status is None
    assert result.error is not None


def test_a_dripped_200_is_not_believed_although_its_status_came() -> None:
    """The socket is cut and the parser reports 200; the deadline decides."""
    result = attack(drip(OK_HEAD, b"x-drip: 1\r\n"))

    assert (result.status, result.error) == (
        None,
        "no complete answer before the deadline",
    )


@pytest.mark.parametrize(
    "script",
    [
        drip(OK_HEAD + b"Content-Length: 999999\r\n\r\n", b"x"),
        drip(OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        say_and_stall(OK_HEAD + b"Content-Length: 5\r\n\r\nx"),
        say(OK_HEAD + b"Content-Length: 5\r\n\r\nx"),
        say(OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\nx"),
    ],
    ids=["drip", "chunks", "stall", "cut", "bad chunk"],
)
def test_a_complete_2xx_head_stands_whatever_the_body_does(script: Script) -> None:
    started = time.monotonic()

    result = attack(script)

    assert time.monotonic() - started < DEADLINE_SECONDS + 0.5
    assert (result.is_delivered, result.status) == (True, 200)
    assert set(result.response_body) <= set(b"x")


@pytest.mark.parametrize(
    "script",
    [
        say(),
        say(b"SSH-2.0-OpenSSH_9.2\r\n"),
        say(b"HTTP/1.1 abc\r\n\r\n"),
        say(OK_HEAD + b"x: 1\r\n" * 200 + b"\r\n"),
        say(OK_HEAD + b"x: " + b"1" * 1_000_000 + b"\r\n\r\n"),
        say_and_stall(b""),
    ],
    ids=["hang up", "not http", "no status", "200 headers", "huge header", "silence"],
)
def test_what_is_no_answer_is_a_failure_in_our_words(script: Script) -> None:
    result = attack(script)

    assert not result.is_delivered
    assert result.status is None
    assert result.error in {
        "the connection broke or the answer was not HTTP",
        "the receiver stopped answering",
        "no complete answer before the deadline",
    }


def test_a_refused_connection_is_said_to_be_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]

    assert post(f"http://hooks.example:{port}/").error == "the connection was refused"


def test_the_next_address_is_tried_when_one_refuses() -> None:
    sender = make_sender(loopback_guard(["::1", "127.0.0.1"]))
    with Receiver() as receiver:
        result = post(f"http://hooks.example:{receiver.port}/", sender)

    assert result.is_delivered


@pytest.mark.parametrize(
    "answers",
    [
        ["127.0.0.1", "10.0.0.1"],
        ["93.184.216.34", "127.0.0.1"],
        ["169.254.169.254"],
        ["fe80::1%eth0"],
        [],
    ],
)
def test_one_blocked_answer_refuses_them_all(answers: list[str]) -> None:
    guard = loopback_guard(answers)
    with Receiver() as receiver:
        result = post(f"http://hooks.example:{receiver.port}/", make_sender(guard))

        assert receiver.requests == ()
    assert result.error == "The host could not be resolved to an allowed address."


def test_a_stalled_resolver_ends_in_time() -> None:
    def stall(_host: str, _port: int) -> list[str]:
        time.sleep(1)
        return ["127.0.0.1"]

    guard = AddressGuard(["127.0.0.0/8"], allow_http=True, resolver=stall)
    started = time.monotonic()

    result = post("http://hooks.example/", make_sender(guard))

    assert time.monotonic() - started < 0.9
    assert not result.is_delivered


def test_the_url_is_judged_again_at_the_send() -> None:
    strict = Sender(AddressGuard(["127.0.0.0/8"]))
    with Receiver() as receiver:
        result = post(receiver.url, strict)

        assert receiver.requests == ()
    assert result.error == "the URL is not allowed"


class SlowGuard(AddressGuard):
    """Connects only after the deadline has passed."""

    def connect(
        self,
        host: str,
        port: int,
        *,
        timeout_seconds: float,
        **options: Any,  # noqa: ANN401  # Passed on as they are.
    ) -> socket.socket:
        time.sleep(DEADLINE_SECONDS + 0.1)
        enough = max(1.0, timeout_seconds)
        return super().connect(host, port, timeout_seconds=enough, **options)


def test_a_connection_made_after_the_deadline_is_cut_at_once() -> None:
    guard = SlowGuard(["127.0.0.0/8"], allow_http=True)
    with Receiver() as receiver:
        result = post(receiver.url, make_sender(guard))

    assert result.error == "no complete answer before the deadline"


class BrokenGuard(AddressGuard):
    """Stands for a fault in our own code."""

    def connect(
        self,
        host: str,
        port: int,
        **options: Any,  # noqa: ANN401  # Told in the error.
    ) -> socket.socket:
        raise KeyError(host, port, options)


def test_a_fault_of_ours_is_a_failed_attempt_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    result = post("http://hooks.example/", make_sender(BrokenGuard(allow_http=True)))

    assert result.error == "the request could not be made"
    assert "webhook_send_failed" in caplog.text


class Authority:
    """A certificate for one host name, signed by itself."""

    def __init__(self, folder: Path, name: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName([x509.DNSName(name)])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(names, critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        path = folder / "both.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.load_cert_chain(path)
        self.names_asked: list[str | None] = []
        self.server.sni_callback = lambda _socket, name, _context: (
            self.names_asked.append(name)
        )
        self.client = ssl.create_default_context(cafile=str(path))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "hooks.example")


ANSWER = say(OK_HEAD + b"Content-Length: 0\r\n\r\n")


def test_tls_is_verified_against_the_name_while_the_address_is_pinned(
    authority: Authority,
) -> None:
    with hostile_receiver(ANSWER, authority.server) as port:
        result = post(
            f"https://hooks.example:{port}/", make_sender(tls=authority.client)
        )

    assert result.is_delivered
    assert authority.names_asked == ["hooks.example"]


def test_a_certificate_for_another_name_is_refused(authority: Authority) -> None:
    with hostile_receiver(ANSWER, authority.server) as port:
        result = post(
            f"https://other.example:{port}/", make_sender(tls=authority.client)
        )

    assert not result.is_delivered
    assert result.error is not None
    assert "Hostname mismatch" in result.error


def test_a_certificate_nobody_vouches_for_is_refused(authority: Authority) -> None:
    with hostile_receiver(ANSWER, authority.server) as port:
        result = post(f"https://hooks.example:{port}/")

    assert result.error == "TLS: self-signed certificate"


def test_a_receiver_that_does_not_speak_tls_is_a_failed_handshake() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        port = listener.getsockname()[1]

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        result = post(f"https://hooks.example:{port}/")
        thread.join()

    assert result.error == "TLS: the handshake failed"


def test_a_stalled_handshake_ends_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        started = time.monotonic()
        result = post(f"https://hooks.example:{port}/")

    assert time.monotonic() - started < DEADLINE_SECONDS + 0.5
    assert not result.is_delivered


def test_a_dripped_head_over_tls_ends_at_the_deadline(authority: Authority) -> None:
    script = drip(OK_HEAD, b"x-drip: 1\r\n")
    with hostile_receiver(script, authority.server) as port:
        started = time.monotonic()
        result = post(
            f"https://hooks.example:{port}/", make_sender(tls=authority.client)
        )

    assert time.monotonic() - started < DEADLINE_SECONDS + 0.5
    assert result.error == "no complete answer before the deadline"
