"""An admin lets others in and shuts them out; somebody leaves, here and everywhere."""

import pytest

from tests.browser.chromium import NARROW, Visitor
from tests.browser.conftest import Site, Visit
from tests.browser.moving import call


def make_token(visitor: Visitor, name: str) -> str:
    """A viewer's token, made on the page; what it shows, this once."""
    page = visitor.go("/admin/tokens")
    page.locator("summary", has_text="New token").click()
    page.get_by_label("Name", exact=True).fill(name)
    visitor.press("Create token")
    assert "Copy it now" in visitor.text
    assert visitor.is_within_width()
    return page.locator("[data-copy]").first.inner_text()


def roles(site: Site) -> list[object]:
    """Whoever has been granted a role."""
    found: list[object] = call(site, "GET", "/role-bindings")["items"]
    return found


def end(visitor: Visitor, name: str, what: str) -> None:
    """End what stands in the row of that name, after what that will do was said."""
    row = visitor.page.get_by_role("row", name=name)
    row.locator("summary").click()
    row.get_by_role("button", name=f"Yes, {what.lower()}").click()
    visitor.page.wait_for_load_state()


def test_admin_makes_a_token_and_its_end_ends_its_sessions(
    site: Site, visit: Visit
) -> None:
    admin, somebody = visit("admin"), visit(None)
    admin.go("/admin/tokens")
    admin.page.locator("summary", has_text="New token").click()
    admin.check()
    admin.page.get_by_label("Name", exact=True).fill("a/b")
    admin.press("Create token")
    assert "Name: must not be blank or contain" in admin.text
    assert admin.page.get_by_label("Name", exact=True).input_value() == "a/b"
    admin.check()
    secret = make_token(admin, "dashboard")
    admin.check()
    somebody.go("/account").get_by_label("API token").fill(secret)
    somebody.press("Sign in")
    assert "an API token" in somebody.text
    somebody.check()

    admin.follow("I have copied it")
    assert secret not in admin.page.content()
    end(admin, "dashboard", "Revoke")

    assert "The token is revoked" in admin.text
    admin.check()
    somebody.go("/account")
    assert somebody.page.url.startswith(f"{site.server.url}/signin?next=%2Faccount")
    assert "Your session has ended" in somebody.text


def test_access_needs_no_script_and_no_width(visit: Visit) -> None:
    admin = visit("admin", scripts=False, width=NARROW)

    make_token(admin, "narrow")
    admin.follow("I have copied it")
    end(admin, "narrow", "Revoke")

    assert "The token is revoked" in admin.text
    assert admin.is_within_width()


def test_admin_grants_a_role_and_trusts_a_publisher(visit: Visit) -> None:
    admin = visit("admin")
    page = admin.go("/admin/roles")
    page.locator("summary", has_text="Grant a role").click()
    page.get_by_label("Name", exact=True).fill("ml-leads")
    admin.check()
    admin.press("Grant role")
    assert "The role is granted" in admin.text
    end(admin, "ml-leads", "Take away")
    assert "The role is taken away" in admin.text
    assert "Nobody has been granted a role here" in admin.text
    admin.check()

    admin.follow("Trusted publishers")
    page.locator("summary", has_text="Trust a publisher").click()
    page.locator("summary", has_text="Kubernetes").click()
    form = page.get_by_role("form", name="Kubernetes")
    for label, text in {
        "Name": "training",
        "Namespace": "ml",
        "Service account": "training",
        "Issuer": "https://cluster.example.com",
    }.items():
        form.get_by_label(label, exact=True).fill(text)
    admin.check()
    admin.press("Trust its jobs")
    assert "The publisher is trusted" in admin.text
    assert "namespace ml service account training" in admin.text
    admin.check()
    end(admin, "training", "Delete")
    assert "trusted no more" in admin.text
    assert "No publisher is trusted" in admin.text


def test_signing_out_everywhere_ends_every_browser(site: Site, visit: Visit) -> None:
    here, there = visit("viewer"), visit("viewer")
    here.go("/account")
    here.check()

    here.press("Sign out everywhere")

    assert here.page.url == f"{site.server.url}/signin"
    there.go("/audit")
    assert there.page.url.startswith(f"{site.server.url}/signin?next=%2Faudit")


def test_second_tab_with_another_role_is_refused_in_the_first(
    site: Site, visit: Visit
) -> None:
    first = visit("admin")
    page = first.go("/admin/roles")
    page.locator("summary", has_text="Grant a role").click()
    page.get_by_label("Name", exact=True).fill("leads")
    second = page.context.new_page()
    second.goto(f"{site.server.url}/account")
    second.get_by_role("button", name="Sign out", exact=True).click()
    second.get_by_label("API token").fill(site.token("viewer"))
    second.get_by_role("button", name="Sign in", exact=True).click()

    first.press("Grant role")

    assert "may not administer" in first.text
    assert roles(site) == []
    first.check()


@pytest.mark.parametrize(
    ("place", "refusal"),
    [
        ("http://evil.localhost", "Unauthorized"),  # the cookie does not come along
        ("http://127.0.0.1:9", "Forbidden"),  # it does: another port is the same site
    ],
)
def test_page_elsewhere_can_neither_frame_a_page_nor_send_its_form(
    site: Site, visit: Visit, place: str, refusal: str
) -> None:
    visitor = visit("admin")
    page, url = visitor.page, f"{site.server.url}/admin/roles"
    body = f"""<iframe src="{url}"></iframe><form method="post" action="{url}">
        <input name="subject_kind" value="group"><input name="subject" value="evil">
        <input name="role" value="admin"><button>Win</button></form>"""
    page.route(f"{place}/**", lambda r: r.fulfill(content_type="text/html", body=body))

    page.goto(f"{place}/")
    page.frames[1].wait_for_load_state()
    assert "Grant a role" not in page.frames[1].content()
    visitor.press("Win")

    assert page.get_by_role("heading", level=1).inner_text() == refusal
    assert roles(site) == []
    visitor.go("/policy")
    visitor.complaints.clear()  # of the frame that was refused, and may come late
