"""One POST against receivers that behave, misbehave and attack."""

import gzip
import logging
import socket
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Authority
from tests.integration.webhooks.hostile import Script, drip, hostile_receiver, say
from tests.receiver import Answer, Receiver
from webhooks.sending.guard import AddressGuard
from webhooks.sending.sender import MAX_BODY_BYTES, Sender, SendResult, Timeouts
from webhooks.sending.tls import PUBLIC, Tls

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
BODY = b'{"type":"webhook.ping"}'
#: For what is to end by the deadline alone; all else has as long as the product gives.
STRICT = Timeouts(0.5, 0.5, 0.6)
OK_HEAD = b"HTTP/1.1 200 OK\r\n"


def loopback_guard(addresses: Sequence[str] = ("127.0.0.1",)) -> AddressGuard:
    return AddressGuard(
        ["127.0.0.0/8", "::1/128"],
        allow_http=True,
        resolver=lambda _host, _port: addresses,
    )


def make_sender(
    guard: AddressGuard | None = None, *, timeouts: Timeouts | None = None
) -> Sender:
    return Sender(guard or loopback_guard(), timeouts=timeouts)


def post(url: str, sender: Sender | None = None, tls: Tls = PUBLIC) -> SendResult:
    headers = {"content-type": "application/json", "webhook-signature": "v1,x"}
    return (sender or make_sender()).send(url, BODY, headers, now=NOW, tls=tls)


def attack(script: Script, timeouts: Timeouts | None = None) -> SendResult:
    with hostile_receiver(script) as port:
        sender = make_sender(timeouts=timeouts)
        return post(f"http://hooks.example:{port}/", sender)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_every_2xx_is_an_acknowledgement(status: int) -> None:
    with Receiver(answers=[status]) as receiver:
        result = post(receiver.url)

    assert result.is_delivered
    assert (result.status, result.error) == (status, None)
    assert receiver.requests[0].body == BODY


@pytest.mark.parametrize(
    "status",
    [
        *(304, 400, 401, 403, 404, 409, 410, 413, 415, 422, 429),
        *(500, 502, 503, 504, 599, 999),
    ],
)
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
    assert result.is_redirect
    assert result.error == (
        f"the receiver answered {status}, a redirect to {elsewhere.url};"
        " redirects are not followed"
    )


def test_where_a_redirect_leads_shows_no_secret() -> None:
    secret = "T0/B0/secret"
    answer = Answer(302, {"Location": f"https://u:p@new.example/{secret}/x?a={secret}"})
    with Receiver(answers=[answer]) as receiver:
        result = make_sender().send(receiver.url, BODY, {}, now=NOW, secrets=(secret,))

    assert result.error is not None
    assert "https://new.example/(redacted)/x;" in result.error


def test_the_host_header_is_the_name_and_not_the_address() -> None:
    with Receiver() as receiver:
        post(f"http://hooks.example:{receiver.port}/a?b=c")

    (request,) = receiver.requests
    assert request.headers["host"] == f"hooks.example:{receiver.port}"
    assert request.path == "/a?b=c"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("", "/"),
        ("?a=b", "/?a=b"),
        ("/a//b", "/a//b"),
        ("/a/./b/../c", "/a/c"),
        ("/%7Ea%2fb%20c", "/~a%2Fb%20c"),
        ('/"<a>{b}|^`?c="<[d]>', "/%22%3Ca%3E%7Bb%7D%7C%5E%60?c=%22%3C%5Bd%5D%3E"),
        ("/50%?x=%zz", "/50%25?x=%25zz"),
        ("/a;b=c:d@e,f?g?h/i", "/a;b=c:d@e,f?g?h/i"),
    ],
)
def test_a_target_is_quoted_where_it_must_be(path: str, sent: str) -> None:
    with Receiver() as receiver:
        post(f"http://HOOKS.example.:{receiver.port}{path}")

    (request,) = receiver.requests
    assert request.path == sent
    assert request.headers["host"] == f"hooks.example:{receiver.port}"


def test_head_and_body_arrive_together() -> None:
    arrived: list[bytes] = []

    def script(connection: socket.socket, _over: threading.Event) -> None:
        arrived.append(connection.recv(65536))
        connection.sendall(OK_HEAD + b"\r\n")

    with hostile_receiver(script, reads_request=False) as port:
        result = post(f"http://hooks.example:{port}/")

    assert result.is_delivered
    assert arrived[0].endswith(b"\r\n\r\n" + BODY)


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


def test_a_dripped_200_is_not_believed_although_its_status_came() -> None:
    """The socket is cut and the parser reports 200; the deadline decides."""
    result = attack(drip(OK_HEAD, b"x-drip: 1\r\n"), STRICT)

    assert (result.status, result.error) == (
        None,
        "no complete answer before the deadline",
    )


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
    is_over = threading.Event()

    def stall(_host: str, _port: int) -> list[str]:
        is_over.wait(30)
        return ["127.0.0.1"]

    guard = AddressGuard(["127.0.0.0/8"], allow_http=True, resolver=stall)

    result = post("http://hooks.example/", make_sender(guard, timeouts=STRICT))

    is_over.set()
    assert not result.is_delivered
    assert result.duration_seconds < 20


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
        time.sleep(STRICT.total_seconds + 0.1)
        enough = max(1.0, timeout_seconds)
        return super().connect(host, port, timeout_seconds=enough, **options)


def test_a_connection_made_after_the_deadline_is_cut_at_once() -> None:
    guard = SlowGuard(["127.0.0.0/8"], allow_http=True)
    with Receiver() as receiver:
        result = post(receiver.url, make_sender(guard, timeouts=STRICT))

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


def test_tls_is_verified_against_the_name_while_the_address_is_pinned() -> None:
    authority = Authority()
    names_asked: list[str | None] = []
    server = authority.issue("hooks.example").server_context()
    server.sni_callback = lambda _socket, name, _context: names_asked.append(name)
    trusting = Tls(ca_certificate=authority.certificate)

    with hostile_receiver(say(OK_HEAD + b"Content-Length: 0\r\n\r\n"), server) as port:
        result = post(f"https://hooks.example:{port}/", tls=trusting)

    assert result.is_delivered
    assert names_asked == ["hooks.example"]


def test_the_time_of_every_part_that_ended_is_told() -> None:
    with Receiver() as receiver:
        answered = post(receiver.url)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    refused = post(f"http://hooks.example:{port}/")

    assert set(answered.timings) == {"name", "connect", "first_byte"}
    assert sum(answered.timings.values()) <= answered.duration_seconds
    assert answered.address == "127.0.0.1"
    assert set(refused.timings) == {"name"}
    assert refused.address is None


@pytest.mark.parametrize("status", [102, 103, 199])
def test_interim_answers_are_passed_over(status: int) -> None:
    interim = b"HTTP/1.1 %d Wait\r\nlink: x\r\n\r\n" % status

    result = attack(say(interim, interim, OK_HEAD + b"x: final\r\n\r\n", b"body"))

    assert (result.status, result.response_body) == (200, b"body")
    assert result.response_headers == {"x": "final"}


def test_each_header_of_an_answer_is_kept_as_one_line() -> None:
    result = attack(say(OK_HEAD + b"X: 1\r\nx: 2\r\ny: a \r\n\t b\r\n\r\n"))

    assert result.response_headers == {"x": "1, 2", "y": "a b"}


def test_a_switch_of_protocols_is_a_failure() -> None:
    result = attack(say(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"))

    assert (result.is_delivered, result.status) == (False, 101)


def test_a_head_without_its_blank_line_is_no_success() -> None:
    result = attack(say(OK_HEAD + b"x: 1\r\n"))

    assert (result.is_delivered, result.status) == (False, None)


def test_secrets_are_in_nothing_that_is_kept_or_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The receiver echoes them, a malformed header among its own."""
    caplog.set_level(logging.DEBUG, logger="webhooks")
    caplog.set_level(logging.INFO)
    echo = b"s3cret-in-url s3cret-in-header"
    script = say(OK_HEAD + b"x-echo: " + echo + b"\r\nno colon\r\n\r\n" + echo)
    headers = {"content-type": "a/b", "x-key": "s3cret-in-header"}

    with hostile_receiver(script) as port:
        result = make_sender().send(
            f"http://hooks.example:{port}/s3cret-in-url",
            BODY,
            headers,
            now=NOW,
            secrets=["s3cret-in-url", "s3cret-in-header"],
        )

    assert result.is_delivered
    assert result.response_body == b"(redacted) (redacted)"
    assert "s3cret" not in repr(result)
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x", "a\r\nb: c"),
        ("x", "a\r\n b"),
        ("x", "\u20ac"),
        ("x: y", "z"),
        ("\xe9", "x"),
    ],
)
def test_a_header_that_cannot_be_sent_is_a_failed_attempt(
    name: str, value: str
) -> None:
    with Receiver() as receiver:
        result = make_sender().send(receiver.url, BODY, {name: value}, now=NOW)

        assert receiver.requests == ()
    assert result.error == "a header cannot be sent"
