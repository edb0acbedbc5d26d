"""People ask for moves, and others decide on them."""

from collections.abc import Iterator

import pytest

from tests.browser.chromium import NARROW, Visitor
from tests.browser.conftest import Site, Visit
from tests.browser.moving import call, model, site_with_gates, stage_of


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_with_gates(tmp_path_factory.mktemp("site")) as started:
        yield started


def gated(site: Site) -> str:
    """A model whose version waits for nothing but an approval."""
    name = model(site, 0.95, prefix="gated")
    checked(site, name)
    return name


def checked(site: Site, name: str) -> None:
    path = f"/models/{name}/versions/1/checks"
    call(site, "POST", path, name="tests", status="passed")


def write(visitor: Visitor, label: str, text: str) -> None:
    visitor.page.get_by_role("textbox", name=label).fill(text)


def requested(site: Site, name: str, role: str = "promoter") -> str:
    """The path of a request for the move of its version."""
    path = f"/models/{name}/versions/1/transitions"
    request = call(site, "POST", path, role, to_stage="Production")["request"]
    return f"/requests/{request['id']}"


def test_somebody_asks_and_somebody_else_approves(site: Site, visit: Visit) -> None:
    name = gated(site)
    asker, approver = visit("admin", name="ada"), visit("approver")

    asker.go(f"/models/{name}/versions/1/move?to=Production")
    assert "It takes 1 approval of others" in asker.text
    write(asker, "Reason", "ready for Thursday")
    asker.press("Request approval")
    assert "Requested: others decide on it now." in asker.text
    assert "You asked for this yourself" in asker.text
    assert asker.page.get_by_role("button", name="Approve").count() == 0
    asker.check()

    approver.go("/")
    assert "0 waiting for you" not in approver.text
    approver.check()
    approver.follow(f"Move {name} version 1")
    assert "ready for Thursday" in approver.text
    approver.check()
    write(approver, "Comment", "looked at the report")
    approver.press("Approve and carry out")

    assert "the version has moved" in approver.text
    assert "approver looked at the report" in approver.text.replace(" now", "")
    approver.check()
    assert stage_of(site, name, 1) == "Production"


def test_one_s_own_request_is_refused_when_it_is_tried(
    site: Site, visit: Visit
) -> None:
    path = requested(site, name := gated(site), role="admin")
    asker, approver = visit("admin"), visit("approver")
    asker.go(path)
    assert asker.page.get_by_role("button", name="Approve").count() == 0
    approver.go(path)
    shown = approver.page.locator("input[name=shown]").input_value()

    answer = asker.page.request.post(
        f"{site.server.url}{path}/approve",
        form={"shown": shown},
        headers={"Origin": asker.url},
    )

    assert answer.status == 403
    assert "admin asked for this: somebody else must approve it" in answer.text()
    assert stage_of(site, name, 1) == "None"


def test_an_approval_is_of_what_was_shown_alone(site: Site, visit: Visit) -> None:
    path = requested(site, name := gated(site))
    approver = visit("approver")
    approver.go(path)
    checked(site, name)

    approver.press("Approve and carry out")

    assert "Nothing was approved: something has changed" in approver.text
    assert "Check tests: was passed (passed " in approver.text
    assert stage_of(site, name, 1) == "None"
    approver.check()

    approver.press("Approve and carry out")
    assert stage_of(site, name, 1) == "Production"


def test_requests_are_rejected_and_cancelled_and_stay_to_be_read(
    site: Site, visit: Visit
) -> None:
    rejected = requested(site, gated(site))
    cancelled = requested(site, name := gated(site))
    approver, promoter = visit("approver"), visit("promoter")

    approver.go("/requests")
    assert "Waiting for me" in approver.text
    approver.check()
    approver.go(rejected)
    write(approver, "Comment", "too early")
    approver.press("Reject")
    assert "Rejected." in approver.text
    approver.check()
    promoter.go(cancelled)
    promoter.press("Cancel the request")
    assert "Cancelled." in promoter.text

    promoter.go("/requests?show=past")
    assert "✕ rejected" in promoter.text
    promoter.check()
    promoter.go(f"/requests?show=open&model={name}")
    assert "No request is open" in promoter.text
    promoter.check()


def test_who_may_not_move_a_version_may_ask_for_it_without_scripts(
    site: Site, visit: Visit
) -> None:
    name = gated(site)
    writer = visit("writer", scripts=False, width=NARROW)
    approver = visit("approver", scripts=False, width=NARROW)

    writer.go(f"/models/{name}/versions/1/move?to=Production")
    assert writer.is_within_width()
    write(writer, "Reason", "trained and tested")
    writer.press("Request approval")
    assert "Requested: others decide on it now." in writer.text
    assert writer.is_within_width()

    approver.go("/requests")
    assert approver.is_within_width()
    approver.follow(f"{name} version 1")
    assert approver.is_within_width()
    approver.press("Approve and carry out")
    assert stage_of(site, name, 1) == "Production"
