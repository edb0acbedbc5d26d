"""What consumers report of the versions that they deploy."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text, update
from werkzeug.test import TestResponse

from registry.domain.deployment_token import DeploymentTokens, TokenSubject
from registry.persistence.tables import StageChange
from tests.integration.api.driver import (
    MODEL,
    ON_BOTH_DATABASES,
    Document,
    Driver,
    document_of,
    problem_of,
)
from tests.integration.conftest import signed_in
from tests.server import KEY
from webhooks.tables import Delivery, EventRow

RUN = "https://ci.example.com/runs/17#step:2"
RECEIVER = "http://127.0.0.1:9/hook"  # discard: nobody answers there
STAGE_CHANGED = "model_version.stage_changed"


def path_of(number: int, model: str = MODEL) -> str:
    return f"/models/{model}/versions/{number}/deployments"


def report(
    api: Driver, number: int, status: str, *, model: str = MODEL, **members: object
) -> TestResponse:
    body = {"status": status, "environment": "production", **members}
    return api.post(path_of(number, model), body)


def reported(
    api: Driver, number: int, status: str, *, model: str = MODEL, **members: object
) -> Document:
    answer = report(api, number, status, model=model, **members)
    assert answer.status_code == 200, answer.text
    return document_of(answer)


def listed(api: Driver, number: int) -> list[Document]:
    items: list[Document] = api.read(path_of(number))["items"]
    return items


def subscribe(api: Driver, **members: object) -> str:
    answer = api.post("/webhooks", {"url": RECEIVER, **members})
    assert answer.status_code == 201, answer.text
    return str(document_of(answer)["id"])


def deliveries_of(api: Driver, transition: Document) -> list[Document]:
    path = f"/deliveries?transition_id={transition['transition_id']}"
    items: list[Document] = api.read(path)["items"]
    return items


def delivery_about(api: Driver, transition: Document, number: int) -> Document:
    """The one delivery of a stage change that is about this version."""
    query = select(StageChange.event_id).where(
        StageChange.transition_id == transition["transition_id"],
        StageChange.number == number,
    )
    with api.engine.connect() as connection:
        event_id = connection.execute(query).scalar_one()
    (found,) = (
        one for one in deliveries_of(api, transition) if one["event_id"] == event_id
    )
    return found


def token_for(delivery: Document) -> str:
    """The token that this delivery carries."""
    subject = TokenSubject(delivery["event_id"], delivery["webhook_id"])
    return DeploymentTokens([KEY]).issue(subject)


def as_consumer(api: Driver, token: str) -> Driver:
    return Driver(api.app, signed_in(api.app, token))


def settle(api: Driver) -> None:
    """Acknowledge every delivery."""
    with api.engine.begin() as connection:
        connection.execute(text("UPDATE webhook_deliveries SET state = 'delivered'"))


@ON_BOTH_DATABASES
def test_reports_of_one_environment_are_one_deployment(api: Driver) -> None:
    api.ready_versions(1)
    moved = api.moved(1, "Staging", "Production")

    first = reported(api, 1, "in_progress", url=RUN)
    last = reported(api, 1, "succeeded", description="three replicas")
    elsewhere = reported(api, 1, "pending", environment="eu-west 1")

    assert first["transition_id"] == moved["transition_id"]
    assert first["automatic_rollback"] is None
    assert last["id"] == first["id"] != elsewhere["id"]
    assert (last["status"], last["url"]) == ("succeeded", RUN)
    assert last["created_at"] == first["created_at"] < last["updated_at"]
    del last["automatic_rollback"], elsewhere["automatic_rollback"]
    assert listed(api, 1) == [elsewhere, last]


@ON_BOTH_DATABASES
def test_each_report_has_one_audit_entry_and_one_event(api: Driver) -> None:
    api.ready_versions(1)
    api.serve(1)
    before = len(api.audit())
    for status in ("pending", "in_progress", "in_progress", "succeeded"):
        last = reported(api, 1, status, url=RUN)

    entries = api.audit()[before:]
    del last["automatic_rollback"]
    assert [entry["action"] for entry in entries] == ["deployment.updated"] * 3
    assert entries[-1]["after"] == last
    assert entries[-1]["before"]["status"] == "in_progress"
    assert entries[0]["before"] is None
    assert api.read("/audit/verify")["ok"] is True
    with api.engine.connect() as connection:
        events = connection.execute(
            text(
                "SELECT data FROM webhook_events WHERE type = 'deployment.updated'"
                " ORDER BY occurred_at"
            )
        ).scalars()
        found = [json.loads(e) if isinstance(e, str) else e for e in events]
    statuses = [event["deployment"]["status"] for event in found]
    assert statuses == ["pending", "in_progress", "succeeded"]
    assert found[-1]["transition_id"] == last["transition_id"]
    assert found[-1]["version"] == 1


def test_version_that_never_moved_can_be_deployed(api: Driver) -> None:
    api.ready_versions(1)

    first = reported(api, 1, "in_progress", environment="dev")
    last = reported(api, 1, "succeeded", environment="dev")

    assert first["transition_id"] is None
    assert last["id"] == first["id"]


def test_next_stage_change_begins_deployments_anew(api: Driver) -> None:
    api.ready_versions(1)
    api.moved(1, "Staging")
    staged = reported(api, 1, "succeeded", environment="eu")
    moved = api.moved(1, "Production")
    served = reported(api, 1, "in_progress", environment="eu")

    assert served["id"] != staged["id"]
    of_move = api.read(f"{path_of(1)}?transition_id={moved['transition_id']}")["items"]
    assert [one["id"] for one in of_move] == [served["id"]]


def test_deployments_come_in_pages(api: Driver) -> None:
    api.ready_versions(1)
    for number in range(5):
        reported(api, 1, "pending", environment=f"env-{number}")

    seen: list[str] = []
    query = "?limit=2"
    while query:
        page = api.read(path_of(1) + query)
        seen += [one["environment"] for one in page["items"]]
        cursor = page["next_cursor"]
        query = f"?limit=2&cursor={cursor}" if cursor else ""

    assert sorted(seen) == [f"env-{number}" for number in range(5)]


def test_version_without_deployments_has_an_empty_list_and_no_version_none(
    api: Driver,
) -> None:
    api.ready_versions(1)

    assert listed(api, 1) == []
    problem_of(api.get(path_of(2)), 404, "not-found")
    problem_of(report(api, 2, "failed"), 404, "not-found")
    problem_of(report(api, 2, "succeeded"), 404, "not-found")


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"environment": " "}, "environment"),
        ({"environment": "e" * 251}, "environment"),
        ({"environment": "a\nb"}, "environment"),
        ({"environment": None}, "environment"),
        ({"status": "done"}, "status"),
        ({"url": "javascript:alert(1)"}, "url"),
        ({"url": "https://a/ b"}, "url"),
        ({"description": "x" * 1001}, "description"),
        ({"webhook": "x"}, "webhook"),
    ],
)
def test_report_that_breaks_a_rule_names_the_field(
    api: Driver, members: Document, field: str
) -> None:
    api.ready_versions(1)
    before = api.dump()

    answer = report(api, 1, **{"status": "pending", **members})

    assert list(problem_of(answer, 422, "invalid")["errors"]) == [field]
    assert api.dump() == before


def test_late_report_does_not_undo_a_success(api: Driver) -> None:
    api.ready_versions(1)
    api.serve(1)
    reported(api, 1, "succeeded")

    problem_of(report(api, 1, "in_progress"), 409, "conflict")
    problem_of(report(api, 1, "pending"), 409, "conflict")

    assert reported(api, 1, "failed")["status"] == "failed"
    # A pipeline that failed may be run again.
    assert reported(api, 1, "in_progress")["status"] == "in_progress"


@ON_BOTH_DATABASES
def test_success_can_begin_anew_once_its_event_is_delivered_again(api: Driver) -> None:
    api.ready_versions(1)
    subscribe(api, event_types=[STAGE_CHANGED])
    moved = api.moved(1, "Staging")
    (delivery,) = deliveries_of(api, moved)
    settle(api)
    consumer = as_consumer(api, token_for(delivery))
    first = reported(consumer, 1, "succeeded")
    problem_of(report(consumer, 1, "in_progress"), 409, "conflict")

    again = document_of(api.post(f"/deliveries/{delivery['id']}/redeliver", {}))
    anew = reported(consumer, 1, "in_progress")

    assert anew["id"] == first["id"]
    assert (first["delivery_id"], anew["delivery_id"]) == (delivery["id"], again["id"])


@ON_BOTH_DATABASES
def test_token_of_a_delivery_reports_on_its_version_and_does_nothing_else(
    api: Driver,
) -> None:
    api.ready_versions(2)
    other = api.create_model("other")
    api.ready("other")
    webhook = subscribe(api)
    moved = api.moved(1, "Staging")
    api.moved(2, "Staging")
    (delivery,) = deliveries_of(api, moved)
    consumer = as_consumer(api, token_for(delivery))

    document = reported(consumer, 1, "in_progress", url=RUN)

    assert document["delivery_id"] == delivery["id"]
    assert document["transition_id"] == moved["transition_id"]
    assert document["reported_by"] == f"webhook {webhook}"
    entry = api.audit(MODEL)[-1]
    assert entry["actor"]["kind"] == "delivery"
    assert entry["credential"]["id"] == f"{delivery['event_id']}.{webhook}"
    assert token_for(delivery) not in entry["entry"]
    for refused in (
        report(consumer, 2, "succeeded"),
        report(consumer, 1, "succeeded", model=other["name"]),
        report(consumer, 1, "succeeded", model="absent"),
        consumer.get(path_of(1)),
        consumer.get(f"/models/{MODEL}"),
        consumer.rollback(),
        consumer.get("/webhooks"),
    ):
        problem_of(refused, 403, "forbidden")


def test_token_of_a_delivery_does_as_password_too(api: Driver) -> None:
    api.ready_versions(1)
    subscribe(api)
    (delivery,) = deliveries_of(api, api.moved(1, "Staging"))

    answer = api.app.test_client().post(
        f"/api/v1{path_of(1)}",
        json={"status": "succeeded", "environment": "eu"},
        auth=("deploy", token_for(delivery)),
    )

    assert answer.status_code == 200


def test_token_of_a_superseded_version_reports_on_that_version(api: Driver) -> None:
    api.ready_versions(2)
    api.serve(1)
    subscribe(api)
    moved = api.moved(2, "Staging", "Production")
    aside, entered = (delivery_about(api, moved, number) for number in (1, 2))

    reported(as_consumer(api, token_for(aside)), 1, "succeeded", environment="eu")
    reported(as_consumer(api, token_for(entered)), 2, "succeeded", environment="eu")

    problem_of(
        report(as_consumer(api, token_for(aside)), 2, "failed"), 403, "forbidden"
    )


@ON_BOTH_DATABASES
def test_token_expires_seven_days_after_its_event_was_last_sent(api: Driver) -> None:
    api.ready_versions(1)
    subscribe(api, event_types=[STAGE_CHANGED])
    (delivery,) = deliveries_of(api, api.moved(1, "Staging"))
    consumer = as_consumer(api, token_for(delivery))
    long_ago = datetime.now(UTC) - timedelta(days=7)
    with api.engine.begin() as connection:
        connection.execute(
            update(Delivery).values(updated_at=long_ago, state="delivered")
        )

    problem = problem_of(report(consumer, 1, "succeeded"), 401, "unauthenticated")
    assert "expired" in problem["detail"]

    api.post(f"/deliveries/{delivery['id']}/redeliver", {})
    reported(consumer, 1, "succeeded")


def test_token_ends_with_its_subscription_and_with_its_model(api: Driver) -> None:
    api.ready_versions(1)
    webhook, other = subscribe(api), subscribe(api)
    found = deliveries_of(api, api.moved(1, "Staging", "Archived"))
    tokens = {one["webhook_id"]: token_for(one) for one in found}
    consumer, survivor = (as_consumer(api, tokens[one]) for one in (webhook, other))

    api.delete(f"/webhooks/{webhook}")
    problem_of(report(consumer, 1, "pending"), 401, "unauthenticated")
    reported(survivor, 1, "pending")

    assert api.delete(f"/models/{MODEL}").status_code == 204
    problem_of(report(survivor, 1, "pending"), 401, "unauthenticated")


def test_only_the_token_of_a_stage_change_signs_in(api: Driver) -> None:
    api.ready_versions(1)
    webhook = subscribe(api)
    api.patch(f"/models/{MODEL}/versions/1", {"description": "new"})
    with api.engine.connect() as connection:
        event = connection.execute(
            EventRow.__table__.select().order_by(EventRow.created_at.desc())
        ).first()
    assert event is not None
    tokens = DeploymentTokens([KEY])
    forged = DeploymentTokens(["another key, as long as it must be"])
    subject = TokenSubject(event.id, webhook)

    for token in (tokens.issue(subject), forged.issue(subject), "sg_dep_", "sg_dep_x"):
        answer = report(as_consumer(api, token), 1, "pending")
        problem_of(answer, 401, "unauthenticated")


def test_report_with_a_token_of_its_own_may_name_its_delivery(api: Driver) -> None:
    api.ready_versions(2)
    webhook = subscribe(api)
    first = api.moved(1, "Staging")
    (delivery,) = deliveries_of(api, first)
    api.moved(1, "Production")
    settle(api)
    event, id_ = delivery["event_id"], delivery["id"]

    by_event = reported(api, 1, "pending", webhook_id=event)
    by_both = reported(api, 1, "succeeded", webhook_id=event, delivery_id=id_)

    assert by_event["transition_id"] == first["transition_id"]
    assert by_event["delivery_id"] is None
    assert by_both["id"] == by_event["id"]
    assert by_both["delivery_id"] == id_
    problem_of(report(api, 2, "pending", delivery_id=id_), 404, "not-found")
    problem_of(report(api, 1, "pending", webhook_id="msg_none"), 404, "not-found")
    by_token = reported(
        as_consumer(api, token_for(delivery)),
        1,
        "succeeded",
        environment="eu",
        webhook_id=event,
    )
    assert by_token["delivery_id"] == id_
    assert webhook in by_token["reported_by"]


def test_who_may_not_write_may_not_report(api: Driver) -> None:
    api.ready_versions(1)

    problem_of(report(api.with_role("viewer"), 1, "pending"), 403, "forbidden")
    reported(api.with_role("writer"), 1, "pending")


@ON_BOTH_DATABASES
def test_history_shows_requested_delivered_and_deployed(api: Driver) -> None:
    api.ready_versions(2)
    api.serve(1)
    subscribe(api, event_types=[STAGE_CHANGED])
    subscribe(api, event_types=["*"])
    moved = api.moved(2, "Staging", "Production")
    reported(api, 2, "succeeded", environment="eu", url=RUN)
    reported(api, 2, "pending", environment="us")

    entered, aside, *earlier = api.read(f"/models/{MODEL}/history")["items"]

    assert entered["transition_id"] == moved["transition_id"]
    waiting = {"requested": 2, "delivered": 0, "delivered_at": None}
    assert entered["deliveries"] == aside["deliveries"] == waiting
    assert [
        (d["environment"], d["status"], d["url"]) for d in entered["deployments"]
    ] == [
        ("eu", "succeeded", RUN),
        ("us", "pending", None),
    ]
    assert aside["deployments"] == []
    nobody = {"requested": 0, "delivered": 0, "delivered_at": None}
    assert earlier[-1]["deliveries"] == nobody

    first = min(deliveries_of(api, moved), key=lambda one: one["id"])
    with api.engine.begin() as connection:
        connection.execute(
            update(Delivery).where(Delivery.id == first["id"]).values(state="delivered")
        )
    half = {"requested": 2, "delivered": 1, "delivered_at": None}
    lines = api.read(f"/models/{MODEL}/history")["items"]
    assert half in [line["deliveries"] for line in lines[:2]]

    settle(api)
    api.post(f"/deliveries/{first['id']}/redeliver", {})
    for line in api.read(f"/models/{MODEL}/history?limit=2")["items"]:
        assert (line["deliveries"]["requested"], line["deliveries"]["delivered"]) == (
            2,
            2,
        )
        assert line["deliveries"]["delivered_at"] >= line["at"]
