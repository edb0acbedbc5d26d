"""A token is taken for what it was made for."""

from typing import Any

import pytest

from registry.domain import openid
from registry.domain.openid import Ended
from registry.errors import NotSignedInError

Claims = dict[str, Any]
NONCE = "n-0S6_WzA2Mj"
ID: Claims = {"aud": "us", "azp": "us", "nonce": NONCE, "typ": "ID"}
LOGOUT: Claims = {"typ": "Logout", "sub": "f3a1", "events": {openid.LOGOUT_EVENT: {}}}


@pytest.mark.parametrize("token", ["eyJhbGciOiJub25lIn0.e30.AAAA", "eyJ.a.b"])
def test_jwt_is_known_by_its_form(token: str) -> None:
    assert openid.is_jwt(token)


@pytest.mark.parametrize(
    "token",
    ["", "sg_pat_eyJ.a.b", "eyJ.a", "eyJ.a.", "eyJ.a.b.c", "eyJ.a.b\n", "eyJ.é.b"],
)
def test_other_token_is_no_jwt(token: str) -> None:
    assert not openid.is_jwt(token)


def without(claims: Claims, name: str) -> Claims:
    return {key: value for key, value in claims.items() if key != name}


@pytest.mark.parametrize(
    "claims",
    [
        ID,
        without(ID, "azp"),
        without(ID, "typ"),
        {**ID, "aud": ["us"]},
        {**ID, "aud": ["us", "other"]},
    ],
)
def test_id_token_of_this_sign_in_ends_it(claims: Claims) -> None:
    openid.check_id_token(claims, client_id="us", nonce=NONCE)


@pytest.mark.parametrize(
    "claims",
    [
        without(ID, "nonce"),
        {**ID, "nonce": "another"},
        {**ID, "nonce": None},
        {**ID, "nonce": 7},
        {**ID, "nonce": "\ud800"},
        {**ID, "typ": "Bearer"},
        {**ID, "typ": "Logout"},
        {**ID, "typ": "Refresh"},
        {**ID, "typ": []},
        {**ID, "azp": "other"},
        {**ID, "azp": ["us"]},
        {**without(ID, "azp"), "aud": ["us", "other"]},
        {**ID, "events": {}},
    ],
)
def test_t3_other_token_does_not_end_a_sign_in(claims: Claims) -> None:
    with pytest.raises(NotSignedInError):
        openid.check_id_token(claims, client_id="us", nonce=NONCE)


@pytest.mark.parametrize("claims", [ID, {"typ": "Bearer"}, {}])
def test_id_and_access_tokens_sign_a_request_in(claims: Claims) -> None:
    openid.check_bearer(claims)


@pytest.mark.parametrize(
    "claims",
    [
        LOGOUT,
        without(LOGOUT, "typ"),
        {"typ": "Refresh"},
        {"typ": "Offline"},
        {"typ": "DPoP"},
        {"typ": 7},
        {"typ": {}},
        {"typ": "Bearer", "cnf": {"jkt": "x"}},
    ],
)
def test_t3_token_for_something_else_signs_no_request_in(claims: Claims) -> None:
    with pytest.raises(NotSignedInError):
        openid.check_bearer(claims)


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        (LOGOUT, Ended(sid="", subject="f3a1")),
        ({**LOGOUT, "sid": "s1"}, Ended(sid="s1", subject="f3a1")),
        ({**without(LOGOUT, "sub"), "sid": "s1"}, Ended(sid="s1", subject="")),
        (without(LOGOUT, "typ"), Ended(sid="", subject="f3a1")),
    ],
)
def test_logout_token_says_what_it_ends(claims: Claims, expected: Ended) -> None:
    assert openid.ended_by(claims) == expected


@pytest.mark.parametrize(
    "claims",
    [
        without(LOGOUT, "sub"),
        {**LOGOUT, "sub": 7},
        {**LOGOUT, "sub": "s" * 256},
        {**LOGOUT, "nonce": NONCE},
        {**LOGOUT, "typ": "ID"},
        {**LOGOUT, "typ": ["Logout"]},
        {**LOGOUT, "events": {"other": {}}},
        {**LOGOUT, "events": {openid.LOGOUT_EVENT: None}},
        {**LOGOUT, "events": [openid.LOGOUT_EVENT]},
        without(LOGOUT, "events"),
        ID,
    ],
)
def test_t3_other_token_ends_no_session(claims: Claims) -> None:
    with pytest.raises(NotSignedInError):
        openid.ended_by(claims)
