"""A failed deployment puts back what served before, where the policy asks for it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from registry.errors import ArtifactStoreError
from registry.settings import packaged_config
from registry.web.verification import verified_digest
from tests.integration.api.driver import MODEL, ON_BOTH_DATABASES, Document, Driver
from tests.integration.api.test_deployments import (
    as_consumer,
    deliveries_of,
    delivery_about,
    reported,
    subscribe,
    token_for,
)
from tests.integration.api.test_transitions import artifact_file, overwrite
from tests.integration.conftest import SharedApps, close_app, signed_in

pytestmark = ON_BOTH_DATABASES

ROUTES = "registry.api.deployments."
RULE = 'automatic_rollback = ["Production"]\n'
BY_HAND = '[[override]]\nmodels = "by-hand-*"\nautomatic_rollback = []\n'


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("policy") / "policy.toml"
    file.write_text(RULE + packaged_config("policy.toml").read_text() + BY_HAND)
    return file


@pytest.fixture
def app(
    tmp_path: Path, policy: Path, database: dict[str, str], shared_apps: SharedApps
) -> Iterator[Flask]:
    app = shared_apps.lend(tmp_path, {"POLICY_FILE": str(policy), **database})
    yield app
    close_app(app)


def serving(api: Driver) -> int:
    return int(api.read(f"/models/{MODEL}/stages/Production")["version"])


def test_failed_deployment_rolls_back_in_the_transaction_of_its_report(
    api: Driver,
) -> None:
    api.ready_versions(2)
    api.serve(1)
    subscribe(api)
    moved = api.moved(2, "Staging", "Production")
    consumer = as_consumer(api, token_for(delivery_about(api, moved, 2)))
    before = len(api.audit(MODEL))

    failed = reported(consumer, 2, "failed", environment="eu")

    rollback = failed["automatic_rollback"]
    assert (rollback["to_version"], rollback["refused"]) == (1, None)
    assert api.stages() == {1: "Production", 2: "Archived"}
    told, moved_back = api.audit(MODEL)[before:]
    assert told["action"] == "deployment.updated"
    assert told["actor"]["kind"] == "delivery"
    assert told["automatic_rollback"] == {"to_version": 1}
    assert moved_back["actor"] == {
        "kind": "system",
        "name": "stagegate",
        "id": "",
        "roles": ["admin"],
    }
    assert moved_back["reason"] == "deployment to eu failed"
    assert moved_back["cause"] == "rollback"
    assert moved_back["transition_id"] == rollback["transition_id"]
    assert told["request_id"] == moved_back["request_id"]
    assert api.read("/audit/verify")["ok"] is True
    # Who listens hears of it, as of every other rollback.
    assert len(deliveries_of(api, rollback)) == 2


def test_rollback_that_fails_too_is_left_for_somebody_to_look_at(api: Driver) -> None:
    api.ready_versions(2)
    api.serve(1, 2)
    reported(api, 2, "failed")

    again = reported(api, 1, "failed")

    assert again["automatic_rollback"] is None
    assert serving(api) == 1


def test_rollback_that_a_person_made_is_rolled_back_as_a_promotion_is(
    api: Driver,
) -> None:
    api.ready_versions(2)
    api.serve(1, 2)
    api.rollback()

    failed = reported(api, 1, "failed")

    assert failed["automatic_rollback"]["to_version"] == 2
    assert serving(api) == 2


def test_failure_of_an_earlier_change_rolls_nothing_back(api: Driver) -> None:
    api.ready_versions(2)
    api.serve(1)
    subscribe(api)
    staged = api.moved(2, "Staging")
    (delivery,) = deliveries_of(api, staged)
    api.moved(2, "Production")

    of_staging = reported(api, 2, "failed", webhook_id=delivery["event_id"])
    of_archived = reported(api, 1, "failed")

    assert of_staging["automatic_rollback"] is None
    assert of_archived["automatic_rollback"] is None
    assert serving(api) == 2


@pytest.mark.parametrize("status", ["pending", "in_progress", "succeeded"])
def test_only_a_failure_rolls_back(api: Driver, status: str) -> None:
    api.ready_versions(2)
    api.serve(1, 2)

    assert reported(api, 2, status)["automatic_rollback"] is None
    assert serving(api) == 2


def test_model_that_the_policy_excepts_is_left_as_it_is(api: Driver) -> None:
    api.ready_versions(2, model="by-hand-1")
    for number in (1, 2):
        api.moved(number, "Staging", "Production", model="by-hand-1")

    failed = reported(api, 2, "failed", model="by-hand-1")

    assert failed["automatic_rollback"] is None
    assert api.stages("by-hand-1")[2] == "Production"


def refusal_of(api: Driver, document: Document) -> str:
    """Why nothing was rolled back; the report stands all the same."""
    rollback = document["automatic_rollback"]
    assert (rollback["transition_id"], rollback["to_version"]) == (None, None)
    last = api.audit(MODEL)[-1]
    assert last["action"] == "deployment.updated"
    assert last["after"]["status"] == "failed"
    assert last["automatic_rollback"] == {"refused": rollback["refused"]}
    return str(rollback["refused"])


def test_where_nothing_served_before_the_report_says_so(api: Driver) -> None:
    api.ready_versions(1)
    api.serve(1)

    failed = reported(api, 1, "failed")

    assert "nothing to roll back to" in refusal_of(api, failed)
    assert serving(api) == 1


def test_changed_artifact_is_not_put_back(api: Driver) -> None:
    api.ready_versions(2)
    api.serve(1, 2)
    overwrite(artifact_file(api, 1), b"tampered")

    failed = reported(api, 2, "failed")

    assert "is not what was registered" in refusal_of(api, failed)
    assert serving(api) == 2
    assert api.version(1)["verified"] is False


def test_store_that_does_not_answer_does_not_lose_the_report(
    api: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.ready_versions(2)
    api.serve(1, 2)

    def fail(*_: object, **__: object) -> None:
        raise ArtifactStoreError("the store is away")

    monkeypatch.setattr("registry.artifacts.hashing.verify_manifest", fail)

    failed = reported(api, 2, "failed")

    assert refusal_of(api, failed) == "the store is away"


def followed_by(
    function: Callable[..., Any], change: Callable[[], object]
) -> Callable[..., Any]:
    """The function, and then somebody else's change, before the model is locked."""

    def call(*given: object) -> object:
        found = function(*given)
        change()
        return found

    return call


def somebody_else(api: Driver) -> Driver:
    return Driver(api.app, signed_in(api.app))


def test_version_that_left_before_the_lock_is_not_rolled_back(
    api: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.ready_versions(3)
    api.serve(1)
    api.moved(3, "Staging")
    api.serve(2)
    meanwhile = followed_by(
        verified_digest, lambda: somebody_else(api).moved(3, "Production")
    )
    monkeypatch.setattr(ROUTES + "verified_digest", meanwhile)

    failed = reported(api, 2, "failed")

    assert failed["automatic_rollback"] is None
    assert serving(api) == 3


def test_version_that_is_gone_before_the_lock_is_not_put_back(
    api: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.ready_versions(2)
    api.serve(1, 2)
    meanwhile = followed_by(
        verified_digest,
        lambda: somebody_else(api).delete(f"/models/{MODEL}/versions/1"),
    )
    monkeypatch.setattr(ROUTES + "verified_digest", meanwhile)

    failed = reported(api, 2, "failed")

    assert "version 1 was in Production before, but has been" in refusal_of(api, failed)
    assert serving(api) == 2


def test_writer_who_reports_a_failure_moves_nothing_and_is_told_so(api: Driver) -> None:
    api.ready_versions(2)
    api.serve(1, 2)
    writer = api.with_role("writer")

    failed = reported(writer, 2, "failed", description="made up")

    assert "moves no version by a report" in refusal_of(api, failed)
    assert serving(api) == 2


@pytest.mark.parametrize("role", ["promoter", "admin"])
def test_promoter_who_reports_a_failure_rolls_back(api: Driver, role: str) -> None:
    api.ready_versions(2)
    api.serve(1, 2)

    failed = reported(api.with_role(role), 2, "failed")

    assert failed["automatic_rollback"]["to_version"] == 1
    assert serving(api) == 1


def test_report_by_a_writer_does_not_keep_the_real_one_from_rolling_back(
    api: Driver,
) -> None:
    api.ready_versions(2)
    api.serve(1)
    subscribe(api)
    moved = api.moved(2, "Staging", "Production")
    delivery = delivery_about(api, moved, 2)
    writer = api.with_role("writer")
    told = {"environment": "eu", "delivery_id": delivery["id"]}

    first = reported(writer, 2, "failed", **told)
    again = reported(writer, 2, "failed", **told)
    of_consumer = reported(
        as_consumer(api, token_for(delivery)), 2, "failed", environment="eu"
    )

    assert first["automatic_rollback"]["refused"]
    assert again["automatic_rollback"] == first["automatic_rollback"]
    assert of_consumer["automatic_rollback"]["to_version"] == 1
    assert serving(api) == 1


def test_token_of_another_change_of_the_version_rolls_nothing_back(
    api: Driver,
) -> None:
    api.ready_versions(2)
    api.serve(1)
    subscribe(api)
    staged = api.moved(2, "Staging")
    moved = api.moved(2, "Production")
    consumer_of_staging = as_consumer(api, token_for(delivery_about(api, staged, 2)))
    event = delivery_about(api, moved, 2)["event_id"]

    failed = reported(consumer_of_staging, 2, "failed", webhook_id=event)

    assert "moves no version by a report" in refusal_of(api, failed)
    assert serving(api) == 2
