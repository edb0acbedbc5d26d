"""What a receiver that shares one text with us is given to verify by.

The shared text is the credential ``secret``; without one nothing is signed.
"""

import hashlib
import hmac
from collections.abc import Mapping

SECRET = "secret"  # noqa: S105  # The name of a credential.


def keyed_digest(credentials: Mapping[str, str], message: bytes) -> bytes | None:
    """Give the HMAC-SHA256 by the secret's UTF-8 bytes; None where there is none."""
    secret = credentials.get(SECRET)
    if secret is None:
        return None
    return hmac.new(secret.encode(), message, hashlib.sha256).digest()
