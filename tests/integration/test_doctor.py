"""``stagegate doctor`` names what is missing, and what the log does not know of."""

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from sqlalchemy import text

from registry.cli.configured_database import snapshot_of
from registry.cli.main import stagegate
from registry.doctor import examine
from registry.worker import BackgroundWork
from tests.integration.api.driver import ON_BOTH_DATABASES, Document, Driver
from tests.integration.conftest import close_app, make_app, signed_in
from tests.integration.world import made_once

pytestmark = ON_BOTH_DATABASES

VERSION_2 = "UPDATE model_versions SET {} WHERE model_name = 'fraud' AND number = 2"
LAST_LINE = (
    "WHERE sequence = (SELECT last_history FROM registered_models WHERE name = 'fraud')"
)
TOKEN = "UPDATE tokens SET {} WHERE name = 'ci'"
FILLED_IN = {"last_line": LAST_LINE, "other_sum": "'" + 64 * "0" + "'"}
#: What is done to the tables, by which check it is found, and what is said of it.
EDITS = {
    VERSION_2.format("stage = 'Archived', exclusive_stage = NULL"): (
        "audit: contradicted: version 2 of fraud: by the log its stage is Production, "
        "by model_versions Archived"
    ),
    VERSION_2.format("artifact_digest = 'sha256:00'"): "by model_versions sha256:00",
    VERSION_2.format("artifact_size_bytes = 7"): "by model_versions 7",
    VERSION_2.format("artifact_state = 'changed'"): (
        "version 2 of fraud: by the log its artifact_state is verified, by "
        "model_versions changed"
    ),
    VERSION_2.format("status = 'FAILED_REGISTRATION'"): "its status is READY",
    VERSION_2.format("model_name = 'risk'"): "its model_name is fraud, by",
    VERSION_2.format("deleted_at = created_at, exclusive_stage = NULL"): (
        "version 2 of fraud: by the log it is there, by model_versions it is not"
    ),
    "UPDATE model_versions SET deleted_at = NULL WHERE number = 5": (
        "version 5 of fraud: by model_versions it is there, by the log it is not"
    ),
    "UPDATE registered_models SET deleted_at = NULL WHERE name = 'gone'": (
        "model gone: by registered_models it is there, by the log it is not"
    ),
    "UPDATE registered_models SET name = 'risk' WHERE name = 'fraud'": (
        "model fraud: by the log its name is fraud, by registered_models risk"
    ),
    "UPDATE stage_changes SET to_stage = 'Archived' {last_line}": (
        "version 2 of fraud, line 10: by the log its to_stage is Production, by "
        "stage_changes Archived"
    ),
    "UPDATE stage_changes SET actor_name = 'mallory' {last_line}": "changes mallory",
    "UPDATE stage_changes SET reason = 'approved' {last_line}": "changes approved",
    "UPDATE stage_changes SET at = '2026-01-01 00:00:00' {last_line}": "its at is",
    "UPDATE stage_changes SET version_id = (SELECT id FROM model_versions WHERE number"
    " = 3) {last_line}": "its number_by_id is 2, by stage_changes 3",
    "DELETE FROM stage_changes {last_line}": (
        "version 2 of fraud, line 10: by the log it entered Production, by "
        "stage_changes it did not"
    ),
    "DELETE FROM stage_changes WHERE sequence = 2 AND model_id IN"
    " (SELECT id FROM registered_models WHERE name = 'fraud')": "line 2: by the log",
    "INSERT INTO stage_changes (model_id, version_id, number, sequence, transition_id,"
    " from_stage, to_stage, cause, reason, actor_kind, actor_name, at, event_id)"
    " SELECT model_id, version_id, 3, 99, transition_id, 'None', 'Production', cause,"
    " reason, actor_kind, actor_name, at, event_id FROM stage_changes {last_line}": (
        "version 3 of fraud, line 99: by stage_changes it entered Production, by the "
        "log it did not"
    ),
    "UPDATE aliases SET number = 3": (
        "alias champion of fraud: by the log its number is 1, by aliases 3"
    ),
    "UPDATE aliases SET version_id ="
    " (SELECT id FROM model_versions WHERE number = 3)": (
        "alias champion of fraud: by the log its number_by_id is 1, by aliases 3"
    ),
    "DELETE FROM aliases": "alias champion of fraud: by the log it is there, by",
    "INSERT INTO aliases (model_id, alias, version_id, number)"
    " SELECT model_id, 'best', version_id, number FROM aliases": (
        "alias best of fraud: by aliases it is there, by the log it is not"
    ),
    TOKEN.format("role = 'admin'"): "its role is viewer, by tokens admin",
    TOKEN.format("revoked_at = NULL"): "by tokens None",
    TOKEN.format("expires_at = NULL"): "by tokens None",
    "DELETE FROM tokens WHERE name = 'ci'": "(ci): by the log it is there, by",
    "INSERT INTO tokens (id, name, role, digest, created_at, created_by)"
    " SELECT 'f', 'forged', role, 'f', created_at, created_by FROM tokens"
    " WHERE name = 'bootstrap'": "token f (forged): by tokens it is there, by the log",
    "UPDATE manifest_files SET sha256 = {other_sum} WHERE version_id IN"
    " (SELECT id FROM model_versions WHERE number = 2)": (
        "manifest: version 2 of fraud: A stored manifest has the digest sha256:"
    ),
    "DELETE FROM manifest_files WHERE version_id IN (SELECT id FROM model_versions"
    " WHERE number = 3)": "manifest: version 3 of fraud: A stored manifest",
    "UPDATE stage_changes SET event_id = 'msg_absent' {last_line}": (
        "event: version 2 of fraud: no event announces that it entered Production (trn_"
    ),
    "DELETE FROM webhook_deliveries WHERE event_id IN (SELECT id FROM webhook_events"
    " WHERE type = 'prompt.created')": (
        "(prompt.created) of greet: it was stored with 1 deliveries, 0 are there"
    ),
    "UPDATE webhook_queues SET head_id = NULL, next_at = NULL": (
        "it is the next of its queue, which waits for None"
    ),
    "DELETE FROM webhook_queues": "it is the next of its queue, which waits for None",
}  # fmt: skip


@pytest.fixture
def api(app: Flask) -> Driver:
    return Driver(app, signed_in(app))


def make_story(api: Driver) -> None:
    """Versions that have served, were superseded or deleted, and what else there is."""
    api.ready_versions(5)
    api.serve(1, 2)
    api.delete("/models/fraud/versions/5")
    api.put("/models/fraud/aliases/champion", json={"version": 1})
    api.create_model("gone")
    api.delete("/models/gone")
    api.post("/webhooks", {"url": "http://127.0.0.1:9/"})
    api.create_model("greet", tags={"mlflow.prompt.is_prompt": "true"})
    token = api.post("/tokens", {"name": "ci", "role": "viewer"}).get_json()["id"]
    api.delete(f"/tokens/{token}")


def run(api: Driver, *arguments: str) -> Result:
    settings = api.parts.settings
    url = api.engine.url.render_as_string(hide_password=False)
    environment = {
        "STAGEGATE_DATABASE_URL": url,
        "STAGEGATE_SECRET_KEY": settings.secret_keys[0],
        "STAGEGATE_WEBHOOK_RETENTION_DAYS": str(settings.webhook_retention_days),
        "STAGEGATE_URL": None,
    }
    return CliRunner().invoke(stagegate, arguments, env=environment)


def problems_of(api: Driver) -> list[str]:
    """What the command says, which its exit code says too."""
    result = run(api, "doctor", "-o", "json")
    document: Document = json.loads(result.stdout)
    problems = document["problems"]
    assert document["ok"] is (not problems)
    assert result.exit_code == (1 if problems else 0)
    assert all(each["place"] for each in problems)
    return [
        f"{each['check']}: {each['place'] + ': ' if each['check'] != 'audit' else ''}"
        f"{each['message']}"
        for each in problems
    ]


@pytest.mark.parametrize("edit", EDITS)
def test_what_is_edited_is_named(api: Driver, edit: str) -> None:
    made_once(make_story, api)
    with api.engine.begin() as connection:
        assert connection.execute(text(edit.format(**FILLED_IN))).rowcount > 0

    problems = problems_of(api)

    assert any(EDITS[edit] in each for each in problems), problems
    is_of_log = any(each.startswith("audit: contradicted") for each in problems)
    verified = run(api, "audit", "verify")
    assert verified.exit_code == (1 if is_of_log else 0)
    assert ("contradicted: " in verified.stdout) is is_of_log
    assert api.read("/audit/verify")["ok"] is not is_of_log


def test_a_registry_in_order_has_no_problems(api: Driver) -> None:
    made_once(make_story, api)

    result = run(api, "doctor")

    assert result.exit_code == 0, result.output
    summary = result.stdout.partition("\n")[0]
    assert " 5 stage changes and 21 events since 20" in summary
    assert summary.endswith(": in order.")


def test_a_change_meanwhile_is_not_missed_halfway(api: Driver) -> None:
    made_once(make_story, api)
    look = partial(examine, keep=timedelta(days=90), now=datetime.now(UTC))
    with snapshot_of(api.parts.settings) as session:
        before = look(session)
        api.moved(3, "Staging", "Production")
        api.delete("/models/fraud/aliases/champion")
        during = look(session)

    with snapshot_of(api.parts.settings) as session:
        after = look(session)

    assert before == during
    assert after.problems == []
    assert after.audit.entries == before.audit.entries + 3


def test_what_retention_has_removed_is_not_missed(
    tmp_path: Path, database: dict[str, str]
) -> None:
    app = make_app(tmp_path, WEBHOOK_RETENTION_DAYS="90", **database)
    api = Driver(app, signed_in(app))
    make_story(api)
    with api.engine.begin() as connection:
        done = "UPDATE webhook_deliveries SET state = 'delivered'"
        connection.execute(text(done))
    BackgroundWork(app).place_events()
    in_100_days = datetime.now(UTC) + timedelta(days=100)

    BackgroundWork(app, clock=lambda: in_100_days).forget_deliveries()

    assert problems_of(api) == []  # by a clock by which it was too early
    api.moved(3, "Staging")
    BackgroundWork(app).place_events()
    assert problems_of(api) == []
    with api.engine.begin() as connection:
        connection.execute(text("UPDATE stage_changes SET event_id = 'msg_absent'"))
    (problem,) = problems_of(api)
    assert "version 3 of fraud: no event announces that it entered Staging" in problem
    close_app(app)


def test_a_schema_that_is_not_the_present_one_says_what_to_run(api: Driver) -> None:
    with api.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))

    result = run(api, "doctor", "-o", "json")

    assert result.exit_code == 1
    assert "run stagegate db upgrade" in json.loads(result.stderr)["detail"]
