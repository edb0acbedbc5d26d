"""From a claim to the request that is sent: secrets filled in, signed.

Rules:

- Placeholders of URL, headers, body and options are filled here and nowhere else,
  and what was filled never goes back into the database.
- Headers, the later ones winning: the format's, what credentials make, the owner's
  own, lent values, the content type, the signature, the format's own signature.
- What is signed is the body as it is sent, secrets included.
- ``secrets`` has every clear value that the receiver knows: it may send it back.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

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
from webhooks.sending.signing import scheme_of, sign
from webhooks.sending.tls import Tls
from webhooks.tables import DeliveryKind

REPLAY_HEADER = "webhook-replay"
#: The message before this one was given up.
GAP_HEADER = "webhook-gap"
NOTHING_LENT: Mapping[str, str] = MappingProxyType({})


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
    tls: Tls | None = field(repr=False)
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
    try:
        credentials = open_credentials(box, claim.sealed_credentials)
        client_key = claim.sealed_client_key and box.open(claim.sealed_client_key)
    except UnsealError as error:
        raise UnsendableError("the credentials cannot be opened") from error
    signing_secrets = _signing_secrets(claim, box)
    present = dict.fromkeys(LENT_NAMES, "") | {SUBSCRIPTION_ID: claim.subscription_id}
    values = {**present, **lent, **credentials}
    try:
        url = fill(claim.url, values)
        body = fill_body(claim.body, claim.content_type, values)
        made = _made_by_credentials(claim, credentials)
        headers = _headers(claim, values, made, lent) | _hub(claim, values, body)
    except KeyError as error:
        raise UnsendableError(f"the credential {error.args[0]!r} is missing") from error
    except (InvalidSubscriptionError, RenderError) as error:
        raise UnsendableError(error.message) from error
    headers |= _sign(claim, now, body, signing_secrets)
    if known := FORMATS.get(claim.format):
        headers |= known.signature(claim.event_id, now, body, credentials)
    material = Tls(claim.ca_certificate, claim.client_certificate, client_key)
    bare = [secret.partition("_")[2] for secret in signing_secrets]
    clear = {*credentials.values(), *lent.values(), *made.values(), *signing_secrets}
    return Outgoing(
        url=url,
        body=body,
        headers=headers,
        tls=None if material == Tls() else material,
        secrets=(*clear, *bare),
    )


def _signing_secrets(claim: Claim, box: SecretBox) -> list[str]:
    """Open the live secrets of the schemes that the subscription asks for."""
    try:
        opened = [box.open(sealed) for sealed in claim.sealed_secrets]
    except UnsealError as error:
        raise UnsendableError("the signing secret cannot be used") from error
    return [secret for secret in opened if scheme_of(secret) in claim.signatures]


def _sign(
    claim: Claim, now: datetime, body: bytes, secrets: list[str]
) -> dict[str, str]:
    try:
        headers = sign(claim.event_id, now, body, secrets)
    except ValueError as error:
        raise UnsendableError("the signing secret cannot be used") from error
    headers["content-type"] = claim.content_type
    if claim.kind == DeliveryKind.REPLAY:
        headers[REPLAY_HEADER] = "true"
    if claim.follows_gap:
        headers[GAP_HEADER] = "true"
    return headers


def _made_by_credentials(
    claim: Claim, credentials: Mapping[str, str]
) -> Mapping[str, str]:
    """Return the headers that the format makes of the credentials."""
    known = FORMATS.get(claim.format)
    if known is None or "authorization" in claim.headers:
        return {}
    return known.authorization(claim.options, credentials)


def _headers(
    claim: Claim,
    values: Mapping[str, str],
    made: Mapping[str, str],
    lent: Mapping[str, str],
) -> dict[str, str]:
    own = {name: fill(value, values) for name, value in claim.headers.items()}
    headers = {**claim.delivery_headers, **made, **own}
    known = FORMATS.get(claim.format)
    if known is not None and known.lends_by_header:
        for name, value in lent.items():
            headers[f"webhook-{name.replace('_', '-')}"] = value
    for name, value in headers.items():
        # It would end the header or the whole head; the value may be secret.
        if not (value.isascii() and value.isprintable()):
            raise UnsendableError(f"the header {name} is not one line of ASCII text")
    return headers


def _hub(claim: Claim, values: Mapping[str, str], body: bytes) -> dict[str, str]:
    template = read_hub_signature(claim.options)
    if template is None:
        return {}
    return {HUB_HEADER: hub_signature(fill(template, values), body)}
