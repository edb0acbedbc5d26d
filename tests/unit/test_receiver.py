import datetime as dt
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from standardwebhooks.webhooks import Webhook

from tests.receiver import Answer, ReceivedRequest, Receiver, read_ledger

SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
OTHER_SECRET = "whsec_OTg3NjU0MzIxMDk4NzY1NDMyMTA5ODc2"


def send(url: str, body: bytes, secret: str = SECRET) -> int:
    now = dt.datetime.now(dt.UTC)
    signature = Webhook(secret).sign("msg_1", now, body.decode())
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signature,
    }
    return requests.post(url, data=body, headers=headers, timeout=5).status_code


def test_requests_are_recorded_in_the_order_of_arrival(receiver: Receiver) -> None:
    for number in range(3):
        send(receiver.url, b'{"n": %d}' % number)

    received = receiver.wait_for(3)

    assert [request.json()["n"] for request in received] == [0, 1, 2]
    assert [request.number for request in received] == [0, 1, 2]
    assert {request.is_verified for request in received} == {None}


def test_a_script_of_answers_is_used_up_and_then_everything_is_accepted() -> None:
    with Receiver(answers=[500, Answer(302, {"Location": "/elsewhere"})]) as receiver:
        answers = [
            requests.post(receiver.url, timeout=5, allow_redirects=False)
            for _ in range(3)
        ]

    assert [answer.status_code for answer in answers] == [500, 302, 200]
    assert answers[1].headers["Location"] == "/elsewhere"


def test_an_answer_may_depend_on_the_request() -> None:
    def choose(request: ReceivedRequest) -> int:
        return 503 if request.path == "/busy" else 204

    with Receiver(answers=choose) as receiver:
        base = receiver.url.removesuffix("/hook")
        statuses = [send(base + path, b"{}") for path in ("/busy", "/free")]

    assert statuses == [503, 204]


def test_a_signature_is_verified_once_a_secret_is_known(receiver: Receiver) -> None:
    receiver.accept_secret(SECRET)

    statuses = [
        send(receiver.url, b"{}"),
        send(receiver.url, b"{}", secret=OTHER_SECRET),
        requests.post(receiver.url, data=b"{}", timeout=5).status_code,
    ]

    assert statuses == [200, 401, 401]
    assert [request.is_verified for request in receiver.requests] == [
        True,
        False,
        False,
    ]
    assert len(receiver.verified) == 1
    assert receiver.requests[1].refusal


def test_waiting_for_what_does_not_come_ends_with_the_count(
    receiver: Receiver,
) -> None:
    send(receiver.url, b"{}")

    with pytest.raises(TimeoutError, match=r"expected 2 .* received 1"):
        receiver.wait_for(2, stall_seconds=0.05)


def test_stopping_does_not_wait_for_a_slow_answer() -> None:
    with Receiver(delay_seconds=60) as receiver:
        with pytest.raises(requests.Timeout):
            requests.post(receiver.url, data=b"{}", timeout=0.2)
        stopping_at = dt.datetime.now(dt.UTC)

    assert dt.datetime.now(dt.UTC) - stopping_at < dt.timedelta(seconds=5)


def test_the_process_keeps_a_ledger_of_what_it_received(tmp_path: Path) -> None:
    ledger, secret_file = tmp_path / "ledger.jsonl", tmp_path / "secret"
    secret_file.write_text(SECRET)
    command: list[str | Path] = [
        *(sys.executable, "-m", "tests.receiver", "--port", "0"),
        *("--ledger", ledger, "--secret-file", secret_file, "--answers", "500"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        statuses = [
            send(url, b'{"a":1}'),
            send(url, b'{"a":1}', secret=OTHER_SECRET),
            send(url, b'{"a":2}'),
        ]
        process.send_signal(signal.SIGTERM)

    assert process.returncode == 0
    assert statuses == [500, 401, 200]
    lines = read_ledger(ledger)
    assert [line["is_verified"] for line in lines] == [True, False, True]
    assert json.loads(lines[2]["body"]) == {"a": 2}
