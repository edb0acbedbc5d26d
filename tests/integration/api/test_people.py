"""People sign in at an identity provider, which is tried with every wrong answer."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from registry.auth.sign_in import failed_sign_ins
from registry.domain.openid import LOGOUT_EVENT
from tests.identity_provider import CLIENT, Claims, IdentityProvider
from tests.integration.api.driver import ROOT, document_of, problem_of
from tests.integration.conftest import close_app, make_app, signed_in
from tests.integration.statements import statements_of
from tests.wrong_jwts import NOW, WRONG_JWTS, claims, of_another_key, text

WHOAMI = f"{ROOT}/whoami"
NAME = "stagegate"


@pytest.fixture(scope="module")
def lasting_app(
    tmp_path_factory: pytest.TempPathFactory, lasting_provider: IdentityProvider
) -> Iterator[Flask]:
    app = make_app(tmp_path_factory.mktemp("people"), **lasting_provider.settings())
    yield app
    close_app(app)


@pytest.fixture
def app(lasting_app: Flask, provider: IdentityProvider) -> Flask:
    del provider
    with lasting_app.app_context():
        failed_sign_ins().forget()
    return lasting_app


@pytest.fixture
def browser(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def fresh(tmp_path: Path, provider: IdentityProvider) -> Iterator[Flask]:
    """An application that has asked the provider nothing yet."""
    app = make_app(tmp_path, **provider.settings())
    yield app
    close_app(app)


def begin(browser: FlaskClient, path: str = "/auth/login") -> dict[str, str]:
    """Begin to sign in; the query that the provider gets."""
    answer = browser.get(path)
    assert answer.status_code == 302, answer.text
    return dict(parse_qsl(urlsplit(answer.headers["Location"]).query))


def sign_in(browser: FlaskClient, provider: IdentityProvider) -> TestResponse:
    """Sign in, as a browser that follows."""
    back = urlsplit(provider.authorize(begin(browser)))
    return browser.get(f"{back.path}?{back.query}")


def by_bearer(app: Flask, token: str) -> TestResponse:
    return app.test_client().get(WHOAMI, headers={"Authorization": f"Bearer {token}"})


def test_person_signs_in_and_is_known_by_the_session(
    browser: FlaskClient, provider: IdentityProvider
) -> None:
    provider.person |= {"roles": ["admin", "of-others"], "groups": ["ml"]}

    answer = sign_in(browser, provider)

    assert answer.status_code == 302
    assert answer.headers["Location"] == "/"
    assert document_of(browser.get(WHOAMI)) == {
        "name": "ann",
        "kind": "user",
        "roles": ["admin"],
        "scopes": None,
    }
    assert browser.get_cookie(f"{NAME}-sign-in") is None
    entry = document_of(browser.get(f"{ROOT}/audit?limit=1"))["items"][0]
    told = json.loads(entry["entry"])
    assert entry["action"] == "session.started"
    assert told["actor"]["id"] == f"{provider.url}#ann-1"
    assert told["actor"]["kind"] == "user"


def test_sign_in_is_the_code_flow_with_pkce(
    browser: FlaskClient, provider: IdentityProvider
) -> None:
    query = begin(browser)

    assert query["response_type"] == "code"
    assert query["client_id"] == CLIENT
    assert query["scope"] == "openid profile email"
    assert query["redirect_uri"] == "http://localhost/auth/callback"
    assert query["code_challenge_method"] == "S256"
    assert len({query["state"], query["nonce"], query["code_challenge"]}) == 3
    again = begin(browser)
    assert not {query[n] for n in ("state", "nonce", "code_challenge")} & set(
        again.values()
    )
    assert provider.requests == [] or set(provider.requests) <= {
        "/.well-known/openid-configuration",
        "/keys",
    }


def test_person_goes_on_to_a_path_here(
    browser: FlaskClient, provider: IdentityProvider
) -> None:
    query = begin(browser, "/auth/login?next=/models/fraud%3Ftab%3D1")
    back = urlsplit(provider.authorize(query))

    answer = browser.get(f"{back.path}?{back.query}")

    assert answer.headers["Location"] == "/models/fraud?tab=1"


@pytest.mark.parametrize(
    "path", ["https://evil.example", "//evil.example", "/\\evil.example", "%09//evil"]
)
def test_t15_nobody_is_sent_on_to_another_server(
    browser: FlaskClient, path: str
) -> None:
    answer = browser.get(f"/auth/login?next={path}")

    problem = problem_of(answer, 422, "invalid")
    assert problem["errors"] == {"next": ["expected a path on this server"]}


def test_t15_answer_in_another_browser_signs_nobody_in(
    app: Flask, browser: FlaskClient, provider: IdentityProvider
) -> None:
    back = urlsplit(provider.authorize(begin(browser)))
    victim = app.test_client()

    problem_of(victim.get(f"{back.path}?{back.query}"), 401, "unauthenticated")
    begin(victim)  # with a state of its own
    problem_of(victim.get(f"{back.path}?{back.query}"), 401, "unauthenticated")
    assert "/token" not in provider.requests
    assert victim.get(WHOAMI).status_code == 401


@pytest.mark.parametrize("cookie", ["", "nonsense", "é", "gAAAAA=", "\x7f"])
def test_cookie_that_is_not_ours_begins_nothing(
    browser: FlaskClient, cookie: str
) -> None:
    browser.set_cookie(f"{NAME}-sign-in", cookie)

    answer = browser.get("/auth/callback?code=x&state=%ff")

    problem_of(answer, 401, "unauthenticated")


def test_answer_counts_once(browser: FlaskClient, provider: IdentityProvider) -> None:
    query = begin(browser)
    kept = browser.get_cookie(f"{NAME}-sign-in")
    assert kept is not None
    back = urlsplit(provider.authorize(query))
    browser.get(f"{back.path}?{back.query}")

    problem_of(browser.get(f"{back.path}?{back.query}"), 401, "unauthenticated")
    browser.set_cookie(f"{NAME}-sign-in", kept.value)
    answer = browser.get(f"{back.path}?{back.query}")
    assert "invalid_grant" in str(problem_of(answer, 401, "unauthenticated")["detail"])


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("error=access_denied", "access_denied"),
        ("error=%0a%1b[31m" + "x" * 300, "signed nobody in"),
        ("", "no code"),
        ("code=wrong", "invalid_grant"),
        ("code=wrong&iss=https://other.example", "another identity provider's"),
    ],
)
def test_answer_that_is_no_code_signs_nobody_in(
    browser: FlaskClient, query: str, detail: str
) -> None:
    state = begin(browser)["state"]

    answer = browser.get(f"/auth/callback?state={state}&{query}")

    found = str(problem_of(answer, 401, "unauthenticated")["detail"])
    assert detail in found
    assert found.isprintable()
    assert len(found) < 200


#: What a provider may do wrong at the end of a sign-in, to the ID token's claims.
WRONG_ID_TOKENS: dict[str, Claims] = {
    "no nonce": {"nonce": None},
    "another nonce": {"nonce": "another"},
    "for another client": {"aud": "other"},
    "for many, and none": {"aud": []},
    "by another issuer": {"iss": "https://other.example"},
    "by an issuer that begins alike": {"iss": "http://127.0.0.1"},
    "handed on by another client": {"azp": "other"},
    "for two, by another": {"aud": [CLIENT, "other"], "azp": "other"},
    "for two, by nobody": {"aud": [CLIENT, "other"], "azp": None},
    "of another kind": {"typ": "Bearer"},
    "a logout token": {"events": {LOGOUT_EVENT: {}}},
    "without a subject": {"sub": None},
    "with a subject that is no text": {"sub": 7},
    "with a subject of many lines": {"sub": "a\nb"},
    "expired": {"exp": int(time.time()) - 60},
    "without an end": {"exp": None},
    "without a beginning": {"iat": None},
    "of tomorrow": {"iat": int(time.time()) + 86400},
    "not valid yet": {"nbf": int(time.time()) + 86400},
    "without an issuer": {"iss": None},
    "without an audience": {"aud": None},
}


@pytest.mark.parametrize("claims", WRONG_ID_TOKENS.values(), ids=WRONG_ID_TOKENS)
def test_t3_id_token_that_says_something_else_signs_nobody_in(
    browser: FlaskClient, provider: IdentityProvider, claims: Claims
) -> None:
    provider.id_token = lambda right: provider.sign(
        {name: v for name, v in {**right, **claims}.items() if v is not None}
    )

    answer = sign_in(browser, provider)

    problem_of(answer, 401, "unauthenticated")
    assert browser.get_cookie(NAME) is None


WRONG_BEARERS: dict[str, Callable[[IdentityProvider], str]] = {
    **WRONG_JWTS,
    "no subject": claims(sub=None),
    "empty subject": claims(sub=""),
    "subject that is a list": claims(sub=["ann-1"]),
    "logout token": claims(events={LOGOUT_EVENT: {}}),
    "refresh token": claims(typ="Refresh"),
    "bound to a key": claims(cnf={"jkt": "x"}),
}


@pytest.mark.parametrize("wrong", WRONG_BEARERS.values(), ids=WRONG_BEARERS)
def test_t3_wrong_token_signs_no_request_in(
    app: Flask,
    provider: IdentityProvider,
    wrong: Callable[[IdentityProvider], str],
) -> None:
    provider.person |= {"roles": ["admin"]}

    answer = by_bearer(app, wrong(provider))

    problem = problem_of(answer, 401, "unauthenticated")
    assert str(problem["detail"]).isprintable()


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"aud": ["other", CLIENT], "azp": "oauth2-proxy"},
        {"typ": "Bearer"},
        {"typ": "ID", "nonce": "of-the-proxys-own-sign-in"},
        {"exp": -10},  # seconds from now: clocks differ
        {"iat": 10},
    ],
)
def test_token_that_somebody_passes_on_signs_the_request_in(
    app: Flask, provider: IdentityProvider, claims: Claims
) -> None:
    now = int(time.time())
    at = {name: now + value for name, value in claims.items() if name in {"exp", "iat"}}
    token = provider.bearer(roles=["viewer"], **{**claims, **at})

    answers = [
        by_bearer(app, token),
        app.test_client().get(WHOAMI, headers={"X-Forwarded-Access-Token": token}),
        app.test_client().get(WHOAMI, auth=("anyone", token)),
    ]

    for answer in answers:
        document = document_of(answer)
        assert (document["name"], document["kind"]) == ("ann", "user")
        assert document["roles"] == ["viewer"]


def test_role_that_is_gone_from_the_next_token_is_gone_here(
    app: Flask, provider: IdentityProvider
) -> None:
    assert document_of(by_bearer(app, provider.bearer(roles=["admin"])))["roles"]

    problem_of(by_bearer(app, provider.bearer(roles=[])), 403, "forbidden")


@pytest.mark.parametrize("kind", ["user", "group"])
def test_role_that_is_bound_here_is_had_and_lost_at_once(
    app: Flask, browser: FlaskClient, provider: IdentityProvider, kind: str
) -> None:
    provider.person |= {"groups": ["ml", "risk"]}
    sign_in(browser, provider)
    bearer = provider.bearer()
    problem_of(browser.get(WHOAMI), 403, "forbidden")
    admin = signed_in(app)

    bound = {
        "subject_kind": kind,
        "subject": {"user": f"{provider.url}#ann-1", "group": "risk"}[kind],
        "role": "writer",
        "models": "fraud-*",
    }
    binding = document_of(admin.post(f"{ROOT}/role-bindings", json=bound))

    for answer in (browser.get(WHOAMI), by_bearer(app, bearer)):
        assert document_of(answer)["roles"] == ["writer:fraud-*"]
    for name, status in ((f"fraud-{kind}", 201), ("other", 403)):
        answer = browser.post(f"{ROOT}/models", json={"name": name})
        assert answer.status_code == status, name
    admin.delete(f"{ROOT}/role-bindings/{binding['id']}")
    for answer in (browser.get(WHOAMI), by_bearer(app, bearer)):
        problem_of(answer, 403, "forbidden")


def test_person_costs_one_statement_for_a_jwt_and_two_for_a_session(
    app: Flask, browser: FlaskClient, provider: IdentityProvider
) -> None:
    provider.person |= {"roles": ["viewer"]}
    sign_in(browser, provider)
    for _ in range(2):
        with statements_of(app) as by_cookie:
            browser.get(WHOAMI)
        with statements_of(app) as by_jwt:
            by_bearer(app, provider.bearer())

    assert (len(by_cookie), len(by_jwt)) == (2, 1)


def test_account_of_a_program_is_no_person(
    app: Flask, provider: IdentityProvider
) -> None:
    token = provider.bearer(
        roles=["viewer"], preferred_username="service-account-nightly"
    )

    assert document_of(by_bearer(app, token))["kind"] == "ci"


def test_tokens_of_ours_are_taken_beside_and_cost_what_they_did(
    app: Flask, provider: IdentityProvider
) -> None:
    client = signed_in(app)
    client.get(WHOAMI)
    provider.is_down = True

    with statements_of(app) as seen:
        answer = client.get(WHOAMI)

    assert document_of(answer)["name"] == "bootstrap"
    assert len(seen) == 1
    assert provider.requests == []


def test_t1_plain_headers_mean_nothing_beside_a_provider(app: Flask) -> None:
    headers = {"X-Forwarded-User": "root", "X-Forwarded-Groups": "admins"}

    problem_of(app.test_client().get(WHOAMI, headers=headers), 401, "unauthenticated")


def test_t15_token_that_a_proxy_passes_on_is_held_to_where_it_comes_from(
    app: Flask, provider: IdentityProvider
) -> None:
    bearer = {"Authorization": f"Bearer {provider.bearer(roles=['admin'])}"}
    elsewhere = {**bearer, "Sec-Fetch-Site": "cross-site"}

    answer = app.test_client().delete(f"{ROOT}/models/absent", headers=elsewhere)
    problem_of(answer, 403, "cross-origin")
    answer = app.test_client().delete(f"{ROOT}/models/absent", headers=bearer)
    assert answer.status_code == 404


def test_signing_out_says_where_to_sign_out_at_the_provider(
    browser: FlaskClient, provider: IdentityProvider
) -> None:
    sign_in(browser, provider)

    answer = browser.post("/auth/logout")

    assert document_of(answer)["logout_url"] == (
        f"{provider.url}/logout?client_id={CLIENT}"
        "&post_logout_redirect_uri=http%3A%2F%2Flocalhost%2F"
    )
    assert browser.get(WHOAMI).status_code == 401


def test_provider_that_has_no_place_to_sign_out_is_left_alone(
    fresh: Flask, provider: IdentityProvider
) -> None:
    provider.metadata = {"end_session_endpoint": None}
    browser = fresh.test_client()
    sign_in(browser, provider)

    assert document_of(browser.post("/auth/logout")) == {"logout_url": None}


def test_provider_that_tells_no_place_to_sign_in_signs_nobody_in(
    fresh: Flask, provider: IdentityProvider
) -> None:
    provider.metadata = {"authorization_endpoint": None}

    problem = problem_of(fresh.test_client().get("/auth/login"), 503, "unavailable")
    assert "names no authorization_endpoint" in str(problem["detail"])


def test_provider_that_goes_down_between_is_nobodys_failure(
    browser: FlaskClient, provider: IdentityProvider
) -> None:
    back = urlsplit(provider.authorize(begin(browser)))
    provider.is_down = True

    problem_of(browser.get(f"{back.path}?{back.query}"), 503, "unavailable")


def test_provider_that_sends_no_id_token_signs_nobody_in(
    browser: FlaskClient, provider: IdentityProvider
) -> None:
    provider.id_token = lambda _: ""

    problem_of(sign_in(browser, provider), 401, "unauthenticated")
    provider.token = {"access_token": "opaque", "token_type": "Bearer"}
    answer = problem_of(sign_in(browser, provider), 401, "unauthenticated")
    assert "no ID token" in str(answer["detail"])


def test_signing_out_works_while_the_provider_is_down(
    fresh: Flask, provider: IdentityProvider
) -> None:
    provider.person |= {"roles": ["viewer"]}
    browser = fresh.test_client()
    sign_in(browser, provider)
    issuer = fresh.extensions["stagegate"].provider._issuer  # noqa: SLF001  # as after a day
    issuer._fetched_at = issuer._tried_at = -1e9  # noqa: SLF001
    provider.is_down = True

    assert document_of(browser.post("/auth/logout")) == {"logout_url": None}
    assert browser.get_cookie(NAME) is None


def logout_token(provider: IdentityProvider, **changes: object) -> str:
    event: Claims = {LOGOUT_EVENT: {}}
    all_claims = {"events": event, "sid": "sid-1", "jti": "j1", **changes}
    return provider.sign(provider.claims(**all_claims), typ="logout+jwt")


def end_elsewhere(app: Flask, token: str) -> TestResponse:
    return app.test_client().post(
        "/auth/backchannel-logout", data={"logout_token": token}
    )


@pytest.mark.parametrize("claims", [{}, {"sid": None}, {"sub": None}])
def test_signing_out_at_the_provider_ends_the_session_here(
    app: Flask, browser: FlaskClient, provider: IdentityProvider, claims: Claims
) -> None:
    provider.person |= {"roles": ["viewer"]}
    sign_in(browser, provider)
    assert browser.get(WHOAMI).status_code == 200

    answer = end_elsewhere(app, logout_token(provider, **claims))

    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    problem_of(browser.get(WHOAMI), 401, "unauthenticated")


def test_others_stay_signed_in(
    app: Flask, browser: FlaskClient, provider: IdentityProvider
) -> None:
    provider.person |= {"roles": ["viewer"]}
    sign_in(browser, provider)

    for other in (
        {"sid": "sid-2", "sub": None},
        {"sid": "sid-2", "sub": "ann-1"},
        {"sid": None, "sub": "bob-2"},
        {"sid": "", "sub": "bob-2"},
    ):
        answer = end_elsewhere(app, logout_token(provider, **other))
        assert answer.status_code == 200

    assert browser.get(WHOAMI).status_code == 200


WRONG_LOGOUTS: dict[str, Callable[[IdentityProvider], str]] = {
    "none": text(""),
    "no JWT": text("nonsense"),
    "of another kind": claims(),
    "with a nonce": lambda p: logout_token(p, nonce="n"),
    "of nobody": lambda p: logout_token(p, sid=None, sub=None),
    "without the event": lambda p: logout_token(p, events={}),
    "for another client": lambda p: logout_token(p, aud="other"),
    "by another issuer": lambda p: logout_token(p, iss="https://evil.example"),
    "expired": lambda p: logout_token(p, exp=NOW - 60),
    "by another key": of_another_key,
}


@pytest.mark.parametrize("wrong", WRONG_LOGOUTS.values(), ids=WRONG_LOGOUTS)
def test_t3_wrong_logout_token_ends_nothing(
    app: Flask,
    browser: FlaskClient,
    provider: IdentityProvider,
    wrong: Callable[[IdentityProvider], str],
) -> None:
    provider.person |= {"roles": ["viewer"]}
    sign_in(browser, provider)

    problem_of(end_elsewhere(app, wrong(provider)), 400, "malformed")

    assert browser.get(WHOAMI).status_code == 200


@pytest.mark.usefixtures("failures_last")
def test_who_fails_to_sign_in_too_often_is_told_when_to_come_back(
    app: Flask, provider: IdentityProvider
) -> None:
    for _ in range(30):
        assert end_elsewhere(app, "nonsense").status_code == 400

    problem_of(end_elsewhere(app, logout_token(provider)), 429, "too-many-attempts")


def test_provider_that_is_down_is_nobodys_failure(
    fresh: Flask, provider: IdentityProvider
) -> None:
    provider.is_down = True
    browser = fresh.test_client()

    for _ in range(40):
        answer = browser.get("/auth/login")
        problem_of(answer, 503, "unavailable")
    problem_of(by_bearer(fresh, provider.bearer()), 503, "unavailable")

    assert provider.requests == ["/.well-known/openid-configuration"]  # it cools down


@pytest.mark.parametrize(
    ("jwks", "metadata"),
    [
        ({"keys": []}, {}),
        ({}, {}),
        ({"keys": "none"}, {}),
        ([], {}),
        ({"keys": [{"kty": "oct", "k": "AAAA", "kid": "x", "alg": "HS256"}]}, {}),
        (None, {"issuer": "https://evil.example"}),
        (None, {"jwks_uri": "http://evil.example/keys"}),
        (None, {"jwks_uri": "file:///etc/passwd"}),
        (None, {"jwks_uri": None}),
        (None, {"pad": "x" * 300_000}),
    ],
)
def test_provider_that_says_nothing_usable_signs_nobody_in(
    fresh: Flask, provider: IdentityProvider, jwks: object, metadata: Claims
) -> None:
    if jwks is not None:
        provider.jwks = lambda: jwks
    provider.metadata = metadata

    problem_of(by_bearer(fresh, provider.bearer()), 503, "unavailable")


@pytest.mark.parametrize(
    "members", [{"use": "enc"}, {"alg": "HS256"}, {"kid": None}, {"n": "AAAA"}]
)
def test_key_that_is_for_something_else_is_none(
    fresh: Flask, provider: IdentityProvider, members: Claims
) -> None:
    provider.jwks = lambda: {"keys": ["none", provider.jwk(**members)]}

    problem_of(by_bearer(fresh, provider.bearer()), 503, "unavailable")


def test_unknown_keys_do_not_make_us_ask_again_and_again(
    fresh: Flask, provider: IdentityProvider
) -> None:
    assert by_bearer(fresh, provider.bearer()).status_code == 403
    for number in range(20):
        token = provider.sign(provider.claims(), kid=f"made-up-{number}")
        problem_of(by_bearer(fresh, token), 401, "unauthenticated")

    assert provider.requests.count("/keys") == 1
