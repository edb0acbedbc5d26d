"""People find models, see what became of one, and describe it."""

import re

from playwright.sync_api import Page, expect

from tests.browser.chromium import NARROW, Visitor
from tests.browser.conftest import Site, Visit
from tests.browser.moving import call, model, moved, served


def open_details(page: Page, *, within: str, summary: str) -> None:
    page.locator(within).get_by_text(summary, exact=True).first.click()


def test_a_model_is_found_by_words_and_by_a_filter(site: Site, visit: Visit) -> None:
    name = served(site, 0.9, 0.93)
    call(site, "PATCH", f"/models/{name}", tags={"team": "risk"})
    visitor = visit("viewer")
    page = visitor.go("/models")

    page.keyboard.press("/")
    page.keyboard.type(f"{name[:4]} {name[-3:]}")
    page.keyboard.press("Enter")
    page.wait_for_load_state()
    row = page.locator("tbody tr").filter(has=page.get_by_text(name, exact=True))
    expect(row.get_by_label("Version 1 in Production")).to_be_visible()
    expect(row).to_contain_text("team: risk")
    visitor.check()

    page.get_by_label("Name or filter").fill("tags.team = risk")
    visitor.press("Search")
    assert "Filter: at character 13" in visitor.text
    expect(page.get_by_label("Name or filter")).to_have_value("tags.team = risk")
    visitor.check()

    page.get_by_label("Name or filter").fill("tags.team = 'risk'")
    visitor.press("Search")
    visitor.follow(name)
    expect(page.get_by_role("heading", level=1)).to_have_text(name)


def test_a_model_is_created_once(visit: Visit) -> None:
    visitor = visit("writer")
    page = visitor.go("/models")

    for told in ("The model is registered", "exists already"):
        page.get_by_text("New model").click()
        page.get_by_role("textbox", name="Name", exact=True).fill("made-by-hand")
        page.get_by_role("textbox", name="Description").fill("for the tests")
        visitor.check()
        visitor.press("Create model")
        assert told in visitor.text
        visitor.check()
        page = visitor.go("/models") if told != "exists already" else page

    page.wait_for_timeout(6_000)  # a page that follows what changes would have by now
    expect(page.get_by_role("textbox", name="Description")).to_have_value(
        "for the tests"
    )


def test_what_became_of_a_model_is_seen_at_a_glance(site: Site, visit: Visit) -> None:
    name = served(site, 0.9, 0.93, 0.91)
    moved(site, name, 2, "Production", reason="wins the shadow test")
    call(site, "POST", f"/models/{name}/rollback", reason="latency doubled")
    visitor = visit("promoter")
    page = visitor.go(f"/models/{name}")

    production = page.get_by_role("region", name="Production 1")
    expect(production).to_contain_text("Version 1")
    expect(production).to_contain_text("latency doubled")
    bars = page.get_by_role("link", name=re.compile("in Production from"))
    expect(bars).to_have_count(3)
    expect(bars.nth(2)).to_have_accessible_name(
        re.compile("Version 1 in Production from .* rollback by .*: latency doubled")
    )
    assert "wins the shadow test" in visitor.text
    visitor.check()

    bars.nth(1).click()
    page.wait_for_load_state()
    assert page.url.endswith(f"/models/{name}/versions/2#history")


def test_the_table_and_the_plot_are_what_their_reader_chose(
    site: Site, visit: Visit
) -> None:
    name = model(site, 0.9, 0.93, 0.91)
    visitor = visit("viewer")
    page = visitor.go(f"/models/{name}")

    page.get_by_label("Metric").select_option("rows")
    visitor.press("Show")
    expect(page.get_by_role("heading", name="rows over versions")).to_be_visible()
    page.get_by_text("Columns", exact=True).first.click()
    visitor.check()
    page.get_by_role("checkbox", name="Description").uncheck()
    page.get_by_label("Registered").check()
    visitor.press("Apply")
    page.locator("#versions").get_by_role("link", name="auc").click()
    page.wait_for_load_state()
    heads = page.locator("#versions thead").inner_text().split()
    assert "Registered" in heads
    assert "Description" not in heads
    expect(page.get_by_role("heading", name="rows over versions")).to_be_visible()
    numbers = page.locator("#versions tbody th a").all_inner_texts()
    assert numbers == ["2", "3", "1"]
    visitor.check()

    page.get_by_label("Compare version 2").check()
    page.get_by_label("Compare version 1").check()
    visitor.press("Compare chosen")
    assert page.url.endswith(f"/models/{name}/compare?v=2&v=1")


def describe_all(visitor: Visitor, name: str) -> None:
    page = visitor.page
    open_details(page, within="#description", summary="Edit")
    page.get_by_role("textbox", name="Description").fill("Scores payments.\nAsk risk.")
    visitor.press("Save description")
    assert "Scores payments. Ask risk." in visitor.text

    open_details(page, within="#tags", summary="Edit")
    page.get_by_label("Key").fill("owner")
    page.get_by_label("Value").fill("ann")
    visitor.press("Set tag")
    assert "owner ann" in visitor.text

    open_details(page, within="#aliases", summary="Edit")
    page.get_by_role("textbox", name="Alias").fill("best")
    page.get_by_role("textbox", name="Version").fill("7")
    visitor.press("Set alias")
    assert "there is no version 7" in visitor.text
    page.get_by_role("textbox", name="Version").fill("1")
    visitor.press("Set alias")
    assert "@best version 1" in visitor.text
    assert call_model(name, visitor)["aliases"] == {"best": 1}


def call_model(name: str, visitor: Visitor) -> dict[str, object]:
    answer = visitor.page.context.request.get(f"{visitor.url}/api/v1/models/{name}")
    document: dict[str, object] = answer.json()
    return document


def test_all_is_described_held_and_deleted_without_a_script_on_a_telephone(
    site: Site, visit: Visit
) -> None:
    name = model(site, 0.9)
    visitor = visit("promoter", scripts=False, width=NARROW)
    page = visitor.go(f"/models/{name}")
    assert visitor.is_within_width()

    describe_all(visitor, name)
    open_details(page, within="#holds", summary="Hold a stage")
    page.get_by_label("Reason").fill("audit")
    visitor.press("Hold stage")
    assert "Production is held by promoter" in visitor.text
    assert visitor.is_within_width()
    open_details(page, within="#holds", summary="Hold or lift")
    visitor.press("Lift hold")
    assert "No stage is held" in visitor.text

    visitor.follow("Delete")
    page.get_by_label("Type its name").fill("another")
    visitor.press("Delete model")
    assert "type that of the model" in visitor.text
    assert visitor.is_within_width()
    page.get_by_label("Type its name").fill(name)
    visitor.press("Delete model")
    assert "The model is deleted" in visitor.text


def test_forms_that_are_open_can_be_used_by_everybody(site: Site, visit: Visit) -> None:
    name = served(site, 0.9)
    visitor = visit("admin")
    page = visitor.go(f"/models/{name}")

    page.evaluate(
        "document.querySelectorAll('details').forEach((d) => (d.open = true))"
    )

    visitor.check()
