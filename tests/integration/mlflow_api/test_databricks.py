"""What Databricks' registry has beside MLflow: comments, webhooks, its own gets."""

import hashlib
import hmac
from typing import Any

from tests.integration.api.driver import MODEL, ON_BOTH_DATABASES, Document
from tests.integration.mlflow_api.driver import ROOT, Mlflow, refusal_of
from tests.receiver import Receiver

HOOKS, COMMENTS = "/registry-webhooks", "/comments"
NOBODY = "http://127.0.0.1:9/hook"
SECRET = "a secret of no value"
COMMENT_CREATED = "COMMENT_CREATED"
TO_PRODUCTION = "MODEL_VERSION_TRANSITIONED_TO_PRODUCTION"
OF_1 = {"name": MODEL, "version": "1"}


def create(mlflow: Mlflow, url: str = NOBODY, **fields: object) -> Document:
    sent = {"http_url_spec": {"url": url}, "events": [COMMENT_CREATED], **fields}
    webhook: Document = mlflow.done("POST", f"{HOOKS}/create", **sent)["webhook"]
    return webhook


def listed(mlflow: Mlflow, **fields: object) -> list[str]:
    found = mlflow.done("GET", f"{HOOKS}/list", **fields)
    return [each["id"] for each in found.get("webhooks", [])]


def comment(mlflow: Mlflow, text: str = "looks good") -> Document:
    answer = mlflow.done("POST", f"{COMMENTS}/create", **OF_1, comment=text)
    document: Document = answer["comment"]
    return document


def deliver(mlflow: Mlflow) -> None:
    while mlflow.api.parts.dispatcher.run_once():
        pass


@ON_BOTH_DATABASES
def test_a_comment_is_written_edited_and_removed(mlflow: Mlflow) -> None:
    mlflow.create_versions(1)
    before = mlflow.version(1)

    created = comment(mlflow)
    changes = {"id": created["id"], "comment": "better"}
    edited = mlflow.done("PATCH", f"{COMMENTS}/update", **changes)["comment"]
    removed = mlflow.done("DELETE", f"{COMMENTS}/delete", id=created["id"])

    assert created.items() >= {"user_id": "bootstrap", "comment": "looks good"}.items()
    assert created["available_actions"] == ["EDIT_COMMENT", "DELETE_COMMENT"]
    assert created["creation_timestamp"] == created["last_updated_timestamp"]
    assert (edited["id"], edited["comment"]) == (created["id"], "better")
    assert edited["creation_timestamp"] == created["creation_timestamp"]
    assert removed == {}
    assert mlflow.version(1) == before
    entries = mlflow.api.audit(MODEL)[-3:]
    assert [entry["action"] for entry in entries] == [
        *("model_version.commented", "model_version.comment_updated"),
        "model_version.comment_deleted",
    ]
    assert [(entry["before"] or {}).get("text") for entry in entries] == [
        *(None, "looks good", "better")
    ]


def test_comments_are_announced_to_those_who_ask_for_them(
    mlflow: Mlflow, receiver: Receiver
) -> None:
    mlflow.create_versions(1)
    types = ["model_version.commented", "model_version.comment_deleted"]
    mlflow.api.post("/webhooks", {"url": receiver.url, "event_types": types})
    mlflow.api.post("/webhooks", {"url": receiver.url})

    created = comment(mlflow)
    mlflow.done("DELETE", f"{COMMENTS}/delete", id=created["id"])
    deliver(mlflow)

    commented, removed = (request.json() for request in receiver.requests)
    assert [commented["type"], removed["type"]] == types
    data = commented["data"]
    assert (data["version"], data["comment"]) == (1, "looks good")
    assert (data["comment_id"], data["author"]) == (created["id"], "bootstrap")
    assert "comment" not in removed["data"]


def test_a_comment_is_edited_by_its_writer_or_an_admin(mlflow: Mlflow) -> None:
    mlflow.create_versions(1)
    writer, other = mlflow.with_role("writer"), mlflow.with_role("writer")
    written = comment(writer)["id"]

    message = other.refused(
        "PERMISSION_DENIED", "PATCH", f"{COMMENTS}/update", id=written, comment="no"
    )
    assert "a writer wrote this comment" in message
    other.refused("PERMISSION_DENIED", "DELETE", f"{COMMENTS}/delete", id=written)
    viewer = mlflow.with_role("viewer")
    viewer.refused("PERMISSION_DENIED", "POST", f"{COMMENTS}/create")

    writer.done("PATCH", f"{COMMENTS}/update", id=written, comment="yes")
    mlflow.done("DELETE", f"{COMMENTS}/delete", id=written)


def test_comments_that_cannot_be_are_refused(mlflow: Mlflow) -> None:
    mlflow.create_versions(2)
    create_path, update_path = f"{COMMENTS}/create", f"{COMMENTS}/update"
    for text in ("", " ", "a" * 65_536):
        mlflow.refused(
            "INVALID_PARAMETER_VALUE", "POST", create_path, **OF_1, comment=text
        )
    nowhere = {"name": MODEL, "version": "9", "comment": "a"}
    mlflow.refused("RESOURCE_DOES_NOT_EXIST", "POST", create_path, **nowhere)
    on_deleted = comment(mlflow, "é" * 65_535)["id"]
    mlflow.done("DELETE", "/model-versions/delete", **OF_1)
    for comment_id in (on_deleted, "cmt_never"):
        message = mlflow.refused(
            *("RESOURCE_DOES_NOT_EXIST", "PATCH", update_path),
            id=comment_id,
            comment="a",
        )
        assert comment_id in message


def test_fields_of_deletions_and_lists_come_in_the_query_as_well(
    mlflow: Mlflow,
) -> None:
    mlflow.create_versions(1)
    client, webhook_id = mlflow.api.client, create(mlflow)["id"]
    query = {"id": comment(mlflow)["id"]}

    answer = client.delete(f"{ROOT}{COMMENTS}/delete", query_string=query)
    assert (answer.status_code, answer.get_json()) == (200, {})
    body = {"events": [COMMENT_CREATED]}
    answer = client.get(f"{ROOT}{HOOKS}/list", json=body)
    assert [each["id"] for each in answer.get_json()["webhooks"]] == [webhook_id]
    answer = client.delete(f"{ROOT}{HOOKS}/delete", query_string={"id": webhook_id})
    assert (answer.status_code, answer.get_json()) == (200, {})
    missing = client.delete(f"{ROOT}{HOOKS}/delete")
    assert "'id'" in refusal_of(missing, "INVALID_PARAMETER_VALUE")


def test_a_webhook_is_answered_without_its_secrets(mlflow: Mlflow) -> None:
    mlflow.create_model("a[1]*")
    spec = {"url": NOBODY, "secret": SECRET, "authorization": "Bearer of-no-value"}
    names = [TO_PRODUCTION, COMMENT_CREATED]

    created = create(
        mlflow, model_name="a[1]*", http_url_spec=spec, events=names, description="d"
    )

    webhook_id, at = created.pop("id"), created.pop("creation_timestamp")
    assert created == {
        "events": names,
        "model_name": "a[1]*",
        "description": "d",
        "http_url_spec": {"url": NOBODY, "enable_ssl_verification": True},
        "status": "ACTIVE",
        "last_updated_timestamp": at,
    }
    document = mlflow.api.read(f"/webhooks/{webhook_id}")
    assert document["format"] == "databricks"
    assert document["credential_names"] == ["authorization", "secret"]
    assert document["event_types"] == [
        *("model_version.stage_changed", "model_version.commented")
    ]


@ON_BOTH_DATABASES
def test_webhooks_are_listed_by_model_and_by_event(mlflow: Mlflow) -> None:
    mlflow.create_model("a")
    assert mlflow.done("GET", f"{HOOKS}/list") == {}
    of_all = create(mlflow)["id"]
    of_a = create(mlflow, model_name="a", events=[TO_PRODUCTION])["id"]
    ours = {"url": NOBODY, "format": "databricks", "event_types": ["model_version.*"]}
    by_type = mlflow.api.post("/webhooks", ours).get_json()["id"]
    named = {**ours, "event_types": ["model_version.tag_set"]}
    by_name = mlflow.api.post("/webhooks", named).get_json()["id"]
    mlflow.api.post("/webhooks", {"url": NOBODY})

    assert listed(mlflow) == [by_name, by_type, of_a, of_all]
    assert listed(mlflow, model_name="a") == [of_a]
    assert listed(mlflow, events=[COMMENT_CREATED, TO_PRODUCTION]) == [of_a, of_all]
    assert listed(mlflow, events="MODEL_VERSION_TRANSITIONED_STAGE") == [by_type]
    assert listed(mlflow, events="MODEL_VERSION_TAG_SET") == [by_name]
    page = mlflow.done("GET", f"{HOOKS}/list", max_results=3)
    assert listed(mlflow, page_token=page["next_page_token"]) == [of_all]


def test_a_webhook_is_changed_and_deleted(mlflow: Mlflow) -> None:
    created = create(mlflow)
    update = f"{HOOKS}/update"

    changes: Document = {
        "events": [TO_PRODUCTION],
        "description": "new",
        "http_url_spec": {"url": "http://127.0.0.1:9/b", "secret": SECRET},
        "status": "DISABLED",
    }
    changed = mlflow.done("PATCH", update, id=created["id"], **changes)["webhook"]

    assert changed["http_url_spec"]["url"] == "http://127.0.0.1:9/b"
    for name in ("events", "description", "status"):
        assert changed[name] == changes[name]
    nothing = mlflow.done("PATCH", update, id=created["id"])["webhook"]
    assert nothing == changed
    unsigned = {"http_url_spec": {"secret": ""}, "status": "ACTIVE"}
    again = mlflow.done("PATCH", update, id=created["id"], **unsigned)["webhook"]
    assert (again["status"], again["events"]) == ("ACTIVE", [TO_PRODUCTION])
    document = mlflow.api.read(f"/webhooks/{created['id']}")
    assert document["credential_names"] == []
    assert mlflow.done("DELETE", f"{HOOKS}/delete", id=created["id"]) == {}
    mlflow.refused("RESOURCE_DOES_NOT_EXIST", "PATCH", update, id=created["id"])


def test_webhooks_that_cannot_be_are_refused(mlflow: Mlflow) -> None:
    mlflow.create_model("a")
    url = {"url": NOBODY}
    job = {"job_id": "1", "access_token": "of-no-value"}
    invalid: list[tuple[dict[str, Any], str]] = [
        ({"events": []}, "'events'"),
        ({"events": ["COMMENTED"]}, "'COMMENTED' must be one of"),
        ({"http_url_spec": None}, "'http_url_spec.url'"),
        ({"http_url_spec": {"url": ""}}, "'http_url_spec.url'"),
        ({"http_url_spec": {"url": "ftp://a"}}, "Invalid webhook URL"),
        ({"http_url_spec": None, "job_spec": job}, "Databricks workspace"),
        ({"http_url_spec": {**url, "enable_ssl_verification": False}}, "verified"),
        ({"http_url_spec": {**url, "secret": "abc"}}, "'secret'"),
        ({"http_url_spec": {**url, "authorization": "a\nbcd"}}, "'authorization'"),
        ({"status": "PAUSED"}, "'PAUSED' must be one of"),
        ({"events": ["REGISTERED_MODEL_CREATED"], "model_name": "a"}, "whole registry"),
    ]
    for fields, said in invalid:
        sent = {"http_url_spec": url, "events": [COMMENT_CREATED], **fields}

        message = mlflow.refused(
            "INVALID_PARAMETER_VALUE", "POST", f"{HOOKS}/create", **sent
        )

        assert said in message, fields
    nowhere = {"http_url_spec": url, "events": [COMMENT_CREATED], "model_name": "b"}
    mlflow.refused("RESOURCE_DOES_NOT_EXIST", "POST", f"{HOOKS}/create", **nowhere)
    assert mlflow.api.read("/webhooks")["items"] == []


def test_receivers_are_told_and_can_verify_it(
    mlflow: Mlflow, receiver: Receiver
) -> None:
    mlflow.create_versions(1)
    mlflow.create_versions(1, "other")
    spec = {"url": receiver.url, "secret": SECRET, "authorization": "Bearer x-1-y"}
    names = [TO_PRODUCTION, COMMENT_CREATED, "MODEL_VERSION_TAG_SET"]
    created = create(mlflow, model_name=MODEL, http_url_spec=spec, events=names)

    mlflow.move(1, "Staging")
    mlflow.move(1, "Production")
    mlflow.move(1, "Staging", "other")
    mlflow.move(1, "Production", "other")
    mlflow.done("POST", "/model-versions/set-tag", **OF_1, key="k", value="v")
    comment(mlflow)
    deliver(mlflow)

    told = [request.json() for request in receiver.requests]
    assert [each["event"] for each in told] == [
        *(TO_PRODUCTION, "MODEL_VERSION_TAG_SET", COMMENT_CREATED)
    ]
    assert told[0] == {
        "event": TO_PRODUCTION,
        "webhook_id": created["id"],
        "event_timestamp": told[0]["event_timestamp"],
        "model_name": MODEL,
        "version": "1",
        "to_stage": "Production",
        "from_stage": "Staging",
        "text": f"bootstrap moved version 1 of model '{MODEL}'"
        " from Staging to Production.",
    }
    for request in receiver.requests:
        digest = hmac.new(SECRET.encode(), request.body, hashlib.sha256).hexdigest()
        assert request.headers["x-databricks-signature"] == digest
        assert request.headers["authorization"] == "Bearer x-1-y"


def test_in_test_mode_only_tests_are_sent(mlflow: Mlflow, receiver: Receiver) -> None:
    mlflow.create_versions(1)
    created = create(mlflow, receiver.url, status="TEST_MODE")
    receiver.answers = [202]

    comment(mlflow)
    deliver(mlflow)
    tested = mlflow.done("POST", f"{HOOKS}/test", id=created["id"])
    update = {"id": created["id"], "status": "ACTIVE"}
    active = mlflow.done("PATCH", f"{HOOKS}/update", **update)["webhook"]
    comment(mlflow, "second")
    deliver(mlflow)

    assert (created["status"], active["status"]) == ("TEST_MODE", "ACTIVE")
    assert tested == {"status_code": 202, "body": ""}
    example, told = (request.json() for request in receiver.requests)
    assert (example["event"], example["comment"]) == (COMMENT_CREATED, "An example")
    assert told["comment"] == "second"


def test_a_test_shows_the_event_that_is_named(
    mlflow: Mlflow, receiver: Receiver
) -> None:
    webhook_id = create(mlflow, receiver.url)["id"]
    unreachable = create(mlflow)["id"]
    path = f"{HOOKS}/test"

    mlflow.done("POST", path, id=webhook_id, event=TO_PRODUCTION)
    nobody = mlflow.done("POST", path, id=unreachable)

    (request,) = receiver.requests
    assert request.json()["to_stage"] == "Production"
    assert nobody.keys() == {"body"}
    mlflow.refused("INVALID_PARAMETER_VALUE", "POST", path, id=webhook_id, event="X")
    mlflow.refused("RESOURCE_DOES_NOT_EXIST", "POST", path, id="sub_never")


def test_webhooks_are_the_admins(mlflow: Mlflow) -> None:
    promoter = mlflow.with_role("promoter")

    for method, path in [
        *(("POST", "create"), ("GET", "list"), ("PATCH", "update")),
        *(("DELETE", "delete"), ("POST", "test")),
    ]:
        promoter.refused("PERMISSION_DENIED", method, f"{HOOKS}/{path}")


def test_a_move_keeps_its_comment_as_the_reason(mlflow: Mlflow) -> None:
    mlflow.create_versions(1)
    path = "/databricks/model-versions/transition-stage"
    sent = {**OF_1, "stage": "Staging", "archive_existing_versions": False}

    answer = mlflow.done("POST", path, **sent, comment="passed its tests")
    again = mlflow.done("POST", path, **sent)
    refused = mlflow.refused(
        "INVALID_STATE_TRANSITION", "POST", path, **{**sent, "stage": "None"}
    )

    version = answer["model_version_databricks"]
    assert (version["current_stage"], version["permission_level"]) == (
        *("Staging", "CAN_MANAGE"),
    )
    assert again == answer
    assert "Production" in refused
    (moved,) = [
        entry
        for entry in mlflow.api.audit(MODEL)
        if entry["action"] == "model_version.stage_changed"
    ]
    assert moved["reason"] == "passed its tests"


def test_a_model_tells_what_its_reader_may_do(mlflow: Mlflow) -> None:
    mlflow.create_versions(1)
    path = "/databricks/registered-models/get"
    levels = {
        role: mlflow.with_role(role).done("GET", path, name=MODEL)[
            "registered_model_databricks"
        ]["permission_level"]
        for role in ("viewer", "writer", "promoter", "admin")
    }

    found = mlflow.done("GET", path, name=MODEL)["registered_model_databricks"]

    assert levels == {
        "viewer": "CAN_READ",
        "writer": "CAN_EDIT",
        "promoter": "CAN_MANAGE_PRODUCTION_VERSIONS",
        "admin": "CAN_MANAGE",
    }
    model = mlflow.model()
    assert found.items() >= model.items()
    assert found["id"]
    assert found["user_id"] == "bootstrap"
    mlflow.refused("RESOURCE_DOES_NOT_EXIST", "GET", path, name="never")
