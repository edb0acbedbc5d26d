"""People look after webhooks: make one, see it fail, mend it, send again."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.chromium import NARROW, Visitor
from tests.browser.conftest import Site, Visit
from tests.browser.moving import call, model
from tests.receiver import Answer, ReceivedRequest, Receiver
from tests.waiting import wait_for


class Deployer:
    """A receiver that is down until it is mended."""

    def __init__(self) -> None:
        self.is_down = True

    def answer(self, _: ReceivedRequest) -> Answer:
        headers = {"content-type": "text/plain"}
        if self.is_down:
            return Answer(500, headers, b"the <b>deployer</b> is down")
        return Answer(200, headers, b"deployed")


@pytest.fixture
def deployer() -> Deployer:
    return Deployer()


@pytest.fixture
def receiver(deployer: Deployer) -> Iterator[Receiver]:
    with Receiver(answers=deployer.answer) as running:
        yield running


def subscribed(site: Site, receiver: Receiver, pattern: str, **more: Any) -> str:  # noqa: ANN401  # JSON
    made = call(
        site,
        "POST",
        "/webhooks",
        url=receiver.url,
        event_types=["model_version.registered"],
        model_pattern=pattern,
        description=f"deployer of {pattern}",
        **more,
    )
    receiver.accept_secret(made["secret"])
    return str(made["id"])


def webhooks(site: Site) -> list[str]:
    """The ids of all; how those of other tests fare changes meanwhile."""
    return [each["id"] for each in call(site, "GET", "/webhooks")["items"]]


def state_of(site: Site, delivery_id: str) -> str:
    return str(call(site, "GET", f"/deliveries/{delivery_id}")["state"])


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "plain"])
def test_endpoint_fails_is_seen_failing_recovers_and_is_redelivered_to(
    site: Site, visit: Visit, receiver: Receiver, deployer: Deployer, *, scripts: bool
) -> None:
    name = f"fails-{scripts}".lower()
    webhook_id = subscribed(site, receiver, f"{name}*", schedule_seconds=[0, 0])
    visitor = visit(scripts=scripts)
    call(site, "POST", "/models", name=name)
    call(site, "POST", f"/models/{name}/versions", source="s3://elsewhere/1")
    (delivery,) = wait_for(
        lambda: call(site, "GET", f"/webhooks/{webhook_id}/deliveries")["items"],
        lambda items: [each["state"] for each in items] == ["blocked"],
    )

    visitor.go("/webhooks")
    row = visitor.page.get_by_role("row", name=f"deployer of {name}").inner_text()
    assert "failing" in row
    assert "100 %" in row
    visitor.follow(f"deployer of {name}")
    assert_seen(
        visitor,
        "Its last 2 attempts failed",
        "1 model waits behind a delivery that was given up",
        "2 of 2 attempts failed in 14 days (100 %)",
    )
    visitor.follow("Redeliver what is blocked")
    assert_seen(visitor, f"{name} 1")
    visitor.follow("model_version.registered")
    assert_seen(
        visitor,
        "Every attempt failed",
        "The receiver answered 500",
        "the <b>deployer</b> is down",
        "webhook-signature: (redacted)",
        *(delivery["id"], delivery["event_id"]),
    )

    deployer.is_down = False
    visitor.press("Redeliver")
    assert_seen(visitor, "On its way again, with the same id and the same bytes.")
    wait_for(lambda: state_of(site, delivery["id"]), "delivered".__eq__)
    assert {each.message_id for each in receiver.verified} == {delivery["event_id"]}
    visitor.go(f"/webhooks/{webhook_id}")
    assert_seen(
        visitor, "✓ active", "Nothing waits.", "2 of 3 attempts failed in 14 days"
    )


def assert_seen(visitor: Visitor, *texts: str) -> None:
    """All of it is on the page, which everybody can use."""
    for text in texts:
        assert text in visitor.text
    if visitor.has_scripts:
        visitor.check()


def test_open_page_shows_by_itself_that_an_endpoint_has_recovered(
    site: Site, visit: Visit, receiver: Receiver, deployer: Deployer
) -> None:
    webhook_id = subscribed(site, receiver, "watched*", schedule_seconds=[0, 3600])
    model(site, 0.9, prefix="watched")
    receiver.wait_for(1)
    visitor = visit()
    visitor.go(f"/webhooks/{webhook_id}")
    state = visitor.page.locator("h1 ~ .state").first
    expect(state).to_contain_text("failing")

    deployer.is_down = False
    call(site, "PATCH", f"/webhooks/{webhook_id}", state="active")

    expect(state).to_contain_text("active")


def test_form_that_is_refused_keeps_what_was_typed(
    site: Site, visit: Visit, receiver: Receiver
) -> None:
    visitor = visit()
    page = visitor.go("/webhooks/new?format=github")
    page.get_by_label("URL").fill(receiver.url)
    page.get_by_label("Headers").fill("X-Team: risk\nAuthorization: Bearer ${KEY}")
    page.get_by_label("token", exact=True).fill("ghp_0123456789")
    before = webhooks(site)

    visitor.press("Create webhook")

    assert_seen(visitor, "there is no credential 'KEY'")
    assert page.get_by_label("Headers").input_value().startswith("X-Team: risk")
    assert page.get_by_label("token", exact=True).input_value() == "ghp_0123456789"
    assert page.get_by_label("Dispatch").input_value() == "repository"
    assert webhooks(site) == before
    page.get_by_label("Format").select_option("gitlab")
    visitor.press("Show its fields")
    assert page.get_by_label("Ref").input_value() == ""
    assert page.get_by_label("URL").input_value() == receiver.url


def test_webhook_is_made_with_a_preview_and_its_secret_is_shown_once(
    site: Site, visit: Visit, receiver: Receiver, deployer: Deployer
) -> None:
    deployer.is_down = False
    name = model(site, 0.9, prefix="made")
    wait_for(  # an event has its place in the feed a moment after its change
        lambda: call(site, "GET", "/events?limit=200")["items"],
        lambda items: (
            (name, "model_version.registered")
            in [(each["data"].get("model"), each["type"]) for each in items]
        ),
    )
    visitor = visit(name="owner")
    page = visitor.go("/webhooks/new")
    fill_form(visitor, f"{receiver.url}?key=${{KEY}}")
    page.get_by_label("The request for").select_option("model_version.registered")
    visitor.press("Preview")
    assert_seen(
        visitor,
        f"Made of the last event of this type, of {name}.",
        f"POST {receiver.url}?key=(redacted)",
        "authorization: Bearer (redacted)",
        "x-team: risk",
        f'"model": "{name}"',
    )
    assert "hunter2" not in visitor.text
    page.get_by_label("The request for").select_option("registered_model.deleted")
    visitor.press("Preview")
    assert_seen(visitor, "It would not be sent", "Made of an example")
    assert receiver.requests == ()

    visitor.press("Create webhook")
    secret = page.locator("#secret").inner_text()
    visitor.check()
    receiver.accept_secret(secret)
    visitor.follow("I have kept it")
    assert secret not in page.content()
    call(site, "POST", f"/models/{name}/versions", source="s3://elsewhere/2")
    receiver.wait_for(1)
    (sent,) = receiver.verified
    assert sent.path == "/hook?key=hunter2-hunter2"
    assert sent.headers["authorization"] == "Bearer hunter2-hunter2"


def fill_form(visitor: Visitor, url: str) -> None:
    """Ask for all about versions, with a credential in URL and header."""
    page = visitor.page
    page.get_by_label("URL").fill(url)
    page.get_by_label("Headers").fill("X-Team: risk\nAuthorization: Bearer ${KEY}")
    page.get_by_label("Name of a further credential").first.fill("KEY")
    page.get_by_label("Value of a further credential").first.fill("hunter2-hunter2")
    page.get_by_text("Every event", exact=True).first.click()
    page.get_by_label("Every event (*)").uncheck()
    page.get_by_label("model_version.*", exact=True).check()


def test_secret_is_rotated_and_shown_once_uncompressed(
    site: Site, visit: Visit, receiver: Receiver, deployer: Deployer
) -> None:
    deployer.is_down = False
    webhook_id = subscribed(site, receiver, "rotated*")
    visitor = visit()
    page = visitor.go(f"/webhooks/{webhook_id}")
    page.get_by_label("The old one ends").select_option("at once")
    with page.expect_response(re.compile("rotate-secret")) as told:
        visitor.press("Rotate secret")

    headers = told.value.headers
    assert headers["cache-control"] == "no-store"
    assert "content-encoding" not in headers
    assert "etag" not in headers
    secret = page.locator("#secret").inner_text()
    visitor.check()
    receiver.replace_secrets([secret])
    visitor.follow("I have kept it")
    assert secret not in page.content()

    visitor.press("Send test")
    assert "The test was sent." in visitor.text
    assert "Response 200" in visitor.text
    assert "deployed" in visitor.text
    assert len(receiver.verified) == 1
    visitor.check()


def test_deliveries_are_counted_then_sent_again_by_a_filter(
    site: Site, visit: Visit, receiver: Receiver, deployer: Deployer
) -> None:
    deployer.is_down = False
    webhook_id = subscribed(site, receiver, "again*", rate_per_minute=6000)
    first, second = (model(site, 0.9, prefix="again") for _ in range(2))
    receiver.wait_for(2)
    listed = f"/webhooks/{webhook_id}/deliveries?state=delivered"
    wait_for(lambda: len(call(site, "GET", listed)["items"]), (2).__eq__)
    visitor = visit(scripts=False, width=NARROW)
    visitor.go(f"/webhooks/{webhook_id}")
    visitor.follow("Redeliver")
    visitor.page.get_by_role("textbox", name="Models").fill(first)
    visitor.press("Count")
    assert "1 delivery would be sent again" in visitor.text
    assert visitor.is_within_width()
    assert len(receiver.requests) == 2

    visitor.page.get_by_role("textbox", name="Models").fill("again-*")
    visitor.press("Count")
    assert "2 deliveries would be sent again" in visitor.text
    visitor.press("Send 2 again")

    assert "On their way again: 2." in visitor.text
    requests = receiver.wait_for(4)
    again = [each for each in requests if "webhook-replay" in each.headers]
    assert {each.json()["data"]["model"] for each in again} == {first, second}


def test_webhook_is_paused_edited_and_deleted_and_a_stale_edit_is_refused(
    site: Site, visit: Visit, receiver: Receiver, deployer: Deployer
) -> None:
    deployer.is_down = False
    webhook_id = subscribed(site, receiver, "edited*")
    owner, other = visit(), visit(name="other admin", role="admin")
    owner.go(f"/webhooks/{webhook_id}")
    owner.press("Pause")
    assert "Paused. Events wait" in owner.text
    assert "Somebody paused it." in owner.text
    owner.check()
    owner.press("Resume")
    assert "✓ active" in owner.text

    other.go(f"/webhooks/{webhook_id}/edit")
    edit(owner, webhook_id, "Retrains")
    assert "Saved." in owner.text
    other.page.get_by_label("Description").fill("Deploys")
    other.press("Save")
    assert "somebody has changed this webhook meanwhile" in other.text
    assert call(site, "GET", f"/webhooks/{webhook_id}")["description"] == "Retrains"
    edit(owner, webhook_id, "Retrains")
    assert "Nothing was changed." in owner.text

    owner.follow("Delete")
    assert "Nothing waits for it." in owner.text
    owner.check()
    owner.press("Delete webhook")
    assert "Deleted." in owner.text
    assert "Retrains" not in owner.text


def edit(visitor: Visitor, webhook_id: str, description: str) -> None:
    visitor.go(f"/webhooks/{webhook_id}/edit")
    visitor.page.get_by_label("Description").fill(description)
    visitor.press("Save")
