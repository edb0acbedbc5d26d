"""Each client command: what it asks the registry for and what it prints."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.unit.cli.conftest import Run
from tests.unit.fake_registry import (
    Answer,
    FakeRegistry,
    model_document,
    transition_document,
    version_document,
)

SUBSCRIPTION = {
    "id": "w1",
    "url": "https://ci.example.com/hook",
    "state": "active",
    "event_types": ["*"],
    "secret": "whsec_new",
}
TRANSITIONS = "/models/fraud/versions/2/transitions"


def page(*items: object) -> dict[str, object]:
    return {"items": items, "next_cursor": None}


def test_models_are_listed(fake: FakeRegistry, run: Run) -> None:
    fake.json("GET", "/models", page(model_document("a"), model_document("b")))

    assert "Production=2" in run("models", "list").stdout.splitlines()[1]
    assert len(run("models", "list", "--limit", "1").stdout.splitlines()) == 2
    shown = json.loads(run("models", "list", "-o", "json").stdout)
    assert shown == {"items": [model_document("a"), model_document("b")]}


def test_a_model_is_created_with_its_tags(fake: FakeRegistry, run: Run) -> None:
    fake.json("POST", "/models", model_document())

    result = run("models", "create", "fraud", "--description", "d", "--tag", "a=b=c")

    assert result.stdout == "Created model fraud.\n"
    assert fake.asked[0].json == {
        "name": "fraud",
        "description": "d",
        "tags": {"a": "b=c"},
    }


@pytest.mark.parametrize("tags", [["a"], ["=b"], ["a=1", "a=2"]])
def test_a_tag_that_is_none_is_a_usage_error(
    fake: FakeRegistry, run: Run, tags: list[str]
) -> None:
    options = [part for tag in tags for part in ("--tag", tag)]

    assert run("models", "create", "fraud", *options).exit_code == 2
    assert fake.asked == []


def test_a_model_is_shown(fake: FakeRegistry, run: Run) -> None:
    fake.json("GET", "/models/fraud", model_document(description="spots fraud"))

    assert "spots fraud" in run("models", "show", "fraud").stdout


@pytest.mark.parametrize(
    ("arguments", "path", "said"),
    [
        (["models", "delete", "fraud"], "/models/fraud", "Deleted model fraud."),
        (["webhooks", "delete", "w1"], "/webhooks/w1", "Deleted webhook w1."),
        (["tokens", "revoke", "t1"], "/tokens/t1", "Revoked token t1."),
    ],
)
def test_what_cannot_be_undone_is_confirmed(
    fake: FakeRegistry,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    *,
    arguments: list[str],
    path: str,
    said: str,
) -> None:
    fake.json("DELETE", path, {})

    unconfirmed = run(*arguments)
    confirmed = run(*arguments, "--yes")

    assert unconfirmed.exit_code == 2
    assert "--yes" in unconfirmed.stderr
    assert confirmed.stdout.strip() == said
    assert len(fake.asked) == 1

    terminal = SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("registry.cli.client_command.sys", terminal)
    monkeypatch.setattr("click.confirm", lambda *_args, **_options: False)
    assert run(*arguments).exit_code == 1
    monkeypatch.setattr("click.confirm", lambda *_args, **_options: True)
    assert run(*arguments).exit_code == 0
    assert len(fake.asked) == 2


def test_versions_are_listed(fake: FakeRegistry, run: Run) -> None:
    fake.json("GET", "/models/fraud/versions", page(version_document()))

    result = run("versions", "list", "fraud", "--stage", "None", "--limit", "3")

    assert "READY" in result.stdout
    assert fake.asked[0].query["stage"] == "None"


@pytest.mark.parametrize(
    ("selector", "path"),
    [
        (["2"], "/models/fraud/versions/2"),
        (["--stage", "Production"], "/models/fraud/stages/Production"),
        (["--alias", "champion"], "/models/fraud/aliases/champion"),
    ],
)
def test_a_version_is_selected_by_number_stage_or_alias(
    fake: FakeRegistry, run: Run, selector: list[str], path: str
) -> None:
    fake.json("GET", path, version_document(2))

    shown = json.loads(run("versions", "show", "fraud", *selector, "-o", "json").stdout)

    assert shown == version_document(2)


@pytest.mark.parametrize("selector", [[], ["2", "--stage", "Production"]])
def test_a_version_is_selected_in_one_way(run: Run, selector: list[str]) -> None:
    result = run("versions", "show", "fraud", *selector)

    assert result.exit_code == 2
    assert "exactly one of" in result.stderr


@pytest.mark.parametrize("sha256", [None, hashlib.sha256(b"abc").hexdigest()])
def test_an_artifact_is_downloaded(
    fake: FakeRegistry,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    sha256: str | None,
) -> None:
    monkeypatch.chdir(tmp_path)
    file = {"path": "m.bin", "size_bytes": 3, "sha256": sha256}
    fake.json("GET", "/models/fraud/stages/Production", version_document(2))
    fake.json("GET", "/models/fraud/versions/2/artifacts", page(file))
    fake.on(
        "GET",
        "/api/v1/models/fraud/versions/2/artifacts/m.bin",
        lambda _: Answer(200, b"abc"),
    )

    result = run("versions", "download", "fraud", "--stage", "Production")
    elsewhere = run(
        "versions", "download", "fraud", "--stage", "Production",
        "--to", "there", "--file", "m.bin",
    )  # fmt: skip

    assert (tmp_path / "fraud-2" / "m.bin").read_bytes() == b"abc"
    assert (tmp_path / "there" / "m.bin").read_bytes() == b"abc"
    assert "1 file(s) of fraud version 2" in result.stdout
    assert "to there." in elsewhere.stdout
    assert ("no digest" in result.stderr) is (sha256 is None)


def test_a_version_is_registered_with_everything_known_of_it(
    fake: FakeRegistry, run: Run
) -> None:
    fake.json("POST", "/models/fraud/versions", version_document())

    result = run(
        "register", "fraud", "s3://models/fraud/1", "--run-id", "r1",
        "--tag", "team=risk", "--metric", "auc=0.93", "--param", "depth=3",
        "--git-commit", "abc123", "--dataset", "digits", "--dataset", "more",
        "--description", "first",
    )  # fmt: skip

    assert result.exit_code == 0
    assert result.stdout.startswith("Registered fraud version 1 (sha256:")
    assert fake.asked[0].json == {
        "source": "s3://models/fraud/1",
        "run_id": "r1",
        "tags": {"team": "risk"},
        "metrics": {"auc": 0.93},
        "params": {"depth": "3"},
        "git_commit": "abc123",
        "datasets": [{"name": "digits"}, {"name": "more"}],
        "description": "first",
    }


def test_registering_creates_a_model_that_does_not_exist(
    fake: FakeRegistry, run: Run
) -> None:
    fake.problem("POST", "/models/fraud/versions", "not-found", status=404)
    fake.json("POST", "/models/fraud/versions", version_document())
    fake.problem("GET", "/models/fraud", "not-found", status=404)
    fake.json("POST", "/models", model_document())

    assert run("register", "fraud", "s3://models/fraud/1").exit_code == 0
    assert len(fake.asked_for("POST", "/models")) == 1


@pytest.mark.parametrize(
    ("slug", "options"), [("not-found", ["--no-create"]), ("artifact-not-found", [])]
)
def test_registering_creates_no_model_when_it_should_not(
    fake: FakeRegistry, run: Run, slug: str, options: list[str]
) -> None:
    fake.problem("POST", "/models/fraud/versions", slug, status=404)

    assert run("register", "fraud", "s3://m/1", *options).exit_code == 5
    assert len(fake.asked) == 1


@pytest.mark.parametrize("metric", ["auc=high", "auc=nan", "auc=inf"])
def test_a_metric_is_a_number(fake: FakeRegistry, run: Run, metric: str) -> None:
    result = run("register", "fraud", "s3://models/1", "--metric", metric)

    assert result.exit_code == 2
    assert "is not a number" in result.stderr
    assert fake.asked == []


def test_a_path_that_does_not_exist_is_a_usage_error(
    fake: FakeRegistry, run: Run
) -> None:
    result = run("register", "fraud", "absent/model")

    assert result.exit_code == 2
    assert "absent/model does not exist" in result.stderr
    assert fake.asked == []


def test_a_promotion_is_sent_and_told(fake: FakeRegistry, run: Run) -> None:
    fake.json("POST", TRANSITIONS, transition_document(superseded=1))

    result = run(
        "promote", "fraud", "2", "--to", "Production", "--reason", "good",
        "--expect-incumbent", "1", "--idempotency-key", "k",
    )  # fmt: skip

    assert result.stdout == (
        "fraud version 2 is now in Production (promotion); version 1 is archived.\n"
    )
    assert fake.asked[0].json == {
        "to_stage": "Production",
        "reason": "good",
        "expected_incumbent": 1,
    }
    assert fake.asked[0].headers["Idempotency-Key"] == "k"


def test_a_promotion_may_expect_that_nobody_holds_the_stage(
    fake: FakeRegistry, run: Run
) -> None:
    fake.json("POST", TRANSITIONS, transition_document())

    run("promote", "fraud", "2", "--to", "Production", "--expect-incumbent", "none")

    assert fake.asked[0].json == {"to_stage": "Production", "expected_incumbent": None}


@pytest.mark.parametrize("value", ["0", "-1", "latest"])
def test_an_expected_incumbent_is_a_version_or_none(run: Run, value: str) -> None:
    result = run("promote", "fraud", "2", "--to", "X", "--expect-incumbent", value)

    assert result.exit_code == 2
    assert "neither a version nor 'none'" in result.stderr


def test_a_job_that_runs_again_sends_the_same_key(fake: FakeRegistry, run: Run) -> None:
    fake.json("POST", TRANSITIONS, transition_document())
    fake.json("POST", TRANSITIONS, transition_document(), Idempotent_Replayed="true")
    job = {"GITHUB_RUN_ID": "17", "GITHUB_JOB": "deploy"}

    run("promote", "fraud", "2", "--to", "Production", env=job)
    again = run("promote", "fraud", "2", "--to", "Production", "-o", "json", env=job)

    keys = {one.headers["Idempotency-Key"] for one in fake.asked}
    assert len(keys) == 1
    assert keys.pop().startswith("github-")
    assert "Nothing changed now" in again.stderr
    assert json.loads(again.stdout) == transition_document()


def test_a_rollback_and_an_archival_are_sent_and_told(
    fake: FakeRegistry, run: Run
) -> None:
    fake.json("POST", "/models/fraud/rollback", transition_document(1))
    fake.json("POST", TRANSITIONS, transition_document(2, "Archived"))

    back = run("rollback", "fraud", "--to", "1", "--reason", "bad")
    archived = run("archive", "fraud", "2")

    assert "fraud version 1 is now in Production" in back.stdout
    assert "fraud version 2 is now in Archived" in archived.stdout
    assert [one.json for one in fake.asked] == [
        {"to_version": 1, "reason": "bad"},
        {"to_stage": "Archived"},
    ]


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


def test_waiting_for_a_change_that_nobody_listens_to_ends_at_once(
    fake: FakeRegistry, run: Run
) -> None:
    fake.json("POST", "/models/fraud/rollback", transition_document(1))
    fake.json("GET", "/deliveries", page())
    fake.json("GET", "/models/fraud/versions/1/deployments", page())

    result = run("rollback", "fraud", "--wait", "60")

    assert result.exit_code == 0
    assert result.stderr == "No webhook listens to this change.\n"


def test_a_history_is_listed(fake: FakeRegistry, run: Run) -> None:
    entry = {
        "transition_id": "t",
        "version": 2,
        "from_stage": "Staging",
        "to_stage": "Production",
        "at": "2026-11-20T12:00:00Z",
        "actor": {"kind": "token", "name": "ci"},
    }
    fake.json("GET", "/models/fraud/history", page(entry))

    row = run("history", "fraud", "--stage", "Production").stdout.splitlines()[1]

    assert row.split() == [
        "2026-11-20T12:00:00Z", "2", "Staging", "Production", "-", "ci", "-", "-", "-",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("at", "sent"),
    [
        ("2026-11-20", "2026-11-20T00:00:00.000000Z"),
        ("2026-11-20T13:00:00+01:00", "2026-11-20T12:00:00.000000Z"),
    ],
)
def test_a_history_tells_who_held_a_stage_at_a_time(
    fake: FakeRegistry, run: Run, at: str, sent: str
) -> None:
    fake.json("GET", "/models/fraud/stages/Production", version_document(2))

    result = run("history", "fraud", "--at", at)

    assert result.exit_code == 0
    assert fake.asked[0].query == {"at": sent}


@pytest.mark.parametrize("at", ["yesterday", "0001-01-01T00:00:00+23:59"])
def test_a_time_that_is_none_is_a_usage_error(run: Run, at: str) -> None:
    result = run("history", "fraud", "--at", at)

    assert result.exit_code == 2
    assert "is not a time such as" in result.stderr


def test_an_alias_is_set_and_deleted(fake: FakeRegistry, run: Run) -> None:
    alias = {"alias": "champion", "version": 2}
    fake.json("PUT", "/models/fraud/aliases/champion", alias)
    fake.json("DELETE", "/models/fraud/aliases/champion", {})

    set_now = run("alias", "set", "fraud", "champion", "2")
    deleted = run("alias", "delete", "fraud", "champion")

    assert set_now.stdout == "fraud@champion is now version 2.\n"
    assert deleted.stdout == "Deleted alias champion of fraud.\n"


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
