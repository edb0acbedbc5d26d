"""People and programs sign in at a real Keycloak, with the realm of ``config/``."""

import html
import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from registry.client import RegistryClient
from tests.server import RunningServer, running_server
from tests.services.keycloak import KeycloakServer
from tests.waiting import wait_for

CLIENT = "stagegate"
Document = dict[str, Any]

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def server(
    keycloak: KeycloakServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """A server whose people are in that realm."""
    with running_server(
        tmp_path_factory.mktemp("server"),
        OIDC_ISSUER=keycloak.issuer,
        OIDC_CLIENT_ID=CLIENT,
        OIDC_CLIENT_SECRET=keycloak.client_secret,
    ) as running:
        keycloak.serve(CLIENT, running.url)
        yield running


class Browser(requests.Session):
    """A browser without a screen: it follows, and fills in Keycloak's form."""

    def __init__(self, server: RunningServer) -> None:
        super().__init__()
        self.trust_env = False
        self._server = server

    def request(self, *args: Any, **options: Any) -> requests.Response:  # noqa: ANN401  # requests' own
        """Take cookies for this machine for safe ones, as browsers do."""
        answer = super().request(*args, **{"timeout": 30, **options})
        for cookie in self.cookies:
            cookie.secure = False
        return answer

    def sign_in(self, name: str, password: str) -> requests.Response:
        """Sign in here by way of Keycloak."""
        page = self.get(f"{self._server.url}/auth/login")
        return self._fill_in(page, username=name, password=password)

    def _fill_in(self, page: requests.Response, **fields: str) -> requests.Response:
        found = re.search(r'<form[^>]* action="([^"]+)"', page.text)
        assert found is not None, page.text
        answer = self.post(html.unescape(found[1]), data=fields)
        answer.raise_for_status()
        return answer

    def whoami(self) -> requests.Response:
        return self.get(f"{self._server.url}/api/v1/whoami")


def token_of(keycloak: KeycloakServer, **form: str) -> Document:
    """What Keycloak's token endpoint gives a client."""
    answer = requests.post(
        f"{keycloak.issuer}/protocol/openid-connect/token",
        data=form,
        auth=(form.pop("client"), keycloak.client_secret),
        timeout=20,
    )
    answer.raise_for_status()
    document: Document = answer.json()
    return document


def user_id(keycloak: KeycloakServer, name: str) -> str:
    named = {"username": name, "exact": "true"}
    (user,) = keycloak.admin().get(keycloak.api("users"), params=named).json()
    return str(user["id"])


def change_role(keycloak: KeycloakServer, name: str, role: str, method: str) -> None:
    """Give (POST) a person a role of our client there, or take it (DELETE)."""
    admin = keycloak.admin()
    clients = admin.get(keycloak.api("clients"), params={"clientId": CLIENT}).json()
    client = clients[0]["id"]
    found = admin.get(keycloak.api(f"clients/{client}/roles/{role}")).json()
    path = f"users/{user_id(keycloak, name)}/role-mappings/clients/{client}"
    admin.request(method, keycloak.api(path), json=[found]).raise_for_status()


def test_person_signs_in_loses_a_role_there_and_signs_out(
    keycloak: KeycloakServer, server: RunningServer
) -> None:
    ann = Browser(server)
    arrived = ann.sign_in("ann", keycloak.password)

    assert arrived.url == f"{server.url}/"
    assert ann.whoami().json() == {
        "name": "ann",
        "kind": "user",
        "roles": ["admin"],
        "scopes": None,
    }
    models = f"{server.url}/api/v1/models"
    made = ann.post(models, json={"name": "by-ann"}, headers={"Origin": server.url})
    assert made.status_code == 201

    change_role(keycloak, "ann", "admin", "DELETE")
    change_role(keycloak, "ann", "viewer", "POST")
    try:
        ann.get(f"{server.url}/auth/login")  # Keycloak asks nothing again
        assert ann.whoami().json()["roles"] == ["viewer"]
        assert ann.post(models, json={"name": "no"}).status_code == 403
    finally:
        change_role(keycloak, "ann", "viewer", "DELETE")
        change_role(keycloak, "ann", "admin", "POST")

    address = ann.post(f"{server.url}/auth/logout").json()["logout_url"]
    assert ann.whoami().status_code == 401
    assert address.startswith(keycloak.issuer)
    assert "<form" in ann.get(address).text  # there, too, once that is confirmed


def test_group_of_the_realm_is_bound_to_a_role_here(
    keycloak: KeycloakServer, server: RunningServer
) -> None:
    admin = server.http()
    bindings = f"{server.url}/api/v1/role-bindings"
    bound = {"subject_kind": "group", "subject": "risk-approvers", "role": "approver"}
    binding = admin.post(bindings, json=bound)
    assert binding.ok, binding.text
    bob = Browser(server)

    bob.sign_in("bob", keycloak.password)

    assert bob.whoami().json()["roles"] == ["viewer", "approver"]
    admin.delete(f"{bindings}/{binding.json()['id']}")
    assert bob.whoami().json()["roles"] == ["viewer"]


def test_signing_out_at_keycloak_ends_the_session_here(
    keycloak: KeycloakServer, server: RunningServer
) -> None:
    admin = keycloak.admin()
    path = keycloak.api(f"users/{user_id(keycloak, 'bob')}/logout")
    # Of two sessions of one person it may tell of one alone: end what tests have left.
    admin.post(path).raise_for_status()
    bob = Browser(server)
    bob.sign_in("bob", keycloak.password)
    assert bob.whoami().status_code == 200

    def after_signing_out_there() -> int:
        """Ask again: Keycloak ends what it has stored, which on a busy machine lags."""
        admin.post(path).raise_for_status()
        return bob.whoami().status_code

    wait_for(after_signing_out_there, lambda status: status == 401)


def test_program_works_by_client_credentials(
    keycloak: KeycloakServer, server: RunningServer
) -> None:
    token = token_of(
        keycloak, client="nightly-training", grant_type="client_credentials"
    )["access_token"]

    client = RegistryClient(server.url, token)

    whoami = requests.get(
        f"{server.url}/api/v1/whoami",
        headers={"Authorization": f"Bearer {token}"},
        timeout=20,
    ).json()
    assert whoami["kind"] == "ci"
    assert whoami["name"] == "service-account-nightly-training"
    assert whoami["roles"] == ["viewer"]
    assert isinstance(list(client.models()), list)


def tokens_at_the_proxy(keycloak: KeycloakServer, server: RunningServer) -> Document:
    """What oauth2-proxy has of a person who signed in at it, as its own client."""
    back = f"{server.url}/oauth2/callback"
    keycloak.serve("oauth2-proxy", server.url)
    verifier, challenge = "v" * 43, "7w_YNF9DSfIdPf_pRjSq646_kPr-2-o9NAl16JGghdM"
    browser = Browser(server)
    page = browser.get(
        f"{keycloak.issuer}/protocol/openid-connect/auth",
        params={
            "client_id": "oauth2-proxy",
            "response_type": "code",
            "scope": "openid profile email",
            "redirect_uri": back,
            "state": "s",
            "nonce": "n",
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        },
    )
    found = re.search(r'<form[^>]* action="([^"]+)"', page.text)
    assert found is not None, page.text
    answer = browser.post(
        html.unescape(found[1]),
        data={"username": "ann", "password": keycloak.password},
        allow_redirects=False,
    )
    code = re.search(r"[?&]code=([^&]+)", answer.headers["Location"])
    assert code is not None
    return token_of(
        keycloak,
        client="oauth2-proxy",
        grant_type="authorization_code",
        code=code[1],
        redirect_uri=back,
        code_verifier=verifier,
    )


def test_tokens_that_oauth2_proxy_passes_on_say_who_somebody_is(
    keycloak: KeycloakServer, server: RunningServer
) -> None:
    tokens = tokens_at_the_proxy(keycloak, server)
    plain = {
        "X-Forwarded-User": "root",
        "X-Forwarded-Email": "root@example.com",
        "X-Forwarded-Groups": "role:admin",
        "X-Forwarded-Preferred-Username": "root",
    }
    ways = (
        # --pass-authorization-header, --pass-access-token, and both.
        {"Authorization": f"Bearer {tokens['id_token']}"},
        {"X-Forwarded-Access-Token": tokens["access_token"]},
        {
            "Authorization": f"Bearer {tokens['id_token']}",
            "X-Forwarded-Access-Token": tokens["access_token"],
        },
    )
    for way in ways:
        whoami = requests.get(
            f"{server.url}/api/v1/whoami", headers={**plain, **way}, timeout=20
        )
        assert whoami.json()["name"] == "ann", whoami.text
        assert whoami.json()["roles"] == ["admin"]
    alone = requests.get(f"{server.url}/api/v1/whoami", headers=plain, timeout=20)
    assert alone.status_code == 401
    for wrong in (tokens["refresh_token"], tokens["id_token"][:-4] + "AAAA"):
        refused = requests.get(
            f"{server.url}/api/v1/whoami",
            headers={"Authorization": f"Bearer {wrong}"},
            timeout=20,
        )
        assert refused.status_code == 401
