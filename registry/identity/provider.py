"""The identity provider that people sign in at, by OpenID Connect.

Rules:

- Authlib makes the requests of the code flow, with PKCE (S256); every token is
  verified by the one wrapper, and by no code of Authlib's.
- Its requests are bounded in time and follow no redirect. That it is down, or answers
  what it should not, is nobody's failure to sign in.
- Authlib is loaded when somebody first signs in: it is 200 modules.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from requests import RequestException

from registry.domain import openid
from registry.domain.openid import Attempt, Ended
from registry.domain.people import Person, person_of
from registry.errors import IdentityProviderError, NotSignedInError
from registry.identity.issuer import TIMEOUT_SECONDS, Issuer
from registry.identity.verifier import verified_claims
from registry.ways_to_sign_in import OpenIdProvider

#: What identity providers sign ID tokens with; none of them is symmetric.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")
_ERROR_CHARACTERS = 100


class Provider:
    """One provider, and what it says of people."""

    def __init__(self, settings: OpenIdProvider) -> None:
        self._settings = settings
        self._issuer = Issuer(settings.issuer, algorithms=ALGORITHMS)

    @property
    def issuer(self) -> str:
        """What it calls itself."""
        return self._settings.issuer

    def bearer(self, token: str) -> tuple[Person, str]:
        """Return whom an ID or access token is of, and the token's own id.

        Raises:
            NotSignedInError: it is not good.
            IdentityProviderError: the provider's keys are not to be had.
        """
        claims = self._claims(token)
        openid.check_bearer(claims)
        return self._person(claims), openid.text(claims, "jti")

    def authorization_url(self, attempt: Attempt) -> str:
        """Return where a browser is sent to sign in."""
        address, _ = self._client(attempt).create_authorization_url(
            self._endpoint("authorization_endpoint"),
            state=attempt.state,
            nonce=attempt.nonce,
            code_verifier=attempt.verifier,
        )
        return str(address)

    def complete(
        self, answer: Mapping[str, str], attempt: Attempt
    ) -> tuple[Person, str]:
        """Return who signed in, and the provider's session.

        Args:
            answer: the query that the browser came back with.
            attempt: what it was sent with; the state has been compared.

        Raises:
            NotSignedInError: the provider refused, or its answer is not of this.
            IdentityProviderError: it does not answer.
        """
        if answer.get("iss", self.issuer) != self.issuer:  # RFC 9207
            raise NotSignedInError("the answer is another identity provider's")
        if "code" not in answer:
            why = _printable(answer.get("error", "no code"))
            raise NotSignedInError(f"the identity provider signed nobody in: {why}")
        claims = self._claims(self._token(answer["code"], attempt))
        client_id = self._settings.client_id
        openid.check_id_token(claims, client_id=client_id, nonce=attempt.nonce)
        return self._person(claims), openid.text(claims, "sid")

    def ended(self, logout_token: str) -> Ended:
        """Return what a logout token ends.

        Raises:
            NotSignedInError: it is not good.
        """
        return openid.ended_by(self._claims(logout_token))

    def end_session_url(self, return_to: str) -> str | None:
        """Return where a browser signs out at the provider; None if nowhere."""
        endpoint = self._issuer.metadata().get("end_session_endpoint")
        if not isinstance(endpoint, str):
            return None
        query = {
            "client_id": self._settings.client_id,
            "post_logout_redirect_uri": f"{return_to}/",
        }
        return f"{endpoint}?{urlencode(query)}"

    def _claims(self, token: str) -> Mapping[str, Any]:
        audience = self._settings.client_id
        return verified_claims(token, self._issuer, audience=audience)

    def _endpoint(self, name: str) -> str:
        """Return one of the provider's addresses.

        Raises:
            IdentityProviderError: it says none.
        """
        address = self._issuer.metadata().get(name)
        if not isinstance(address, str):
            raise IdentityProviderError(f"the identity provider names no {name}")
        return address

    def _person(self, claims: Mapping[str, Any]) -> Person:
        return person_of(
            claims,
            groups_claim=self._settings.groups_claim,
            roles_claim=self._settings.roles_claim,
        )

    def _token(self, code: str, attempt: Attempt) -> str:
        """Exchange the code for an ID token."""
        from authlib.common.errors import AuthlibBaseError  # noqa: PLC0415  # see above

        endpoint = self._endpoint("token_endpoint")
        try:
            answer = self._client(attempt).fetch_token(
                endpoint,
                code=code,
                code_verifier=attempt.verifier,
                grant_type="authorization_code",
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
            )
        except AuthlibBaseError as error:  # it was refused, as a code that was used is
            why = _printable(error.error)
            raise NotSignedInError(f"the identity provider refused: {why}") from error
        except (RequestException, ValueError) as error:
            raise IdentityProviderError from error
        token = answer.get("id_token") if isinstance(answer, Mapping) else None
        if not isinstance(token, str):
            raise NotSignedInError("the identity provider sent no ID token")
        return token

    def _client(self, attempt: Attempt) -> Any:  # noqa: ANN401  # Authlib has no types
        from authlib.integrations.requests_client import OAuth2Session  # noqa: PLC0415

        settings = self._settings
        is_public = not settings.client_secret
        return OAuth2Session(
            settings.client_id,
            settings.client_secret or None,
            scope=settings.scopes,
            redirect_uri=attempt.redirect_uri,
            code_challenge_method="S256",
            token_endpoint_auth_method="none" if is_public else "client_secret_basic",
        )


def _printable(text: object) -> str:
    """Return what somebody else calls an error, as a log can have it."""
    plain = "".join(c for c in str(text) if c.isascii() and c.isprintable())
    return plain[:_ERROR_CHARACTERS]
