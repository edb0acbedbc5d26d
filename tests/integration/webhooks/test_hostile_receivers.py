"""Every send ends, whatever the receiver does; the deadline here is short.

``python -m tests.bench hostile`` shows the same against the real one.
"""

import time

import pytest

from tests.hostile_receivers import (
    HOSTILITIES,
    Certificates,
    Hostility,
    make_sender,
    send_to,
)
from webhooks.sending.sender import MAX_BODY_BYTES, Timeouts

DEADLINE_SECONDS = 0.6
# Far more than a loaded machine needs; what hangs, hangs for ever.
PATIENCE_SECONDS = 15
SENTENCES = {
    "no complete answer before the deadline",
    "the receiver stopped answering",
    "the connection broke or the answer was not HTTP",
    "TLS: the handshake failed",
    "TLS: certificate has expired",
    "TLS: self-signed certificate",
    "TLS: Hostname mismatch, certificate is not valid for 'hooks.example'.",
    "TLS: unable to get local issuer certificate",
    "TLS: the receiver demands a client certificate",
}


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    return Certificates()


@pytest.mark.parametrize("case", HOSTILITIES, ids=lambda case: case.name)
def test_a_send_ends_and_believes_complete_heads_alone(
    case: Hostility, certificates: Certificates
) -> None:
    sender = make_sender(Timeouts(0.5, 0.5, DEADLINE_SECONDS))
    started = time.monotonic()

    result = send_to(case, sender, certificates)

    assert time.monotonic() - started < PATIENCE_SECONDS
    assert result.is_delivered is case.is_delivered
    assert result.status == (200 if case.is_delivered else None)
    assert result.error in ({None} if case.is_delivered else SENTENCES)
    assert len(result.response_body) <= MAX_BODY_BYTES


def test_a_request_that_nobody_reads_is_given_up_long_before_the_deadline(
    certificates: Certificates,
) -> None:
    (case,) = (each for each in HOSTILITIES if each.name == "request never read")

    result = send_to(case, make_sender(Timeouts(0.2, 0.2, 600)), certificates)

    assert result.error == "the connection broke or the answer was not HTTP"


def test_the_names_of_the_cases_are_different() -> None:
    assert len({case.name for case in HOSTILITIES}) == len(HOSTILITIES) >= 40
