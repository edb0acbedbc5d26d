"""The pages of tokens, trusted publishers and roles, without a script."""

import html
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import update
from werkzeug.test import TestResponse

from registry.persistence.tables import Token
from registry.services.tokens import CI, DEFAULT_DAYS
from registry.settings import packaged_config
from tests.integration.api.driver import ON_BOTH_DATABASES, Driver
from tests.integration.api.mutations import PUBLISHER
from tests.integration.conftest import close_app, make_app, signed_in
from tests.integration.ui.test_audit_pages import page, said

TOKEN = {"name": "ci", "role": "promoter", "models": "fraud-*", "expires_in_days": "9"}
GROUP = {"subject_kind": "group", "subject": "leads", "role": "promoter"}
CLAIMS = {"kubernetes.namespace": "ml", "kubernetes.service_account": "training"}
OVERRIDE = """
[[override]]
models = "fraud*"
[[override.moves]]
from = "None"
to = "Production"
via = "promotion"
required_tags = ["safe"]
"""
CLUSTER = {**{k: str(v) for k, v in PUBLISHER.items() if k != "claims"}, **CLAIMS}


def post(api: Driver, path: str, form: dict[str, str]) -> TestResponse:
    return api.client.post(path, data=form)


def done(api: Driver, answer: TestResponse) -> str:
    """What the page says that a change leads to."""
    assert answer.status_code == 303, answer.text
    place = urlsplit(answer.headers["Location"])
    assert not place.netloc
    return page(api, f"{place.path}?{place.query}")


@ON_BOTH_DATABASES
def test_token_is_made_shown_once_and_revoked(api: Driver) -> None:
    answer = post(api, "/admin/tokens", {**TOKEN, "scopes": "read:* promote:fraud-eu"})

    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    assert "ETag" not in answer.headers
    (secret,) = re.findall(r'data-copy="(sg_pat_\w+)"', answer.text)
    assert api.with_secret(secret).read("/whoami") == {
        "kind": "token",
        "name": "ci",
        "roles": ["promoter:fraud-*"],
        "scopes": ["read:*", "promote:fraud-eu"],
    }
    listed = page(api, "/admin/tokens")
    assert "only read:*, promote:fraud-eu" in listed
    assert secret not in api.client.get("/admin/tokens").text
    (made,) = [t for t in api.read("/tokens")["items"] if t["name"] == "ci"]
    answer = post(api, f"/admin/tokens/{made['id']}/revoke", {})
    assert "The token is revoked" in done(api, answer)
    assert api.with_secret(secret).get("/whoami").status_code == 401
    assert post(api, "/admin/tokens/absent/revoke", {}).status_code == 404


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"name": "a/b"}, "Name: must not be blank or contain"),
        ({"name": ""}, "Name: Missing data"),
        ({"role": "king"}, "Role: Must be one of"),
        ({"models": "[a]"}, "Models: "),
        ({"role": "admin"}, "role admin is for all models"),
        ({"scopes": "fly:*"}, "Scopes: "),
        ({"expires_in_days": "soon"}, "Expires in days: expected a whole number"),
        ({"expires_in_days": "400"}, "Expires in days: Must be"),
    ],
)
def test_form_that_is_refused_is_shown_again_with_what_was_typed(
    api: Driver, form: dict[str, str], message: str
) -> None:
    before = api.dump()
    typed = {**TOKEN, **form}

    answer = post(api, "/admin/tokens", typed)

    assert answer.status_code == 422
    assert message in said(answer)
    assert f'value="{html.escape(typed["models"])}"' in answer.text
    assert '<details class="panel new" open>' in answer.text
    assert api.dump() == before


@ON_BOTH_DATABASES
def test_tokens_are_listed_newest_first_by_kind(api: Driver) -> None:
    for n in range(60):
        post(api, "/admin/tokens", {**TOKEN, "name": f"t{n:02}"})
    with api.engine.begin() as cx:
        cx.execute(update(Token).where(Token.name == "t07").values(kind=CI))

    address, found = "/admin/tokens", []
    while address:
        answer = api.client.get(address)
        found += re.findall(r'<th scope="row"[^>]*>(\w+)', answer.text)
        following = re.search(r'href="([^"]+)" rel="next"', answer.text)
        address = html.unescape(following[1]) if following else ""

    assert found == [f"t{n:02}" for n in reversed(range(60)) if n != 7] + ["bootstrap"]
    assert "t07" in page(api, "/admin/tokens?kind=ci")


@ON_BOTH_DATABASES
def test_role_is_granted_and_taken_away(api: Driver) -> None:
    answer = post(api, "/admin/roles", GROUP)

    assert "The role is granted" in done(api, answer)
    (binding,) = api.read("/role-bindings")["items"]
    assert (binding["subject"], binding["role"]) == ("leads", "promoter")
    assert "leads group promoter" in page(api, "/admin/roles")
    answer = post(api, f"/admin/roles/{binding['id']}/delete", {})
    assert "taken away" in done(api, answer)
    assert api.read("/role-bindings")["items"] == []
    refused = post(api, "/admin/roles", {**GROUP, "subject": " "})
    assert refused.status_code == 422
    assert "Subject: " in said(refused)


@ON_BOTH_DATABASES
def test_publisher_is_trusted_and_no_more(api: Driver) -> None:
    answer = post(api, "/admin/publishers", CLUSTER)

    assert "The publisher is trusted" in done(api, answer)
    (made,) = api.read("/trusted-publishers")["items"]
    assert made["claims"] == PUBLISHER["claims"]
    assert made["issuer"] == PUBLISHER["issuer"]
    again = post(api, "/admin/publishers", {**CLUSTER, "name": "other"})
    assert again.status_code == 409
    assert "asks the same of its jobs" in said(again)
    assert 'name="kubernetes.namespace" value="ml"' in again.text
    answer = post(api, f"/admin/publishers/{made['id']}/delete", {})
    assert "trusted no more" in done(api, answer)
    assert api.read("/trusted-publishers")["items"] == []


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"provider": "bitbucket"}, "Provider: Must be one of"),
        ({"provider": ""}, "Provider: Missing data"),
        ({"issuer": "no address"}, "issuer"),
        ({"kubernetes.namespace": "UPPER"}, "a name as Kubernetes has them"),
        ({"kubernetes.namespace": ""}, "a name as Kubernetes has them"),
        ({"role": "admin"}, "Role: Must be one of"),
    ],
)
def test_publisher_that_is_refused_says_why(
    api: Driver, form: dict[str, str], message: str
) -> None:
    answer = post(api, "/admin/publishers", {**CLUSTER, **form})

    assert answer.status_code == 422
    assert message.lower() in said(answer).lower()


@pytest.mark.parametrize("path", ["tokens", "publishers", "roles"])
def test_access_is_the_admins(api: Driver, path: str) -> None:
    for role in ("viewer", "auditor", "promoter", "approver"):
        caller = api.with_role(role)
        assert caller.client.get(f"/admin/{path}").status_code == 403
        answer = caller.client.post(f"/admin/{path}", data={**TOKEN, **GROUP})
        assert answer.status_code == 403
        assert "/admin/" not in caller.client.get("/account").text


def test_default_days_are_those_of_the_api(api: Driver) -> None:
    body = api.client.get("/admin/tokens").text

    assert f'name="expires_in_days" type="number" value="{DEFAULT_DAYS}"' in body


def test_policy_shows_the_rules_of_a_pattern_and_of_a_model(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(packaged_config("policy.toml").read_text() + OVERRIDE)
    app = make_app(tmp_path, POLICY_FILE=str(policy))
    api = Driver(app, signed_in(app))

    general, special = "the artifact, hashed again, is unchanged", "it has the tag safe"
    assert general in page(api, "/policy")
    assert special not in page(api, "/policy")
    shown = page(api, "/policy?pattern=fraud*")
    assert special in shown
    assert general not in shown
    of_model = page(api, "/policy?model=fraud-eu")
    assert "fraud-eu is held to the rules for fraud*" in of_model
    assert special in of_model
    assert "without rules of their own" in page(api, "/policy?model=churn")
    page(api, "/policy?pattern=churn", 404)
    page(api.with_role("reader"), "/policy")
    close_app(app)
