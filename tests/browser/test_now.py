"""The start page: what is to be done, and what is wrong."""

from collections.abc import Iterator

import pytest

from tests.browser.chromium import NARROW
from tests.browser.conftest import Site, Visit
from tests.browser.moving import call, model, moved, served, site_with_gates
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_with_gates(tmp_path_factory.mktemp("site")) as started:
        yield started


def test_the_start_page_says_that_all_is_well_and_then_what_is_not(
    site: Site, visit: Visit
) -> None:
    admin = visit("admin")
    admin.go("/")
    for words in (
        "Nothing waits for you.",
        "Every endpoint takes what it is sent.",
        "No deployment that was reported has failed or is stuck.",
        "No stage is held, and no freeze is in force.",
        "No version has moved yet",
    ):
        assert words in admin.text
    admin.check()

    name = with_trouble(site)
    admin.go("/")
    for words in (
        "1 waiting for you",
        "1 endpoint in trouble",
        "1 deployment failed or stuck",
        "1 hold or freeze",
        "promoter asks",
        "the pipeline",
        "the pods do not start",
        "false positives tripled",
        "in place of version 2",
    ):
        assert words in admin.text, (words, admin.text)
    assert admin.page.get_by_text("1 waiting for you").count() == 2  # and above it
    admin.check()
    admin.follow("roll back")
    assert admin.page.url.endswith(f"/models/{name}/rollback")


def with_trouble(site: Site) -> str:
    """A model that is held and was not deployed, beside one that is asked for."""
    url = "http://127.0.0.1:9/"
    webhook = call(site, "POST", "/webhooks", url=url, description="the pipeline")
    name = served(site, 0.91, 0.93)
    moved(site, name, 2, "Production")
    path = f"/models/{name}/rollback"
    call(site, "POST", path, "promoter", reason="false positives tripled")
    call(
        site,
        "POST",
        f"/models/{name}/versions/1/deployments",
        environment="eu",
        status="failed",
        description="the pods do not start",
    )
    gated = model(site, 0.95, prefix="gated")
    path = f"/models/{gated}/versions/1"
    call(site, "POST", f"{path}/checks", name="tests", status="passed")
    call(site, "POST", f"{path}/transitions", "promoter", to_stage="Production")
    wait_for(lambda: call(site, "GET", f"/webhooks/{webhook['id']}")["failing_since"])
    return name


def test_a_viewer_sees_no_endpoint_and_has_nothing_to_decide(
    visit: Visit,
) -> None:
    viewer = visit("viewer", scripts=False, width=NARROW)
    viewer.go("/")
    assert "endpoint" not in viewer.text.lower()
    assert "waiting for you" not in viewer.text.lower()
    assert viewer.is_within_width()
