"""How people sign in: what is set together, and what stops the start."""

import pytest

from registry.errors import ConfigurationError
from registry.settings import Settings
from registry.ways_to_sign_in import OpenIdProvider, WaysToSignIn

SECRET = "s" * 32
OIDC = {"OIDC_ISSUER": "https://sso.example/realms/ml", "OIDC_CLIENT_ID": "stagegate"}
PROXY = {"TRUSTED_PROXIES": "10.1.0.0/16, 192.0.2.7, 2001:db8::/32"}
PROXIES = {**PROXY, "PROXY_SECRET": SECRET}


def ways(**settings: str) -> WaysToSignIn:
    environ = {f"STAGEGATE_{name}": value for name, value in settings.items()}
    return Settings.from_env(environ).ways_to_sign_in


def problems(**settings: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        ways(**settings)
    return list(caught.value.problems)


def test_nothing_set_is_tokens_alone() -> None:
    assert ways() == WaysToSignIn()


def test_identity_provider_is_read() -> None:
    found = ways(**OIDC, OIDC_CLIENT_SECRET=SECRET, OIDC_SCOPES="openid groups")

    assert found.provider == OpenIdProvider(
        issuer="https://sso.example/realms/ml",
        client_id="stagegate",
        client_secret=SECRET,
        scopes="openid groups",
        groups_claim="groups",
        roles_claim="resource_access.stagegate.roles",
    )
    assert SECRET not in repr(found)


def test_claims_have_names_of_their_own() -> None:
    provider = ways(
        **OIDC, OIDC_GROUPS_CLAIM="teams", OIDC_ROLES_CLAIM="https://x.example/roles"
    ).provider

    assert provider is not None
    assert provider.groups_claim == "teams"
    assert provider.roles_claim == "https://x.example/roles"


@pytest.mark.parametrize(
    "issuer",
    [
        "https://tenant.sso.example/",  # the slash is part of its name
        "https://sso.example:8443/a/b",
        "http://127.0.0.1:8080/realms/ml",
        "http://localhost/realms/ml",
        "http://[::1]:8080/realms/ml",
    ],
)
def test_issuer_is_kept_as_it_calls_itself(issuer: str) -> None:
    provider = ways(OIDC_ISSUER=issuer, OIDC_CLIENT_ID="stagegate").provider

    assert provider is not None
    assert provider.issuer == issuer


@pytest.mark.parametrize(
    "issuer",
    [
        "http://sso.example/realms/ml",  # keys would be fetched in clear
        "http://127.0.0.1.evil.example/",
        "sso.example",
        "https://",
        "https://user:password@sso.example/",
        "https://sso.example/?a=b",
        "https://sso.example/#a",
        "https://sso.example/a b",
        "https://sso.example:port/",
        "https://sso.example:0/",
        "ftp://sso.example/",
        "https://[::1/",
    ],
)
def test_issuer_that_cannot_be_asked_safely_stops_the_start(issuer: str) -> None:
    (problem,) = problems(OIDC_ISSUER=issuer, OIDC_CLIENT_ID="stagegate")

    assert problem.startswith("STAGEGATE_OIDC_ISSUER: expected https://")
    assert "password" not in problem


@pytest.mark.parametrize(
    "settings",
    [
        {"OIDC_ISSUER": OIDC["OIDC_ISSUER"]},
        {"OIDC_CLIENT_ID": "stagegate"},
        {"OIDC_CLIENT_SECRET": SECRET},
    ],
)
def test_part_of_an_identity_provider_stops_the_start(settings: dict[str, str]) -> None:
    (problem,) = problems(**settings)

    assert "STAGEGATE_OIDC_ISSUER and STAGEGATE_OIDC_CLIENT_ID go together" in problem


def test_scopes_without_openid_stop_the_start() -> None:
    (problem,) = problems(**OIDC, OIDC_SCOPES="profile email")

    assert problem == "STAGEGATE_OIDC_SCOPES: openid must be among them"


def test_proxies_are_known_by_their_addresses() -> None:
    proxies = ways(**PROXIES).proxies

    assert proxies is not None
    for address in ("10.1.2.3", "192.0.2.7", "2001:db8::1", "::ffff:10.1.2.3"):
        assert proxies.include(address), address
    for address in ("10.2.0.1", "192.0.2.8", "2001:db9::1", "::1", "", "unix", "10.1"):
        assert not proxies.include(address), address
    assert SECRET not in repr(proxies)


@pytest.mark.parametrize(
    "settings", [PROXY, {"PROXY_SECRET": SECRET}, {**PROXY, "PROXY_SECRET": "s" * 31}]
)
def test_t1_headers_without_addresses_and_secret_stop_the_start(
    settings: dict[str, str],
) -> None:
    (problem,) = problems(**settings)

    assert "anybody could say who they are" in problem
    assert "sss" not in problem


@pytest.mark.parametrize("networks", ["0.0.0.0/0", "::/0", "10.0.0.0/8,0.0.0.0/0"])
def test_t1_everywhere_is_no_proxy(networks: str) -> None:
    (problem,) = problems(TRUSTED_PROXIES=networks, PROXY_SECRET=SECRET)

    assert problem == (
        "STAGEGATE_TRUSTED_PROXIES: every address there is cannot be a trusted proxy"
    )


@pytest.mark.parametrize("networks", ["proxy.example", "10.1.2.3/16", "10.0.0.0/33"])
def test_network_that_is_none_stops_the_start(networks: str) -> None:
    (problem,) = problems(TRUSTED_PROXIES=networks, PROXY_SECRET=SECRET)

    assert problem.startswith("STAGEGATE_TRUSTED_PROXIES: ")


@pytest.mark.parametrize(
    "settings",
    [
        {**OIDC, **PROXIES},
        {**OIDC, "INSECURE_DEV": "true"},
        {**PROXIES, "INSECURE_DEV": "true"},
    ],
)
def test_t23_two_ways_at_once_stop_the_start(settings: dict[str, str]) -> None:
    (problem,) = problems(**settings)

    assert problem.endswith("are ways to sign in; keep one")


def test_t23_everybody_an_admin_is_for_this_machine() -> None:
    (problem,) = problems(INSECURE_DEV="true", PUBLIC_URL="https://ml.example")
    assert "makes everybody an admin" in problem

    assert ways(INSECURE_DEV="true").is_insecure_dev
    assert ways(INSECURE_DEV="true", PUBLIC_URL="http://localhost:8000").is_insecure_dev


def test_every_problem_is_reported_at_once() -> None:
    found = problems(
        OIDC_ISSUER="sso.example", TRUSTED_PROXIES="nowhere", INSECURE_DEV="perhaps"
    )

    assert len(found) == 3
