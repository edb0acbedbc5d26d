"""Whom claims tell of, and what that person may do."""

from typing import Any

import pytest

from registry.domain.actors import ActorKind, CredentialKind
from registry.domain.people import (
    MAX_GROUPS,
    Person,
    actor_of,
    is_local_path,
    person_of,
)
from registry.domain.roles import Grant, Role
from registry.errors import NotSignedInError

ISSUER = "https://sso.example/realms/ml"
CLAIMS = {"iss": ISSUER, "sub": "f3a1", "preferred_username": "ann", "name": "Ann"}


def person(**claims: Any) -> Person:  # noqa: ANN401  # claims are JSON
    return person_of(
        {**CLAIMS, **claims},
        groups_claim="groups",
        roles_claim="resource_access.stagegate.roles",
    )


def test_who_somebody_is_is_issuer_and_subject_and_never_an_address() -> None:
    ann = person(email="ann@example.com", email_verified=True)

    assert ann.principal == f"{ISSUER}#f3a1"
    assert ann.name == "ann"


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"preferred_username": None}, "Ann"),
        ({"preferred_username": "", "name": " "}, "f3a1"),
        ({"preferred_username": ["ann"], "name": 7}, "f3a1"),
        ({"preferred_username": "a\nb"}, "Ann"),
        ({"preferred_username": "a" * 300}, "a" * 255),
        ({"preferred_username": "", "name": "", "sub": " "}, "somebody"),
    ],
)
def test_name_is_the_first_that_can_be_read(claims: dict[str, Any], name: str) -> None:
    assert person(**claims).name == name


@pytest.mark.parametrize("subject", [None, 7, "", "a\nb", "\ud800", "s" * 256])
def test_subject_that_is_none_is_refused(subject: object) -> None:
    with pytest.raises(NotSignedInError):
        person(sub=subject)


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (["a", "b", "a"], ("a", "b")),
        ("a", ("a",)),
        (None, ()),
        ([1, "a", None, "x\ny"], ("a",)),
        ({"a": "b"}, ()),
    ],
)
def test_groups_are_the_texts_of_the_claim(
    groups: object, expected: tuple[str, ...]
) -> None:
    assert person(groups=groups).groups == expected


def test_groups_are_bounded() -> None:
    many = [f"g{number}" for number in range(MAX_GROUPS + 1)]

    assert len(person(groups=many).groups) == MAX_GROUPS


@pytest.mark.parametrize(
    ("path", "claims", "expected"),
    [
        ("roles", {"roles": ["admin"]}, ("admin",)),
        ("realm_access.roles", {"realm_access": {"roles": ["a"]}}, ("a",)),
        ("https://x.example/roles", {"https://x.example/roles": ["a"]}, ("a",)),
        ("a.b.c", {"a.b": {"c": "x"}, "a": {"b": {"c": "y"}}}, ("x",)),
        ("a.b.c", {"a": {"b": {"c": "y"}}}, ("y",)),
        ("a.b.c", {"a": {"b.c": "z"}}, ("z",)),
        ("a.b", {"a": "text"}, ()),
        ("a.b", {}, ()),
        ("a", {}, ()),
    ],
)
def test_roles_claim_may_lie_within_others(
    path: str, claims: dict[str, Any], expected: tuple[str, ...]
) -> None:
    found = person_of({**CLAIMS, **claims}, groups_claim="groups", roles_claim=path)

    assert found.roles == expected


def test_roles_that_are_for_all_models_and_what_is_bound_are_granted() -> None:
    roles = ("admin", "stagegate-auditor", "writer", "offline_access", "Admin", "admin")
    bound = [Grant(Role.WRITER, "fraud-*")]
    ann = Person(issuer=ISSUER, subject="f3a1", name="ann", roles=roles)

    actor = actor_of(ann, bound, credential=CredentialKind.JWT, credential_id="j1")

    assert actor.grants == (Grant(Role.ADMIN), Grant(Role.AUDITOR), *bound)
    assert actor.kind is ActorKind.USER
    assert actor.human == actor.principal == ann.principal
    assert (actor.credential, actor.credential_id) == (CredentialKind.JWT, "j1")


@pytest.mark.parametrize(
    "claims",
    [
        {"preferred_username": "service-account-nightly"},
        {"azp": "f3a1"},
        {"client_id": "f3a1"},
    ],
)
def test_account_of_a_program_is_no_human(claims: dict[str, Any]) -> None:
    service = person(**claims)

    actor = actor_of(service, [], credential=CredentialKind.JWT)

    assert actor.kind is ActorKind.CI
    assert actor.human == ""
    assert actor.principal == f"{ISSUER}#f3a1"


@pytest.mark.parametrize("path", ["/", "/models/fraud?tab=1#x", "/a//b", "/%2f"])
def test_path_on_this_server_may_be_gone_on_to(path: str) -> None:
    assert is_local_path(path)


@pytest.mark.parametrize(
    "path",
    [
        *("", "models", "//evil.example", "///evil.example", "/\\evil.example"),
        *("\\\\evil.example", "/a\\b", "https://evil.example", "javascript:alert(1)"),
        *("/\tevil", "/ /evil", "/\nevil", " /", "/a b", "/\x7f", "/" + "a" * 2001),
        *("/\t/evil.example", "/\r/evil.example", "http:/evil.example", "@evil"),
    ],
)
def test_t15_nobody_is_sent_on_to_another_server(path: str) -> None:
    assert not is_local_path(path)
