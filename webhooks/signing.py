"""Standard Webhooks 1.0 signatures, symmetric scheme ``v1``.

- A secret is ``whsec_`` and the base64 of 32 random bytes; the decoded bytes are
  the key ("Signature scheme").
- The timestamp is the attempt's, the id stays the same over all attempts.
- Every live secret signs; the signatures are joined by a space, so a receiver
  may hold the old or the new secret while they overlap.
- The ``standardwebhooks`` library computes the signature. It misreads aware
  datetimes that are not in UTC, so this module converts first.
"""

import base64
import binascii
import secrets as random_source
from collections.abc import Sequence
from datetime import UTC, datetime
from math import floor

from standardwebhooks.webhooks import Webhook

SECRET_PREFIX = "whsec_"  # noqa: S105  # A public prefix, not a secret.
SECRET_BYTES = 32
MIN_SECRET_BYTES = 24
MAX_SECRET_BYTES = 64


def new_secret() -> str:
    """Make a signing secret of 256 random bits."""
    return (
        SECRET_PREFIX
        + base64.b64encode(random_source.token_bytes(SECRET_BYTES)).decode()
    )


def check_secret(secret: str) -> None:
    """Refuse what is not a Standard Webhooks secret.

    Raises:
        ValueError: the prefix, the base64 or the length (24 to 64 bytes) is wrong.
    """
    if not secret.startswith(SECRET_PREFIX):
        raise ValueError(f"a signing secret starts with {SECRET_PREFIX}")
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("a signing secret is base64 after its prefix") from error
    if not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        raise ValueError(
            f"a signing secret has {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes"
        )


def sign(
    message_id: str, attempted_at: datetime, body: bytes, secrets: Sequence[str]
) -> dict[str, str]:
    """Make the three headers of one attempt.

    Args:
        message_id: the event's id, without dots.
        attempted_at: the aware instant of this attempt.
        body: the exact bytes that will be sent; UTF-8.
        secrets: every live secret, newest first.

    Raises:
        ValueError: no secret, a dotted id, or a naive instant.
    """
    if not secrets:
        raise ValueError("a message needs at least one secret to be signed with")
    if "." in message_id:
        raise ValueError(f"a message id has no dot, got {message_id!r}")
    if attempted_at.tzinfo is None:
        raise ValueError("the instant of an attempt must be aware")
    instant = attempted_at.astimezone(UTC)
    text = body.decode()
    signatures = [
        Webhook(secret).sign(msg_id=message_id, timestamp=instant, data=text)
        for secret in secrets
    ]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(floor(instant.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
