"""The ``X-Hub-Signature-256`` header, for receivers that know no other.

- HMAC-SHA256 over the body alone, as hexadecimal after ``sha256=``: neither id nor
  time is covered, so it is opt-in and never replaces the standard signature.
- Source: GitHub, "Validating webhook deliveries"; Tekton's ``github`` interceptor.
"""

import hashlib
import hmac

from webhooks.errors import InvalidSubscriptionError
from webhooks.formats.contract import Options
from webhooks.placeholders import PLACEHOLDER

OPTION = "hub_signature"
HEADER = "x-hub-signature-256"


def read_hub_signature(options: Options) -> str | None:
    """Read which credential signs, as one placeholder; None where none does.

    Raises:
        InvalidSubscriptionError: it is something else.
    """
    if OPTION not in options:
        return None
    template = options[OPTION]
    if not (isinstance(template, str) and PLACEHOLDER.fullmatch(template)):
        raise InvalidSubscriptionError(
            f"options.{OPTION}", "must be ${NAME}, the name of a credential"
        )
    return template


def hub_signature(secret: str, body: bytes) -> str:
    """Sign a body with the characters of the secret."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
