"""A subscription's secrets: sealed in its columns, open in its specification.

- Each operator's string becomes one Fernet key through HKDF-SHA256 (RFC 5869). It must
  carry its own entropy (32 random bytes): HKDF separates and shapes keys, it does not
  slow down guessing.
- The first key encrypts, every key decrypts: put the new key first, and drop the old
  one when nothing is sealed with it any more.
- Credentials are a JSON object from name to sealed value, so that the names can be
  shown without the means to open the values.
"""

import base64
import json
import operator
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from webhooks.errors import UnsealError
from webhooks.roster.specs import SHOWN, SubscriptionSpec
from webhooks.tables import Subscription

_PURPOSE = b"webhooks.sealing v1"

#: Where a request goes, and what opens the door there.
place_of = operator.attrgetter(
    *("url", "headers", "credentials"),
    *("ca_certificate", "client_certificate", "client_key"),
)


class SecretBox:
    """Seals text for the database and opens it again.

    Raises:
        ValueError: no key was given, or an empty one.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys or not all(keys):
            raise ValueError("at least one key is needed, and none may be empty")
        self._fernet = MultiFernet([_derive_key(key) for key in keys])

    def seal(self, clear: str) -> str:
        """Encrypt with the first key."""
        return self._fernet.encrypt(clear.encode()).decode()

    def open(self, sealed: str) -> str:
        """Decrypt with whichever key fits.

        Raises:
            UnsealError: no key fits, or the text was changed.
        """
        try:
            return self._fernet.decrypt(sealed).decode()
        except (InvalidToken, ValueError):  # the latter: it is no ASCII
            raise UnsealError from None


def _derive_key(text: str) -> Fernet:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE)
    return Fernet(base64.urlsafe_b64encode(derived.derive(text.encode())))


def seal_credentials(box: SecretBox, credentials: Mapping[str, str]) -> str | None:
    """Seal each value; None where there is none."""
    sealed = {name: box.seal(value) for name, value in sorted(credentials.items())}
    return json.dumps(sealed) if sealed else None


def open_credentials(box: SecretBox, stored: str | None) -> dict[str, str]:
    """Open each value.

    Raises:
        UnsealError: no present key fits one of them.
    """
    return {name: box.open(value) for name, value in json.loads(stored or "{}").items()}


def credential_names(stored: str | None) -> list[str]:
    """Name the credentials, sorted."""
    return sorted(json.loads(stored or "{}"))


def columns_of(box: SecretBox, spec: SubscriptionSpec) -> dict[str, Any]:
    """Return a specification as columns, its secrets sealed."""
    key = spec.client_key
    return {
        **{name: _as_json(getattr(spec, name)) for name in SHOWN},
        "sealed_credentials": seal_credentials(box, spec.credentials),
        "sealed_client_key": None if key is None else box.seal(key),
    }


def _as_json(value: object) -> object:
    """Copy a value as JSON gives it back: what is compared must be alike."""
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, list | tuple) else value


def apply_changes(
    box: SecretBox, subscription: Subscription, changes: Mapping[str, Any]
) -> SubscriptionSpec:
    """Lay changes, by names of fields, over what is stored, its secrets opened.

    Credentials are merged by name, and one that is None is left out. What cannot be
    opened is as if it had not been stored, and must be said again.
    """
    stored: dict[str, Any] = {name: getattr(subscription, name) for name in SHOWN}
    credentials: dict[str, str | None] = {}
    with suppress(UnsealError):
        credentials |= open_credentials(box, subscription.sealed_credentials)
    credentials |= changes.get("credentials") or {}
    is_certificate_kept = changes.get("client_certificate", "") is not None
    if is_certificate_kept and subscription.sealed_client_key is not None:
        with suppress(UnsealError):
            stored["client_key"] = box.open(subscription.sealed_client_key)
    kept = {name: value for name, value in credentials.items() if value is not None}
    return SubscriptionSpec(**{**stored, **changes, "credentials": kept})
