"""For consumers: verify a webhook, and act on each event once and in order.

    receiver = Receiver(os.environ["WEBHOOK_SECRET"], store=SQLiteStore("seen.db"))

    with receiver.receive(request.headers, request.get_data()) as message:
        if message.is_new:
            deploy(message.data)
    # Answer 2xx here, and only here.

Rules:

- The standard library is enough, and nothing else of this package is needed: this
  file may be copied into a consumer. Ed25519 keys (``whpk_``) need ``cryptography``.
- What is not signed, or signed too long ago, raises. A duplicate and an event
  that a later one of its model has overtaken do not: they want a 2xx as well.
- A message is remembered by ``done()``, or by leaving the ``with`` block without an
  error, never before. Whatever fails before is sent again and is new again.
- While one message of a model is worked on, a second is a ``BusyError``: answer
  its status, and the sender comes again.
- Order is that of (timestamp, sequence). In the life of a model it is that of
  the sequence, which starts anew when a model is made under an old name.
- A replay is outside the order: it is told as one, and never held for overtaken.
- One store serves one subscription, for any number of threads and, as a file, of
  processes.

Source: Standard Webhooks 1.0, "Verifying webhook authenticity"; ``v1`` and ``v1a``.
"""

import base64
import binascii
import hmac
import json
import re
import secrets as random_source
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import Any, Protocol, Self

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:
    _HAS_ED25519 = False
else:
    _HAS_ED25519 = True

_SECRET = re.compile(r"(whsec|whpk)_(.*)", re.DOTALL)
_MIN_SECRET_BYTES = 24
_ED25519_BYTES = 32
# A sender signs with ten live secrets at most, by two schemes.
_MAX_SIGNATURES = 32
_MAX_SEQUENCE = 2**63 - 1
# Without a dot: what is signed is joined by dots, and must be read one way only.
_MESSAGE_ID = re.compile(r"[!-\-/-~]{1,256}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ReceiverError(Exception):
    """The request is not accepted; ``status`` is the HTTP status to answer."""

    status = 400

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class SignatureError(ReceiverError):
    """No signature of the request was made with a known secret."""

    status = 401


class TooOldError(ReceiverError):
    """The request was signed too long ago, or by a clock that is too far ahead."""


class MalformedError(ReceiverError):
    """The body is signed, but it is no event in the standard format."""


class BusyError(ReceiverError):
    """This message, or another of its model, is being worked on."""

    status = 503


class Standing(StrEnum):
    """What a verified message is to this consumer."""

    NEW = "new"
    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out_of_order"


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """What a store needs to know of a message; times are Unix microseconds.

    ``key`` is the model and ``position`` the place among its events; both are None
    for events that are about no model, and ``position`` is None for a replay.
    ``token`` tells apart two tries at one message.
    """

    message_id: str
    key: str | None
    position: tuple[int, int] | None
    received_at: int
    busy_until: int
    token: str

    def is_overtaken_by(self, latest: tuple[int, int] | None) -> bool:
        """Whether an event at this position has been dealt with before."""
        if self.position is None or latest is None:
            return False
        return self.position <= latest

    def excludes(self, other: "Ticket") -> bool:
        """Whether the other has to wait while this one is worked on."""
        is_same = other.message_id == self.message_id
        is_same_model = self.key is not None and other.key == self.key
        return other.received_at < self.busy_until and (is_same or is_same_model)


class Store(Protocol):
    """Remembers what was done. Every method is atomic.

    A hold ends by itself: the process that made it may be gone.
    """

    def begin(self, ticket: Ticket) -> Standing:
        """Judge a message, and hold it and its model if it is new.

        Raises:
            BusyError: it, or another message of its model, is held.
        """
        ...

    def finish(self, ticket: Ticket) -> None:
        """Remember that a new message was dealt with, and let go of it."""
        ...

    def release(self, ticket: Ticket) -> None:
        """Let go of a new message that was not dealt with."""
        ...


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
        self._checks = [_signature_check(secret) for secret in secret_list]
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
        if not _MESSAGE_ID.fullmatch(message_id) or not _TIMESTAMP.fullmatch(timestamp):
            raise SignatureError("The headers webhook-id and -timestamp are malformed.")
        signed = f"{message_id}.{timestamp}.".encode() + body
        signatures = headers.get("webhook-signature", "").split()[:_MAX_SIGNATURES]
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
    if type(sequence) is not int or not 0 <= sequence <= _MAX_SEQUENCE:
        return None
    return _microseconds(timestamp), sequence


def _microseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(microseconds=1)


#: Tells whether a signature, such as ``v1,…``, was made over these bytes.
_SignatureCheck = Callable[[str, bytes], bool]


def _signature_check(secret: str) -> _SignatureCheck:
    """Make the check for a secret (``whsec_``) or a public key (``whpk_``)."""
    match = _SECRET.fullmatch(secret)
    if match is None:
        raise ValueError("a secret starts with whsec_ or whpk_")
    try:
        key = base64.b64decode(match[2], validate=True)
    except binascii.Error as error:
        raise ValueError("a secret is base64 after its prefix") from error
    return _ed25519_check(key) if match[1] == "whpk" else _hmac_check(key)


def _hmac_check(key: bytes) -> _SignatureCheck:
    if len(key) < _MIN_SECRET_BYTES:
        raise ValueError(f"a signing secret has at least {_MIN_SECRET_BYTES} bytes")

    def check(signature: str, signed: bytes) -> bool:
        expected = b"v1," + base64.b64encode(hmac.digest(key, signed, "sha256"))
        return hmac.compare_digest(expected, signature.encode(errors="replace"))

    return check


def _ed25519_check(key: bytes) -> _SignatureCheck:
    if not _HAS_ED25519:
        raise ValueError("a whpk_ key needs the package cryptography")
    if len(key) != _ED25519_BYTES:
        raise ValueError(f"a public key has {_ED25519_BYTES} bytes")
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


class MemoryStore:
    """Remembers in this process, until it ends: a restart acts on a resend again.

    It keeps the last ``max_entries`` message ids and as many models.
    """

    def __init__(self, *, max_entries: int = 10_000) -> None:
        self._max_entries = max_entries
        self._lock = threading.Lock()
        self._done: OrderedDict[str, None] = OrderedDict()
        self._latest: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._held: dict[str, Ticket] = {}

    def begin(self, ticket: Ticket) -> Standing:
        """Judge a message, and hold it and its model if it is new."""
        with self._lock:
            if ticket.message_id in self._done:
                return Standing.DUPLICATE
            if ticket.is_overtaken_by(self._latest.get(ticket.key or "")):
                return Standing.OUT_OF_ORDER
            self._held = {
                token: held
                for token, held in self._held.items()
                if ticket.received_at < held.busy_until
            }
            if any(held.excludes(ticket) for held in self._held.values()):
                raise BusyError
            self._held[ticket.token] = ticket
            return Standing.NEW

    def finish(self, ticket: Ticket) -> None:
        """Remember that a new message was dealt with, and let go of it."""
        with self._lock:
            self._held.pop(ticket.token, None)
            self._done[ticket.message_id] = None
            if ticket.key is not None and ticket.position is not None:
                latest = self._latest.pop(ticket.key, ticket.position)
                self._latest[ticket.key] = max(latest, ticket.position)
            for remembered in (self._done, self._latest):
                while len(remembered) > self._max_entries:
                    remembered.popitem(last=False)

    def release(self, ticket: Ticket) -> None:
        """Let go of a new message that was not dealt with."""
        with self._lock:
            self._held.pop(ticket.token, None)


_SCHEMA = """
CREATE TABLE IF NOT EXISTS done (
    number INTEGER PRIMARY KEY, message_id TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS latest (
    key TEXT PRIMARY KEY, instant INTEGER NOT NULL, sequence INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS held (
    message_id TEXT PRIMARY KEY, key TEXT, token TEXT NOT NULL,
    busy_until INTEGER NOT NULL);
"""
_FIND_DONE = "SELECT 1 FROM done WHERE message_id = ?"
_FIND_LATEST = "SELECT instant, sequence FROM latest WHERE key = ?"
_FIND_HELD = "SELECT 1 FROM held WHERE message_id = ? OR key = ?"
_REMEMBER_LATEST = """
INSERT INTO latest VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE
SET instant = excluded.instant, sequence = excluded.sequence
WHERE (excluded.instant, excluded.sequence) > (instant, sequence)
"""
_LET_GO = "DELETE FROM held WHERE token = ?"
_FORGET = "DELETE FROM done WHERE number <= (SELECT max(number) FROM done) - ?"


class SQLiteStore:
    """Remembers in a file, over restarts, for all processes on one machine.

    It keeps the last ``max_entries`` message ids (100 bytes each) and every model.
    A method that raises ``sqlite3.Error`` has changed nothing.
    """

    def __init__(self, path: str | Path, *, max_entries: int = 1_000_000) -> None:
        self._path = path
        self._max_entries = max_entries
        with self._begin() as connection:
            for statement in filter(str.strip, _SCHEMA.split(";")):
                connection.execute(statement)

    def begin(self, ticket: Ticket) -> Standing:
        """Judge a message, and hold it and its model if it is new."""
        with self._begin() as connection:
            execute = connection.execute
            if execute(_FIND_DONE, (ticket.message_id,)).fetchone():
                return Standing.DUPLICATE
            if ticket.is_overtaken_by(execute(_FIND_LATEST, (ticket.key,)).fetchone()):
                return Standing.OUT_OF_ORDER
            execute("DELETE FROM held WHERE busy_until <= ?", (ticket.received_at,))
            if execute(_FIND_HELD, (ticket.message_id, ticket.key)).fetchone():
                raise BusyError
            execute(
                "INSERT INTO held VALUES (?, ?, ?, ?)",
                (ticket.message_id, ticket.key, ticket.token, ticket.busy_until),
            )
        return Standing.NEW

    def finish(self, ticket: Ticket) -> None:
        """Remember that a new message was dealt with, and let go of it."""
        with self._begin() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO done (message_id) VALUES (?)",
                (ticket.message_id,),
            )
            if ticket.key is not None and ticket.position is not None:
                connection.execute(_REMEMBER_LATEST, (ticket.key, *ticket.position))
            connection.execute(_FORGET, (self._max_entries,))
            connection.execute(_LET_GO, (ticket.token,))

    def release(self, ticket: Ticket) -> None:
        """Let go of a new message that was not dealt with."""
        with self._begin() as connection:
            connection.execute(_LET_GO, (ticket.token,))

    @contextmanager
    def _begin(self) -> Iterator[sqlite3.Connection]:
        """One transaction on a connection of its own: servers fork and use threads."""
        with closing(sqlite3.connect(self._path, timeout=10)) as connection:
            connection.isolation_level = None
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                yield connection
