"""Standard Webhooks 1.0 signatures, schemes ``v1`` and ``v1a``.

- ``v1``: HMAC-SHA256. A secret is ``whsec_`` and the base64 of 32 random bytes; the
  decoded bytes are the key ("Signature scheme").
- ``v1a``: ed25519. A private key is ``whsk_`` and the base64 of seed and public key
  (64 bytes, as libsodium has it); the receiver gets ``whpk_`` and the base64 of the
  32 public bytes.
- The timestamp is the attempt's, the id stays the same over all attempts.
- Every live secret signs; the signatures are joined by a space, so a receiver
  may hold the old or the new secret while they overlap.
- The ``standardwebhooks`` library computes ``v1``. It misreads aware datetimes that
  are not in UTC, so this module converts first.
"""

import base64
import binascii
import secrets as random_source
from collections.abc import Sequence
from datetime import UTC, datetime
from math import floor

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from standardwebhooks.webhooks import Webhook

from webhooks.roster.specs import Scheme

SECRET_PREFIX = "whsec_"  # noqa: S105  # A public prefix, not a secret.
PRIVATE_KEY_PREFIX = "whsk_"
PUBLIC_KEY_PREFIX = "whpk_"
SECRET_BYTES = 32
MIN_SECRET_BYTES = 24
MAX_SECRET_BYTES = 64
SEED_BYTES = 32


def scheme_of(secret: str) -> Scheme:
    """Return what a secret signs with, by its prefix."""
    return Scheme.V1A if secret.startswith(PRIVATE_KEY_PREFIX) else Scheme.V1


def new_secret() -> str:
    """Make a signing secret of 256 random bits."""
    return SECRET_PREFIX + _base64(random_source.token_bytes(SECRET_BYTES))


def new_private_key() -> str:
    """Make an ed25519 key."""
    key = Ed25519PrivateKey.generate()
    pair = key.private_bytes_raw() + key.public_key().public_bytes_raw()
    return PRIVATE_KEY_PREFIX + _base64(pair)


def public_key_of(private_key: str) -> str:
    """Return what a receiver verifies ``v1a`` with."""
    public = _read_private_key(private_key).public_key().public_bytes_raw()
    return PUBLIC_KEY_PREFIX + _base64(public)


def check_secret(secret: str) -> None:
    """Refuse what is not a symmetric Standard Webhooks secret.

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
        secrets: every live secret or private key, newest first.

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
        _sign_v1a(secret, f"{message_id}.{floor(instant.timestamp())}.{text}")
        if scheme_of(secret) is Scheme.V1A
        else Webhook(secret).sign(msg_id=message_id, timestamp=instant, data=text)
        for secret in secrets
    ]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(floor(instant.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _sign_v1a(private_key: str, signed_text: str) -> str:
    signature = _read_private_key(private_key).sign(signed_text.encode())
    return f"{Scheme.V1A},{_base64(signature)}"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _read_private_key(text: str) -> Ed25519PrivateKey:
    pair = base64.b64decode(text.removeprefix(PRIVATE_KEY_PREFIX), validate=True)
    return Ed25519PrivateKey.from_private_bytes(pair[:SEED_BYTES])
