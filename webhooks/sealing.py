"""Secrets at rest: encrypted, authenticated, with keys that can be rotated.

- Each operator's string becomes one Fernet key through HKDF-SHA256 (RFC 5869).
- The first key encrypts, every key decrypts: put the new key first, reseal,
  then drop the old one.
- The operator's string must carry its own entropy (32 random bytes): HKDF
  separates and shapes keys, it does not slow down guessing.
- Credentials are a JSON object from name to sealed value, so that the names can be
  shown without the means to open the values.
"""

import base64
import json
from collections.abc import Mapping, Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from webhooks.errors import UnsealError

_PURPOSE = b"webhooks.sealing v1"


def _derive_key(text: str) -> Fernet:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE)
    return Fernet(base64.urlsafe_b64encode(derived.derive(text.encode())))


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
        except InvalidToken:
            raise UnsealError from None

    def reseal(self, sealed: str) -> str:
        """Encrypt what is sealed with the first key instead.

        Raises:
            UnsealError: no key fits, or the text was changed.
        """
        return self.seal(self.open(sealed))


def seal_credentials(box: SecretBox, credentials: Mapping[str, str]) -> str | None:
    """Seal each value; None where there is none."""
    sealed = {name: box.seal(value) for name, value in sorted(credentials.items())}
    return json.dumps(sealed) if sealed else None


def open_credentials(box: SecretBox, stored: str | None) -> dict[str, str]:
    """Open each value.

    Raises:
        UnsealError: no present key fits one of them.
    """
    return {name: box.open(value) for name, value in _read(stored).items()}


def credential_names(stored: str | None) -> list[str]:
    """Name the credentials, sorted."""
    return sorted(_read(stored))


def _read(stored: str | None) -> dict[str, str]:
    return {} if stored is None else dict(json.loads(stored))
