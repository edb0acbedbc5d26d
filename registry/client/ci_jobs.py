"""The token that a CI platform gave its job, exchanged for one of the registry's.

Rules:

- What the platform signed goes to the registry's own address and nowhere else, and
  what is had for it stays in memory.
- Which audience is asked for, the caller says: a server that could choose would be
  handed what is good for another.
- A platform's token is good for one exchange, so one that has not changed is not
  exchanged again.
"""

import time
from collections.abc import Callable

from registry.client.connection import open_session
from registry.client.transport import (
    CONNECT_TIMEOUT_SECONDS,
    Transport,
    json_object,
    unreachable_named,
)
from registry.client.types import JsonObject
from registry.errors import NotFoundError, NotSignedInError

#: The registry gives a token for 15 minutes; what takes longer needs another.
RENEW_AFTER_SECONDS = 600.0
TIMEOUT_SECONDS = 30.0


def exchanged(url: str, id_token: str) -> JsonObject:
    """Return what the registry gives a job for the token of its platform.

    Raises:
        NotFoundError: this registry exchanges none.
        NotSignedInError: it is not good, or no trusted publisher's.
    """
    transport = Transport(url, None, timeout_seconds=TIMEOUT_SECONDS)
    try:
        # Without a key, so that it is sent once: a second time would be a replay.
        return json_object(
            transport.request("POST", "/oidc/exchange", body={"token": id_token})
        )
    finally:
        transport.close()


def github_id_token(request_url: str, request_token: str, audience: str) -> str:
    """Return a token for the present job of GitHub Actions, signed for an audience.

    Args:
        request_url: ``ACTIONS_ID_TOKEN_REQUEST_URL``.
        request_token: ``ACTIONS_ID_TOKEN_REQUEST_TOKEN``.
        audience: who is to be handed it.

    Raises:
        NotSignedInError: it gives none.
        ServerUnreachableError: there was no answer.
    """
    with open_session(request_token) as session, unreachable_named("GitHub Actions"):
        response = session.get(
            request_url,
            params={"audience": audience},
            timeout=CONNECT_TIMEOUT_SECONDS,
            allow_redirects=False,
        )
    is_given = response.ok and not response.is_redirect
    given = json_object(response).get("value") if is_given else None
    if not isinstance(given, str) or not given:
        raise NotSignedInError(
            f"GitHub Actions gave this job no token: it answered {response.status_code}"
        )
    return given


class JobToken:
    """The registry's token for the present CI job, got when it is first asked for.

    A ``RegistryClient`` takes it in place of a token.
    """

    def __init__(
        self, url: str, id_token: Callable[[], str], *, is_needed: bool = True
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            url: the registry.
            id_token: returns what the platform signed for this job.
            is_needed: whether a registry that exchanges none is an error; it is asked
                without a token otherwise.
        """
        self._url = url
        self._id_token = id_token
        self._is_needed = is_needed
        self._exchanged_for = ""
        self._given: JsonObject = {}
        self._renew_at = 0.0

    def __call__(self) -> str:
        """Return the token, a new one in time before it ends."""
        return str(self.document().get("token", ""))

    def document(self) -> JsonObject:
        """Return the token with what the registry says of it; nothing if it has none.

        Raises:
            NotSignedInError: the registry refuses.
        """
        if self._renew_at <= time.monotonic():
            id_token = self._id_token()
            if id_token != self._exchanged_for:
                self._given = self._exchange(id_token)
                self._exchanged_for = id_token
            self._renew_at = time.monotonic() + RENEW_AFTER_SECONDS
        return self._given

    def _exchange(self, id_token: str) -> JsonObject:
        try:
            return exchanged(self._url, id_token)
        except NotFoundError as error:
            if not self._is_needed:
                return {}
            raise NotSignedInError(
                f"This registry exchanges no tokens of CI jobs: {error}"
            ) from error
