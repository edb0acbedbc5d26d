"""Waiting for a stage change: what is shown meanwhile, and how it ends."""

import json
import re
import sys

import pytest
from click.testing import Result

from registry.cli.rollout import rollout_display
from registry.client import DeliveryRecord, DeploymentRecord, Rollout
from tests.unit.cli.conftest import Run
from tests.unit.fake_registry import FakeRegistry, transition_document

TRANSITIONS = "/models/fraud/versions/2/transitions"
DEPLOYMENTS = "/models/fraud/versions/2/deployments"
RUN = "https://ci.example.com/runs/17"


def page(*items: object) -> dict[str, object]:
    return {"items": items, "next_cursor": None}


def delivery(state: str, **members: object) -> dict[str, object]:
    return {"id": "dlv_1", "webhook_id": "sub_1", "state": state, **members}


def deployment(status: str, **members: object) -> dict[str, object]:
    return {"id": "1", "environment": "eu", "status": status, **members}


def promote(run: Run, *options: str) -> Result:
    return run("promote", "fraud", "2", "--to", "Production", *options)


def script(
    fake: FakeRegistry, deliveries: list[object], deployments: list[object]
) -> None:
    """One list for each look; the last one goes on."""
    fake.json("POST", TRANSITIONS, transition_document())
    for found in deliveries:
        fake.json("GET", "/deliveries", found)
    for found in deployments:
        fake.json("GET", DEPLOYMENTS, found)


def test_a_log_gets_a_line_for_each_change_until_it_is_deployed(
    fake: FakeRegistry, run: Run
) -> None:
    script(
        fake,
        [
            page(delivery("pending", attempts=1, reason="answered 500")),
            page(delivery("delivered", receipt=RUN)),
        ],
        [
            page(),
            page(deployment("in_progress", url=RUN)),
            page(deployment("in_progress", url=RUN)),
            page(deployment("succeeded", url=RUN)),
        ],
    )

    result = promote(run, "--wait", "30")

    assert result.exit_code == 0, result.stderr
    assert result.stderr.splitlines()[1:] == [  # below the address of its page
        "Delivery to webhook sub_1: pending (attempt 1, answered 500)",
        f"Delivery to webhook sub_1: delivered ({RUN})",
        f"Deployment to eu: in_progress ({RUN})",
        f"Deployment to eu: succeeded ({RUN})",
        "Webhook deliveries acknowledged: 1. Deployed to eu.",
    ]


def test_a_deployment_that_fails_ends_the_waiting_with_its_address(
    fake: FakeRegistry, run: Run
) -> None:
    failed = deployment("failed", url=RUN, description="smoke test")
    script(fake, [page(delivery("delivered"))], [page(failed)])

    result = promote(run, "--wait", "30")

    assert result.exit_code == 1
    assert f"Error: Deployment to eu failed: smoke test: {RUN}" in result.stderr
    assert "is now in Production" in result.stdout


def test_a_deployment_that_takes_too_long_is_named_when_the_time_is_up(
    fake: FakeRegistry, run: Run
) -> None:
    script(fake, [page(delivery("delivered"))], [page(deployment("in_progress"))])

    result = promote(run, "--wait", "0.1")

    assert result.exit_code == 7
    assert "0.1 s for deployment to eu is in_progress." in result.stderr


def test_a_consumer_that_never_reports_is_waited_for_on_request_only(
    fake: FakeRegistry, run: Run
) -> None:
    script(fake, [page(delivery("delivered"))], [page()])

    patient = promote(run, "--wait", "0.1", "--wait-deployed")
    usual = promote(run, "--wait", "0.1")

    assert patient.exit_code == 7
    assert "no deployment has been reported" in patient.stderr
    assert usual.exit_code == 0


def test_waiting_for_a_deployment_takes_a_time_to_wait(
    fake: FakeRegistry, run: Run
) -> None:
    result = promote(run, "--wait-deployed")

    assert result.exit_code == 2
    assert "--wait-deployed needs --wait" in result.stderr
    assert fake.asked == []


def test_json_of_the_change_stays_alone_on_stdout(fake: FakeRegistry, run: Run) -> None:
    script(fake, [page(delivery("delivered"))], [page(deployment("succeeded"))])

    result = promote(run, "--wait", "30", "-o", "json")

    assert json.loads(result.stdout) == transition_document()


def test_text_of_a_consumer_cannot_control_the_terminal(
    fake: FakeRegistry, run: Run
) -> None:
    evil = deployment("succeeded", description="\x1b[2J")
    script(fake, [page(delivery("delivered"))], [page(evil)])

    assert "\x1b" not in promote(run, "--wait", "30").stderr


def test_a_terminal_gets_a_table_that_changes_in_place(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    acknowledged = DeliveryRecord.from_json(delivery("delivered"))
    reports = [
        DeploymentRecord.from_json(deployment(status, url=RUN, description="\x1b[2J"))
        for status in ("in_progress", "succeeded")
    ]

    with rollout_display() as show:
        for one in reports:
            show(Rollout([acknowledged], [one]))

    shown = capsys.readouterr().err
    assert "Delivery to webhook sub_1" in shown
    assert "in_progress" in shown
    assert "succeeded" in shown
    assert RUN in shown
    assert "\x1b[2J" not in shown
    assert re.search(r"\x1b\[\d*A", shown)  # the cursor goes up to draw anew
