"""The judge finds what the crash test is there to find.

One sound history (one model, two changes, both endpoints), and each test spoils it
in one way.
"""

import dataclasses
import datetime as dt
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from registry.domain.audit_chain import VerificationReport
from tests.crash.databases import ENDPOINTS
from tests.crash.facts import Facts, StoredDelivery
from tests.crash.ledger import Operation, ReceivedAnswer, RequestLedger
from tests.crash.verdict import Evidence, judge
from tests.receiver import ReceivedRequest
from webhooks.sending.prepare import new_secret
from webhooks.tables import EventRow

SECRETS = {path: new_secret() for path in ENDPOINTS}
EVENTS = ("msg_1", "msg_2")
STEADY = ENDPOINTS[0]
NOTHING = Facts(
    events={},
    deliveries=(),
    entries=(),
    stages=(),
    audit=VerificationReport(entries=0, chains=0, damage=()),
)


def _data(number: int) -> dict[str, Any]:
    return {"model": "fraud", "version": number, "sequence": number}


def _body(number: int) -> bytes:
    return json.dumps({"data": _data(number)}).encode()


def _arrival(
    number: int, *, path: str = STEADY, secret: str | None = None
) -> ReceivedRequest:
    now = dt.datetime.now(dt.UTC)
    message_id, body = f"msg_{number}", _body(number)
    signature = Webhook(secret or SECRETS[path]).sign(message_id, now, body.decode())
    return ReceivedRequest(
        number=0,
        method="POST",
        path=path,
        headers={
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signature,
        },
        body=body,
        received_at=now,
        is_verified=None,
        refusal="",
    )


def _facts() -> Facts:
    events = {
        name: EventRow(id=name, subject="fraud", data=_data(number))
        for number, name in enumerate(EVENTS, start=1)
    }
    deliveries = [
        StoredDelivery(
            path=path,
            event_id=f"msg_{number}",
            state="delivered",
            body=_body(number),
            outcomes=("delivered",),
        )
        for path in ENDPOINTS
        for number in (1, 2)
    ]
    entries = [
        {
            "action": "model_version.registered",
            "model": "fraud",
            "version": number,
            "idempotency_key_hash": hashlib.sha256(b"key-%d" % number).hexdigest(),
        }
        for number in (1, 2)
    ]
    return Facts(
        events=events,
        deliveries=deliveries,
        entries=entries,
        stages=[("m", 1, "Production"), ("m", 2, "None")],
        audit=VerificationReport(entries=2, chains=1, damage=()),
    )


def _evidence(
    arrivals: Sequence[ReceivedRequest] | None = None,
    *,
    after: Facts | None = None,
    statuses: Mapping[int, int] | None = None,
) -> Evidence:
    if arrivals is None:
        arrivals = [
            _arrival(number, path=path) for path in ENDPOINTS for number in (1, 2)
        ]
    requests = RequestLedger(Path("unused"))
    for number in (1, 2):
        operation = Operation(f"key-{number}", "fraud", "models/fraud/versions", {})
        text = json.dumps({"model": "fraud", "version": number})
        requests.operations.append(operation)
        requests.answers[operation.key] = ReceivedAnswer(201, text, is_replayed=False)
    numbered = [
        dataclasses.replace(arrival, number=number)
        for number, arrival in enumerate(arrivals)
    ]
    return Evidence(
        before=NOTHING,
        after=after or _facts(),
        requests=requests,
        arrivals=numbered,
        statuses={entry.number: 200 for entry in numbered} | dict(statuses or {}),
        secrets=SECRETS,
    )


def _others() -> list[ReceivedRequest]:
    return [_arrival(number, path=ENDPOINTS[1]) for number in (1, 2)]


def test_a_sound_history_has_no_violation() -> None:
    verdict = judge(_evidence())

    assert verdict.violations == []
    assert (verdict.committed, verdict.expected, verdict.received) == (2, 4, 4)


def test_a_missing_arrival_is_lost() -> None:
    verdict = judge(_evidence([_arrival(1), *_others()]))

    assert verdict.lost == 1
    assert verdict.violations


def test_an_arrival_of_an_uncommitted_event_is_invented() -> None:
    arrivals = [_arrival(1), _arrival(2), _arrival(3), *_others()]

    verdict = judge(_evidence(arrivals))

    assert verdict.invented == 1
    assert verdict.violations


def test_a_first_arrival_out_of_sequence_is_an_inversion() -> None:
    verdict = judge(_evidence([_arrival(2), _arrival(1), *_others()]))

    assert verdict.inversions == 1
    assert verdict.violations


def test_a_late_repeat_is_no_inversion_but_needs_a_crash() -> None:
    arrivals = [_arrival(1), _arrival(2), _arrival(1), *_others()]

    verdict = judge(_evidence(arrivals))

    assert (verdict.inversions, verdict.duplicates) == (0, 1)
    assert any("without a crash" in text for text in verdict.violations)


def test_a_repeat_after_a_cut_off_attempt_is_explained() -> None:
    facts = _facts()
    crashed = dataclasses.replace(
        facts.deliveries[0], outcomes=("unknown", "delivered")
    )
    after = dataclasses.replace(facts, deliveries=[crashed, *facts.deliveries[1:]])
    arrivals = [_arrival(1), _arrival(1), _arrival(2), *_others()]

    verdict = judge(_evidence(arrivals, after=after))

    assert verdict.violations == []
    assert verdict.duplicates == 1


def test_a_repeat_after_a_refusal_is_no_duplicate() -> None:
    facts = _facts()
    refused = dataclasses.replace(facts.deliveries[0], outcomes=("failed", "delivered"))
    after = dataclasses.replace(facts, deliveries=[refused, *facts.deliveries[1:]])
    arrivals = [_arrival(1), _arrival(1), _arrival(2), *_others()]

    verdict = judge(_evidence(arrivals, after=after, statuses={0: 500}))

    assert verdict.violations == []
    assert (verdict.repeats, verdict.duplicates) == (1, 0)


def test_other_bytes_than_the_committed_ones_are_found() -> None:
    spoiled = dataclasses.replace(_arrival(1), body=b"{}")

    verdict = judge(_evidence([spoiled, _arrival(2), *_others()]))

    assert any("other bytes" in text for text in verdict.violations)


def test_the_signature_of_another_endpoint_is_found() -> None:
    foreign = _arrival(1, secret=SECRETS[ENDPOINTS[1]])

    verdict = judge(_evidence([foreign, _arrival(2), *_others()]))

    assert any("bad signature" in text for text in verdict.violations)


def test_an_acknowledged_change_that_is_gone_is_found() -> None:
    facts = _facts()
    audit = VerificationReport(entries=1, chains=1, damage=())
    after = dataclasses.replace(facts, entries=facts.entries[:1], audit=audit)

    verdict = judge(_evidence(after=after))

    assert any("expected one of" in text for text in verdict.violations)


def test_a_change_carried_out_twice_is_found() -> None:
    facts = _facts()
    audit = VerificationReport(entries=3, chains=1, damage=())
    after = dataclasses.replace(
        facts, entries=[*facts.entries, facts.entries[0]], audit=audit
    )

    verdict = judge(_evidence(after=after))

    assert any("expected one of" in text for text in verdict.violations)


@pytest.mark.parametrize(
    ("stages", "what"),
    [
        ([("m", 1, "Production"), ("m", 2, "Production")], "one incumbent"),
        ([("m", 1, "Production"), ("m", 3, "None")], "gap"),
    ],
)
def test_an_unsound_state_is_found(
    stages: list[tuple[str, int, str]], what: str
) -> None:
    after = dataclasses.replace(_facts(), stages=stages)

    verdict = judge(_evidence(after=after))

    assert any(what in text for text in verdict.violations)
