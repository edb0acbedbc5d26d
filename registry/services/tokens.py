"""Bearer tokens: made, listed, revoked, recognised.

Rules (security reference, section 2):

- The token is shown once; the database holds its SHA-256.
- Every token expires, in a year at most; only the bootstrap token, which makes
  the others, does not.
- Revoking takes effect at the next request: nothing is cached.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.domain import names
from registry.domain.actors import Actor, Role
from registry.domain.timestamps import rfc3339
from registry.domain.token_format import PREFIX, is_well_formed, new_token, token_digest
from registry.errors import NotFoundError, NotSignedInError
from registry.persistence.tables import Token
from registry.services import audit
from registry.services.audit import Change
from registry.services.documents import Document
from registry.services.transaction import Transaction

DEFAULT_DAYS = 90
MAX_DAYS = 365
BOOTSTRAP_NAME = "bootstrap"
_LAST_USED_EVERY = timedelta(minutes=5)

CREATED = "token.created"
REVOKED = "token.revoked"


def token_document(token: Token) -> Document:
    """A token as the API shows it: without the token."""
    return {
        "id": token.id,
        "name": token.name,
        "role": token.role,
        "created_at": rfc3339(token.created_at),
        "created_by": token.created_by,
        "expires_at": token.expires_at and rfc3339(token.expires_at),
        "last_used_at": token.last_used_at and rfc3339(token.last_used_at),
        "revoked_at": token.revoked_at and rfc3339(token.revoked_at),
    }


def create_token(
    tx: Transaction, name: str, role: Role, *, expires_in_days: int = DEFAULT_DAYS
) -> tuple[Document, str]:
    """Make a token; answers its document and, this once, the token.

    Raises:
        InvalidInputError: for a name that breaks the rules.
    """
    secret = new_token()
    expires_at = tx.now + timedelta(days=expires_in_days)
    token = _store(
        tx, names.model_name(name), role, secret=secret, expires_at=expires_at
    )
    return token_document(token), secret


def ensure_bootstrap_token(tx: Transaction, secret: str) -> bool:
    """Make ``secret`` an admin token, unless it is one; answers whether it was new.

    A revoked bootstrap token stays revoked.
    """
    digest = token_digest(secret)
    if tx.session.scalar(select(Token.id).where(Token.digest == digest)):
        return False
    _store(tx, BOOTSTRAP_NAME, Role.ADMIN, secret=secret, expires_at=None)
    return True


def has_tokens(session: Session) -> bool:
    """Whether anybody could sign in, ever."""
    return session.scalar(select(Token.id).limit(1)) is not None


def _store(
    tx: Transaction,
    name: str,
    role: Role,
    *,
    secret: str,
    expires_at: datetime | None,
) -> Token:
    token = Token(
        id=uuid.uuid4().hex,
        name=name,
        role=role.value,
        digest=token_digest(secret),
        created_at=tx.now,
        created_by=tx.caller.actor.name,
        expires_at=expires_at,
    )
    tx.session.add(token)
    tx.session.flush()
    change = Change(action=CREATED, after=token_document(token))
    audit.record(tx, change, chain=audit.SYSTEM_CHAIN)
    return token


def revoke_token(tx: Transaction, token_id: str) -> None:
    """Revoke a token; revoking again changes nothing.

    Raises:
        NotFoundError: when there is no such token.
    """
    token = tx.session.get(Token, token_id, with_for_update=True)
    if token is None:
        raise NotFoundError(f"there is no token {token_id!r}")
    if token.revoked_at is not None:
        return
    before = token_document(token)
    token.revoked_at = tx.now
    tx.session.flush()
    change = Change(action=REVOKED, before=before, after=token_document(token))
    audit.record(tx, change, chain=audit.SYSTEM_CHAIN)


def list_tokens(session: Session, *, after: str | None, limit: int) -> Sequence[Token]:
    """Tokens by id, the revoked ones too."""
    query = select(Token).order_by(Token.id).limit(limit)
    if after is not None:
        query = query.where(Token.id > after)
    return session.scalars(query).all()


def sign_in(session: Session, secret: str, *, now: datetime) -> Token:
    """The token that ``secret`` is.

    Raises:
        NotSignedInError: when it is none, or no longer one.
    """
    if secret.startswith(PREFIX) and not is_well_formed(secret):
        raise NotSignedInError("this token is mistyped: its checksum is wrong")
    token = session.scalar(select(Token).where(Token.digest == token_digest(secret)))
    if token is None:
        raise NotSignedInError("this token is unknown")
    if token.revoked_at is not None:
        raise NotSignedInError("this token has been revoked")
    if token.expires_at is not None and token.expires_at <= now:
        raise NotSignedInError(f"this token expired at {rfc3339(token.expires_at)}")
    return token


def actor_of(token: Token) -> Actor:
    """Who signs in with this token."""
    return Actor(
        kind="token", name=token.name, role=Role(token.role), token_id=token.id
    )


def is_use_worth_noting(token: Token, now: datetime) -> bool:
    """Whether ``last_used_at`` is old enough to be written again."""
    return token.last_used_at is None or now - token.last_used_at > _LAST_USED_EVERY
