"""A request, verified and judged: ``Receiver.receive`` gives a ``Message``.

Signatures are those of Standard Webhooks 1.0, ``v1`` and ``v1a``.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
import secrets as random_source
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, Protocol, Self

from .stores import (
    MalformedError,
    MemoryStore,
    SignatureError,
    Standing,
    Store,
    Ticket,
    TooOldError,
)

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
# A sender signs with ten live secrets at most, by two schemes.
MAX_SIGNATURES = 32
MAX_SEQUENCE = 2**63 - 1
# Without a dot: what is signed is joined by dots, and must be read one way only.
MESSAGE_ID = re.compile(r"[!-\-/-~]{1,256}")
TIMESTAMP = re.compile(r"[0-9]{1,12}")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

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


@dataclass(eq=False, kw_only=True)
class Message:
    """A verified event. Use it in a ``with`` block, or call ``done`` or ``release``.

    Attributes:
        id: the same over all attempts and replays of an event.
        type: what happened, such as ``model_version.stage_changed``.
        timestamp: when it happened, aware.
        data: what is known about it.
        standing: whether there is anything to do.
        is_replay: somebody asked for it to be sent again. The registry may have
            moved on since; ask it before acting.
        deployment_token: reports the deployment back, where the delivery has one.
    """

    id: str
    type: str
    timestamp: datetime
    data: Mapping[str, Any]
    standing: Standing
    is_replay: bool
    deployment_token: str | None = field(repr=False)
    _store: Store = field(repr=False)
    _ticket: Ticket | None = field(repr=False)

    @property
    def is_new(self) -> bool:
        """Whether it is neither a duplicate nor overtaken."""
        return self.standing is Standing.NEW

    def done(self) -> None:
        """Remember it as dealt with; answer 2xx only after this."""
        if self._ticket is not None:
            self._store.finish(self._ticket)
        self._ticket = None

    def release(self) -> None:
        """Give it up: its next attempt is new again. After ``done`` it does nothing."""
        if self._ticket is not None:
            self._store.release(self._ticket)
        self._ticket = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exception_type: object, *_details: object) -> None:
        if exception_type is None:
            self.done()
        else:
            self.release()


class Headers(Protocol):
    """Any mapping of header names, in any case, to values: a dict, Flask's."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Return every header."""
        ...


class Receiver:
    """Verifies the requests of one subscription and tells what is new."""

    def __init__(
        self,
        secrets: str | Sequence[str],
        *,
        tolerance: timedelta = timedelta(minutes=5),
        store: Store | None = None,
        busy_for: timedelta = timedelta(minutes=10),
    ) -> None:
        """Prepare to verify.

        Args:
            secrets: the signing secret (``whsec_``) or public key (``whpk_``), or
                several while they are rotated.
            tolerance: how far the clocks and the way may be apart.
            store: what is remembered; a ``MemoryStore`` unless given.
            busy_for: how long a message that is neither done nor released, because
                its process died, keeps its model closed. Longer than any work takes.

        Raises:
            ValueError: no secret, one that is malformed, or a public key without
                the ``cryptography`` package.
        """
        secret_list = [secrets] if isinstance(secrets, str) else list(secrets)
        if not secret_list:
            raise ValueError("a receiver needs at least one secret")
        self._checks = [signature_check(secret) for secret in secret_list]
        self._tolerance = tolerance
        self._busy_for = busy_for
        self._store = MemoryStore() if store is None else store

    def receive(
        self, headers: Headers, body: bytes, now: datetime | None = None
    ) -> Message:
        """Verify a request and say what it is to this consumer.

        Args:
            headers: all of them; names in any case.
            body: the bytes as they came; parsed and written anew they differ.
            now: the aware present instant; the system's unless given.

        Raises:
            SignatureError: not signed with a known secret.
            TooOldError: signed outside the tolerance.
            MalformedError: signed, but no event.
            BusyError: the message or another of its model is being worked on.
        """
        received_at = datetime.now(UTC) if now is None else now
        members = {name.lower(): value for name, value in headers.items()}
        message_id = self._verify(members, body, received_at)
        event_type, timestamp, data = _parse(body)
        model = data.get("model")
        is_replay = members.get("webhook-replay") == "true"
        position = None if is_replay else _position(timestamp, data.get("sequence"))
        ticket = Ticket(
            message_id=message_id,
            key=model if isinstance(model, str) else None,
            position=position,
            received_at=_microseconds(received_at),
            busy_until=_microseconds(received_at + self._busy_for),
            token=random_source.token_hex(8),
        )
        standing = self._store.begin(ticket)
        return Message(
            id=message_id,
            type=event_type,
            timestamp=timestamp,
            data=data,
            standing=standing,
            is_replay=is_replay,
            deployment_token=members.get("webhook-deployment-token"),
            _store=self._store,
            _ticket=ticket if standing is Standing.NEW else None,
        )

    def _verify(self, headers: dict[str, str], body: bytes, now: datetime) -> str:
        """Check signature and age; return the message id."""
        message_id = headers.get("webhook-id", "")
        timestamp = headers.get("webhook-timestamp", "")
        if not MESSAGE_ID.fullmatch(message_id) or not TIMESTAMP.fullmatch(timestamp):
            raise SignatureError("The headers webhook-id and -timestamp are malformed.")
        signed = f"{message_id}.{timestamp}.".encode() + body
        signatures = headers.get("webhook-signature", "").split()[:MAX_SIGNATURES]
        pairs = product(self._checks, signatures)
        # Every pair is tried, so that the time taken tells nothing.
        if True not in [check(signature, signed) for check, signature in pairs]:
            raise SignatureError
        if abs(now.timestamp() - int(timestamp)) > self._tolerance.total_seconds():
            raise TooOldError
        return message_id


def _parse(body: bytes) -> tuple[str, datetime, dict[str, Any]]:
    """Return type, timestamp and data of a standard body."""
    try:
        document = json.loads(body)
        event_type, data = document["type"], document["data"]
        timestamp = datetime.fromisoformat(document["timestamp"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise MalformedError from error
    is_event = isinstance(event_type, str) and isinstance(data, dict)
    if not is_event or timestamp.tzinfo is None:
        raise MalformedError
    return event_type, timestamp, data


def _position(timestamp: datetime, sequence: object) -> tuple[int, int] | None:
    """Return the place of an event among those of its model."""
    if type(sequence) is not int or not 0 <= sequence <= MAX_SEQUENCE:
        return None
    return _microseconds(timestamp), sequence


def _microseconds(instant: datetime) -> int:
    return (instant - EPOCH) // MICROSECOND
