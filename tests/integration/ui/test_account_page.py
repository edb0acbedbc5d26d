"""Who somebody is, where they are signed in, and how all of that ends."""

from datetime import UTC, datetime

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update

from registry.domain.sign_in_links import LIFETIME, SignInLinks
from registry.persistence.database import db
from registry.persistence.tables import Token
from registry.web.commands import parts
from tests.integration.api.driver import ON_BOTH_DATABASES, Driver, document_of
from tests.integration.api.test_sessions import (
    NAME,
    ORIGINS,
    WHOAMI,
    cookie_of,
    holding,
    sign_in,
)
from tests.integration.ui.test_audit_pages import said

EVERYWHERE = "/account/signout-everywhere"


@pytest.fixture
def browser(app: Flask) -> FlaskClient:
    return app.test_client()


def link(app: Flask, *, age: float = 0) -> str:
    """The link that the server would have printed some seconds ago."""
    with app.app_context():
        links = SignInLinks(parts().settings.secret_keys)
    now = datetime.fromtimestamp(datetime.now(UTC).timestamp() - age, UTC)
    return f"/signin/once?ticket={links.ticket(now=now)}"


def test_account_says_who_i_am_and_how_i_signed_in(api: Driver) -> None:
    made = {"name": "ui", "role": "admin", "scopes": ["read:fraud", "write:fraud"]}
    token = document_of(api.post("/tokens", made))
    browser = api.app.test_client()
    sign_in(browser, token["token"])

    shown = said(browser.get("/account"))

    for told in ("ui", token["id"], "an API token", "admin", "read:fraud", "Sign out"):
        assert told in shown
    assert "this browser" in shown
    assert "browser session" not in shown
    by_token = said(api.client.get("/account"))
    assert "API token" in by_token
    assert "Sign out" not in by_token


@ON_BOTH_DATABASES
def test_signing_out_everywhere_ends_my_sessions_and_no_others(api: Driver) -> None:
    other = document_of(api.post("/tokens", {"name": "other", "role": "viewer"}))
    browsers = [api.app.test_client() for _ in range(3)]
    for browser in browsers:
        sign_in(browser)
    theirs = api.app.test_client()
    sign_in(theirs, other["token"])
    ended = browsers.pop()
    ended.post("/auth/logout")
    before = len(api.audit())

    answer = browsers[0].post(EVERYWHERE)

    assert answer.status_code == 303
    assert answer.headers["Location"] == "/signin"
    assert browsers[0].get_cookie(NAME) is None
    for browser in browsers:
        assert browser.get(WHOAMI).status_code == 401
    assert theirs.get(WHOAMI).status_code == 200
    assert api.client.get(WHOAMI).status_code == 200  # the token itself stays good
    (entry,) = api.audit()[before:]
    assert entry["action"] == "session.all_ended"
    assert len(entry["before"]["sessions"]) == 2
    assert entry["actor"]["name"] == "bootstrap"
    assert api.read("/audit/verify")["damage"] == []
    assert api.client.post(EVERYWHERE).status_code == 303  # again, and none is left
    assert len(api.audit()) == before + 1


@pytest.mark.parametrize(("headers", "is_ours"), ORIGINS)
@pytest.mark.parametrize(
    "path", [EVERYWHERE, "/signout", "/admin/tokens", "/admin/roles"]
)
def test_t15_no_form_elsewhere_changes_anything(
    browser: FlaskClient, path: str, headers: dict[str, str], *, is_ours: bool
) -> None:
    sign_in(browser)

    answer = browser.post(path, headers=headers)

    assert (answer.status_code == 403) is not is_ours
    if not is_ours:
        assert browser.get(WHOAMI).status_code == 200


def test_link_signs_in_once(app: Flask, browser: FlaskClient) -> None:
    address = link(app)

    answer = browser.get(address)

    assert answer.status_code == 303
    assert answer.headers["Location"] == "/"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert document_of(browser.get(WHOAMI))["name"] == "bootstrap"
    for again in (browser, app.test_client()):
        refused = again.get(address)
        assert refused.status_code == 401
        assert "this link has been used already" in said(refused)
    assert app.test_client().get(WHOAMI).status_code == 401
    assert browser.get(WHOAMI).status_code == 200  # the first goes on


def test_link_that_was_used_is_worth_nothing_after_signing_out(
    app: Flask, browser: FlaskClient
) -> None:
    address = link(app)
    browser.get(address)
    browser.post("/auth/logout")

    assert app.test_client().get(address).status_code == 401


def test_link_shows_nothing_of_the_cookie_and_fixes_none(
    app: Flask, browser: FlaskClient
) -> None:
    address, planted = link(app), "a-cookie-that-somebody-planted"
    browser.set_cookie(NAME, planted)

    browser.get(address)

    cookie = cookie_of(browser)
    assert cookie != planted
    ticket = address.rpartition("=")[2]
    for guess in (planted, ticket, *ticket.split(".")):
        assert holding(app, guess).get(WHOAMI).status_code == 401


def test_link_ends_the_session_that_the_browser_brought(
    app: Flask, browser: FlaskClient
) -> None:
    sign_in(browser)
    before = cookie_of(browser)

    browser.get(link(app))

    assert holding(app, before).get(WHOAMI).status_code == 401


def test_link_expires_and_only_this_server_makes_them(
    app: Flask, browser: FlaskClient
) -> None:
    old = link(app, age=LIFETIME.total_seconds())
    forged = SignInLinks(["another key"]).ticket(now=datetime.now(UTC))

    for path in (old, f"/signin/once?ticket={forged}", "/signin/once"):
        answer = browser.get(path)
        assert answer.status_code == 401
        assert browser.get_cookie(NAME) is None
    assert "this link has expired" in said(browser.get(old))


def test_who_only_looks_at_the_link_does_not_use_it(
    app: Flask, browser: FlaskClient
) -> None:
    address = link(app)

    assert browser.head(address).status_code == 200
    assert browser.get_cookie(NAME) is None

    assert browser.get(address).status_code == 303


def test_link_of_a_revoked_token_signs_nobody_in(
    app: Flask, browser: FlaskClient
) -> None:
    with app.app_context(), db.engine.begin() as cx:
        cx.execute(update(Token).values(revoked_at=datetime.now(UTC)))

    answer = browser.get(link(app))

    assert answer.status_code == 401
    assert "has been revoked" in said(answer)


@pytest.mark.usefixtures("failures_last")
def test_trying_links_is_bounded_as_trying_tokens_is(browser: FlaskClient) -> None:
    answers = [browser.get("/signin/once?ticket=none") for _ in range(31)]

    assert [answer.status_code for answer in answers] == [401] * 30 + [429]


def test_link_gives_no_cookie_in_clear_over_a_network(
    app: Flask, browser: FlaskClient
) -> None:
    answer = browser.get(link(app), base_url="http://ml.example")

    assert answer.status_code == 422
    assert "browsers sign in over https" in said(answer)


@pytest.mark.parametrize(
    "path", ["/audit", "/audit/verify", "/audit/as-of", "/admin/tokens", "/policy"]
)
def test_no_page_is_framed_or_runs_what_others_wrote(api: Driver, path: str) -> None:
    policy = api.client.get(path).headers["Content-Security-Policy"]

    rules = set(policy.split("; "))
    assert {"frame-ancestors 'none'", "default-src 'none'", "base-uri 'none'"} <= rules
    assert {"script-src 'self'", "style-src 'self'", "form-action 'self'"} <= rules
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    "to",
    ["https://evil.example", "//evil.example", "/\\evil.example", "evil", "/a b", ""],
)
def test_signing_in_leads_to_no_other_site(browser: FlaskClient, to: str) -> None:
    form = {"token": "test-token-of-no-value", "next": to}

    answer = browser.post("/signin", data=form)

    assert answer.status_code == 303
    assert answer.headers["Location"] == "/"


def test_second_tab_with_another_role_decides_what_both_may_do(api: Driver) -> None:
    viewer = document_of(api.post("/tokens", {"name": "v", "role": "viewer"}))["token"]
    browser = api.app.test_client()
    sign_in(browser)
    form = {"subject_kind": "group", "subject": "leads", "role": "admin"}
    assert browser.get("/admin/roles").status_code == 200  # the first tab's page

    sign_in(browser, viewer)  # in a second tab of the same browser

    assert browser.post("/admin/roles", data=form).status_code == 403
    assert api.read("/role-bindings")["items"] == []


def test_revoking_the_token_ends_its_pages(api: Driver) -> None:
    made = document_of(api.post("/tokens", {"name": "ui", "role": "viewer"}))
    browser = api.app.test_client()
    sign_in(browser, made["token"])
    assert browser.get("/account").status_code == 200

    api.client.post(f"/admin/tokens/{made['id']}/revoke")

    answer = browser.get("/account")
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith("/signin?")


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_link_signs_nobody_in_where_none_is_given_out(app: Flask) -> None:
    assert app.test_client().get(link(app)).status_code == 404
