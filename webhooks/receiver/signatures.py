"""Signatures of Standard Webhooks 1.0, from the verifying end: ``v1`` and ``v1a``."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:
    HAS_ED25519 = False
else:
    HAS_ED25519 = True

SECRET_PREFIX = "whsec_"  # noqa: S105  # A public prefix, not a secret.
PUBLIC_KEY_PREFIX = "whpk_"
MIN_SECRET_BYTES = 24
ED25519_BYTES = 32

#: Tells whether a signature, such as ``v1,…``, was made over these bytes.
SignatureCheck = Callable[[str, bytes], bool]


def signature_check(secret: str) -> SignatureCheck:
    """Make the check for a secret (``whsec_``) or a public key (``whpk_``).

    Raises:
        ValueError: it is malformed, or a public key without ``cryptography``.
    """
    if secret.startswith(PUBLIC_KEY_PREFIX):
        return _ed25519_check(_decode(secret, PUBLIC_KEY_PREFIX))
    key = _decode(secret, SECRET_PREFIX)
    if len(key) < MIN_SECRET_BYTES:
        raise ValueError(f"a signing secret has at least {MIN_SECRET_BYTES} bytes")

    def check(signature: str, signed: bytes) -> bool:
        digest = hmac.new(key, signed, hashlib.sha256).digest()
        expected = b"v1," + base64.b64encode(digest)
        return hmac.compare_digest(expected, signature.encode(errors="replace"))

    return check


def _ed25519_check(key: bytes) -> SignatureCheck:
    if not HAS_ED25519:
        raise ValueError("a whpk_ key needs the package cryptography")
    if len(key) != ED25519_BYTES:
        raise ValueError(f"a public key has {ED25519_BYTES} bytes")
    public_key = Ed25519PublicKey.from_public_bytes(key)

    def check(signature: str, signed: bytes) -> bool:
        scheme, _, encoded = signature.partition(",")
        if scheme != "v1a":
            return False
        try:
            public_key.verify(base64.b64decode(encoded, validate=True), signed)
        except (ValueError, InvalidSignature):
            return False
        return True

    return check


def _decode(secret: str, prefix: str) -> bytes:
    if not secret.startswith(prefix):
        raise ValueError(f"a secret starts with {SECRET_PREFIX} or {PUBLIC_KEY_PREFIX}")
    try:
        return base64.b64decode(secret.removeprefix(prefix), validate=True)
    except binascii.Error as error:
        raise ValueError("a secret is base64 after its prefix") from error
