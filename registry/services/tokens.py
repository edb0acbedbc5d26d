"""Bearer tokens: made, listed, revoked, recognised.

Rules:

- The token is shown once; the database holds its SHA-256.
- Every token expires, in a year at most; only the bootstrap token, which makes
  the others, does not.
- It is owned by the person who made it, or who is behind the token that made it.
- Revoking takes effect at the next request: nothing is cached.
- A CI job's is made by ``services.exchange``, and removed some days after its end.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, bindparam, delete, select, tuple_, update

from registry.domain import names
from registry.domain.actors import Actor, ActorKind, CredentialKind, makers_by
from registry.domain.documents import TokenDocument, token_document
from registry.domain.entries import Change
from registry.domain.roles import Grant, Role, Scope
from registry.domain.rows import PublisherRow, TokenRow
from registry.domain.timestamps import rfc3339
from registry.domain.token_format import (
    CI_PREFIX,
    PREFIXES,
    is_well_formed,
    new_token,
    token_digest,
)
from registry.errors import NotFoundError, NotSignedInError
from registry.persistence import apply
from registry.persistence.statements import row_of, selected
from registry.persistence.tables import Token
from registry.services import audit
from registry.services.transaction import Transaction
from webhooks.statements import fetch, fetch_one, write

DEFAULT_DAYS = 90
MAX_DAYS = 365
BOOTSTRAP_NAME = "bootstrap"
CI = "ci"  #: the kind of the tokens that CI jobs are given
_LAST_USED_EVERY = timedelta(minutes=5)

CREATED = "token.created"
REVOKED = "token.revoked"
EXCHANGED = "token.exchanged"
REMOVED = "token.removed"
#: The tokens of CI jobs are listed for so long after their end.
CI_KEPT_FOR = timedelta(days=7)
REMOVED_AT_ONCE = 1_000

_TOKENS = select(*selected(TokenRow))
_BY_DIGEST = _TOKENS.where(Token.digest == bindparam("digest"))
_BY_ID = _TOKENS.where(Token.id == bindparam("of_id"))
_LOCK = _BY_ID.with_for_update()
#: All other tokens have a maker, or an end.
_BOOTSTRAP = (
    _TOKENS.where(
        *(Token.name == BOOTSTRAP_NAME, Token.made_by == ""),
        *(Token.expires_at.is_(None), Token.revoked_at.is_(None)),
    )
    .order_by(Token.created_at.desc())
    .limit(1)
)
_PAGE = (
    _TOKENS.where(Token.id > bindparam("after"))
    .order_by(Token.id)
    .limit(bindparam("limit"))
)
_NEWEST = (
    _TOKENS.where(
        Token.kind == bindparam("of_kind"),
        tuple_(Token.created_at, Token.id)
        < tuple_(
            bindparam("created_before", type_=Token.__table__.c.created_at.type),
            bindparam("below"),
        ),
    )
    .order_by(Token.created_at.desc(), Token.id.desc())
    .limit(bindparam("limit"))
)
_USED = (
    update(Token)
    .where(Token.id == bindparam("of_id"))
    .values(last_used_at=bindparam("at"))
)
_OF_CI = Token.kind == CI
_REVOKE_OF_PUBLISHER = (
    update(Token)
    .where(
        *(_OF_CI, Token.publisher_id == bindparam("of_publisher")),
        *(Token.revoked_at.is_(None), Token.expires_at > bindparam("at")),
    )
    .values(revoked_at=bindparam("at"))
)
_OLD = (
    select(Token.expires_at)
    .where(_OF_CI, Token.expires_at < bindparam("before"))
    .order_by(Token.expires_at)
    .limit(REMOVED_AT_ONCE)
)
_REMOVE = delete(Token).where(_OF_CI, Token.expires_at <= bindparam("until"))


def create_token(
    tx: Transaction,
    name: str,
    grant: Grant,
    *,
    scopes: Sequence[Scope] | None = None,
    expires_in_days: int = DEFAULT_DAYS,
) -> tuple[TokenDocument, str]:
    """Make a token; returns its document and, this once, the token.

    Raises:
        InvalidInputError: for a name that breaks the rules.
    """
    secret = new_token()
    expires_at = tx.now + timedelta(days=expires_in_days)
    token = _store(
        tx,
        names.model_name(name),
        grant,
        scopes=None if scopes is None else list(map(str, scopes)),
        secret=secret,
        expires_at=expires_at,
    )
    return token_document(token), secret


def ensure_bootstrap_token(tx: Transaction, secret: str) -> bool:
    """Make ``secret`` an admin token, unless it is one; returns whether it was new.

    A revoked bootstrap token stays revoked.
    """
    digest = token_digest(secret)
    if tx.cx.execute(_BY_DIGEST, {"digest": digest}).first():
        return False
    _store(tx, BOOTSTRAP_NAME, Grant(Role.ADMIN), secret=secret, expires_at=None)
    return True


def bootstrap_token(cx: Connection) -> TokenRow:
    """Return the bootstrap token, of several the newest.

    Raises:
        NotSignedInError: there is none, or it was revoked.
    """
    row = fetch_one(cx, _BOOTSTRAP, {})
    if row is None:
        raise NotSignedInError("the bootstrap token has been revoked")
    return row_of(TokenRow, row)


def has_tokens(cx: Connection) -> bool:
    """Whether anybody could sign in, ever."""
    return cx.scalar(select(Token.id).limit(1)) is not None


def _store(
    tx: Transaction,
    name: str,
    grant: Grant,
    *,
    scopes: Sequence[str] | None = None,
    secret: str,
    expires_at: datetime | None,
) -> TokenRow:
    maker = tx.caller.actor
    token = TokenRow(
        id=uuid.uuid4().hex,
        name=name,
        role=grant.role.value,
        models=grant.models,
        scopes=scopes,
        owner=maker.principal if maker.kind is ActorKind.USER else maker.human,
        made_by=makers_by(maker),
        digest=token_digest(secret),
        created_at=tx.now,
        created_by=maker.name,
        expires_at=expires_at,
    )
    _keep(tx, token, CREATED)
    return token


def create_ci_token(
    tx: Transaction,
    publisher: PublisherRow,
    on_behalf_of: Mapping[str, str],
    *,
    expires_at: datetime,
) -> tuple[TokenRow, str]:
    """Make a token for a job of a publisher; returns it and, this once, its text."""
    secret = new_token(CI_PREFIX)
    token = TokenRow(
        id=uuid.uuid4().hex,
        name=publisher.name,
        role=publisher.role,
        models=publisher.models,
        kind=CI,
        publisher_id=publisher.id,
        on_behalf_of=dict(on_behalf_of),
        digest=token_digest(secret),
        created_at=tx.now,
        created_by=publisher.name,
        expires_at=expires_at,
    )
    _keep(tx, token, EXCHANGED)
    return token, secret


def _keep(tx: Transaction, token: TokenRow, action: str) -> None:
    apply.add(tx.cx, token)
    audit.log(tx, Change(action=action, after=token_document(token)))


def revoke_of_publisher(tx: Transaction, publisher_id: str) -> None:
    """Revoke what the jobs of a publisher have; its own entry says so."""
    values = {"of_publisher": publisher_id, "at": tx.now}
    tx.cx.execute(_REVOKE_OF_PUBLISHER, values)


def remove_old(tx: Transaction) -> bool:
    """Remove the first tokens of CI jobs that ended; whether more may be left."""
    ends = tx.cx.scalars(_OLD, {"before": tx.now - CI_KEPT_FOR}).all()
    until = ends[-1] if ends else None
    if until is not None:
        tx.cx.execute(_REMOVE, {"until": until})
        told = {"kind": CI, "ended_until": rfc3339(until)}
        audit.log(tx, Change(action=REMOVED, after=told))
    return len(ends) == REMOVED_AT_ONCE


def revoke_token(tx: Transaction, token_id: str) -> None:
    """Revoke a token; revoking again changes nothing.

    Raises:
        NotFoundError: when there is no such token.
    """
    row = tx.cx.execute(_LOCK, {"of_id": token_id}).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no token {token_id!r}")
    token = row_of(TokenRow, row)
    if token.revoked_at is not None:
        return
    revoked = replace(token, revoked_at=tx.now)
    apply.change(tx.cx, revoked)
    before, after = token_document(token), token_document(revoked)
    audit.log(tx, Change(action=REVOKED, before=before, after=after))


def list_tokens(cx: Connection, *, after: str | None, limit: int) -> Sequence[TokenRow]:
    """List tokens by id, the revoked ones too."""
    rows = cx.execute(_PAGE, {"after": after or "", "limit": limit})
    return [row_of(TokenRow, row) for row in rows]


def list_newest(
    cx: Connection, kind: str, *, behind: tuple[datetime, str] | None, limit: int
) -> list[TokenRow]:
    """List tokens of a kind, the newest first, from those behind an instant and id."""
    created_before, below = behind or (datetime.max.replace(tzinfo=UTC), "")
    values = {"created_before": created_before, "below": below}
    rows = fetch(cx, _NEWEST, {**values, "of_kind": kind, "limit": limit})
    return [row_of(TokenRow, row) for row in rows]


def sign_in(cx: Connection, secret: str, *, now: datetime) -> TokenRow:
    """Return the token that ``secret`` is.

    Raises:
        NotSignedInError: when it is none, or no longer one.
    """
    if secret.startswith(PREFIXES) and not is_well_formed(secret):
        raise NotSignedInError("this token is mistyped: its checksum is wrong")
    digest = {"digest": token_digest(secret)}
    row = fetch_one(cx, _BY_DIGEST, digest)
    if row is None:
        raise NotSignedInError("this token is unknown")
    return _valid(row_of(TokenRow, row), now)


def find(cx: Connection, token_id: str, *, now: datetime) -> TokenRow:
    """Return the token of a session that was made from it.

    Raises:
        NotSignedInError: when it is no longer one.
    """
    row = fetch_one(cx, _BY_ID, {"of_id": token_id})
    if row is None:
        raise NotSignedInError("the token of this session is unknown")
    return _valid(row_of(TokenRow, row), now)


def _valid(token: TokenRow, now: datetime) -> TokenRow:
    if token.revoked_at is not None:
        raise NotSignedInError("this token has been revoked")
    if token.expires_at is not None and token.expires_at <= now:
        raise NotSignedInError(f"this token expired at {rfc3339(token.expires_at)}")
    return token


def actor_of(token: TokenRow) -> Actor:
    """Return who signs in with this token."""
    scopes = token.scopes
    actor = Actor(
        kind=ActorKind.TOKEN,
        name=token.name,
        principal=token.id,
        grants=(Grant(Role(token.role), token.models),),
        scopes=None if scopes is None else tuple(map(Scope.parse, scopes)),
        credential=CredentialKind.TOKEN,
        credential_id=token.id,
        human=token.owner,
        made_by=token.made_by,
    )
    return _ci_job(actor, token) if token.kind == CI else actor


def _ci_job(actor: Actor, token: TokenRow) -> Actor:
    """Return the job that was given the token, as one of its publisher's."""
    on_behalf_of = token.on_behalf_of or {}
    return replace(
        actor,
        kind=ActorKind.CI,
        principal=principal_of(token.publisher_id or ""),
        credential=CredentialKind.CI_TOKEN,
        on_behalf_of=on_behalf_of,
        human=on_behalf_of.get("human", ""),
    )


def principal_of(publisher_id: str) -> str:
    """Return who the jobs of a trusted publisher are."""
    return f"publisher:{publisher_id}"


def is_use_worth_noting(token: TokenRow, now: datetime) -> bool:
    """Whether ``last_used_at`` is old enough to be written again."""
    return token.last_used_at is None or now - token.last_used_at > _LAST_USED_EVERY


def note_use(cx: Connection, token_id: str, at: datetime) -> None:
    """Write down when a token was used; no change that anybody is told of."""
    write(cx, _USED, [{"of_id": token_id, "at": at}])
