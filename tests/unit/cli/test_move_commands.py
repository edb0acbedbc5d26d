"""Commands that move versions, and that tell of moves."""

import json

import pytest
from click.testing import Result

from tests.unit.cli.conftest import Run
from tests.unit.cli.pages import TRANSITIONS, page
from tests.unit.fake_registry import (
    FakeRegistry,
    transition_document,
    version_document,
)


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


def test_a_job_that_runs_again_sends_the_same_key_for_the_same_effect(
    fake: FakeRegistry, run: Run
) -> None:
    fake.json("POST", TRANSITIONS, transition_document())
    job = {"GITHUB_RUN_ID": "17", "GITHUB_JOB": "deploy"}
    promotion = ("promote", "fraud", "2", "--to", "Production")

    run(*promotion, "--reason", "attempt 1", env=job)
    run(*promotion, "--reason", "attempt 2", "--expect-incumbent", "1", env=job)
    run(*promotion, "--idempotency-key", "mine", env=job)

    derived, again, own = (one.headers for one in fake.asked)
    assert derived["Idempotency-Key"].startswith("github-")
    assert derived["Idempotency-Key"] == again["Idempotency-Key"]
    assert derived["Prefer"] == again["Prefer"] == "handling=lenient"
    assert (own["Idempotency-Key"], "Prefer" in own) == ("mine", False)


def repeated(fake: FakeRegistry, run: Run, *options: str) -> Result:
    """What is said when version 2 went to Production in an earlier run of the job."""
    fake.json("POST", TRANSITIONS, transition_document(), Idempotent_Replayed="true")
    job = {"GITHUB_RUN_ID": "17", "GITHUB_JOB": "deploy"}
    done = run("promote", "fraud", "2", "--to", "Production", *options, env=job)
    assert done.exit_code == 0, done.stderr
    assert done.stderr.startswith("Nothing changed now: an earlier command with")
    return done


@pytest.mark.parametrize("stage", ["Production", "Archived"])
def test_what_was_done_before_is_told_with_its_time_and_where_the_version_is_now(
    fake: FakeRegistry, run: Run, stage: str
) -> None:
    now = version_document(2, stage=stage, updated_at="2026-11-21T00:00:00Z")
    fake.json("GET", "/models/fraud/versions/2", now)

    said = repeated(fake, run)
    told = json.loads(repeated(fake, run, "-o", "json").stdout)

    assert said.stdout == (
        "fraud version 2 was moved to Production (promotion) at"
        f" 2026-11-20T12:00:00.000000Z; it is in {stage} now.\n"
    )
    assert told == {
        **transition_document(),
        "replayed": True,
        "moved_to": "Production",
        "moved_at": "2026-11-20T12:00:00.000000Z",
        "version": now,
    }


def test_version_that_is_gone_since_is_in_no_stage(
    fake: FakeRegistry, run: Run
) -> None:
    path = "/models/fraud/versions/2"
    fake.problem("GET", path, "not-found", status=404)
    deleted = repeated(fake, run)
    fake.json("GET", path, version_document(2, created_at="2026-12-01T00:00:00Z"))
    # The last script goes on: another model has the name and the number by now.
    made_anew = repeated(fake, run, "-o", "json")

    assert deleted.stdout.endswith("; it is gone now.\n")
    assert json.loads(made_anew.stdout)["version"]["stage"] is None


def test_lookup_that_fails_makes_no_failure_of_what_was_done(
    fake: FakeRegistry, run: Run
) -> None:
    fake.problem("GET", "/models/fraud/versions/2", "forbidden", status=403)

    said = repeated(fake, run)

    assert "where it is now is not known (about forbidden)" in said.stdout


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


def test_waiting_for_a_change_that_nobody_listens_to_ends_at_once(
    fake: FakeRegistry, run: Run
) -> None:
    fake.json("POST", "/models/fraud/rollback", transition_document(1))
    fake.json("GET", "/deliveries", page())
    fake.json("GET", "/models/fraud/versions/1/deployments", page())

    result = run("rollback", "fraud", "--wait", "60")

    assert result.exit_code == 0
    assert result.stderr.endswith("\nNo webhook listens to this change.\n")


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
        "2026-11-20T12:00:00Z", "2", "Staging", "Production",
        "-", "ci", "-", "-", "-", "-",
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


def test_a_move_of_what_nobody_verified_is_told_so(
    fake: FakeRegistry, run: Run
) -> None:
    fake.json("POST", TRANSITIONS, transition_document(verified=False))
    entry = {
        "transition_id": "t",
        "version": 2,
        "from_stage": "Staging",
        "to_stage": "Production",
        "cause": "promotion",
        "verified": False,
    }
    fake.json("GET", "/models/fraud/history", page(entry))

    promoted = run("promote", "fraud", "2", "--to", "Production")
    history = run("history", "fraud")

    assert "Its artifact is not verified." in promoted.stderr
    assert "promotion, unverified" in history.stdout
