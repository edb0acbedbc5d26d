"""What a receiver that shares one text with us is given to verify by.

- MLflow and Databricks share the credential ``secret``; without one nothing is signed.
- ``X-Hub-Signature-256`` is for receivers that know no other: HMAC-SHA256 over the body
  alone, as hexadecimal after ``sha256=``. Neither id nor time is covered, so it is
  opt-in and never replaces the standard signature. Source: GitHub, "Validating webhook
  deliveries"; Tekton's ``github`` interceptor.
"""

import hashlib
import hmac
from collections.abc import Mapping

from webhooks.errors import InvalidSubscriptionError
from webhooks.formats.contract import Options
from webhooks.placeholders import PLACEHOLDER

SECRET = "secret"  # noqa: S105  # The name of a credential.


HUB_OPTION = "hub_signature"
HUB_HEADER = "x-hub-signature-256"


def keyed_digest(credentials: Mapping[str, str], message: bytes) -> bytes | None:
    """Return the HMAC-SHA256 by the secret's UTF-8 bytes; None where there is none."""
    secret = credentials.get(SECRET)
    if secret is None:
        return None
    return hmac.new(secret.encode(), message, hashlib.sha256).digest()


def read_hub_signature(options: Options) -> str | None:
    """Read which credential signs, as one placeholder; None where none does.

    Raises:
        InvalidSubscriptionError: it is something else.
    """
    if HUB_OPTION not in options:
        return None
    template = options[HUB_OPTION]
    if not (isinstance(template, str) and PLACEHOLDER.fullmatch(template)):
        raise InvalidSubscriptionError(
            f"options.{HUB_OPTION}", "must be ${NAME}, the name of a credential"
        )
    return template


def hub_signature(secret: str, body: bytes) -> str:
    """Sign a body with the characters of the secret."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
