"""Sign-in: which token may do what, on every route there is."""

import base64
import logging
import re
import sqlite3
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import text
from werkzeug.test import TestResponse

from registry.auth import token_use
from registry.auth.permissions import (
    MANY,
    Permission,
    check_every_route,
    permission_of,
    requires,
)
from registry.domain.roles import OF_MODELS, Role
from registry.domain.token_format import is_well_formed, new_token
from registry.errors import ConfigurationError
from tests.integration.api.driver import (
    ROOT,
    Document,
    Driver,
    document_of,
    problem_of,
)
from tests.integration.conftest import TOKEN, close_app, make_app, signed_in

MLFLOW_ROOTS = ("/api/2.0", "/ajax-api/2.0", "/api/3.0", "/ajax-api/3.0")
NAMED = {
    "approve_transition_request": Permission.APPROVE,
    "reject_transition_request": Permission.APPROVE,
    "cancel_transition_request": Permission.READ,  # who asked may
    "set_hold": Permission.PROMOTE,
    "lift_hold": Permission.PROMOTE,
    # the forms of pages
    **dict.fromkeys(("approve", "reject"), Permission.APPROVE),
    **dict.fromkeys(("hold", "make", "roll_back"), Permission.PROMOTE),
    **dict.fromkeys(("cancel", "sign_out_everywhere"), Permission.READ),
}
#: What belongs to no model, and pages of it.
OF_ADMINS = {"webhooks", "roles", "publishers", "access", "deliveries"}
SIGNING_IN = "ui.sign_in"
PUBLIC = {
    *("healthz", "readyz", "metrics", "docs", "start", "asset", "openapi_json"),
    *("login", "callback", "logout", "backchannel_logout"),
    "exchange_token",
}
CHANGING = {"POST", "PUT", "PATCH", "DELETE"}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def routes(app: Flask) -> list[tuple[str, str, Permission]]:
    """Every method and path, with what it asks for; ids that do not exist."""
    found = []
    for rule in app.url_map.iter_rules():
        permission = permission_of(app, rule.endpoint)
        assert permission is not None
        if rule.endpoint.endswith(".refuse_change"):
            continue  # uploads by MLflow's client: nobody may
        path = re.sub(r"<number:\w+>", "1", rule.rule)
        path = re.sub(r"<any\('?([\w.-]+).*?>", r"\1", path)
        path = re.sub(r"<[^>]+>", "absent", path)
        found += [
            (method, path, permission)
            for method in METHODS
            if method in (rule.methods or set())
        ]
    return found


@pytest.mark.parametrize("role", list(Role))
def test_role_may_do_exactly_what_each_route_asks_for(api: Driver, role: Role) -> None:
    caller = api.with_role(role)

    for method, path, permission in routes(api.app):
        with caller.client.open(path, method=method) as answer:
            status = answer.status_code

        is_allowed = permission.value is None or permission.value in role.actions
        assert (status == 403) is not is_allowed, (method, path)
        is_form = path.startswith("/signin")  # which a bad token is typed into
        assert status not in {500} | (set() if is_form else {401}), (method, path)


def test_nothing_but_probes_and_the_description_answers_without_a_token(
    api: Driver,
) -> None:
    anonymous = api.app.test_client()

    open_to_all = set()
    for method, path, _ in routes(api.app):
        answer = anonymous.open(path, method=method)
        is_page = answer.mimetype == "text/html"
        if answer.status_code == 401 and not is_page:
            if path.startswith(ROOT):
                problem_of(answer, 401, "unauthenticated")
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="stagegate"'
        elif not (is_page and is_sent_to_sign_in(answer)):
            open_to_all.add(path)
        answer.close()

    assert open_to_all == {
        *("/healthz", "/readyz", "/metrics"),
        *("/api/v1/openapi.json", "/api/v1/docs", "/api/v1/docs/start.js"),
        "/api/v1/docs/swagger-ui.css",
        "/api/v1/oidc/exchange",
        *(f"{root}/absent" for root in MLFLOW_ROOTS),  # no such endpoint
        *("/api/3.0/mlflow/server-info", "/ajax-api/3.0/mlflow/server-info"),
        *("/auth/login", "/auth/callback", "/auth/logout", "/auth/backchannel-logout"),
        *("/signin", "/assets/absent/absent"),
    }


def is_sent_to_sign_in(answer: TestResponse) -> bool:
    """Whether a page shows nothing but where to sign in."""
    place = answer.headers.get("Location", "").partition("?")[0]
    return answer.status_code == 401 or place == "/signin"


def test_role_of_each_kind_of_route_is_the_one_that_is_promised(api: Driver) -> None:
    rules = {
        rule.endpoint: rule
        for rule in api.app.url_map.iter_rules()
        if not rule.rule.startswith(MLFLOW_ROOTS)  # tests of that API tell
    }
    expected: dict[str, Permission] = {}
    for endpoint, rule in rules.items():
        group, _, name = endpoint.rpartition(".")
        noun = group.removeprefix("ui.").partition("_")[0]
        if name in PUBLIC or group == SIGNING_IN:
            expected[endpoint] = Permission.PUBLIC
        elif noun in OF_ADMINS or name.endswith(("token", "tokens")):
            expected[endpoint] = Permission.ADMIN
        elif not CHANGING & (rule.methods or set()):
            expected[endpoint] = Permission.READ
        elif name in NAMED:
            expected[endpoint] = NAMED[name]
        elif group in {"transitions", "rehearsals"}:
            expected[endpoint] = Permission.PROMOTE
        else:
            expected[endpoint] = Permission.WRITE
    expected["webhooks.list_transition_deliveries"] = Permission.READ
    expected["sign_in.sign_in_by_token"] = Permission.READ
    expected["ui.model_forms.ask_to_delete"] = Permission.WRITE

    found = {endpoint: permission_of(api.app, endpoint) for endpoint in rules}

    assert found == expected


def test_route_that_declares_no_permission_stops_the_start() -> None:
    app = Flask("bare", static_folder=None)
    app.add_url_rule("/open", view_func=lambda: "", endpoint="open")
    declared = requires(Permission.READ)(lambda: "")
    app.add_url_rule("/declared/<name>", view_func=declared, endpoint="declared")

    with pytest.raises(ConfigurationError) as caught:
        check_every_route(app)

    assert caught.value.problems == ("route /open declares no permission",)


@pytest.mark.parametrize("permission", list(Permission))
def test_route_that_does_not_say_where_its_model_is_named_stops_the_start(
    permission: Permission,
) -> None:
    app = Flask("bare", static_folder=None)
    views = {
        "/vague": requires(permission)(lambda: ""),
        "/vague/<id>": requires(permission)(lambda: ""),
        "/of/<name>": requires(permission)(lambda: ""),
        "/many": requires(permission, model=MANY)(lambda: ""),
    }
    for path, view in views.items():
        app.add_url_rule(path, view_func=view, endpoint=path.replace(".", "_"))
    if permission.value not in OF_MODELS:
        check_every_route(app)
        return

    with pytest.raises(ConfigurationError) as caught:
        check_every_route(app)

    assert caught.value.problems == (
        "route /vague does not say where its model is named",
        "route /vague/<id> does not say where its model is named",
    )


def test_view_that_lost_its_declaration_is_open_to_nobody(
    api: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = api.app.view_functions
    monkeypatch.setitem(views, "models.list_models", lambda: "everything")

    problem_of(api.get("/models"), 403, "forbidden")


def test_created_token_signs_in_and_is_shown_once(api: Driver) -> None:
    answer = api.post("/tokens", {"name": "ci", "role": "writer"})

    created = document_of(answer)
    assert answer.status_code == 201
    assert is_well_formed(created["token"])
    caller = Driver(api.app, signed_in(api.app, created.pop("token")))
    assert caller.read("/whoami") == {
        "name": "ci",
        "kind": "token",
        "roles": ["writer"],
        "scopes": None,
    }
    listed = {token["id"]: token for token in api.read("/tokens")["items"]}
    assert listed[created["id"]] == {
        **created,
        "last_used_at": listed[created["id"]]["last_used_at"],
    }
    assert listed[created["id"]]["last_used_at"] is not None


def test_token_expires_in_ninety_days_unless_said_otherwise(api: Driver) -> None:
    days = []
    chosen: list[Document] = [{}, {"expires_in_days": 1}, {"expires_in_days": 365}]
    for body in chosen:
        created = document_of(
            api.post("/tokens", {"name": "a", "role": "viewer", **body})
        )
        lifetime = datetime.fromisoformat(
            created["expires_at"]
        ) - datetime.fromisoformat(created["created_at"])
        days.append(lifetime.days)

    assert days == [90, 1, 365]
    for too in (0, 366):
        refused = {"name": "a", "role": "viewer", "expires_in_days": too}
        problem_of(api.post("/tokens", refused), 422, "invalid")


def test_tokens_are_listed_in_pages(api: Driver) -> None:
    for name in "abcd":
        api.post("/tokens", {"name": name, "role": "viewer"})

    first = api.read("/tokens?limit=3")
    second = api.read(f"/tokens?limit=3&cursor={first['next_cursor']}")

    names = {token["name"] for page in (first, second) for token in page["items"]}
    assert names == {"bootstrap", *"abcd"}
    assert second["next_cursor"] is None


def test_revoked_token_is_refused_from_its_next_request_on(api: Driver) -> None:
    caller = api.with_role("viewer")
    caller.read("/whoami")
    token_id = api.audit()[-1]["after"]["id"]

    statuses = [api.delete(f"/tokens/{token_id}").status_code for _ in range(2)]

    problem = problem_of(caller.get("/whoami"), 401, "unauthenticated")
    assert problem["detail"] == "this token has been revoked"
    assert statuses == [204, 204]
    actions = [entry["action"] for entry in api.audit()]
    assert actions.count("token.revoked") == 1


def test_absent_token_cannot_be_revoked(api: Driver) -> None:
    problem_of(api.delete("/tokens/absent"), 404, "not-found")


def test_expired_token_is_refused(api: Driver) -> None:
    caller = api.with_role("viewer")
    past = datetime.now(UTC) - timedelta(seconds=1)
    with api.engine.begin() as connection:
        connection.execute(
            text("UPDATE tokens SET expires_at = :past WHERE name = 'a viewer'"),
            {"past": past.strftime("%Y-%m-%d %H:%M:%S.%f")},
        )

    problem = problem_of(caller.get("/whoami"), 401, "unauthenticated")

    assert "this token expired at" in problem["detail"]


@pytest.mark.parametrize(
    ("header", "detail"),
    [
        (f"Bearer {new_token()}", "this token is unknown"),
        (f"Bearer {new_token()[:-1]}", "this token is mistyped"),
        ("Bearer sg_pat_", "this token is mistyped"),
        ("Bearer something-else", "this token is unknown"),
        ("Bearer ", "expected a bearer token"),
        ("Digest username=x", "expected a bearer token"),
        ("Basic !!!", "sign in with"),
        ("Basic " + base64.b64encode(b"user:").decode(), "expected a bearer token"),
        ("Basic " + base64.b64encode(b"user:wrong").decode(), "this token is unknown"),
        ("nonsense", "expected a bearer token"),
    ],
    # Without what differs in each process.
    ids=[
        "unknown",
        "one character short",
        "the prefix alone",
        "of another form",
        "empty",
        "another scheme",
        "basic that is not base64",
        "basic without a password",
        "basic with a wrong password",
        "no scheme",
    ],
)
def test_credential_that_is_none_is_refused_with_the_reason(
    api: Driver, header: str, detail: str
) -> None:
    answer = api.app.test_client().get(
        "/api/v1/whoami", headers={"Authorization": header}
    )

    assert problem_of(answer, 401, "unauthenticated")["detail"].startswith(detail)


def test_basic_sign_in_takes_the_token_as_password(api: Driver) -> None:
    answer = api.app.test_client().get("/api/v1/whoami", auth=("anyone", TOKEN))

    assert document_of(answer)["roles"] == ["admin"]


def test_refused_sign_in_is_logged_without_the_credential(
    api: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    token = new_token()

    with caplog.at_level(logging.WARNING):
        signed_in(api.app, token).get("/api/v1/whoami")

    assert "sign_in_refused reason='this token is unknown'" in caplog.text
    assert token not in caplog.text


def test_use_of_a_token_is_noted_every_few_minutes_only(api: Driver) -> None:
    def noted() -> str:
        (token,) = api.read("/tokens")["items"]
        return str(token["last_used_at"])

    noted()
    first, second = noted(), noted()
    with api.engine.begin() as connection:
        connection.execute(
            text("UPDATE tokens SET last_used_at = '2026-01-01 00:00:00.000000'")
        )
    noted()
    third = noted()

    assert first == second
    assert third > first


def test_reading_needs_no_lock_when_the_use_of_a_token_is_to_be_noted(
    api: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_use, "REST_SECONDS", 0.0)
    api.create_model()
    with api.engine.begin() as connection:
        connection.execute(text("UPDATE tokens SET last_used_at = NULL"))
    long_change = sqlite3.connect(
        tmp_path / "data" / "stagegate.db", isolation_level=None
    )
    long_change.execute("BEGIN IMMEDIATE")

    began = time.monotonic()
    for path in ("/models", "/events", "/whoami", "/tokens"):
        with api.get(path) as answer:
            assert answer.status_code == 200, path
    assert time.monotonic() - began < 5

    long_change.execute("ROLLBACK")
    long_change.close()
    api.read("/whoami")
    assert api.read("/tokens")["items"][0]["last_used_at"] is not None
    assert api.read("/events")["items"]


def test_bootstrap_token_that_was_revoked_stays_revoked(tmp_path: Path) -> None:
    app = make_app(tmp_path)
    api = Driver(app, signed_in(app))
    (token,) = api.read("/tokens")["items"]
    api.delete(f"/tokens/{token['id']}")
    close_app(app)

    again = make_app(tmp_path)

    answer = signed_in(again).get("/api/v1/whoami")
    problem_of(answer, 401, "unauthenticated")
    close_app(again)


def test_no_cookie_is_ever_set(api: Driver) -> None:
    assert "Set-Cookie" not in api.get("/whoami").headers
