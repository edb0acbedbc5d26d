"""Stage changes that others approve, and what a stage change waits for."""

import pytest

from registry import errors
from registry.client import RegistryClient, Transition, TransitionRequest
from tests.unit.client.test_calls import CHECK, HOLD, REQUEST
from tests.unit.fake_registry import FakeRegistry, model_document, version_document

TRANSITIONS = "/models/fraud/versions/2/transitions"
ONE = "/transition-requests/req_1"
HISTORY = "/models/fraud/history"
GATE = {"kind": "check", "name": "tests", "state": "pending", "message": "is missing"}


def test_move_that_others_approve_is_answered_with_its_request(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.json(
        "POST",
        TRANSITIONS,
        {"request": REQUEST},
        status=202,
        Idempotent_Replayed="true",
    )

    asked = client.transition("fraud", 2, "Production", idempotency_key="k")

    assert isinstance(asked, TransitionRequest)
    assert (asked.id, asked.is_open, asked.replayed) == ("req_1", True, True)
    assert asked.raw == REQUEST


def line(version: int, cause: str, transition: str) -> dict[str, object]:
    return {
        "transition_id": transition,
        "version": version,
        "from_stage": "Staging",
        "to_stage": "Archived" if cause == "superseded" else "Production",
        "cause": cause,
        "verified": True,
    }


def test_request_is_waited_for_until_its_move_is_made(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    approved = {**REQUEST, "state": "approved", "transition_id": "t"}
    fake.json("GET", ONE, REQUEST)
    fake.json("GET", ONE, approved)
    lines = [
        line(3, "promotion", "later"),
        line(2, "promotion", "t"),
        line(1, "superseded", "t"),
        line(1, "promotion", "before"),
    ]
    fake.json("GET", HISTORY, {"items": lines, "next_cursor": None})
    now = version_document(2, stage="Production")
    fake.json("GET", "/models/fraud/versions/2", now)

    made = client.requests.wait("req_1", timeout_seconds=5)

    assert isinstance(made, Transition)
    assert (made.transition_id, made.cause, made.superseded, made.verified) == (
        *("t", "promotion", 1),
        True,
    )
    assert made.version.raw == now


def test_move_whose_history_is_gone_is_told_by_its_request(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.json("GET", ONE, {**REQUEST, "state": "approved", "transition_id": "t"})
    fake.json("GET", HISTORY, {"items": [], "next_cursor": None})
    fake.json("GET", "/models/fraud/versions/2", version_document(2))

    made = client.requests.wait("req_1", timeout_seconds=0)

    assert (made.transition_id, made.superseded) == ("t", None)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        (
            {"state": "rejected", "closed_by": "bob", "comment": "too soon"},
            "is rejected by bob: too soon",
        ),
        ({"state": "void"}, "is void"),
        ({"state": "expired"}, "is expired"),
    ],
)
def test_request_that_is_closed_ends_the_waiting(
    fake: FakeRegistry,
    client: RegistryClient,
    members: dict[str, object],
    said: str,
) -> None:
    fake.json("GET", ONE, {**REQUEST, **members})

    with pytest.raises(errors.RequestClosedError) as caught:
        client.requests.wait("req_1", timeout_seconds=5)

    assert caught.value.message == f"transition request req_1 {said}"


def test_request_that_nobody_decides_on_is_given_up(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.json("GET", ONE, REQUEST)

    with pytest.raises(errors.WaitTimeoutError, match="req_1 to be approved"):
        client.requests.wait("req_1", timeout_seconds=0)


def test_request_is_read_with_its_approvals_and_gates(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    approval = {"approved_by": "bob", "comment": "", "valid": False}
    fake.json("GET", ONE, {**REQUEST, "approvals": [approval], "gates": [GATE]})

    request = client.requests.get("req_1")

    assert [one.approved_by for one in request.approvals] == ["bob"]
    assert [one.state for one in request.gates] == ["pending"]


def test_preview_is_asked_for_as_a_rollback_too(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    path = f"{TRANSITIONS}/preview"
    preview = {
        **{name: REQUEST[name] for name in ("model", "version", "from_stage")},
        "to_stage": "Production",
        "allowed": False,
        "gates": [GATE],
        "request": REQUEST,
    }
    fake.json("GET", path, preview)

    found = client.preview("fraud", 2, "Production")
    client.preview("fraud", 2, "Production", rollback=True)

    assert found.request
    assert (found.request.id, found.gates[0].name) == ("req_1", "tests")
    assert [one.query for one in fake.asked] == [
        {"to_stage": "Production"},
        {"to_stage": "Production", "rollback": "true"},
    ]


def test_holds_are_those_that_the_model_shows(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.json("GET", "/models/fraud", model_document(holds=[HOLD]))

    (hold,) = client.holds.list("fraud")

    assert (hold.stage, hold.reason) == ("Production", "audit")
    assert client.get_model("fraud").holds == [hold]


def test_check_is_read(fake: FakeRegistry, client: RegistryClient) -> None:
    fake.json(
        "GET",
        "/models/fraud/versions/2/checks",
        {"items": [CHECK], "next_cursor": None},
    )

    assert [one.status for one in client.checks.list("fraud", 2)] == ["passed"]


def test_alias_that_is_refused_tells_the_reasons(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    path = "/models/fraud/aliases/champion"
    fake.problem("PUT", path, "alias-refused", status=409, reasons=["it is in None"])

    with pytest.raises(errors.AliasRefusedError) as caught:
        client.set_alias("fraud", "champion", 2)

    assert caught.value.reasons == ("it is in None",)
