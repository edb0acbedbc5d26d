"""Idempotency keys: a repeated request is answered and not carried out again."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, text

from registry.persistence.tables import IdempotencyKey
from registry.services.idempotency import KeyedRequest, StoredAnswer, find_answer
from registry.worker import BackgroundWork
from tests.integration.api.driver import (
    MODEL,
    ON_BOTH_DATABASES,
    Driver,
    document_of,
    problem_of,
)
from tests.integration.api.mutations import (
    MUTATIONS,
    VERSIONS,
    Mutation,
    prepare,
    resolve,
)
from tests.integration.statements import statements_of

KEY = {"Idempotency-Key": "job-17"}


@ON_BOTH_DATABASES
@pytest.mark.parametrize(
    "mutation", [each for each in MUTATIONS if each.keeps_answer], ids=str
)
def test_repeated_request_gets_the_same_answer_and_changes_nothing(
    api: Driver, mutation: Mutation
) -> None:
    prepare(api)
    path = resolve(api, mutation.path)

    first = mutation.send(api, path, **KEY)
    after_first = api.dump()
    second = mutation.send(api, path, **KEY)

    assert first.status_code == mutation.status
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert second.status_code == first.status_code
    assert second.data == first.data
    assert second.mimetype == "application/json"
    assert api.dump() == after_first


@ON_BOTH_DATABASES
def test_key_with_another_request_is_refused(api: Driver) -> None:
    prepare(api)
    path = f"{VERSIONS}/3/transitions"
    api.post(path, {"to_stage": "Staging"}, headers=KEY)
    before = api.dump()

    others = [
        api.post(path, {"to_stage": "Staging", "reason": "x"}, headers=KEY),
        api.post(f"{VERSIONS}/2/transitions", {"to_stage": "Staging"}, headers=KEY),
        api.post(f"{path}?a=b", {"to_stage": "Staging"}, headers=KEY),
        api.post(path, {"to_stage": "Staging"}, headers={**KEY, "If-Match": '"other"'}),
        api.delete(f"{VERSIONS}/5", headers=KEY),
    ]

    for answer in others:
        problem_of(answer, 422, "idempotency-mismatch")
    assert api.dump() == before


@ON_BOTH_DATABASES
def test_key_that_stands_for_an_effect_is_answered_whatever_else_is_said(
    api: Driver,
) -> None:
    prepare(api)
    path = f"{VERSIONS}/3/transitions"
    lenient = {**KEY, "Prefer": 'return=minimal, handling="lenient"'}
    first = api.post(path, {"to_stage": "Staging", "reason": "a"}, headers=lenient)
    before = api.dump()

    again = [
        api.post(path, {"to_stage": "Staging", "reason": "b"}, headers=lenient),
        api.post(path, {"to_stage": "Staging"}, headers={**lenient, "If-Match": '"x"'}),
    ]
    others = [
        api.post(path, {"to_stage": "Staging", "reason": "a"}, headers=KEY),
        api.post(f"{VERSIONS}/2/transitions", {"to_stage": "Staging"}, headers=lenient),
        api.post(f"/models/{MODEL}/rollback", {}, headers=lenient),
    ]

    assert {answer.data for answer in again} == {first.data}
    assert all("Idempotent-Replayed" in answer.headers for answer in again)
    for answer in others:
        problem_of(answer, 422, "idempotency-mismatch")
    assert api.dump() == before


@ON_BOTH_DATABASES
def test_members_in_another_order_are_the_same_request(api: Driver) -> None:
    api.create_model()
    ordered = '{"description": "a", "run_id": "r"}'
    reordered = '{"run_id":"r","description":"a"}'

    answers = [
        api.post(VERSIONS, data=body, content_type="application/json", headers=KEY)
        for body in (ordered, reordered)
    ]

    assert answers[0].data == answers[1].data


@ON_BOTH_DATABASES
def test_refusal_is_not_kept_and_the_key_may_be_used_again(api: Driver) -> None:
    api.ready_versions(1)
    path, body = f"{VERSIONS}/1/transitions", {"to_stage": "Production"}
    before = api.dump()

    refused = api.post(path, body, headers=KEY)
    stored = api.dump()
    api.moved(1, "Staging")
    made = api.post(path, body, headers=KEY)

    problem_of(refused, 409, "transition-refused")
    assert stored == before
    assert made.status_code == 200
    assert "Idempotent-Replayed" not in made.headers


@ON_BOTH_DATABASES
def test_refusal_under_the_lock_leaves_the_key_alone(api: Driver) -> None:
    api.ready_versions(1)
    path, body = f"{VERSIONS}/1/transitions", {"to_stage": "Staging"}
    before = api.dump()

    refused = api.post(path, body, headers={**KEY, "If-Match": '"other"'})
    stored = api.dump()
    made = api.post(path, body, headers=KEY)

    problem_of(refused, 412, "stale")
    assert stored == before
    assert made.status_code == 200


def test_refusal_for_a_changed_artifact_leaves_the_key_alone(api: Driver) -> None:
    from tests.integration.api.test_transitions import artifact_file, overwrite

    api.ready_versions(1)
    path, body = f"{VERSIONS}/1/transitions", {"to_stage": "Staging"}
    overwrite(artifact_file(api, 1), b"v9")
    refused = api.post(path, body, headers=KEY)
    overwrite(artifact_file(api, 1), b"v1")

    made = api.post(path, body, headers=KEY)

    problem_of(refused, 409, "artifact-changed")
    assert made.status_code == 200


def test_key_belongs_to_one_caller(api: Driver) -> None:
    api.create_model()
    other = api.with_role("writer")

    numbers = [
        document_of(each.post(VERSIONS, {}, headers=KEY))["version"]
        for each in (api, other)
    ]

    assert numbers == [1, 2]


@pytest.mark.parametrize("key", ["", "k" * 256, "a\tb"])
def test_key_that_breaks_the_rules_is_refused(api: Driver, key: str) -> None:
    api.create_model()

    answer = api.post(VERSIONS, {}, headers={"Idempotency-Key": key})

    problem = problem_of(answer, 422, "invalid")
    assert list(problem["errors"]) == ["Idempotency-Key"]
    assert api.read(VERSIONS)["items"] == []


def test_change_by_another_method_honours_the_key_as_well(api: Driver) -> None:
    api.create_model()
    api.register()
    api.register()

    answers = [api.delete(f"{VERSIONS}/1", headers=KEY) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [204, 204]
    assert [answer.data for answer in answers] == [b"", b""]
    assert answers[1].headers["Idempotent-Replayed"] == "true"


def test_audit_entry_names_the_hash_of_the_key_and_not_the_key(api: Driver) -> None:
    api.create_model()
    api.post(VERSIONS, {}, headers=KEY)

    entry = api.audit()[-1]

    assert len(entry["idempotency_key_hash"]) == 64
    assert "job-17" not in entry["entry"]


def test_secrets_come_again_but_lie_nowhere_in_clear(
    api: Driver, tmp_path: Path
) -> None:
    requests = [
        ("/tokens", {"name": "ci", "role": "viewer"}, "token"),
        ("/webhooks", {"url": "http://127.0.0.1:9/hook"}, "secret"),
    ]
    secrets = []
    for number, (path, body, member) in enumerate(requests):
        headers = {"Idempotency-Key": f"key-{number}"}
        answers = [api.post(path, body, headers=headers) for _ in range(2)]
        secrets.append(document_of(answers[0])[member])
        assert answers[1].data == answers[0].data
    webhook = api.read("/webhooks")["items"][0]["id"]
    rotated = api.post(f"/webhooks/{webhook}/rotate-secret", {}, headers=KEY)
    secrets.append(document_of(rotated)["secret"])

    files = [file.read_bytes() for file in (tmp_path / "data").glob("stagegate.db*")]

    assert files
    for secret in secrets:
        bare = secret.removeprefix("whsec_").removeprefix("sg_pat_")
        assert not any(bare.encode() in content for content in files)


def test_keys_are_forgotten_after_a_day(api: Driver) -> None:
    api.create_model()
    api.post(VERSIONS, {}, headers=KEY)
    api.post(VERSIONS, {}, headers={"Idempotency-Key": "job-18"})
    old = datetime.now(UTC) - timedelta(hours=25)
    with api.engine.begin() as connection:
        connection.execute(
            text("UPDATE idempotency_keys SET created_at = :old WHERE key = 'job-17'"),
            {"old": old.strftime("%Y-%m-%d %H:%M:%S.%f")},
        )

    BackgroundWork(api.app).forget_old_keys()

    assert [row[1] for row in api.dump()["idempotency_keys"]] == ["job-18"]
    assert document_of(api.post(VERSIONS, {}, headers=KEY))["version"] == 3


@ON_BOTH_DATABASES
def test_many_keys_are_forgotten_a_thousand_in_a_transaction(api: Driver) -> None:
    old = datetime.now(UTC) - timedelta(hours=25)
    with api.engine.begin() as connection:
        connection.execute(
            insert(IdempotencyKey),
            [
                {
                    "principal": "ci",
                    "key": f"job-{number}",
                    "fingerprint": "0" * 64,
                    "created_at": old,
                }
                for number in range(2500)
            ],
        )

    with statements_of(api.app) as seen:
        BackgroundWork(api.app).forget_old_keys()

    assert api.dump()["idempotency_keys"] == []
    assert sum(statement.startswith("DELETE") for statement in seen) == 3


@ON_BOTH_DATABASES
def test_request_that_meets_its_twin_finds_the_answer_of_the_twin(
    api: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.create_model()
    first = api.post(VERSIONS, {}, headers=KEY)
    looks = iter([None])  # the first look comes before the twin has committed

    def look(cx: Connection, request: KeyedRequest) -> StoredAnswer | None:
        for answer in looks:
            return answer
        return find_answer(cx, request)

    monkeypatch.setattr("registry.services.idempotency.find_answer", look)
    second = api.post(VERSIONS, {}, headers=KEY)

    assert second.data == first.data
    assert second.headers["Idempotent-Replayed"] == "true"
    assert len(api.read(VERSIONS)["items"]) == 1


def test_request_whose_twin_has_no_answer_is_told_to_come_again(
    api: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.create_model()
    api.post(VERSIONS, {}, headers=KEY)

    monkeypatch.setattr("registry.services.idempotency.find_answer", lambda *_: None)

    problem_of(api.post(VERSIONS, {}, headers=KEY), 409, "conflict")
    assert len(api.read(VERSIONS)["items"]) == 1
