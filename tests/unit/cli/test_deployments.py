"""``stagegate deployments`` and what ``history`` shows of them."""

import json

import pytest

from tests.unit.cli.conftest import Run
from tests.unit.fake_registry import FakeRegistry

PATH = "/models/fraud/versions/2/deployments"
REPORTED = {
    "id": "1",
    "environment": "eu",
    "status": "failed",
    "url": "https://ci.example.com/runs/17",
    "automatic_rollback": None,
}


def rolled_back(**members: object) -> dict[str, object]:
    rollback = {"transition_id": None, "to_version": None, "refused": None}
    return {**REPORTED, "automatic_rollback": {**rollback, **members}}


def test_a_deployment_is_reported_with_what_is_known(
    fake: FakeRegistry, run: Run
) -> None:
    fake.json("POST", PATH, REPORTED)

    result = run(
        "deployments", "report", "fraud", "2", "--status", "failed",
        "--environment", "eu", "--details-url", "https://ci.example.com/runs/17",
        "--webhook-id", "msg_1", "--description", "smoke test",
    )  # fmt: skip

    assert result.stdout == "fraud version 2 is failed in eu.\n"
    assert fake.asked[0].json == {
        "status": "failed",
        "environment": "eu",
        "url": "https://ci.example.com/runs/17",
        "webhook_id": "msg_1",
        "description": "smoke test",
    }


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (rolled_back(to_version=1, transition_id="t"), " Rolled back to version 1."),
        (rolled_back(refused="no one before"), " Nothing was rolled back: no one"),
    ],
)
def test_what_a_failure_caused_is_told(
    fake: FakeRegistry, run: Run, document: dict[str, object], said: str
) -> None:
    fake.json("POST", PATH, document)

    result = run(
        *("deployments", "report", "fraud", "2"),
        *("--status", "failed", "--environment", "eu"),
    )

    assert said in result.stdout


def test_a_status_that_is_none_is_a_usage_error(fake: FakeRegistry, run: Run) -> None:
    result = run(
        "deployments", "report", "fraud", "2", "--status", "fine", "--environment", "eu"
    )  # fmt: skip

    assert result.exit_code == 2
    assert fake.asked == []


def test_deployments_are_listed(fake: FakeRegistry, run: Run) -> None:
    fake.json("GET", PATH, {"items": [REPORTED], "next_cursor": None})

    shown = run("deployments", "list", "fraud", "2", "--limit", "5").stdout
    as_json = run("deployments", "list", "fraud", "2", "-o", "json").stdout

    assert shown.splitlines()[1].split()[:2] == ["eu", "failed"]
    assert json.loads(as_json) == {"items": [REPORTED]}


HISTORY = {
    "transition_id": "t",
    "version": 2,
    "from_stage": "Staging",
    "to_stage": "Production",
    "deployments": [REPORTED, {**REPORTED, "environment": "us", "status": "pending"}],
}


@pytest.mark.parametrize(
    ("deliveries", "shown"),
    [
        ({"requested": 2, "delivered": 1, "delivered_at": None}, "1 of 2"),
        ({"requested": 2, "delivered": 2, "delivered_at": "THEN"}, "THEN"),
        ({"requested": 0, "delivered": 0, "delivered_at": None}, "-"),
    ],
)
def test_a_history_shows_requested_delivered_and_deployed(
    fake: FakeRegistry, run: Run, deliveries: dict[str, object], shown: str
) -> None:
    entry = {**HISTORY, "at": "2026-11-20T12:00:00Z", "deliveries": deliveries}
    fake.json("GET", "/models/fraud/history", {"items": [entry], "next_cursor": None})

    heads, row = run("history", "fraud").stdout.splitlines()
    as_json = run("history", "fraud", "-o", "json").stdout

    assert heads.split()[0] == "REQUESTED"
    assert heads.split()[-2:] == ["DELIVERED", "DEPLOYED"]
    assert row.startswith("2026-11-20T12:00:00Z")
    assert row[heads.index("DELIVERED") : heads.index("DEPLOYED")].strip() == shown
    assert row[heads.index("DEPLOYED") :] == "eu: failed, us: pending"
    assert json.loads(as_json) == {"items": [entry]}
