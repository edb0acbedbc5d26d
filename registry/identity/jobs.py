"""The issuers that CI platforms' tokens are verified by, kept with their keys.

Rules:

- Issuers are those of trusted publishers: nobody makes us ask another server.
- Their algorithms are those that the platform documents.
"""

import threading
from collections.abc import Mapping
from typing import Any

import jwt

from registry.domain.publishers import JobProvider, algorithms_of
from registry.errors import NotSignedInError
from registry.identity.issuer import Issuer
from registry.identity.verifier import require_form, verified_claims

MAX_ISSUERS = 100


class JobIssuers:
    """Issuers, each made when its first token comes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._issuers: dict[tuple[str, JobProvider], Issuer] = {}

    def verified(
        self, token: str, issuer: str, provider: JobProvider, *, audience: str
    ) -> Mapping[str, Any]:
        """Return the claims of a token that the issuer signed for this audience.

        Raises:
            NotSignedInError: it is not good.
            IdentityProviderError: the issuer's keys are not to be had.
        """
        return verified_claims(token, self._issuer(issuer, provider), audience=audience)

    def _issuer(self, name: str, provider: JobProvider) -> Issuer:
        with self._lock:
            found = self._issuers.pop((name, provider), None)
            found = found or Issuer(name, algorithms=algorithms_of(provider))
            self._issuers[name, provider] = found
            if len(self._issuers) > MAX_ISSUERS:
                del self._issuers[next(iter(self._issuers))]
            return found


def unverified_issuer(token: str) -> str:
    """Return whom a token says that it is of: to choose a key by, and no more.

    Raises:
        NotSignedInError: it is no JWT, or says nothing.
    """
    require_form(token)
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise NotSignedInError("the JWT is refused: malformed") from error
    issuer = claims.get("iss")
    if not isinstance(issuer, str) or not issuer.isprintable():
        raise NotSignedInError("the JWT names no issuer")
    return issuer
