"""Commands about webhooks, deliveries and tokens."""

import pytest

from tests.unit.cli.conftest import Run
from tests.unit.cli.pages import TRANSITIONS, page
from tests.unit.fake_registry import (
    FakeRegistry,
    model_document,
    transition_document,
)

SUBSCRIPTION = {
    "id": "w1",
    "url": "https://ci.example.com/hook",
    "state": "active",
    "event_types": ["*"],
    "secret": "whsec_new",
}


@pytest.mark.parametrize(
    ("state", "code", "said"),
    [
        ("delivered", 0, "Webhook deliveries acknowledged: 1."),
        ("pending", 7, "Gave up waiting"),
        ("dead", 1, "Delivery d1 is dead: 410 Gone"),
    ],
)
def test_waiting_tells_what_became_of_the_deliveries(
    fake: FakeRegistry, run: Run, *, state: str, code: int, said: str
) -> None:
    fake.json("POST", TRANSITIONS, transition_document())
    delivery = {"id": "d1", "state": state, "reason": "410 Gone"}
    fake.json("GET", "/deliveries", page(delivery))
    fake.json("GET", "/models/fraud/versions/2/deployments", page())

    result = run("promote", "fraud", "2", "--to", "Production", "--wait", "0.1")

    assert result.exit_code == code
    assert said in result.stderr
    assert "is now in Production" in result.stdout
    assert {one.query["transition_id"] for one in fake.asked[1:]} == {"t-1"}


def test_a_webhook_is_created_and_its_secret_shown(
    fake: FakeRegistry, run: Run
) -> None:
    fake.json("POST", "/webhooks", SUBSCRIPTION)

    result = run(
        "webhooks", "create", "https://ci.example.com/hook",
        "--event", "model_version.stage_changed", "--to-stage", "Production",
        "--model-pattern", "fraud-*", "--format", "standard", "--description", "ci",
    )  # fmt: skip

    assert "Secret (shown only now): whsec_new" in result.stdout
    assert fake.asked[0].json == {
        "url": "https://ci.example.com/hook",
        "event_types": ["model_version.stage_changed"],
        "to_stages": ["Production"],
        "model_pattern": "fraud-*",
        "format": "standard",
        "description": "ci",
    }


def test_webhooks_are_listed_and_shown(fake: FakeRegistry, run: Run) -> None:
    fake.json("GET", "/webhooks", page(SUBSCRIPTION))
    fake.json("GET", "/webhooks/w1", SUBSCRIPTION)

    assert "https://ci.example.com/hook" in run("webhooks", "list").stdout
    shown = run("webhooks", "show", "w1").stdout
    assert "active" in shown
    assert "whsec_new" not in shown


def test_a_webhook_is_changed(fake: FakeRegistry, run: Run) -> None:
    fake.json("PATCH", "/webhooks/w1", SUBSCRIPTION)

    changed = run(
        "webhooks",
        "update",
        "w1",
        "--state",
        "paused",
        "--endpoint",
        "https://n.example",
    )
    unchanged = run("webhooks", "update", "w1")

    assert changed.stdout == "Changed webhook w1.\n"
    assert fake.asked[0].json == {"state": "paused", "url": "https://n.example"}
    assert unchanged.exit_code == 2


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (
            {"delivered": True, "status": 204, "error": None, "duration_ms": 12},
            0,
            "Delivered in 12 ms: status 204, error -.",
        ),
        (
            {"delivered": False, "status": None, "error": "refused", "duration_ms": 1},
            1,
            "Not delivered in 1 ms: status -, error refused.",
        ),
    ],
)
def test_a_test_send_tells_what_came_back(
    fake: FakeRegistry, run: Run, *, answer: object, code: int, said: str
) -> None:
    fake.json("POST", "/webhooks/w1/test", answer)

    result = run("webhooks", "test", "w1")

    assert result.exit_code == code
    assert result.stdout.strip() == said


def test_deliveries_are_listed_and_sent_again(fake: FakeRegistry, run: Run) -> None:
    delivery = {"id": "d1", "state": "dead", "event_type": "webhook.ping"}
    fake.json("GET", "/webhooks/w1/deliveries", page(delivery, delivery))
    fake.json("POST", "/deliveries/d1/redeliver", {**delivery, "state": "pending"})

    listed = run("webhooks", "deliveries", "w1", "--state", "dead", "--limit", "1")
    again = run("webhooks", "redeliver", "d1")

    assert len(listed.stdout.splitlines()) == 2
    assert again.stdout == "Delivery d1 is pending.\n"


def test_attempts_are_listed_with_the_time_of_each_part(
    fake: FakeRegistry, run: Run
) -> None:
    attempt = {
        "number": 1,
        "outcome": "failed",
        "status": 503,
        "address": "192.0.2.7",
        "timings": {"name": 0.012, "connect": 0.034},
    }
    fake.json("GET", "/deliveries/d1/attempts", page(attempt))

    (_, row) = run("webhooks", "attempts", "d1").stdout.splitlines()

    assert {"1", "failed", "503", "192.0.2.7", "0.012", "0.034"} <= set(row.split())


def test_a_secret_is_rotated(fake: FakeRegistry, run: Run) -> None:
    fake.json("POST", "/webhooks/w1/rotate-secret", {"secret": "whsec_b"})

    result = run("webhooks", "rotate-secret", "w1", "--overlap", "60")

    assert "whsec_b" in result.stdout
    assert fake.asked[0].json == {"overlap_seconds": 60}


def test_tokens_are_created_and_listed(fake: FakeRegistry, run: Run) -> None:
    token = {"id": "t1", "name": "ci", "role": "promoter"}
    fake.json("POST", "/tokens", {**token, "token": "sg_pat_new"})
    fake.json("GET", "/tokens", page(token))

    created = run("tokens", "create", "ci", "--role", "promoter")

    assert "Token (shown only now): sg_pat_new" in created.stdout
    assert "promoter" in run("tokens", "list").stdout
    assert run("tokens", "create", "ci", "--role", "king").exit_code == 2


def test_control_sequences_from_the_server_do_not_reach_the_terminal(
    fake: FakeRegistry, run: Run
) -> None:
    fake.json("GET", "/models/fraud", model_document(description="a\x1b[2Jb"))
    fake.problem("GET", "/models/x", "not-found", status=404, detail="gone\x1b[2J")

    assert "\x1b" not in run("models", "show", "fraud").stdout
    assert "\x1b" not in run("models", "show", "x").stderr
