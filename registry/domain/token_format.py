"""The form of a bearer token: prefix, 256 random bits, checksum.

``sg_pat_``, or ``sg_ci_`` for a CI job's, + 43 base62 characters + 6 of CRC32 over
them, as GitHub's tokens have it. The prefix lets a secret scanner find a leaked token
and the checksum lets it, and us, tell a real one from a fake one offline.
"""

import hashlib
import secrets
import string
import zlib

PREFIX, CI_PREFIX = "sg_pat_", "sg_ci_"
PREFIXES = (PREFIX, CI_PREFIX)
SECRET_CHARACTERS = 43
CHECKSUM_CHARACTERS = 6
_CHARACTERS = SECRET_CHARACTERS + CHECKSUM_CHARACTERS
#: For scanners.
PATTERN = rf"({'|'.join(PREFIXES)})[0-9A-Za-z]{{{_CHARACTERS}}}"

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase


def new_token(prefix: str = PREFIX) -> str:
    """Return a token nobody has seen before."""
    secret = "".join(secrets.choice(_BASE62) for _ in range(SECRET_CHARACTERS))
    return prefix + secret + _checksum(secret)


def is_well_formed(token: str) -> bool:
    """Whether prefix, length and checksum fit; costs no database access."""
    prefix = token[:-_CHARACTERS]
    secret = token[-_CHARACTERS:-CHECKSUM_CHARACTERS]
    if prefix not in PREFIXES or not token.isascii():
        return False
    return _checksum(secret) == token[-CHECKSUM_CHARACTERS:]


def token_digest(token: str) -> str:
    """Return its SHA-256 in hex: enough for 256 random bits (OWASP ASVS 5.0, 6.5.2)."""
    return hashlib.sha256(token.encode()).hexdigest()


def _checksum(secret: str) -> str:
    value, text = zlib.crc32(secret.encode()), ""
    for _ in range(CHECKSUM_CHARACTERS):
        value, digit = divmod(value, len(_BASE62))
        text = _BASE62[digit] + text
    return text
