"""From a claim to the request that is sent: secrets filled in, signed; and its keys.

Rules:

- Placeholders of URL, headers, body and options are filled here and nowhere else,
  and what was filled never goes back into the database.
- Headers, the later ones winning: the format's, what credentials make, the owner's
  own, lent values, the content type, the signature, the format's own signature.
- What is signed is the body as it is sent, secrets included.
- ``secrets`` has every clear value that the receiver knows: it may send it back.

Signatures are those of Standard Webhooks 1.0:

- ``v1``: HMAC-SHA256. A secret is ``whsec_`` and the base64 of 32 random bytes; the
  decoded bytes are the key ("Signature scheme").
- ``v1a``: ed25519. A private key is ``whsk_`` and the base64 of seed and public key
  (64 bytes, as libsodium has it); the receiver gets ``whpk_`` and the base64 of the
  32 public bytes.
- The timestamp is the attempt's, the id stays the same over all attempts.
- Every live secret signs; the signatures are joined by a space, so a receiver
  may hold the old or the new secret while they overlap.
"""

import base64
import binascii
import secrets as random_source
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import floor
from types import MappingProxyType
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from standardwebhooks.webhooks import Webhook

from webhooks.errors import (
    InvalidSubscriptionError,
    RenderError,
    UnsealError,
    UnsendableError,
)
from webhooks.formats import FORMATS
from webhooks.formats.standard import HUB_HEADER, hub_signature, read_hub_signature
from webhooks.formats.writing import LENT_NAMES, SUBSCRIPTION_ID, fill, fill_body
from webhooks.roster.secrets import SecretBox, open_credentials
from webhooks.roster.specs import Scheme
from webhooks.sending.tls import Tls
from webhooks.tables import DeliveryKind

NOTHING_LENT: Mapping[str, str] = MappingProxyType({})
#: What a format rendered that is gone by now is sent as it is.
_GONE = replace(FORMATS["standard"], lends_by_header=False)

SECRET_PREFIX = "whsec_"  # noqa: S105  # A public prefix, not a secret.
PRIVATE_KEY_PREFIX = "whsk_"
PUBLIC_KEY_PREFIX = "whpk_"
SECRET_BYTES = 32
MIN_SECRET_BYTES = 24
MAX_SECRET_BYTES = 64
SEED_BYTES = 32


@dataclass(frozen=True)
class Claim:
    """A delivery that one sender may send until its lease ends."""

    delivery_id: str
    subscription_id: str
    queue_id: int
    lease_token: str
    attempt: int
    kind: DeliveryKind
    event_id: str
    event_type: str
    #: When the delivery was stored.
    created_at: datetime
    url: str
    body: bytes
    content_type: str
    #: Sent before its time, to see whether the receiver is well again.
    is_probe: bool
    #: The one before it in its order was given up.
    follows_gap: bool
    #: More of its queue waits for it.
    is_followed: bool
    #: Whether the receiver's last answers were failures.
    is_endpoint_failing: bool
    #: Every live signing secret of every scheme, newest first.
    sealed_secrets: tuple[str, ...]
    format: str = "standard"
    options: Mapping[str, Any] = field(default_factory=dict)
    #: The owner's headers, with placeholders.
    headers: Mapping[str, str] = field(default_factory=dict)
    #: The headers that the format rendered.
    delivery_headers: Mapping[str, str] = field(default_factory=dict)
    sealed_credentials: str | None = None
    signatures: tuple[str, ...] = (Scheme.V1,)
    ca_certificate: str | None = None
    client_certificate: str | None = None
    sealed_client_key: str | None = None


@dataclass(frozen=True)
class Outgoing:
    """A request as it will be sent; its fields are secrets and are never logged."""

    url: str = field(repr=False)
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    tls: Tls = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)


def prepare(
    claim: Claim,
    box: SecretBox,
    now: datetime,
    lent: Mapping[str, str] = NOTHING_LENT,
) -> Outgoing:
    """Put the request of a claim together.

    Args:
        claim: what is to be sent.
        box: opens credentials, signing secrets and the client key.
        now: the aware instant of this attempt.
        lent: what the application adds; names are of ``LENT_NAMES``.

    Raises:
        UnsendableError: a secret cannot be opened, is missing or does not fit
            where it stands; the message holds no secret.
    """
    credentials, client_key, signing_secrets = _open(claim, box)
    present = dict.fromkeys(LENT_NAMES, "") | {SUBSCRIPTION_ID: claim.subscription_id}
    values = {**present, **lent, **credentials}
    chosen = FORMATS.get(claim.format, _GONE)
    made: Mapping[str, str] = {}
    try:
        url = fill(claim.url, values)
        body = fill_body(claim.body, claim.content_type, values)
        if "authorization" not in claim.headers:
            made = chosen.authorization(claim.options, credentials)
        headers = _headers(claim, values, made, lent if chosen.lends_by_header else {})
        if template := read_hub_signature(claim.options):
            headers[HUB_HEADER] = hub_signature(fill(template, values), body)
    except KeyError as error:
        raise UnsendableError(f"the credential {error.args[0]!r} is missing") from error
    except (InvalidSubscriptionError, RenderError) as error:
        raise UnsendableError(error.message) from error
    headers |= _attempt_headers(claim, now, body, signing_secrets)
    headers |= chosen.signature(claim.event_id, now, body, credentials)
    bare = [secret.partition("_")[2] for secret in signing_secrets]
    clear = {*credentials.values(), *lent.values(), *made.values(), *signing_secrets}
    return Outgoing(
        url=url,
        body=body,
        headers=headers,
        tls=Tls(claim.ca_certificate, claim.client_certificate, client_key),
        secrets=(*clear, *bare),
    )


def _open(claim: Claim, box: SecretBox) -> tuple[dict[str, str], str | None, list[str]]:
    """Open credentials, client key, and the secrets that are to sign."""
    try:
        credentials = open_credentials(box, claim.sealed_credentials)
        client_key = claim.sealed_client_key and box.open(claim.sealed_client_key)
    except UnsealError as error:
        raise UnsendableError("the credentials cannot be opened") from error
    try:
        opened = [box.open(sealed) for sealed in claim.sealed_secrets]
    except UnsealError as error:
        raise UnsendableError("the signing secret cannot be used") from error
    signing = [secret for secret in opened if _scheme_of(secret) in claim.signatures]
    return credentials, client_key, signing


def _headers(
    claim: Claim,
    values: Mapping[str, str],
    made: Mapping[str, str],
    lent: Mapping[str, str],
) -> dict[str, str]:
    own = {name: fill(value, values) for name, value in claim.headers.items()}
    headers = {**claim.delivery_headers, **made, **own}
    for name, value in lent.items():
        headers[f"webhook-{name.replace('_', '-')}"] = value
    for name, value in headers.items():
        # It would end the header or the whole head; the value may be secret.
        if not (value.isascii() and value.isprintable()):
            raise UnsendableError(f"the header {name} is not one line of ASCII text")
    return headers


def _attempt_headers(
    claim: Claim, now: datetime, body: bytes, secrets: list[str]
) -> dict[str, str]:
    try:
        headers = sign(claim.event_id, now, body, secrets)
    except ValueError as error:
        raise UnsendableError("the signing secret cannot be used") from error
    headers["content-type"] = claim.content_type
    if claim.kind == DeliveryKind.REPLAY:
        headers["webhook-replay"] = "true"
    if claim.follows_gap:
        headers["webhook-gap"] = "true"
    return headers


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
    # The library misreads aware datetimes that are not in UTC.
    instant = attempted_at.astimezone(UTC)
    timestamp, text = floor(instant.timestamp()), body.decode()
    signatures = [
        _sign_v1a(secret, f"{message_id}.{timestamp}.{text}")
        if _scheme_of(secret) is Scheme.V1A
        else Webhook(secret).sign(msg_id=message_id, timestamp=instant, data=text)
        for secret in secrets
    ]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }


def _scheme_of(secret: str) -> Scheme:
    return Scheme.V1A if secret.startswith(PRIVATE_KEY_PREFIX) else Scheme.V1


def _sign_v1a(private_key: str, signed_text: str) -> str:
    signature = _read_private_key(private_key).sign(signed_text.encode())
    return f"{Scheme.V1A},{_base64(signature)}"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _read_private_key(text: str) -> Ed25519PrivateKey:
    pair = base64.b64decode(text.removeprefix(PRIVATE_KEY_PREFIX), validate=True)
    return Ed25519PrivateKey.from_private_bytes(pair[:SEED_BYTES])
