"""People move versions, knowing what that will do."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator

from tests.browser.chromium import NARROW, Visitor
from tests.browser.conftest import Site, Visit
from tests.browser.moving import call, model, moved, served, site_with_gates, stage_of


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_with_gates(tmp_path_factory.mktemp("site")) as started:
        call(
            started,
            "POST",
            "/webhooks",
            url="http://127.0.0.1:9/",
            description="the pipeline",
            event_types=["model_version.*"],
        )
        yield started


def moving(visitor: Visitor, name: str, number: int, to: str = "Production") -> None:
    visitor.go(f"/models/{name}/versions/{number}/move?to={to}")


def field(visitor: Visitor) -> Locator:
    return visitor.page.get_by_role("textbox", name="Reason")


def reason(visitor: Visitor, text: str) -> None:
    field(visitor).fill(text)


def test_what_a_promotion_does_is_shown_and_then_done(site: Site, visit: Visit) -> None:
    name = served(site, 0.91, 0.93)
    visitor = visit("promoter")

    moving(visitor, name, 2)
    said = visitor.text
    visitor.check()

    assert "version 1 leaves ● Production for □ Archived" in said
    assert "version 2 goes from ◐ Staging to ● Production" in said
    assert "auc metric 0.91 0.93 +0.02" in said
    assert "depth param 9 9" not in said
    assert "the pipeline" in said
    assert "The alias production follows" in said

    reason(visitor, "passed the shadow test")
    visitor.press("Move to Production")

    assert f"/models/{name}/versions/2?done=moved" in visitor.page.url
    assert stage_of(site, name, 2) == "Production"
    assert stage_of(site, name, 1) == "Archived"
    (last, *_) = call(site, "GET", f"/models/{name}/history")["items"]
    assert last["reason"] == "passed the shadow test"
    assert last["actor"]["name"] == "promoter"


def test_a_move_that_the_policy_refuses_is_not_offered_and_refused_when_tried(
    site: Site, visit: Visit
) -> None:
    name = model(site, 0.9)
    visitor = visit("promoter")

    moving(visitor, name, 1)
    assert "None to Production is not an allowed move" in visitor.text
    assert visitor.page.get_by_role("button").count() == 0
    visitor.check()

    address = f"{site.server.url}/models/{name}/versions/1/move"
    shown = call_page(visitor, address, {"to": "Production", "reason": "now"})
    assert shown == 412  # what it was shown is not known
    assert stage_of(site, name, 1) == "None"


def test_a_button_that_is_pressed_twice_moves_once_and_says_so(
    site: Site, visit: Visit
) -> None:
    name = served(site, 0.91, 0.93)
    visitor = visit("promoter")

    moving(visitor, name, 2)
    reason(visitor, "eager")
    with visitor.page.expect_navigation(url="**/models/**"):
        visitor.page.get_by_role("button", name="Move to Production").evaluate(
            "(it) => [0, 20, 40].forEach((ms) => setTimeout(() => it.click(), ms))"
        )

    assert visitor.page.url.endswith("?done=moved")
    assert stage_of(site, name, 2) == "Production"


def call_page(
    visitor: Visitor, address: str, form: dict[str, str | float | bool]
) -> int:
    """What a form is answered that no page has shown."""
    answer = visitor.page.request.post(
        address, form=form, headers={"Origin": visitor.url}, max_redirects=0
    )
    return answer.status


def test_a_stale_page_moves_nothing_and_shows_what_is_different(
    site: Site, visit: Visit
) -> None:
    name = served(site, 0.91, 0.93, 0.95)
    visitor = visit("promoter")
    moving(visitor, name, 3)
    moved(site, name, 2, "Production")

    reason(visitor, "better still")
    visitor.press("Move to Production")

    assert "Nothing was done: something has changed" in visitor.text
    assert "In Production: was version 1, is version 2" in visitor.text
    assert stage_of(site, name, 3) == "Staging"
    assert field(visitor).input_value() == "better still"
    visitor.check()

    visitor.press("Move to Production")
    assert stage_of(site, name, 3) == "Production"
    assert stage_of(site, name, 2) == "Archived"


def test_production_is_rolled_back_to_a_version_of_choice(
    site: Site, visit: Visit
) -> None:
    name = served(site, 0.91, 0.93, 0.95)
    for number in (2, 3):
        moved(site, name, number, "Production", reason=f"number {number}")
    visitor = visit("promoter")

    page = visitor.go(f"/models/{name}/rollback")
    assert "Roll Production back to version 2" in visitor.text
    visitor.check()
    page.get_by_role("link", name="Choose version 1").click()
    assert "Roll Production back to version 1" in visitor.text
    assert "version 3 leaves ● Production" in visitor.text
    assert "Production is held afterwards" in visitor.text

    reason(visitor, "false positives tripled")
    visitor.press("Roll back to version 1")

    assert stage_of(site, name, 1) == "Production"
    assert stage_of(site, name, 3) == "Archived"


def test_who_may_breaks_the_glass_and_is_told_what_that_means(
    site: Site, visit: Visit
) -> None:
    name = model(site, 0.8, prefix="gated")
    promoter, breaker = visit("promoter"), visit("break-glass")
    moving(promoter, name, 1)
    assert "Break the glass" not in promoter.text

    moving(breaker, name, 1)
    assert "Metric 'auc' is 0.8, below 0.9" in breaker.text
    assert "The audit log names you" in breaker.text
    breaker.check()
    reason(breaker, "the site is down")
    breaker.press("Break the glass")

    assert stage_of(site, name, 1) == "Production"
    (last, *_) = call(site, "GET", f"/models/{name}/history")["items"]
    assert last["broke_glass"]


def test_nothing_serves_yet_and_the_page_of_rollbacks_says_so(
    site: Site, visit: Visit
) -> None:
    visitor = visit("viewer", width=NARROW)
    visitor.go(f"/models/{model(site)}/rollback")
    assert "No version has been in Production yet" in visitor.text
    assert visitor.is_within_width()
    visitor.check()


def test_a_version_is_moved_without_scripts_on_a_narrow_screen(
    site: Site, visit: Visit
) -> None:
    name = served(site, 0.91, 0.93)
    visitor = visit("promoter", scripts=False, width=NARROW)

    moving(visitor, name, 2, to="")
    visitor.follow("Production")
    assert visitor.is_within_width()
    reason(visitor, "passed")
    visitor.press("Move to Production")
    assert stage_of(site, name, 2) == "Production"

    visitor.go(f"/models/{name}/rollback")
    assert visitor.is_within_width()
    reason(visitor, "and back")
    visitor.press("Roll back to version 1")
    assert stage_of(site, name, 1) == "Production"
