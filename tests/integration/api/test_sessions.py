"""Browsers that are signed in: by a cookie, which changes nothing at others' wish."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, text, update
from werkzeug.test import TestResponse

from registry.domain.actors import SYSTEM, Caller
from registry.domain.people import Person
from registry.domain.roles import Role
from registry.errors import NotSignedInError
from registry.persistence.database import db
from registry.persistence.tables import BrowserSession
from registry.services import sessions
from registry.services.transaction import Transaction, begin
from registry.web.commands import parts
from registry.worker import BackgroundWork
from tests.integration.api.driver import (
    ON_BOTH_DATABASES,
    ROOT,
    Driver,
    document_of,
    problem_of,
)
from tests.integration.conftest import TOKEN, close_app, make_app
from tests.integration.statements import statements_of

NAME = "stagegate"
WHOAMI = f"{ROOT}/whoami"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def sign_in(browser: FlaskClient, token: str = TOKEN, **headers: str) -> TestResponse:
    answer = browser.post(
        "/auth/session", headers={"Authorization": f"Bearer {token}", **headers}
    )
    assert answer.status_code == 201, answer.text
    return answer


def cookie_of(browser: FlaskClient) -> str:
    cookie = browser.get_cookie(NAME)
    assert cookie is not None
    return cookie.value


def holding(app: Flask, cookie: str) -> FlaskClient:
    browser = app.test_client()
    browser.set_cookie(NAME, cookie)
    return browser


def put_back(app: Flask, **columns: datetime) -> None:
    """Change the times of all sessions, as if it had been later or earlier."""
    with app.app_context(), db.engine.begin() as cx:
        cx.execute(update(BrowserSession).values(**columns))


@pytest.fixture
def browser(app: Flask) -> FlaskClient:
    return app.test_client()


@ON_BOTH_DATABASES
def test_browser_that_signed_in_by_a_token_acts_as_that(browser: FlaskClient) -> None:
    signed_in = document_of(sign_in(browser))

    assert document_of(browser.get(WHOAMI)) == signed_in
    assert signed_in == {
        "name": "bootstrap",
        "kind": "token",
        "roles": ["admin"],
        "scopes": None,
    }


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "[::1]:8000", "[::1]", "localhost"])
def test_this_machine_has_several_names(browser: FlaskClient, host: str) -> None:
    answer = browser.post("/auth/session", headers=BEARER, base_url=f"http://{host}")

    assert answer.status_code == 201


def test_cookie_in_clear_is_for_this_machine_alone(browser: FlaskClient) -> None:
    header = sign_in(browser).headers["Set-Cookie"]

    assert header.startswith(f"{NAME}=")
    assert {"HttpOnly", "Path=/", "SameSite=Lax", "Max-Age=43200"} <= set(
        header.split("; ")
    )
    assert "Secure" not in header
    answer = browser.post("/auth/session", headers=BEARER, base_url="http://ml.example")
    problem_of(answer, 422, "invalid")


def test_cookie_over_https_is_the_hosts_own(browser: FlaskClient) -> None:
    answer = browser.post(
        "/auth/session", headers=BEARER, base_url="https://ml.example"
    )

    header = answer.headers["Set-Cookie"]
    assert header.startswith(f"__Host-{NAME}=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(header.split("; "))
    assert "Domain" not in header
    cookie = header.partition("=")[2].partition(";")[0]
    planted = {"Cookie": f"{NAME}={cookie}"}  # as anybody in clear, or a neighbour, may
    elsewhere = browser.application.test_client()
    answer = elsewhere.get(WHOAMI, headers=planted, base_url="https://ml.example")
    assert answer.status_code == 401


def test_t6_database_has_no_cookie_that_signs_in(
    app: Flask, browser: FlaskClient
) -> None:
    sign_in(browser)

    with app.app_context(), db.engine.connect() as cx:
        stored = cx.scalars(select(BrowserSession.id)).all()
        log = "".join(cx.scalars(text("SELECT canonical FROM audit_entries")))

    assert len(stored) == 1
    assert cookie_of(browser) not in log + stored[0]
    assert holding(app, stored[0]).get(WHOAMI).status_code == 401


def test_sign_in_gives_another_cookie_and_ends_the_one_that_was_brought(
    app: Flask, browser: FlaskClient
) -> None:
    planted = "a-cookie-that-somebody-planted"
    browser.set_cookie(NAME, planted)
    sign_in(browser)
    first = cookie_of(browser)
    sign_in(browser)

    assert len({planted, first, cookie_of(browser)}) == 3
    for cookie in (planted, first):
        assert holding(app, cookie).get(WHOAMI).status_code == 401
    assert browser.get(WHOAMI).status_code == 200


@ON_BOTH_DATABASES
def test_signing_out_ends_the_session_on_the_server(
    app: Flask, browser: FlaskClient
) -> None:
    sign_in(browser)
    kept = holding(app, cookie_of(browser))

    answer = browser.post("/auth/logout")

    assert answer.status_code == 200
    assert document_of(answer) == {"logout_url": None}
    assert browser.get_cookie(NAME) is None
    problem_of(kept.get(WHOAMI), 401, "unauthenticated")
    assert kept.post("/auth/logout").status_code == 200  # again, or without a session


def test_start_and_end_stand_in_the_audit_log(api: Driver) -> None:
    browser = api.app.test_client()
    sign_in(browser)
    browser.post("/auth/logout")

    newest = api.read("/audit?limit=2")["items"]

    assert [entry["action"] for entry in newest] == ["session.ended", "session.started"]
    assert [entry["actor"] for entry in newest] == ["bootstrap", "bootstrap"]
    assert '"credential":{"id":"' in newest[0]["entry"]
    assert '"kind":"session"' in newest[0]["entry"]


@pytest.mark.parametrize(
    "columns",
    [
        {"expires_at": timedelta(seconds=-1)},
        {"last_seen_at": -sessions.IDLE},
    ],
)
def test_session_expires_and_idles_out(
    app: Flask, browser: FlaskClient, columns: dict[str, timedelta]
) -> None:
    sign_in(browser)
    now = datetime.now(UTC)

    put_back(app, **{name: now + by for name, by in columns.items()})

    for _ in range(40):  # a page that goes on asking is no attempt to get in
        problem = problem_of(browser.get(WHOAMI), 401, "unauthenticated")
    assert "has expired" in str(problem["detail"])


@ON_BOTH_DATABASES
def test_use_is_noted_and_keeps_the_session(app: Flask, browser: FlaskClient) -> None:
    sign_in(browser)
    long_ago = datetime.now(UTC) - sessions.IDLE + timedelta(minutes=1)
    put_back(app, last_seen_at=long_ago)

    browser.get(WHOAMI).close()

    with app.app_context(), db.engine.connect() as cx:
        seen = cx.scalar(select(BrowserSession.last_seen_at))
    assert seen is not None
    assert datetime.now(UTC) - seen < timedelta(minutes=1)


def test_session_of_a_token_ends_with_the_token(api: Driver) -> None:
    created = document_of(api.post("/tokens", {"name": "ui", "role": "viewer"}))
    browser = api.app.test_client()
    sign_in(browser, created["token"])
    assert browser.get(WHOAMI).status_code == 200

    api.delete(f"/tokens/{created['id']}")

    problem_of(browser.get(WHOAMI), 401, "unauthenticated")
    assert browser.post("/auth/logout").status_code == 200


def test_session_of_a_token_lasts_no_longer_than_that(
    app: Flask, api: Driver, browser: FlaskClient
) -> None:
    created = document_of(api.post("/tokens", {"name": "ui", "role": "viewer"}))
    soon = datetime.now(UTC) + timedelta(minutes=9)
    with app.app_context(), db.engine.begin() as cx:
        stored = soon.replace(tzinfo=None).isoformat(" ")
        cx.execute(
            text("UPDATE tokens SET expires_at = :soon WHERE id = :id"),
            {"soon": stored, "id": created["id"]},
        )

    header = sign_in(browser, created["token"]).headers["Set-Cookie"]

    assert any(f"Max-Age={seconds};" in header for seconds in range(530, 541))


def test_session_has_the_rights_of_its_token_and_no_more(api: Driver) -> None:
    browser = api.app.test_client()
    viewer = api.with_role(Role.VIEWER).client.environ_base["HTTP_AUTHORIZATION"]
    sign_in(browser, viewer.removeprefix("Bearer "))

    problem_of(browser.post(f"{ROOT}/models", json={"name": "m"}), 403, "forbidden")


def test_session_is_made_from_a_token_alone(browser: FlaskClient) -> None:
    sign_in(browser)

    problem_of(browser.post("/auth/session"), 403, "forbidden")
    problem_of(
        browser.application.test_client().post("/auth/session"), 401, "unauthenticated"
    )


#: What browsers say of a request's origin, and whether it may change something.
ORIGINS = [
    ({"Sec-Fetch-Site": "same-origin"}, True),
    ({"Sec-Fetch-Site": "none"}, True),
    ({"Sec-Fetch-Site": "cross-site"}, False),
    ({"Sec-Fetch-Site": "same-site"}, False),
    ({"Origin": "http://localhost"}, True),
    ({"Origin": "https://localhost"}, False),
    ({"Origin": "http://localhost:8001"}, False),
    ({"Origin": "https://evil.example"}, False),
    ({"Origin": "null"}, False),
    ({}, True),
]


@pytest.mark.parametrize(("headers", "is_ours"), ORIGINS)
def test_t15_cookie_changes_nothing_at_the_wish_of_another_site(
    browser: FlaskClient, headers: dict[str, str], *, is_ours: bool
) -> None:
    sign_in(browser)

    for path in (f"{ROOT}/models", "/api/2.0/mlflow/registered-models/create"):
        answer = browser.post(
            path, json={"name": path.rpartition("/")[2]}, headers=headers
        )
        assert (answer.status_code == 403) is not is_ours, answer.text
        assert answer.status_code in {200, 201, 403}
    for path in (f"{ROOT}/models/absent", f"{ROOT}/webhooks/absent"):
        answer = browser.delete(path, headers=headers)
        assert answer.status_code == (404 if is_ours else 403)
    assert browser.get(WHOAMI, headers=headers).status_code == 200
    answer = browser.post("/auth/logout", headers=headers)
    assert answer.status_code == (200 if is_ours else 403)


@pytest.mark.parametrize(("headers", "is_ours"), ORIGINS)
def test_t15_no_page_elsewhere_signs_a_browser_in(
    browser: FlaskClient, headers: dict[str, str], *, is_ours: bool
) -> None:
    answer = browser.post("/auth/session", headers={**BEARER, **headers})

    assert answer.status_code == (201 if is_ours else 403)


@pytest.mark.parametrize(("headers", "_"), ORIGINS)
def test_token_of_a_script_is_not_asked_where_it_comes_from(
    browser: FlaskClient, headers: dict[str, str], *, _: bool
) -> None:
    answer = browser.delete(f"{ROOT}/models/absent", headers={**BEARER, **headers})

    assert answer.status_code == 404


def test_token_decides_where_a_cookie_comes_along(browser: FlaskClient) -> None:
    sign_in(browser)

    answer = browser.get(WHOAMI, headers={"Authorization": "Bearer sg_mistyped"})

    problem_of(answer, 401, "unauthenticated")


@ON_BOTH_DATABASES
def test_session_costs_one_statement_more_than_a_token(
    app: Flask, browser: FlaskClient
) -> None:
    sign_in(browser)
    browser.get(WHOAMI)

    with statements_of(app) as by_cookie:
        browser.get(WHOAMI)
    with statements_of(app) as by_token:
        app.test_client().get(WHOAMI, headers=BEARER)

    assert (len(by_cookie), len(by_token)) == (2, 1)


@ON_BOTH_DATABASES
def test_what_a_provider_ends_is_what_it_names(app: Flask) -> None:
    ann, bob = (
        Person(issuer="https://sso.example", subject=name, name=name, groups=("ml",))
        for name in ("ann", "bob")
    )
    caller = Caller(actor=SYSTEM)
    cookies = {}
    with app.app_context():
        policy = parts().policy
        with begin(db.engine, caller=caller, policy=policy) as tx:
            for person, sid in ((ann, "1"), (ann, "2"), (ann, ""), (bob, "3")):
                row, cookie = sessions.start_for_person(
                    tx, person, sid=sid, brought="none"
                )
                assert row.groups == ["ml"]
                cookies[person.subject + sid] = cookie

        def left_after(issuer: str, sid: str, subject: str) -> list[str]:
            with begin(db.engine, caller=caller, policy=policy) as tx:
                sessions.end_at_provider(tx, issuer=issuer, sid=sid, subject=subject)
                return [name for name, cookie in cookies.items() if goes_on(tx, cookie)]

        everybody = ["ann1", "ann2", "ann", "bob3"]
        assert left_after("https://other.example", "1", "ann") == everybody
        assert left_after("https://sso.example", "", "") == everybody
        assert left_after("https://sso.example", "1", "ann") == everybody[1:]
        assert left_after("https://sso.example", "", "ann") == ["bob3"]


def goes_on(tx: Transaction, cookie: str) -> bool:
    try:
        return sessions.find(tx.cx, cookie, now=tx.now).groups == ["ml"]
    except NotSignedInError:
        return False


@ON_BOTH_DATABASES
def test_sessions_that_have_expired_are_removed(
    app: Flask, browser: FlaskClient
) -> None:
    sign_in(browser)
    sign_in(app.test_client())
    work = BackgroundWork(app)
    work.forget_old_sessions()
    assert count(app) == 2

    put_back(app, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    work.forget_old_sessions()

    assert count(app) == 0


def count(app: Flask) -> int:
    with app.app_context(), db.engine.connect() as cx:
        return len(cx.scalars(select(BrowserSession.id)).all())


@pytest.mark.usefixtures("failures_last")
def test_who_fails_too_often_is_told_when_to_come_back(
    app: Flask, browser: FlaskClient
) -> None:
    wrong = {"Authorization": "Bearer sg_wrong"}
    for _ in range(30):
        problem_of(browser.get(WHOAMI, headers=wrong), 401, "unauthenticated")

    answer = browser.get(WHOAMI, headers=wrong)

    problem_of(answer, 429, "too-many-attempts")
    assert 1 <= int(answer.headers["Retry-After"]) <= 2
    mlflow = "/api/2.0/mlflow/registered-models/search"
    answer = browser.get(mlflow, headers=wrong)
    assert answer.status_code == 429
    assert document_of(answer)["error_code"] == "REQUEST_LIMIT_EXCEEDED"
    assert answer.headers["Retry-After"]
    # Nobody else behind this address is shut out, nor counted for showing nothing.
    assert browser.get(WHOAMI, headers=BEARER).status_code == 200
    assert app.test_client().get(WHOAMI).status_code == 401


def test_headers_that_a_browser_is_held_by_come_with_every_answer(
    browser: FlaskClient,
) -> None:
    for path in ("/healthz", "/absent", WHOAMI):
        headers = browser.get(path).headers
        assert headers["Content-Security-Policy"] == (
            "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; "
            "form-action 'none'"
        )
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "Strict-Transport-Security" not in headers
    headers = browser.get("/healthz", base_url="https://ml.example").headers
    assert headers["Strict-Transport-Security"] == "max-age=31536000"


def test_t15_new_routes_answer_to_no_other_host(tmp_path: Path) -> None:
    app = make_app(tmp_path, ALLOWED_HOSTS="ml.example")
    browser = app.test_client()
    for method, path in (
        ("GET", "/auth/login"),
        ("GET", "/auth/callback"),
        ("POST", "/auth/session"),
        ("POST", "/auth/logout"),
        ("POST", "/auth/backchannel-logout"),
    ):
        answer = browser.open(path, method=method, base_url="https://rebound.example")
        assert answer.status_code == 400, path
    close_app(app)


def test_sign_in_without_a_provider_says_what_to_do(client: FlaskClient) -> None:
    for answer in (
        client.get("/auth/login"),
        client.get("/auth/callback"),
        client.post("/auth/backchannel-logout"),
    ):
        assert "POST /auth/session" in str(problem_of(answer, 404, "not-found"))


def test_jwt_is_an_unknown_token_where_no_provider_is_set(browser: FlaskClient) -> None:
    jwt = "eyJhbGciOiJub25lIn0.e30.AAAA"

    for headers in (
        {"Authorization": f"Bearer {jwt}"},
        {"X-Forwarded-Access-Token": jwt},
    ):
        problem_of(browser.get(WHOAMI, headers=headers), 401, "unauthenticated")
