"""Moves that others approve, dry runs, and the commands about what moves wait for."""

import json
from typing import Any

import pytest

from registry.cli.main import COMMANDS
from tests.unit.cli.conftest import Run
from tests.unit.cli.pages import TRANSITIONS, page
from tests.unit.fake_registry import (
    FakeRegistry,
    model_document,
    transition_document,
    version_document,
)

REQUEST: dict[str, Any] = {
    "id": "req_1",
    "model": "fraud",
    "version": 2,
    "from_stage": "Staging",
    "to_stage": "Production",
    "state": "open",
    "approvals_needed": 1,
    "closed_by": None,
    "requested_by": {"kind": "token", "name": "ci"},
    "transition_id": None,
}
APPROVED = {**REQUEST, "state": "approved", "closed_by": "bob", "transition_id": "t-1"}
ONE = "/transition-requests/req_1"
PROMOTION = ("promote", "fraud", "2", "--to", "Production")
TO_RUN = "Somebody else approves it: stagegate requests approve req_1\n"
GATES = [
    {"kind": "status", "name": "", "state": "passed", "message": ""},
    {"kind": "check", "name": "tests", "state": "pending", "message": "it is missing"},
]
PREVIEW = {
    **{name: REQUEST[name] for name in ("model", "version", "from_stage", "to_stage")},
    "allowed": True,
    "cause": "promotion",
    "reasons": [],
    "gates": GATES[:1],
    "leaving": [],
    "approvals_needed": 0,
    "approvals_given": 0,
    "request": None,
}
HOLD = {
    "stage": "Production",
    "version": None,
    "reason": "audit",
    "by": "alice",
    "at": "2026-11-20T12:00:00.000000Z",
    "until": "2026-12-01T00:00:00.000000Z",
}


@pytest.mark.parametrize(
    ("command", "path"),
    [
        (PROMOTION, TRANSITIONS),
        (("archive", "fraud", "2"), TRANSITIONS),
        (("rollback", "fraud"), "/models/fraud/rollback"),
    ],
)
def test_move_that_others_approve_says_what_to_run(
    fake: FakeRegistry, run: Run, command: tuple[str, ...], path: str
) -> None:
    fake.json("POST", path, {"request": REQUEST}, status=202)

    result = run(*command)
    as_json = run(*command, "-o", "json")

    assert result.exit_code == as_json.exit_code == 0
    assert result.stdout == (
        "fraud version 2 stays in Staging for now: transition request req_1 asks for"
        " 1 approval of its move to Production.\n"
    )
    assert result.stderr.endswith(TO_RUN)
    assert json.loads(as_json.stdout) == {"request": REQUEST}


@pytest.mark.parametrize("now", [REQUEST, APPROVED, {**REQUEST, "state": "void"}])
def test_request_of_an_earlier_run_is_told_as_it_stands_now(
    fake: FakeRegistry, run: Run, now: dict[str, Any]
) -> None:
    answer = {"request": REQUEST}
    fake.json("POST", TRANSITIONS, answer, status=202, Idempotent_Replayed="true")
    fake.json("GET", ONE, now)
    key = ("--idempotency-key", "k")

    said = run(*PROMOTION, *key)
    told = json.loads(run(*PROMOTION, *key, "-o", "json").stdout)

    assert told == {"request": now, "replayed": True}
    assert ("req_1 is" in said.stdout) is (now["state"] != "open")
    assert (TO_RUN in said.stderr) is (now["state"] == "open")
    assert ("another --idempotency-key" in said.stderr) is (now["state"] == "void")


def test_alias_of_a_stage_that_others_approve_is_not_said_to_be_set(
    fake: FakeRegistry, run: Run
) -> None:
    path = "/models/fraud/aliases/production"
    fake.json("PUT", path, {"request": REQUEST}, status=202)

    result = run("alias", "set", "fraud", "production", "2")

    assert result.stdout.startswith("fraud version 2 stays in Staging for now")


def test_alias_that_the_policy_refuses_ends_as_refused(
    fake: FakeRegistry, run: Run
) -> None:
    path = "/models/fraud/aliases/champion"
    fake.problem("PUT", path, "alias-refused", status=409, reasons=["it is in None"])

    result = run("alias", "set", "fraud", "champion", "2")

    assert result.exit_code == 3
    assert "it is in None" in result.stderr


def wait_for(fake: FakeRegistry, *states: dict[str, Any]) -> None:
    fake.json("POST", TRANSITIONS, {"request": REQUEST}, status=202)
    for state in states:
        fake.json("GET", ONE, state)


def test_promotion_waits_for_approval_then_for_its_rollout(
    fake: FakeRegistry, run: Run
) -> None:
    wait_for(fake, REQUEST, APPROVED)
    line = {
        "transition_id": "t-1",
        "version": 2,
        "from_stage": "Staging",
        "to_stage": "Production",
        "cause": "promotion",
        "verified": False,
    }
    fake.json("GET", "/models/fraud/history", page(line))
    version = version_document(2, stage="Production")
    fake.json("GET", "/models/fraud/versions/2", version)
    fake.json("GET", "/deliveries", page({"id": "d", "state": "delivered"}))
    fake.json("GET", "/models/fraud/versions/2/deployments", page())

    result = run(*PROMOTION, "--wait", "5")
    told = json.loads(run(*PROMOTION, "--wait", "5", "-o", "json").stdout)

    assert result.exit_code == 0, result.stderr
    assert result.stdout == "fraud version 2 is now in Production (promotion).\n"
    assert TO_RUN in result.stderr
    assert "Its artifact is not verified." in result.stderr
    assert "Webhook deliveries acknowledged: 1." in result.stderr
    assert (told["transition_id"], told["version"]) == ("t-1", version)


@pytest.mark.parametrize("state", ["rejected", "cancelled", "void", "expired"])
def test_request_that_will_not_be_carried_out_ends_as_refused(
    fake: FakeRegistry, run: Run, state: str
) -> None:
    wait_for(fake, {**REQUEST, "state": state, "comment": "not now"})

    result = run(*PROMOTION, "--wait", "5")

    assert result.exit_code == 3
    assert result.stdout == ""
    assert f"Error: transition request req_1 is {state}: not now" in result.stderr


def test_request_that_nobody_decides_on_times_out(fake: FakeRegistry, run: Run) -> None:
    wait_for(fake, REQUEST)

    result = run(*PROMOTION, "--wait", "0")

    assert result.exit_code == 7
    assert "transition request req_1 to be approved" in result.stderr


def test_glass_is_broken_with_a_reason(fake: FakeRegistry, run: Run) -> None:
    fake.json("POST", TRANSITIONS, transition_document())

    run(*PROMOTION, "--break-glass", "--reason", "outage")

    assert fake.asked[0].json == {
        "to_stage": "Production",
        "reason": "outage",
        "break_glass": True,
    }


@pytest.mark.parametrize(
    ("members", "said", "code"),
    [
        (
            {"leaving": [1]},
            "would be made at once (promotion); out of the stage goes",
            0,
        ),
        (
            {"allowed": False, "gates": GATES, "reasons": ["it is missing"]},
            "would be refused: it is missing.",
            3,
        ),
        (
            {"allowed": False, "approvals_needed": 2, "approvals_given": 1},
            "would become a transition request: it takes 2 approvals, 1 given.",
            0,
        ),
        (
            {"allowed": False, "reasons": ["no rule"], "gates": []},
            "refused: no rule",
            3,
        ),
    ],
)
def test_dry_run_shows_every_gate_and_moves_nothing(
    fake: FakeRegistry,
    run: Run,
    *,
    members: dict[str, Any],
    said: str,
    code: int,
) -> None:
    preview = {**PREVIEW, **members}
    fake.json("GET", f"{TRANSITIONS}/preview", preview)

    result = run(*PROMOTION, "--dry-run")
    as_json = run(*PROMOTION, "--dry-run", "-o", "json")

    first, *table = result.stdout.splitlines()
    assert said in first
    assert len(table) == (len(preview["gates"]) + 1 if preview["gates"] else 0)
    assert result.exit_code == as_json.exit_code == code
    assert json.loads(as_json.stdout) == preview
    assert {one.method for one in fake.asked} == {"GET"}


def test_dry_run_names_the_request_that_stands(fake: FakeRegistry, run: Run) -> None:
    members = {"allowed": False, "approvals_needed": 1, "request": REQUEST}
    fake.json("GET", f"{TRANSITIONS}/preview", {**PREVIEW, **members})

    assert TO_RUN in run(*PROMOTION, "--dry-run").stderr


def test_dry_run_breaks_no_glass(fake: FakeRegistry, run: Run) -> None:
    assert run(*PROMOTION, "--dry-run", "--break-glass").exit_code == 2
    assert fake.asked == []


def test_requests_are_listed(fake: FakeRegistry, run: Run) -> None:
    fake.json("GET", "/transition-requests", page(REQUEST, REQUEST))

    shown = run("requests", "list", "--model", "fraud", "--limit", "1").stdout
    run("requests", "list", "--all")

    assert shown.splitlines()[1].split()[:2] == ["req_1", "fraud"]
    assert [one.query["state"] for one in fake.asked] == ["open", "all"]


def test_request_is_shown_with_its_approvals_and_gates(
    fake: FakeRegistry, run: Run
) -> None:
    approval = {"approved_by": "bob", "comment": "fine", "at": None, "valid": False}
    document = {**REQUEST, "approvals": [approval], "gates": GATES}
    fake.json("GET", ONE, document)

    shown = run("requests", "show", "req_1").stdout
    as_json = run("requests", "show", "req_1", "-o", "json").stdout

    assert shown.splitlines()[-1].split() == [
        *("check", "tests", "pending", "it", "is", "missing"),
    ]
    assert "bob" in shown
    assert json.loads(as_json) == document


def test_request_without_approvals_has_no_table_of_them(
    fake: FakeRegistry, run: Run
) -> None:
    fake.json("GET", ONE, {**REQUEST, "approvals": [], "gates": []})

    assert "APPROVED BY" not in run("requests", "show", "req_1").stdout


def test_request_is_made_by_itself_once_for_each_job(
    fake: FakeRegistry, run: Run
) -> None:
    fake.json("POST", "/transition-requests", REQUEST, Idempotent_Replayed="true")
    command = ("requests", "create", "fraud", "2", "--to", "Production")
    job = {"GITHUB_RUN_ID": "17", "GITHUB_JOB": "ask"}

    said = run(*command, "--reason", "ready")
    told = json.loads(run(*command, "-o", "json", env=job).stdout)

    assert said.stdout == (
        "Transition request req_1 asks for 1 approval of the move of fraud version 2"
        " to Production.\n"
    )
    assert told == {**REQUEST, "replayed": True}
    assert fake.asked[0].json["reason"] == "ready"
    assert fake.asked[1].headers["Idempotency-Key"].startswith("github-")


@pytest.mark.parametrize(
    ("decision", "members", "said"),
    [
        (
            "approve",
            {"transition": transition_document()},
            "Approved req_1. fraud version 2 is now in Production (promotion).\n",
        ),
        (
            "approve",
            {"transition": None, "approvals_needed": 2},
            "Approved req_1. It takes 2 approvals in all.\n",
        ),
        ("reject", {}, "Rejected req_1.\n"),
        ("cancel", {}, "Cancelled req_1.\n"),
    ],
)
def test_request_is_decided_on(
    fake: FakeRegistry, run: Run, *, decision: str, members: dict[str, Any], said: str
) -> None:
    fake.json("POST", f"{ONE}/{decision}", {**REQUEST, **members})

    result = run("requests", decision, "req_1", "--comment", "because")

    assert result.stdout == said
    assert fake.asked[0].json == {"comment": "because"}


def test_own_request_is_not_approved(fake: FakeRegistry, run: Run) -> None:
    fake.problem("POST", f"{ONE}/approve", "self-approval", status=403)

    assert run("requests", "approve", "req_1").exit_code == 6


def test_check_is_reported_and_listed(fake: FakeRegistry, run: Run) -> None:
    path = "/models/fraud/versions/2/checks"
    check = {"name": "tests", "status": "passed", "url": None}
    fake.json("POST", path, check)
    fake.json("GET", path, page(check))

    said = run(
        *("checks", "report", "fraud", "2", "tests", "--status", "passed"),
        *("--details-url", "https://ci.example.com/17", "--description", "all"),
    ).stdout
    listed = run("checks", "list", "fraud", "2").stdout

    assert said == "Check tests of fraud version 2: passed.\n"
    assert fake.asked[0].json == {
        "name": "tests",
        "status": "passed",
        "url": "https://ci.example.com/17",
        "description": "all",
    }
    assert listed.splitlines()[1].split()[:2] == ["tests", "passed"]


def test_hold_is_set_listed_and_lifted(fake: FakeRegistry, run: Run) -> None:
    path = "/models/fraud/holds/Production"
    fake.json("PUT", path, HOLD)
    fake.json("DELETE", path, {})
    fake.json("GET", "/models/fraud", model_document(holds=[HOLD]))

    held = run(
        *("holds", "set", "fraud", "Production", "--reason", "audit"),
        *("--until", "2026-12-01"),
    ).stdout
    listed = run("holds", "list", "fraud").stdout
    lifted = run("holds", "lift", "fraud", "Production", "--reason", "over").stdout

    assert held == "Production of fraud is held until 2026-12-01T00:00:00.000000Z.\n"
    assert fake.asked[0].json == {"reason": "audit", "until": HOLD["until"]}
    assert listed.splitlines()[1].split()[:2] == ["Production", "alice"]
    assert lifted == "Production of fraud is not held any more.\n"
    assert fake.asked[-1].query == {"reason": "over"}


def test_hold_has_no_end_unless_given(fake: FakeRegistry, run: Run) -> None:
    hold = {**HOLD, "until": None}
    fake.json("PUT", "/models/fraud/holds/Production", hold)

    said = run("holds", "set", "fraud", "Production", "--reason", "audit").stdout

    assert said == "Production of fraud is held.\n"


@pytest.mark.parametrize(
    ("members", "shown"),
    [
        ({}, "Production by alice until 2026-12-01T00:00:00.000000Z (audit)"),
        ({"until": None, "reason": ""}, "Production by alice\n"),
    ],
)
def test_model_is_shown_with_its_holds(
    fake: FakeRegistry, run: Run, members: dict[str, Any], shown: str
) -> None:
    document = model_document(holds=[{**HOLD, **members}])
    fake.json("GET", "/models/fraud", document)

    assert shown in run("models", "show", "fraud").stdout
    assert json.loads(run("models", "show", "fraud", "-o", "json").stdout) == document


def test_history_shows_requests_broken_glass_and_holds(
    fake: FakeRegistry, run: Run
) -> None:
    line = {"transition_id": "t", "version": 2, "from_stage": "A", "to_stage": "B"}
    lines = [
        {**line, "cause": "rollback", "held": True},
        {**line, "cause": "promotion", "broke_glass": True, "verified": False},
        {**line, "cause": "promotion", "request_id": "req_1"},
    ]
    fake.json("GET", "/models/fraud/history", page(*lines))

    _, held, broken, asked = run("history", "fraud").stdout.splitlines()

    assert "rollback, held since" in held
    assert "promotion, unverified, broke the glass" in broken
    assert "req_1" in asked


@pytest.mark.parametrize("name", ["requests", "checks", "holds"])
def test_every_command_shows_how_it_is_called(run: Run, name: str) -> None:
    for inner in COMMANDS[name].load().commands:  # type: ignore[attr-defined]
        assert f"stagegate {name} {inner}" in run(name, inner, "--help").stdout
