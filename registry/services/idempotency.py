"""Idempotency keys: a repeated request is answered, not carried out again.

Rules (security reference, section 4):

- The key's row is written in the transaction of the change, so a lost COMMIT
  acknowledgement and a retry have one effect.
- The row is written before anything is locked: of two requests with one key the
  second waits for the first and then finds its answer.
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

from sqlalchemy import delete, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from registry.errors import IdempotencyMismatchError, InvalidInputError
from registry.persistence.tables import IdempotencyKey

MAX_KEY_CHARACTERS = 255
# Blanks at the ends of a header are lost on the way; other alphabets are garbled.
KEY_PATTERN = r"[!-~]+"
_KEY = re.compile(KEY_PATTERN)
KEPT_FOR = timedelta(hours=24)
FORGOTTEN_AT_ONCE = 1_000


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
    """The request behind a key; ``details`` are JSON, none where they may differ.

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


def find_answer(session: Session, request: KeyedRequest) -> StoredAnswer | None:
    """The answer of an earlier request with this key, if there was one.

    Raises:
        IdempotencyMismatchError: when the key was used with another request.
    """
    row = session.get(
        IdempotencyKey, (request.principal, request.key), populate_existing=True
    )
    if row is None:
        return None
    if row.fingerprint != request.fingerprint:
        raise IdempotencyMismatchError(
            "this idempotency key was used with a different request"
        )
    return StoredAnswer(status=row.status, body=row.body)


def claim(session: Session, request: KeyedRequest, *, now: datetime) -> bool:
    """Take the key for this transaction; False when another has it.

    Waits for a transaction that is carrying the same key out.
    """
    try:
        session.execute(
            insert(IdempotencyKey).values(
                principal=request.principal,
                key=request.key,
                fingerprint=request.fingerprint,
                status=0,
                body="",
                created_at=now,
            )
        )
    except IntegrityError:
        session.rollback()
        return False
    return True


def store_answer(session: Session, request: KeyedRequest, answer: StoredAnswer) -> None:
    """Keep the answer, in the transaction of the change."""
    session.execute(
        update(IdempotencyKey)
        .where(
            IdempotencyKey.principal == request.principal,
            IdempotencyKey.key == request.key,
        )
        .values(status=answer.status, body=answer.body)
        .execution_options(synchronize_session=False)
    )


def forget_old_keys(session: Session, *, now: datetime) -> bool:
    """Remove the first keys that are older than a day; whether more may be left."""
    keys = session.execute(
        select(IdempotencyKey.principal, IdempotencyKey.key)
        .where(IdempotencyKey.created_at < now - KEPT_FOR)
        .order_by(IdempotencyKey.created_at)
        .limit(FORGOTTEN_AT_ONCE)
    ).all()
    if keys:
        session.execute(
            delete(IdempotencyKey)
            .where(
                tuple_(IdempotencyKey.principal, IdempotencyKey.key).in_(
                    [tuple(key) for key in keys]
                )
            )
            .execution_options(synchronize_session=False)
        )
    return len(keys) == FORGOTTEN_AT_ONCE
