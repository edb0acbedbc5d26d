"""Idempotency keys: a repeated request is answered, not carried out again.

Rules:

- The key's row is written in the transaction of the change, so a lost COMMIT
  acknowledgement and a retry have one effect.
- It is written once, with the answer: of two requests with one key the second waits
  for the first, by the lock of what both change or by the key, and finds its answer.
- Only what was carried out is kept. A refusal leaves nothing behind, so the same
  key may be used again when the reason is gone.
- A key belongs to one caller and one request: used with another, it is an error.
  One that stands for what is to be achieved leaves the details out of that.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from sqlalchemy import Connection, Table, bindparam, delete, select, tuple_
from sqlalchemy.exc import IntegrityError

from registry.errors import (
    ConflictError,
    IdempotencyMismatchError,
    InvalidInputError,
)
from registry.persistence.tables import IdempotencyKey
from webhooks.statements import fetch_one, write

MAX_KEY_CHARACTERS = 255
# Blanks at the ends of a header are lost on the way; other alphabets are garbled.
KEY_PATTERN = r"[!-~]+"
_KEY = re.compile(KEY_PATTERN)
KEPT_FOR = timedelta(hours=24)
FORGOTTEN_AT_ONCE = 1_000

_KEYS = cast("Table", IdempotencyKey.__table__)
_FIND = select(_KEYS.c.fingerprint, _KEYS.c.status, _KEYS.c.body).where(
    _KEYS.c.principal == bindparam("of_principal"), _KEYS.c.key == bindparam("of_key")
)
_KEEP = _KEYS.insert()
_OLD = (
    select(_KEYS.c.principal, _KEYS.c.key)
    .where(_KEYS.c.created_at < bindparam("before"))
    .order_by(_KEYS.c.created_at)
    .limit(FORGOTTEN_AT_ONCE)
)
_FORGET = delete(_KEYS).where(
    tuple_(_KEYS.c.principal, _KEYS.c.key).in_(bindparam("keys", expanding=True))
)


@dataclass(frozen=True, kw_only=True)
class KeyedRequest:
    """A request that carries an idempotency key."""

    principal: str
    key: str
    fingerprint: str


@dataclass(frozen=True)
class StoredAnswer:
    """What was answered the first time, the body sealed by whoever stores it."""

    status: int
    body: str


def keyed_request(
    principal: str, key: str, *, method: str, path: str, details: Sequence[object]
) -> KeyedRequest:
    """Return the request behind a key; ``details`` are JSON, None if they may differ.

    Raises:
        InvalidInputError: for a key that is empty, too long or not plain ASCII.
    """
    if len(key) > MAX_KEY_CHARACTERS or not _KEY.fullmatch(key):
        raise InvalidInputError(
            f"must have 1 to {MAX_KEY_CHARACTERS} printable ASCII characters, no blank",
            field="Idempotency-Key",
        )
    text = json.dumps([method, path, *details], sort_keys=True)
    fingerprint = hashlib.sha256(text.encode()).hexdigest()
    return KeyedRequest(principal=principal, key=key, fingerprint=fingerprint)


def find_answer(cx: Connection, request: KeyedRequest) -> StoredAnswer | None:
    """Return the answer of an earlier request with this key, if there was one.

    Raises:
        IdempotencyMismatchError: when the key was used with another request.
    """
    of_request = {"of_principal": request.principal, "of_key": request.key}
    row = fetch_one(cx, _FIND, of_request)
    if row is None:
        return None
    fingerprint, status, body = row
    if fingerprint != request.fingerprint:
        raise IdempotencyMismatchError(
            "this idempotency key was used with a different request"
        )
    return StoredAnswer(status=status, body=body)


def keep(
    cx: Connection, request: KeyedRequest, answer: StoredAnswer, *, now: datetime
) -> None:
    """Keep the answer, in the transaction of the change.

    Waits for a transaction that is carrying the same key out.

    Raises:
        ConflictError: when that did; this transaction is of no more use.
    """
    row = {
        "principal": request.principal,
        "key": request.key,
        "fingerprint": request.fingerprint,
        "status": answer.status,
        "body": answer.body,
        "created_at": now,
    }
    try:
        write(cx, _KEEP, [row])
    except IntegrityError as error:
        raise ConflictError(
            "a request with this idempotency key is in flight"
        ) from error


def forget_old_keys(cx: Connection, *, now: datetime) -> bool:
    """Remove the first keys that are older than a day; whether more may be left."""
    keys = cx.execute(_OLD, {"before": now - KEPT_FOR}).all()
    if keys:
        cx.execute(_FORGET, {"keys": [tuple(key) for key in keys]})
    return len(keys) == FORGOTTEN_AT_ONCE
