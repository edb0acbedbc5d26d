"""Webhook subscriptions, deliveries and attempts over the API."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.integration.api.driver import (
    MODEL,
    Document,
    Driver,
    document_of,
    problem_of,
)
from tests.integration.conftest import SharedApps, close_app, signed_in
from tests.receiver import Receiver
from webhooks.formats import chat


def subscribe(api: Driver, url: str, **members: object) -> Document:
    answer = api.post("/webhooks", {"url": url, **members})
    assert answer.status_code == 201, answer.get_data(as_text=True)
    return document_of(answer)


def deliver(api: Driver) -> None:
    """Send what is due, in this thread."""
    while api.parts.dispatcher.run_once():
        pass


def test_subscription_is_answered_with_its_secret_this_once(api: Driver) -> None:
    created = subscribe(api, "http://127.0.0.1:9/hook")

    secret = created.pop("secret")
    assert secret.startswith("whsec_")
    found = api.get(f"/webhooks/{created['id']}")
    assert document_of(found) == created
    assert api.read("/webhooks")["items"] == [created]
    assert secret not in found.get_data(as_text=True)
    assert (
        created.items()
        >= {
            "url": "http://127.0.0.1:9/hook",
            "event_types": ["*"],
            "model_pattern": None,
            "to_stages": None,
            "format": "standard",
            "description": "",
            "state": "active",
            "consecutive_failures": 0,
            "failing_since": None,
            "created_by": "bootstrap",
        }.items()
    )


def test_every_choice_of_a_subscription_is_kept_and_changed(api: Driver) -> None:
    choices: Document = {
        "event_types": ["model_version.*"],
        "model_pattern": "fraud-*",
        "to_stages": ["Production"],
        "description": "deploys",
        "format": "github",
        "options": {"payload": {"model": "data.model"}},
        "headers": {"x-team": "ml"},
        "signatures": ["v1", "v1a"],
        "schedule_seconds": [0, 60],
        "rate_per_minute": 120,
        "on_poison": "skip",
    }
    created = subscribe(
        api, "http://127.0.0.1:9/a", **choices, credentials={"token": "of-no-value"}
    )
    assert created.items() >= choices.items()
    assert created["credential_names"] == ["token"]
    assert [key[:5] for key in created["public_keys"]] == ["whpk_"]
    path = f"/webhooks/{created['id']}"

    rotated = document_of(api.post(f"{path}/rotate-secret", {}))
    assert rotated["public_keys"][1:] == created["public_keys"]
    assert api.read(path)["public_keys"] == rotated["public_keys"]
    assert api.read("/webhooks")["items"] == [api.read(path)]

    changes: Document = {
        "url": "http://127.0.0.1:9/b",
        "event_types": ["registered_model.created"],
        "model_pattern": None,
        "to_stages": None,
        "description": "",
        "format": "standard",
        "options": {},
        "headers": {},
        "signatures": ["v1"],
        "schedule_seconds": None,
        "rate_per_minute": None,
        "on_poison": "hold",
    }
    answer = api.patch(path, {**changes, "credentials": {"token": None}})
    assert answer.status_code == 200, answer.get_data(as_text=True)
    assert document_of(answer).items() >= changes.items()
    assert document_of(answer)["credential_names"] == []
    assert document_of(answer)["public_keys"] == []
    assert api.read(path) == document_of(answer)


def test_certificates_are_shown_and_a_key_is_not(api: Driver) -> None:
    client = Authority().issue("client")
    created = subscribe(
        api,
        "http://127.0.0.1:9/a",
        ca_certificate=client.certificate,
        client_certificate=client.certificate,
        client_key=client.key,
    )

    assert created["ca_certificate"] == client.certificate
    assert created["client_certificate"] == client.certificate
    assert "client_key" not in created


def test_a_format_that_cannot_express_a_ping_says_so(
    api: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = subscribe(api, "http://127.0.0.1:9/a", format="teams")
    monkeypatch.setattr(chat, "MAX_CARD_BYTES", 10)

    problem_of(api.post(f"/webhooks/{created['id']}/test"), 409, "conflict")


def test_deleted_subscription_is_gone(api: Driver) -> None:
    path = f"/webhooks/{subscribe(api, 'http://127.0.0.1:9')['id']}"

    assert api.delete(path).status_code == 204

    assert api.read("/webhooks")["items"] == []
    for answer in (
        api.get(path),
        api.patch(path, {}),
        api.delete(path),
        api.post(f"{path}/test"),
        api.post(f"{path}/rotate-secret", {}),
        api.get(f"{path}/deliveries"),
    ):
        problem_of(answer, 404, "not-found")


def test_subscriptions_are_listed_in_pages_oldest_first(api: Driver) -> None:
    urls = [f"http://127.0.0.1:9/{n}" for n in range(3)]
    for url in urls:
        subscribe(api, url)

    first = api.read("/webhooks?limit=2")
    second = api.read(f"/webhooks?limit=2&cursor={first['next_cursor']}")

    assert [item["url"] for page in (first, second) for item in page["items"]] == urls


BAD: dict[str, tuple[Document, str]] = {
    "another scheme": ({"url": "ftp://127.0.0.1/"}, "url"),
    "no host": ({"url": "http:///path"}, "url"),
    "a user": ({"url": "http://user:pass@127.0.0.1/"}, "url"),
    "a fragment": ({"url": "http://127.0.0.1/#a"}, "url"),
    "no ASCII": ({"url": "http://127.0.0.1/ü"}, "url"),
    "no URL": ({}, "url"),
    "no credential": ({"url": "http://127.0.0.1/${gone}"}, "url"),
    "another format": ({"format": "smoke-signals"}, "format"),
    "an option": ({"options": {"colour": "red"}}, "options.colour"),
    "a header": ({"headers": {"Host": "example.org"}}, "headers"),
    "a literal secret": ({"headers": {"Cookie": "a=b"}}, "headers.cookie"),
    "a certificate": ({"ca_certificate": "none"}, "ca_certificate"),
    "a key alone": ({"client_key": "none"}, "client_certificate"),
    "signatures": ({"signatures": []}, "signatures"),
    "a schedule": ({"schedule_seconds": [2592000, 1]}, "schedule_seconds"),
    "an ordering, as of old": ({"ordering": "model"}, "ordering"),
    "an age, as of old": ({"max_age_seconds": 60}, "max_age_seconds"),
    "an event type": ({"event_types": ["Model Changed"]}, "event_types"),
    "no event types": ({"event_types": []}, "event_types"),
    "too many event types": ({"event_types": ["*"] * 51}, "event_types"),
    "no stages": ({"to_stages": []}, "to_stages"),
    "an empty pattern": ({"model_pattern": ""}, "model_pattern"),
    "a format": ({"format": "carrier-pigeon"}, "format"),
    "a state": ({"state": "active"}, "state"),
    "an unknown member": ({"secret": "whsec_x"}, "secret"),
    "NUL": ({"description": "a\0b"}, "description"),
    "an unpaired surrogate": ({"model_pattern": "\ud800"}, "model_pattern"),
    "a long description": ({"description": "d" * 1001}, "description"),
}


@pytest.mark.parametrize(("body", "field"), BAD.values(), ids=BAD)
def test_bad_subscription_is_refused_with_the_field_named(
    api: Driver, body: Document, field: str
) -> None:
    before = api.dump()
    url = {} if field == "url" else {"url": "http://127.0.0.1:9/"}

    answer = api.post("/webhooks", {**url, **body})

    assert list(problem_of(answer, 422, "invalid")["errors"]) == [field]
    assert api.dump() == before


@pytest.fixture
def guarded(tmp_path: Path, shared_apps: SharedApps) -> Iterator[Driver]:
    """A registry that lets webhooks reach nothing inside, and https alone."""
    settings = {"WEBHOOK_ALLOWED_NETWORKS": "", "WEBHOOK_ALLOW_HTTP": "false"}
    app = shared_apps.lend(tmp_path, settings)
    yield Driver(app, signed_in(app))
    close_app(app)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "https://127.0.0.1/",
        "https://10.1.2.3/",
        "https://192.168.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[fd00::1]/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://0/",
        "https://example.com:22/",
    ],
)
def test_address_inside_is_refused_unless_the_operator_allows_it(
    guarded: Driver, url: str
) -> None:
    before = guarded.dump()

    answer = guarded.post("/webhooks", {"url": url})

    assert list(problem_of(answer, 422, "invalid")["errors"]) == ["url"]
    assert guarded.dump() == before


def test_subscription_cannot_be_turned_to_an_address_inside(guarded: Driver) -> None:
    created = subscribe(guarded, "https://example.com/hook")

    answer = guarded.patch(
        f"/webhooks/{created['id']}", {"url": "https://169.254.169.254/"}
    )

    problem_of(answer, 422, "invalid")
    assert guarded.read(f"/webhooks/{created['id']}")["url"] == created["url"]


def test_name_that_leads_inside_is_refused_when_it_is_sent_to(
    guarded: Driver,
) -> None:
    created = subscribe(guarded, "https://localhost/hook")

    result = document_of(guarded.post(f"/webhooks/{created['id']}/test"))

    assert result["delivered"] is False
    assert "127.0.0.1" not in str(result["error"])


def test_test_send_says_what_came_of_it(api: Driver, receiver: Receiver) -> None:
    created = subscribe(api, receiver.url)
    receiver.accept_secret(created["secret"])
    receiver.answers = [200, 500]

    good, bad = (
        document_of(api.post(f"/webhooks/{created['id']}/test")) for _ in range(2)
    )

    assert (good["delivered"], good["status"], good["error"]) == (True, 200, None)
    assert (bad["delivered"], bad["status"]) == (False, 500)
    assert [request.json()["type"] for request in receiver.verified] == [
        "webhook.ping",
        "webhook.ping",
    ]
    listed = api.read(f"/webhooks/{created['id']}/deliveries")["items"]
    assert {item["id"] for item in listed} == {good["delivery_id"], bad["delivery_id"]}


def test_deliveries_of_a_stage_change_are_found_by_it(
    api: Driver, receiver: Receiver
) -> None:
    api.ready_versions(2)
    api.serve(1)
    subscribe(api, receiver.url, event_types=["model_version.stage_changed"])
    subscribe(api, receiver.url, to_stages=["Archived"])
    subscribe(api, receiver.url, model_pattern="other-*")
    api.moved(2, "Staging")

    transition = api.moved(2, "Production")["transition_id"]

    found = api.read(f"/deliveries?transition_id={transition}")
    assert len(found["items"]) == 3
    assert {item["state"] for item in found["items"]} == {"pending"}
    deliver(api)
    found = api.read(f"/deliveries?transition_id={transition}")
    assert {item["state"] for item in found["items"]} == {"delivered"}
    assert api.read("/deliveries?transition_id=absent")["items"] == []
    problem_of(api.get("/deliveries"), 422, "invalid")


def test_deliveries_are_listed_newest_first_by_state_and_paged(
    api: Driver, receiver: Receiver
) -> None:
    webhook = subscribe(api, receiver.url)["id"]
    api.create_model()
    deliver(api)
    for description in "ab":
        api.patch(f"/models/{MODEL}", {"description": description})
    path = f"/webhooks/{webhook}/deliveries"

    first = api.read(f"{path}?limit=2")
    second = api.read(f"{path}?limit=2&cursor={first['next_cursor']}")

    assert [item["event_type"] for item in first["items"] + second["items"]] == [
        "registered_model.updated",
        "registered_model.updated",
        "registered_model.created",
    ]
    assert len(api.read(f"{path}?state=pending")["items"]) == 2
    assert len(api.read(f"{path}?state=delivered")["items"]) == 1
    problem_of(api.get(f"{path}?state=lost"), 422, "invalid")


def test_attempts_of_a_delivery_say_what_was_answered(
    api: Driver, receiver: Receiver
) -> None:
    webhook = subscribe(api, receiver.url)
    receiver.answers = [503]
    api.create_model()
    deliver(api)
    (delivery,) = api.read(f"/webhooks/{webhook['id']}/deliveries")["items"]

    attempts = api.read(f"/deliveries/{delivery['id']}/attempts")

    (attempt,) = attempts["items"]
    assert (attempt["number"], attempt["outcome"], attempt["status"]) == (
        1,
        "failed",
        503,
    )
    assert attempt["address"] == "127.0.0.1"
    assert set(attempt["timings"]) == {"name", "connect", "first_byte"}
    assert webhook["secret"] not in str(attempts)
    assert api.read(f"/deliveries/{delivery['id']}")["attempts"] == 1
    assert api.read(f"/webhooks/{webhook['id']}")["consecutive_failures"] == 1


def test_delivery_is_sent_again_with_the_same_id_and_bytes(
    api: Driver, receiver: Receiver
) -> None:
    webhook = subscribe(api, receiver.url)["id"]
    api.create_model()
    deliver(api)
    (first,) = api.read(f"/webhooks/{webhook}/deliveries")["items"]

    again = document_of(api.post(f"/deliveries/{first['id']}/redeliver"))
    deliver(api)

    one, other = receiver.requests
    assert again["replay_of"] == first["id"]
    assert (one.message_id, one.body) == (other.message_id, other.body)


def test_delivery_that_is_on_its_way_is_not_sent_again(api: Driver) -> None:
    webhook = subscribe(api, "http://127.0.0.1:9")["id"]
    api.create_model()
    (pending,) = api.read(f"/webhooks/{webhook}/deliveries")["items"]

    problem_of(api.post(f"/deliveries/{pending['id']}/redeliver"), 409, "conflict")


def test_absent_delivery_is_not_found(api: Driver) -> None:
    for answer in (
        api.get("/deliveries/absent"),
        api.get("/deliveries/absent/attempts"),
        api.post("/deliveries/absent/redeliver"),
    ):
        problem_of(answer, 404, "not-found")


def test_paused_subscription_holds_its_events_until_it_is_resumed(
    api: Driver, receiver: Receiver
) -> None:
    path = f"/webhooks/{subscribe(api, receiver.url)['id']}"
    paused = document_of(api.patch(path, {"state": "paused"}))
    api.create_model()
    deliver(api)
    held = api.read(f"{path}/deliveries")["items"][0]["state"]

    resumed = document_of(api.patch(path, {"state": "active"}))
    deliver(api)

    assert (paused["state"], held, resumed["state"]) == ("paused", "held", "active")
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("overlap_seconds", [3600, 0])
def test_old_secret_signs_along_for_the_overlap(
    api: Driver, receiver: Receiver, overlap_seconds: int
) -> None:
    created = subscribe(api, receiver.url)
    receiver.accept_secret(created["secret"])

    rotated = document_of(
        api.post(
            f"/webhooks/{created['id']}/rotate-secret",
            {"overlap_seconds": overlap_seconds},
        )
    )
    api.create_model()
    deliver(api)

    assert rotated["secret"] not in {created["secret"], None}
    assert rotated["overlap_seconds"] == overlap_seconds
    assert rotated["key_id"]
    (request,) = receiver.requests
    signatures = request.headers["webhook-signature"].split()
    assert len(signatures) == (2 if overlap_seconds else 1)
    assert request.is_verified is bool(overlap_seconds)


def test_overlap_has_a_bound(api: Driver) -> None:
    path = f"/webhooks/{subscribe(api, 'http://127.0.0.1:9')['id']}/rotate-secret"

    for seconds in (-1, 31 * 24 * 3600):
        problem_of(api.post(path, {"overlap_seconds": seconds}), 422, "invalid")
