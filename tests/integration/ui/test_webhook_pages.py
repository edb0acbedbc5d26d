"""The pages of webhooks and deliveries: who sees what, and what each change does."""

import html
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from werkzeug.test import TestResponse

from registry.services.subscriptions import REDELIVERED
from tests.integration.api.driver import ON_BOTH_DATABASES, Driver, document_of
from tests.integration.statements import statements_of
from tests.receiver import Receiver

SECRET = "hunter2-hunter2"


def said(answer: TestResponse) -> str:
    """What a page says, its tags and white space left out."""
    body = answer.text.partition("<main")[2]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def page(api: Driver, path: str, status: int = 200) -> str:
    answer = api.client.get(path)
    assert answer.status_code == status, answer.text
    return said(answer)


def send(api: Driver, path: str, status: int = 303, **form: Any) -> TestResponse:  # noqa: ANN401  # fields
    answer = api.client.post(path, data=form)
    assert answer.status_code == status, said(answer)
    return answer


def subscribe(api: Driver, url: str = "http://127.0.0.1:9/hook", **more: Any) -> str:  # noqa: ANN401  # JSON
    answer = api.post("/webhooks", {"url": url, **more})
    return str(document_of(answer)["id"])


def deliver(api: Driver) -> None:
    api.parts.dispatcher.run_once()


def actions(api: Driver) -> list[str]:
    return [entry["action"] for entry in api.audit() if "webhook" in entry["action"]]


@pytest.mark.parametrize("role", ["viewer", "auditor", "promoter"])
def test_nobody_but_admins_sees_webhooks_and_deliveries(api: Driver, role: str) -> None:
    webhook_id = subscribe(api)
    other = api.with_role(role)
    before = api.dump()

    for path in (
        *("/webhooks", "/webhooks/new", "/deliveries", f"/webhooks/{webhook_id}"),
        *(f"/webhooks/{webhook_id}/{each}" for each in ("edit", "delete", "redeliver")),
    ):
        page(other, path, 403)
    for path in ("state", "test", "rotate-secret", "delete", "redeliver", "edit"):
        send(other, f"/webhooks/{webhook_id}/{path}", 403, state="paused")
    assert api.dump() == before


def test_what_is_not_there_is_not_found(api: Driver) -> None:
    for path in ("/webhooks/sub_0", "/webhooks/sub_0/edit", "/deliveries/dlv_0"):
        page(api, path, 404)
    for path in ("/webhooks/sub_0/test", "/deliveries/dlv_0/redeliver"):
        send(api, path, 404)


@ON_BOTH_DATABASES
def test_each_change_is_logged_once_and_done(api: Driver, receiver: Receiver) -> None:
    webhook_id = subscribe(api, receiver.url)
    api.create_model()
    deliver(api)
    (delivery,) = api.read(f"/webhooks/{webhook_id}/deliveries")["items"]
    here = f"/webhooks/{webhook_id}"

    paused = send(api, f"{here}/state", state="paused")
    assert paused.location.endswith(f"{here}?done=paused")
    assert "▲ paused Send test Resume" in page(api, here)
    send(api, f"{here}/state", state="active")
    tested = send(api, f"{here}/test")
    assert "The test was sent." in page(api, tested.location)
    again = send(api, f"/deliveries/{delivery['id']}/redeliver")
    assert "sent again on request" in page(api, again.location)
    send(api, f"{here}/redeliver", 200, do="count")
    rotated = send(api, f"{here}/rotate-secret", 200, overlap_seconds="0")
    assert re.findall(r'id="secret"[^>]*>(whsec_[^<]+)<', rotated.text)
    send(api, f"{here}/delete")
    page(api, here, 404)
    assert "deleted" in page(api, f"/deliveries/{delivery['id']}")

    assert actions(api) == [
        *("webhook.created", "webhook.updated", "webhook.updated", "webhook.tested"),
        *(REDELIVERED, "webhook.secret_rotated", "webhook.deleted"),
    ]


def test_secret_is_in_no_page_but_the_one_that_answers(api: Driver) -> None:
    form = {
        "url": "http://127.0.0.1:9/hook?key=${KEY}",
        "format": "standard",
        "on_poison": "hold",
        "event_types": "*",
        "signatures": "v1",
        "new-credential": "KEY",
        "new-credential-value": SECRET,
        "do": "save",
    }

    made = send(api, "/webhooks/new", 200, **form)

    (secret,) = re.findall(r'id="secret"[^>]*>(whsec_[^<]+)<', made.text)
    assert made.headers["Cache-Control"] == "no-store"
    assert "ETag" not in made.headers
    (webhook,) = api.read("/webhooks")["items"]
    assert webhook["credential_names"] == ["KEY"]
    for path in ("", f"/{webhook['id']}", f"/{webhook['id']}/edit"):
        text = api.client.get(f"/webhooks{path}").text
        assert secret not in text
        assert SECRET not in text


def test_nothing_that_takes_or_shows_a_secret_is_compressed(api: Driver) -> None:
    client, webhook_id = api.client, subscribe(api)
    squeezed = {"Accept-Encoding": "gzip"}

    shown = client.get("/webhooks", headers=squeezed)
    rotated = client.post(
        f"/webhooks/{webhook_id}/rotate-secret",
        data={"overlap_seconds": "3600"},
        headers=squeezed,
    )
    refused = client.post(
        "/webhooks/new", data={"do": "save", "url": "x"}, headers=squeezed
    )

    assert shown.headers["Content-Encoding"] == "gzip"
    assert (rotated.status_code, refused.status_code) == (200, 422)
    for answer in (rotated, refused):
        assert "Content-Encoding" not in answer.headers


def test_only_what_was_changed_in_a_form_is_changed(api: Driver) -> None:
    webhook_id = subscribe(
        api, headers={"x-a": "${A}"}, credentials={"A": SECRET}, description="first"
    )
    webhook = api.read(f"/webhooks/{webhook_id}")
    form = {
        "seen": webhook["updated_at"],
        "do": "save",
        "url": webhook["url"],
        "description": "second",
        "headers": "x-a: ${A}",
        **{name: webhook[name] for name in ("format", "on_poison", "signatures")},
        "event_types": webhook["event_types"],
    }

    send(api, f"/webhooks/{webhook_id}/edit", **form)
    stale = send(api, f"/webhooks/{webhook_id}/edit", 412, **form, to_stages="Staging")

    assert "somebody has changed this webhook meanwhile" in said(stale)
    changed = api.read(f"/webhooks/{webhook_id}")
    differing = {name for name in changed if changed[name] != webhook[name]}
    assert differing == {"description", "updated_at"}
    assert api.audit()[-1]["changed"] == ["description"]


def test_a_preview_changes_nothing(api: Driver) -> None:
    api.create_model()
    before = api.dump()

    answer = send(
        api,
        "/webhooks/new",
        200,
        do="preview",
        url="http://127.0.0.1:9/hook",
        format="standard",
        on_poison="hold",
        event_types="*",
        signatures="v1",
        preview_event="model_version.stage_changed",
    )

    assert "Made of an example" in said(answer)
    assert "POST http://127.0.0.1:9/hook host: 127.0.0.1:9" in said(answer)
    assert "webhook-deployment-token: (redacted)" in said(answer)
    assert api.dump() == before


def test_every_type_of_event_has_an_example_in_every_format(api: Driver) -> None:
    types = [each["type"] for each in api.read("/event-types?limit=200")["items"]]
    form = {"do": "preview", "url": "http://127.0.0.1:9/", "on_poison": "hold"}
    form |= {"event_types": "*", "signatures": "v1", "format": "gitlab"}

    for name in types:
        answer = send(
            api,
            "/webhooks/new",
            200,
            **form,
            **{"option.ref": "main", "credential.token": SECRET},
            preview_event=name,
        )
        assert "POST http://127.0.0.1:9/" in said(answer), name
    send(api, "/webhooks/new", 422, **form, preview_event="no.such.type")


def test_what_is_sent_again_is_what_was_counted(
    api: Driver, receiver: Receiver
) -> None:
    webhook_id = subscribe(api, receiver.url)
    for name in ("fraud-eu", "churn"):
        api.create_model(name)
    deliver(api)
    path = f"/webhooks/{webhook_id}/redeliver"

    counted = send(api, path, 200, do="count", model_pattern="fraud*")
    assert "1 delivery would be sent again." in said(counted)
    refused = send(api, path, 412, do="send", counted="1")
    assert "2 deliveries would be sent again." in said(refused)
    for bad in ("x", "-1", str(2**63)):
        send(api, path, 422, do="send", counted=bad)
    send(api, path, 422, do="count", since="soon")
    send(api, path, 422, do="count", states="pending")
    assert REDELIVERED not in actions(api)

    sent = send(api, path, 200, do="send", counted="1", model_pattern="fraud*")

    assert "On their way again: 1." in said(sent)
    assert actions(api)[-1] == REDELIVERED
    none = send(api, path, 200, do="count", model_pattern="fraud*")
    assert "No delivery would be sent again." in said(none)


def test_very_many_are_sent_again_part_by_part(
    api: Driver, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhooks.redelivery.LOOKED_AT_ONCE", 1)
    monkeypatch.setattr("registry.ui.webhooks_redelivery._PORTIONS", 2)
    webhook_id = subscribe(api, receiver.url)
    for number in range(3):
        api.create_model(f"model-{number}")
    deliver(api)
    path = f"/webhooks/{webhook_id}/redeliver"

    first = send(api, path, 200, do="send", counted="3")
    (position,) = re.findall(r'name="position" value="(\d+)"', first.text)
    assert "On their way again: 2. There are more." in said(first)
    rest = send(api, path, 200, do="send", position=position, sent="2")

    assert "On their way again: 3." in said(rest)
    assert "There are more" not in said(rest)


@ON_BOTH_DATABASES
def test_deliveries_are_filtered_by_what_stands_in_the_address(
    api: Driver, receiver: Receiver
) -> None:
    first = subscribe(api, receiver.url, description="first one")
    subscribe(api, f"{receiver.url}2", description="second one")
    api.ready_versions(1)
    moved = api.moved(1, "Staging")
    api.create_model("churn")
    deliver(api)
    transition = moved["transition_id"]
    now = datetime.now(UTC)

    def listed(query: str) -> list[str]:
        answer = api.client.get(f"/deliveries?{query}")
        assert answer.status_code == 200, answer.text
        return re.findall(r'href="/deliveries/(dlv_[^"]+)"', answer.text)

    everything = listed("")
    assert len(everything) == 2 * 5
    assert len(listed(f"webhook={first}")) == 5
    assert len(listed("model=churn")) == 2
    assert len(listed("type=model_version.stage_changed")) == 2
    assert listed(f"transition={transition}") == listed(
        "type=model_version.stage_changed"
    )
    assert listed("state=delivered") == everything
    assert listed("state=dead") == []
    soon = (now + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M")
    assert listed(f"since={soon}") == []
    assert listed(f"until={soon}") == everything
    assert "first one" in page(api, f"/deliveries?webhook={first}")


def test_what_is_tried_again_shows_when(api: Driver, receiver: Receiver) -> None:
    receiver.answers = [500]
    webhook = subscribe(api, receiver.url)
    api.create_model("churn")
    deliver(api)

    for path in ("/deliveries", f"/webhooks/{webhook}"):
        assert re.search(r"next 20\d\d-", page(api, path))


@pytest.mark.parametrize(
    "query", ["state=lost", "since=yesterday", "cursor=x", "model=%00", "type=%ff%00"]
)
def test_a_filter_that_cannot_be_read_is_refused_and_shown_again(
    api: Driver, query: str
) -> None:
    answer = api.client.get(f"/deliveries?{query}")

    assert answer.status_code == 422
    assert 'role="alert"' in answer.text


def test_a_model_is_found_by_its_present_and_its_former_name(api: Driver) -> None:
    subscribe(api)
    api.create_model("old")
    api.patch("/models/old", {"name": "new"})

    for name in ("old", "new"):
        assert "registered_model.created" in page(api, f"/deliveries?model={name}")


@ON_BOTH_DATABASES
def test_many_endpoints_cost_no_statement_more(api: Driver) -> None:
    def counted(path: str) -> int:
        with statements_of(api.app) as statements:
            page(api, path)
        return len(statements)

    webhook_id = subscribe(api)
    api.create_model()
    paths = ("/webhooks", f"/webhooks/{webhook_id}", "/deliveries")
    page(api, "/webhooks")
    before = [counted(path) for path in paths]
    for number in range(20):
        subscribe(api, f"http://127.0.0.1:9/{number}")
    for number in range(5):
        api.create_model(f"model-{number}")

    assert [counted(path) for path in paths] == before
    assert max(before) <= 8


def test_endpoints_are_paged_without_gap_and_those_in_trouble_are_first(
    api: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.ui.webhooks._SHOWN", 2)
    ids = [subscribe(api, f"http://127.0.0.1:9/{number}") for number in range(5)]
    send(api, f"/webhooks/{ids[3]}/state", state="paused")

    found: list[str] = []
    path = "/webhooks"
    while path:
        text = api.client.get(path).text
        found += dict.fromkeys(re.findall(r'href="/webhooks/(sub_[0-9a-f]+)"', text))
        (path,) = re.findall(r'href="([^"]+)" rel="next"', text) or [""]
        path = html.unescape(path)

    assert found == [ids[3], *ids[:3], ids[4]]
    assert api.client.get("/webhooks?cursor=x").status_code == 422
