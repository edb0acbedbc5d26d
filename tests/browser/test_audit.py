"""An auditor looks at what happened, and sees where somebody wrote into the log."""

import sqlite3
from contextlib import closing

from playwright.sync_api import Page

from tests.browser.chromium import NARROW, Visitor
from tests.browser.conftest import Site, Visit
from tests.browser.moving import call


def rows(page: Page) -> list[str]:
    """What each row of the page's first table says."""
    texts = page.locator("main table").first.locator("> tbody > tr").all_inner_texts()
    return [" ".join(text.split()) for text in texts]


def serve(site: Site, model: str, *numbers: int) -> None:
    """Bring versions of a new model to Production, one after the other."""
    call(site, "POST", "/models", name=model)
    for number in numbers:
        versions = f"/models/{model}/versions"
        call(site, "POST", versions, source=f"gs://store-example/{model}/{number}")
        for stage in ("Staging", "Production"):
            reason = f"{number} passed the <i>shadow</i> test"
            path = f"{versions}/{number}/transitions"
            call(site, "POST", path, to_stage=stage, reason=reason)


def find_who_promoted(visitor: Visitor, model: str) -> None:
    """From the filter to the entry of a change, and to who held what after it."""
    page = visitor.go("/audit")
    page.get_by_label("Model", exact=True).fill(model)
    page.get_by_label("Action").select_option("Changed the stage")
    visitor.press("Filter")
    assert f"model={model}" in page.url
    assert len(rows(page)) == 4
    assert "2 passed the <i>shadow</i> test" in rows(page)[0]
    assert visitor.is_within_width()

    page.get_by_role("link", name="Entry").first.click()
    page.wait_for_load_state()
    assert "Staging to ● Production" in visitor.text
    assert "by API token" in visitor.text
    assert visitor.is_within_width()

    visitor.go(f"/audit/as-of?at=2100-01-01&model={model}")
    assert [row.split()[:4] for row in rows(page)] == [
        [model, "●", "Production", "2"],
    ]
    page.locator("main table time").click()
    page.wait_for_load_state()
    assert "The entries of one change of stage" in visitor.text
    assert len(rows(page)) == 1
    assert visitor.is_within_width()


def test_auditor_finds_who_promoted_what_and_why(site: Site, visit: Visit) -> None:
    serve(site, "fraud", 1, 2)

    visitor = visit("auditor")

    find_who_promoted(visitor, "fraud")
    visitor.check()
    visitor.go("/audit")
    page = visitor.page
    page.locator("summary").first.click()
    visitor.check()
    page.get_by_label("From (UTC)").fill("yesterday")
    visitor.press("Filter")
    assert "expected a time such as" in visitor.text
    assert page.get_by_label("From (UTC)").input_value() == "yesterday"
    visitor.check()
    with page.expect_download() as download:
        page.get_by_role("link", name="Export").click()
    assert download.value.path().read_text().count("\n") > 8


def test_auditor_needs_no_script_and_no_width(site: Site, visit: Visit) -> None:
    serve(site, "narrow", 1, 2)

    find_who_promoted(visit("auditor", scripts=False, width=NARROW), "narrow")


def test_log_that_somebody_wrote_into_is_seen_as_such(site: Site, visit: Visit) -> None:
    serve(site, "tampered", 1, 2)
    serve(site, "untouched", 1)
    visitor = visit("viewer")
    visitor.go("/audit?model=tampered")
    visitor.follow("Verify this model")
    assert "The chain of tampered is whole up to entry 7, its last" in visitor.text
    visitor.check()

    file = site.server.directory / "data" / "stagegate.db"
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("DROP TRIGGER audit_entries_no_update")
        database.execute(
            "UPDATE audit_entries SET canonical = replace(canonical, '2 passed', 'no')"
            " WHERE model = 'tampered' AND n = 7"
        )

    visitor.follow("Verify again")
    assert "The log is damaged" in visitor.text
    assert rows(visitor.page)[0].startswith(
        "tampered 7 Its text or hash was changed expected hash"
    )
    visitor.check()
    visitor.page.get_by_role("link", name="7", exact=True).click()
    visitor.page.wait_for_load_state()
    assert "no the <i>shadow</i> test" in visitor.text
    visitor.go("/audit/verify")
    assert "1 place is not as it was sealed" in visitor.text
    visitor.go("/audit/verify?model=untouched")
    assert "The log is intact" in visitor.text
