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
    first, second = page.get_by_role("row").all()[1:3]
    visitor.check()

    assert first.inner_text().split()[:4] == ["▲", "drift", "eu", moved]
    assert "version 1" in first.get_by_role("cell").nth(3).inner_text()
    assert "version 2" in first.get_by_role("cell").nth(4).inner_text()
    assert second.inner_text().split()[:5] == ["✓", "in", "step", "eu", calm]

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
