"""The one place where a JSON Web Token is verified.

Rules, each of which a CVE of some library stands behind (see its tests):

- Algorithms are those of the issuer's configuration, asymmetric, and the key's own; the
  token's word only has to agree. No ``none``, no HMAC, no encryption.
- The key is the issuer's, by ``kid``. A header that brings or names a key (``jwk``,
  ``jku``, ``x5c``, ``x5u``), or asks for something critical, is refused.
- Issuer and audience are compared as whole strings; ``exp`` and ``iat`` are required.
- What is too long, or no JWT at all, is refused before anything is parsed.
"""

from collections.abc import Collection, Mapping
from typing import Any

import jwt

from registry.domain.openid import is_jwt
from registry.errors import NotSignedInError
from registry.identity.issuer import Issuer

MAX_TOKEN_CHARACTERS = 8 * 1024
LEEWAY_SECONDS = 30
_KNOWN_PARAMETERS = frozenset({"alg", "kid", "typ", "x5t", "x5t#S256"})
#: RFC 9068 has the second, Back-Channel Logout the third.
TYPES_OF_PEOPLE = frozenset({"jwt", "at+jwt", "logout+jwt"})
TYPES_OF_JOBS = frozenset({"jwt"})


def require_form(token: str) -> None:
    """Refuse what no JWT looks like, before anything of it is parsed.

    Raises:
        NotSignedInError: it does not.
    """
    if len(token) > MAX_TOKEN_CHARACTERS or not is_jwt(token):
        raise NotSignedInError("expected a signed JWT of at most 8 KiB")


def verified_claims(
    token: str,
    issuer: Issuer,
    *,
    audience: str,
    types: Collection[str] = TYPES_OF_PEOPLE,
) -> Mapping[str, Any]:
    """Return the claims of a token that this issuer signed for this audience.

    ``types`` are what its header may say in ``typ``; if it says nothing, it is ``jwt``.

    Raises:
        NotSignedInError: it is not good.
        IdentityProviderError: the issuer's keys are not to be had.
    """
    require_form(token)
    try:
        header = jwt.get_unverified_header(token)
        key = issuer.key(_key_id(header, issuer, types))
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=issuer.algorithms,
            audience=audience,
            issuer=issuer.name,
            leeway=LEEWAY_SECONDS,
            options={
                "require": ["exp", "iat", "iss", "aud"],
                "verify_sub": False,  # what it must be, each use of a token says
                "verify_jti": False,
            },
        )
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        reason = str(error) if isinstance(error, jwt.InvalidTokenError) else "malformed"
        raise NotSignedInError(f"the JWT is refused: {reason[:100]}") from error
    return claims


def _key_id(header: Mapping[str, Any], issuer: Issuer, types: Collection[str]) -> str:
    if header.get("alg") not in issuer.algorithms:
        raise NotSignedInError("the JWT is refused: its algorithm is not allowed")
    if not header.keys() <= _KNOWN_PARAMETERS:
        raise NotSignedInError("the JWT is refused: its header asks for more")
    kind = str(header.get("typ", "JWT")).lower().removeprefix("application/")
    if kind not in types:
        raise NotSignedInError("the JWT is refused: it is of another type")
    kid = header.get("kid")
    if not isinstance(kid, str):
        raise NotSignedInError("the JWT is refused: it names no key")
    return kid
