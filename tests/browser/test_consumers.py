"""People see what runs where, and what should."""

from tests.browser.chromium import NARROW
from tests.browser.conftest import Site, Visit
from tests.browser.moving import call, served


def report(site: Site, name: str, version: int, status: str, **more: str) -> None:
    path = f"/models/{name}/versions/{version}/deployments"
    call(site, "POST", path, status=status, **{"environment": "eu", **more})


def test_drift_comes_first_and_goes_once_it_is_reported_away(
    site: Site, visit: Visit
) -> None:
    calm, moved = served(site, 0.9, 0.9), served(site, 0.9, 0.9)
    report(site, calm, 1, "succeeded")
    report(site, moved, 1, "succeeded")
    call(
        site,
        "POST",
        f"/models/{moved}/versions/2/transitions",
        to_stage="Production",
    )
    visitor = visit("viewer")

    page = visitor.go("/consumers")
    rows = [row.inner_text().split() for row in page.get_by_role("row").all()[1:]]
    visitor.check()

    drift, in_step = ["▲", "drift", "eu", moved], ["✓", "in", "step", "eu", calm]
    (first,) = [place for place, row in enumerate(rows) if row[:4] == drift]
    (second,) = [place for place, row in enumerate(rows) if row[:5] == in_step]
    assert first < second
    cells = page.get_by_role("row").nth(first + 1).get_by_role("cell")
    assert "version 1" in cells.nth(3).inner_text()
    assert "version 2" in cells.nth(4).inner_text()

    report(site, moved, 2, "failed", description="no room")
    visitor.go(f"/consumers?model={moved}")
    assert "✕ failed" in visitor.text
    assert "no room" in visitor.text
    assert calm not in visitor.text
    visitor.check()
    report(site, moved, 2, "succeeded")
    page.reload()
    assert "✓ in step" in visitor.text


def test_only_what_may_be_read_is_listed_and_environments_are_filtered(
    site: Site, visit: Visit
) -> None:
    mine, others = served(site, 0.9), served(site, 0.9)
    report(site, mine, 1, "succeeded", environment="west")
    report(site, others, 1, "succeeded", environment="west")
    site.token("reader", "of one", models=mine)

    visitor = visit("reader", name="of one", scripts=False, width=NARROW)
    page = visitor.go("/consumers")
    assert mine in visitor.text
    assert others not in visitor.text
    page.get_by_role("textbox", name="Environment").fill("east")
    visitor.press("Filter")

    assert page.url.endswith("/consumers?model=&environment=east")
    assert "No environment matches." in visitor.text
    assert visitor.is_within_width()
