"""What all pages do alike: follow what changes, tell times, take keys, copy."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Site, Visit
from tests.waiting import wait_for

MODEL = "habits"


@pytest.fixture(autouse=True)
def model(site: Site, artifact: Path) -> None:
    if not [each for each in site.client.models() if each.name == MODEL]:
        site.client.create_model(MODEL)
        site.client.register(MODEL, artifact)


def test_open_page_shows_a_change_and_asks_in_vain_for_little(
    site: Site, visit: Visit
) -> None:
    visitor = visit("viewer")
    page = visitor.go(f"/models/{MODEL}")
    asked: list[int] = []
    page.on(
        "response",
        lambda answer: asked.append(answer.status) if answer.url == page.url else None,
    )

    wait_for(lambda: _looked(page, asked))
    assert set(asked) == {304}

    site.client.update_model(MODEL, description="seen by those who look")
    wait_for(lambda: _looked(page, asked), lambda statuses: 200 in statuses)
    page.get_by_text("seen by those who look").first.wait_for()


def _looked(page: Page, asked: list[int]) -> list[int]:
    """What was answered so far; Playwright hears of it while it waits."""
    page.wait_for_timeout(200)
    return list(asked)


def test_what_is_being_typed_is_left_alone(site: Site, visit: Visit) -> None:
    visitor = visit("admin")
    page = visitor.go(f"/models/{MODEL}/versions/1/move?to=Staging")
    reason = page.get_by_role("textbox", name="Reason")
    reason.fill("half a sen")
    site.client.update_model(MODEL, description="another")

    page.wait_for_timeout(6_000)

    assert reason.input_value() == "half a sen"


def test_times_are_the_readers_and_exact_on_hover(visit: Visit) -> None:
    visitor = visit("viewer")
    page = visitor.go(f"/models/{MODEL}/versions/1")

    told = page.locator("time").first
    exact = told.get_attribute("title") or ""

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", exact)
    assert "UTC" not in told.inner_text()
    without = visit("viewer", scripts=False)
    without.go(f"/models/{MODEL}/versions/1")
    assert without.page.locator("time").first.inner_text().endswith(" UTC")


def test_a_key_goes_to_the_search_and_a_command_is_copied(visit: Visit) -> None:
    visitor = visit("admin")
    visitor.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = visitor.go(f"/models/{MODEL}/versions/1/move?to=Staging")

    page.keyboard.press("/")
    assert page.get_by_label("Search models").evaluate(
        "(field) => field === document.activeElement"
    )
    page.get_by_text("On the command line").first.click()
    page.locator(".cli .copy").first.click()
    copied = page.evaluate("navigator.clipboard.readText()")

    assert copied.startswith(f"stagegate promote {MODEL} 1 --to Staging")
