"""What the claims of an identity provider's tokens must say, beside their signature.

Rules (OpenID Connect Core 1.0, 3.1.3.7; Back-Channel Logout 1.0, 2.6; ASVS 9.2.2):

- A token is taken for what it was made for: an ID token at the end of a sign-in, which
  has the nonce of that; an ID or access token where one signs a request in; a logout
  token where sessions are ended. None of them passes for another.
- Several audiences need an authorized party, which is us where the token is for us.
- Issuer, audience and times are the verifier's (``registry.identity``).
"""

import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from registry.errors import NotSignedInError

Claims = Mapping[str, Any]
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
MAX_ID_CHARACTERS = 255
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
#: What Keycloak calls the kinds of its tokens, in a claim ``typ``.
_ID_KINDS = frozenset({"ID", None})
_BEARER_KINDS = frozenset({"ID", "Bearer", None})
_LOGOUT_KINDS = frozenset({"Logout", None})


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A sign-in that was begun, as only the browser that began it shows again."""

    redirect_uri: str
    state: str
    nonce: str
    verifier: str

    @classmethod
    def begin(cls, redirect_uri: str) -> Self:
        """Begin one."""
        state, nonce, verifier = (secrets.token_urlsafe(48) for _ in range(3))
        return cls(
            redirect_uri=redirect_uri, state=state, nonce=nonce, verifier=verifier
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What the provider has ended: a session there, or all of somebody."""

    sid: str
    subject: str


def is_jwt(text: str) -> bool:
    """Whether a credential has the form of a signed JWT; tokens of ours never do."""
    return text.startswith("eyJ") and _COMPACT.fullmatch(text) is not None


def check_id_token(claims: Claims, *, client_id: str, nonce: str) -> None:
    """Hold an ID token to the sign-in that it ends.

    Raises:
        NotSignedInError: it is of another, or no ID token.
    """
    _check_kind(claims, _ID_KINDS)
    found = claims.get("nonce")
    if not isinstance(found, str) or not hmac.compare_digest(
        found.encode("utf-8", "replace"), nonce.encode()
    ):
        raise NotSignedInError("the ID token is of another sign-in: its nonce differs")
    party = claims.get("azp")
    is_shared = isinstance(claims.get("aud"), list) and len(claims["aud"]) > 1
    if party != client_id and (is_shared or party is not None):
        raise NotSignedInError("the ID token was made for another client")


def check_bearer(claims: Claims) -> None:
    """Hold what signs a request in to that.

    Raises:
        NotSignedInError: it is a logout token, or bound to a key that nobody showed.
    """
    _check_kind(claims, _BEARER_KINDS)
    if "cnf" in claims:
        raise NotSignedInError("the token is bound to a key; send one that is not")


def ended_by(claims: Claims) -> Ended:
    """Return what a logout token ends.

    Raises:
        NotSignedInError: it is none.
    """
    if _kind(claims) not in _LOGOUT_KINDS:
        raise NotSignedInError("expected a logout token")
    events = claims.get("events")
    is_logout = isinstance(events, Mapping) and isinstance(
        events.get(LOGOUT_EVENT), Mapping
    )
    if not is_logout or "nonce" in claims:
        raise NotSignedInError("expected a logout token")
    ended = Ended(sid=text(claims, "sid"), subject=text(claims, "sub"))
    if not (ended.sid or ended.subject):
        raise NotSignedInError("the logout token names neither session nor subject")
    return ended


def text(claims: Claims, name: str) -> str:
    """Return a claim that is a short text; nothing for anything else."""
    value = claims.get(name)
    if not isinstance(value, str) or not value.isprintable():
        return ""
    return value if len(value) <= MAX_ID_CHARACTERS else ""


def _check_kind(claims: Claims, kinds: frozenset[str | None]) -> None:
    if _kind(claims) not in kinds or "events" in claims:
        raise NotSignedInError("this token was made for something else")


def _kind(claims: Claims) -> str | None:
    kind = claims.get("typ")
    return kind if kind is None or isinstance(kind, str) else "unknown"
