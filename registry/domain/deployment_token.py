"""The token that a delivery carries, so that its receiver can report back.

Rules:

- It is ``sg_dep_<event>.<subscription>.<mac>``: it names what was delivered to
  whom, and its MAC (HMAC-SHA256) shows that the registry made it. Nothing of it is
  stored, and every attempt at one event for one subscription carries the same.
- The version it speaks for, and how long, are the registry's own record of the
  event and its delivery: nothing in the token can be widened.
- It is worth seven days after the event was last sent to that subscription, so
  that what was held or is delivered again can be reported too.
- Its keys are derived from the operator's: the first one signs, every one verifies.

The prefix lets a secret scanner find a leaked one, as with ``sg_pat_``.
"""

import base64
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256

from registry.errors import NotSignedInError

PREFIX = "sg_dep_"
LIFETIME = timedelta(days=7)

_PURPOSE = b"stagegate deployment token v1"
_FORM = re.compile(rf"{PREFIX}([A-Za-z0-9_]+)\.([A-Za-z0-9_]+)\.([A-Za-z0-9_-]{{43}})")


@dataclass(frozen=True)
class TokenSubject:
    """What a token speaks of."""

    event_id: str
    subscription_id: str


class DeploymentTokens:
    """Makes and recognises deployment tokens.

    Raises:
        ValueError: no key was given.
    """

    def __init__(self, secret_keys: Sequence[str]) -> None:
        if not secret_keys:
            raise ValueError("at least one key is needed")
        self._keys = [
            hmac.digest(key.encode(), _PURPOSE, sha256) for key in secret_keys
        ]

    def issue(self, subject: TokenSubject) -> str:
        """Return the token of an event and a subscription; always the same."""
        mac = _mac(self._keys[0], subject)
        return f"{PREFIX}{subject.event_id}.{subject.subscription_id}.{mac}"

    def read(self, token: str) -> TokenSubject:
        """Return what the token speaks of.

        Raises:
            NotSignedInError: when the registry did not make it.
        """
        form = _FORM.fullmatch(token)
        if form is None:
            raise NotSignedInError("this deployment token is mistyped")
        subject = TokenSubject(form[1], form[2])
        # Every key is tried, whichever fits: time tells nothing about them.
        fits = [hmac.compare_digest(_mac(key, subject), form[3]) for key in self._keys]
        if not any(fits):
            raise NotSignedInError("this deployment token is not the registry's")
        return subject


def is_deployment_token(secret: str) -> bool:
    """Whether a credential is meant as a deployment token."""
    return secret.startswith(PREFIX)


def _mac(key: bytes, subject: TokenSubject) -> str:
    text = f"{subject.event_id}.{subject.subscription_id}".encode()
    return base64.urlsafe_b64encode(hmac.digest(key, text, sha256)).decode().rstrip("=")
