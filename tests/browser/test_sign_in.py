"""People sign in, and leave."""

from tests.browser.chromium import NARROW
from tests.browser.conftest import Site, Visit


def test_somebody_signs_in_by_a_token_and_goes_on_where_they_wanted_to(
    site: Site, visit: Visit
) -> None:
    visitor = visit(None)
    page = visitor.go("/models?q=fraud")
    assert page.url == f"{site.server.url}/signin?next=%2Fmodels%3Fq%3Dfraud"
    visitor.check()

    page.get_by_label("API token").fill("no token")
    visitor.press("Sign in")
    assert "this token is unknown" in visitor.text
    visitor.check()

    page.get_by_label("API token").fill(site.token("viewer"))
    visitor.press("Sign in")
    assert page.url == f"{site.server.url}/models?q=fraud"
    assert page.get_by_title("Your account").inner_text() == "viewer"
    visitor.check()


def test_sign_in_needs_no_script_and_no_width(site: Site, visit: Visit) -> None:
    visitor = visit(None, scripts=False, width=NARROW)
    page = visitor.go()
    assert visitor.is_within_width()

    page.get_by_label("API token").fill(site.token("viewer"))
    visitor.press("Sign in")

    assert page.url == f"{site.server.url}/"
    assert visitor.is_within_width()
