"""The issuers that CI platforms' tokens are verified by, kept with their keys.

Rules:

- Issuers are those of trusted publishers: nobody makes us ask another server.
- Their algorithms are those that the platform documents.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jwt

from registry.domain.publishers import JobProvider, algorithms_of
from registry.errors import NotSignedInError
from registry.identity.issuer import Issuer
from registry.identity.verifier import (
    TYPES_OF_JOBS,
    require_form,
    verified_claims,
)

MAX_ISSUERS = 100


class JobIssuers:
    """Issuers, each made when its first token comes."""

    def __init__(self) -> None:
        self._issuer = lru_cache(maxsize=MAX_ISSUERS)(_issuer)

    def verified(
        self, token: str, issuer: str, provider: JobProvider, *, audience: str
    ) -> Mapping[str, Any]:
        """Return the claims of a token that the issuer signed for this audience.

        Raises:
            NotSignedInError: it is not good.
            IdentityProviderError: the issuer's keys are not to be had.
        """
        return verified_claims(
            token,
            self._issuer(issuer, provider),
            audience=audience,
            types=TYPES_OF_JOBS,
        )

    @staticmethod
    def named_by(token: str) -> str:
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


def _issuer(name: str, provider: JobProvider) -> Issuer:
    return Issuer(name, algorithms=algorithms_of(provider))
