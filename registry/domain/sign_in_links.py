"""The link that signs in once: what ``stagegate serve`` prints on a terminal.

Rules:

- Its ticket is ``<nonce>.<until>.<mac>``. The MAC (HMAC-SHA256) shows that a server
  with these keys made it; nothing is stored until it is used.
- The cookie of the session that it begins is derived from the nonce, by a key that only
  the server has: who has seen a used link has no session, and to use it again would
  make a session that there is already, which the database refuses.
- It is worth ``LIFETIME``, less than the session stays on record.
- Its keys are derived from the operator's: the first one signs, every one verifies.
"""

import base64
import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256

from registry.errors import NotSignedInError

LIFETIME = timedelta(minutes=10)

_NONCE_BYTES = 16
_TICKET_PURPOSE = b"stagegate sign-in link v1"
_COOKIE_PURPOSE = b"stagegate cookie of a sign-in link v1"
_FORM = re.compile(r"(([A-Za-z0-9_-]{22})\.([0-9]{1,12}))\.([A-Za-z0-9_-]{43})")


class SignInLinks:
    """Makes and recognises tickets.

    Raises:
        ValueError: no key was given.
    """

    def __init__(self, secret_keys: Sequence[str]) -> None:
        if not secret_keys:
            raise ValueError("at least one key is needed")
        self._keys = [key.encode() for key in secret_keys]

    def ticket(self, *, now: datetime) -> str:
        """Return a new one."""
        nonce = secrets.token_urlsafe(_NONCE_BYTES)
        told = f"{nonce}.{int((now + LIFETIME).timestamp())}"
        return f"{told}.{_mac(self._keys[0], _TICKET_PURPOSE, told)}"

    def cookie_of(self, ticket: str, *, now: datetime) -> str:
        """Return the cookie of the session that a ticket begins.

        Raises:
            NotSignedInError: it is none of ours, or too old.
        """
        form = _FORM.fullmatch(ticket)
        fitting = [
            key
            for key in self._keys
            if form
            and hmac.compare_digest(_mac(key, _TICKET_PURPOSE, form[1]), form[4])
        ]
        if form is None or not fitting:
            raise NotSignedInError("this link is not whole, or not this server's")
        if now.timestamp() >= int(form[3]):
            raise NotSignedInError("this link has expired; start the server anew")
        return _mac(fitting[0], _COOKIE_PURPOSE, form[2])


def _mac(key: bytes, purpose: bytes, text: str) -> str:
    derived = hmac.digest(key, purpose, sha256)
    digest = hmac.digest(derived, text.encode(), sha256)
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
