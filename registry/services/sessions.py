"""Sessions of browsers: begun, recognised, ended.

Rules:

- The cookie is random and shown to one browser, once; the database holds its SHA-256.
- A sign-in makes a new one, whatever cookie the browser brought, and ends that one's
  session: a cookie that somebody planted signs nobody in.
- A session ends after ``LONGEST`` at the latest, after ``IDLE`` without a request, with
  the token that it was made from, when its user signs out, here or at the identity
  provider (back-channel), and is refused from the next request on.
- Groups and the values of the roles claim are those of the sign-in. What is bound to
  them is asked anew with each request, as is a token.
"""

import hashlib
import secrets
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, delete, or_, select, update
from sqlalchemy.exc import IntegrityError

from registry.domain.entries import Change
from registry.domain.people import Person
from registry.domain.rows import SessionRow, TokenRow
from registry.domain.timestamps import rfc3339
from registry.errors import NoCredentialError, NotSignedInError
from registry.persistence import apply
from registry.persistence.statements import row_of, selected
from registry.persistence.tables import BrowserSession
from registry.services import audit
from registry.services.transaction import Transaction
from webhooks.statements import fetch, fetch_one, write

LONGEST = timedelta(hours=12)
IDLE = timedelta(hours=2)
SEEN_EVERY = timedelta(minutes=5)
REMOVED_AT_ONCE = 1_000
COOKIE_BYTES = 32
STARTED = "session.started"
ENDED = "session.ended"
ALL_ENDED = "session.all_ended"

_SESSIONS = select(*selected(SessionRow))
_BY_ID = _SESSIONS.where(BrowserSession.id == bindparam("of_id"))
_LOCK = _BY_ID.with_for_update()
_OF_PERSON = (
    _SESSIONS.where(
        BrowserSession.issuer == bindparam("of_issuer"),
        BrowserSession.ended_at.is_(None),
        or_(
            BrowserSession.sid == bindparam("of_sid"),
            BrowserSession.subject == bindparam("of_subject"),
        ),
    )
    .order_by(BrowserSession.id)
    .with_for_update()
)
_GO_ON = (
    BrowserSession.principal == bindparam("of_principal"),
    BrowserSession.ended_at.is_(None),
    BrowserSession.expires_at > bindparam("at"),
)
_THEIRS = (
    _SESSIONS.where(*_GO_ON, BrowserSession.last_seen_at > bindparam("seen_since"))
    .order_by(BrowserSession.created_at.desc(), BrowserSession.id)
    .limit(bindparam("most"))
)
_LOCK_ALL = (
    select(BrowserSession.id)
    .where(*_GO_ON)
    .order_by(BrowserSession.id)
    .with_for_update()
)
_END_ALL = update(BrowserSession).where(*_GO_ON).values(ended_at=bindparam("at"))
_SEEN = (
    update(BrowserSession)
    .where(BrowserSession.id == bindparam("of_id"))
    .values(last_seen_at=bindparam("at"))
)
_OLD = (
    select(BrowserSession.id)
    .where(BrowserSession.expires_at < bindparam("before"))
    .order_by(BrowserSession.expires_at)
    .limit(REMOVED_AT_ONCE)
)
_REMOVE = delete(BrowserSession).where(
    BrowserSession.id.in_(bindparam("ids", expanding=True))
)


def start_for_person(
    tx: Transaction, person: Person, *, sid: str, brought: str
) -> tuple[SessionRow, str]:
    """Sign a browser in; returns its session and, this once, its cookie.

    Args:
        tx: the caller is the person.
        person: who signed in.
        sid: the identity provider's own name for the session, or nothing.
        brought: the cookie that the browser had, or nothing.
    """
    row = SessionRow(
        id="",
        principal=person.principal,
        name=person.name,
        issuer=person.issuer,
        subject=person.subject,
        sid=sid,
        groups=list(person.groups),
        roles=list(person.roles),
        created_at=tx.now,
        expires_at=tx.now + LONGEST,
        last_seen_at=tx.now,
    )
    return _start(tx, row, brought)


def start_for_token(
    tx: Transaction, token: TokenRow, *, brought: str, cookie: str = ""
) -> tuple[SessionRow, str]:
    """Sign a browser in by a token, for as long as that is valid.

    Args:
        tx: the caller is who has the token.
        token: it is valid.
        brought: the cookie that the browser had, or nothing.
        cookie: what its cookie is to be, which nobody but the server has seen.

    Raises:
        NotSignedInError: that cookie has been given to a browser already.
    """
    latest = tx.now + LONGEST
    row = SessionRow(
        id="",
        principal=token.id,
        name=token.name,
        token_id=token.id,
        groups=[],
        roles=[],
        created_at=tx.now,
        expires_at=min(latest, token.expires_at or latest),
        last_seen_at=tx.now,
    )
    return _start(tx, row, brought, cookie)


def _start(
    tx: Transaction, row: SessionRow, brought: str, cookie: str = ""
) -> tuple[SessionRow, str]:
    end(tx, brought)
    cookie = cookie or secrets.token_urlsafe(COOKIE_BYTES)
    row = replace(row, id=_digest(cookie))
    try:
        apply.add(tx.cx, row)
    except IntegrityError as error:
        raise NotSignedInError("this link has been used already") from error
    audit.log(tx, Change(action=STARTED, after=_told(row)))
    return row, cookie


def find(cx: Connection, cookie: str, *, now: datetime) -> SessionRow:
    """Return the session of a cookie.

    Raises:
        NotSignedInError: there is none.
        NoCredentialError: it is over, which is nobody's attempt to get in.
    """
    row = fetch_one(cx, _BY_ID, {"of_id": _digest(cookie)})
    if row is None:
        raise NotSignedInError("this session is unknown; sign in again")
    session = row_of(SessionRow, row)
    if session.ended_at is not None:
        raise NoCredentialError("this session has been ended; sign in again")
    if now >= min(session.expires_at, session.last_seen_at + IDLE):
        raise NoCredentialError("this session has expired; sign in again")
    return session


def end(tx: Transaction, cookie: str) -> SessionRow | None:
    """End the session of a cookie; None where it has none that goes on."""
    row = tx.cx.execute(_LOCK, {"of_id": _digest(cookie)}).one_or_none()
    if row is None:
        return None
    session = row_of(SessionRow, row)
    if session.ended_at is not None:
        return None
    _end(tx, session)
    return session


def end_at_provider(tx: Transaction, *, issuer: str, sid: str, subject: str) -> int:
    """End what the identity provider ended; returns how many sessions that were.

    Args:
        tx: the transaction.
        issuer: of whoever signed out.
        sid: the provider's session, if it named one; it alone is ended then.
        subject: whose sessions else are ended, all of them.
    """
    # What is not named is compared with what no session has.
    named = {"of_sid": sid or None, "of_subject": None if sid else subject or None}
    rows = tx.cx.execute(_OF_PERSON, {"of_issuer": issuer, **named}).all()
    for row in rows:
        _end(tx, row_of(SessionRow, row))
    return len(rows)


def end_all(tx: Transaction, principal: str) -> int:
    """End every session of somebody; returns how many those were."""
    values = {"of_principal": principal, "at": tx.now}
    ids = tx.cx.scalars(_LOCK_ALL, values).all()
    if ids:
        tx.cx.execute(_END_ALL, values)
        told = {"principal": principal, "sessions": list(ids)}
        audit.log(tx, Change(action=ALL_ENDED, before=told))
    return len(ids)


def list_sessions(
    cx: Connection, principal: str, *, now: datetime, limit: int
) -> list[SessionRow]:
    """List the sessions of somebody that go on, the newest first."""
    values = {"of_principal": principal, "at": now, "seen_since": now - IDLE}
    rows = fetch(cx, _THEIRS, {**values, "most": limit})
    return [row_of(SessionRow, row) for row in rows]


def _end(tx: Transaction, session: SessionRow) -> None:
    apply.change(tx.cx, replace(session, ended_at=tx.now))
    audit.log(tx, Change(action=ENDED, before=_told(session)))


def is_worth_noting(session: SessionRow, now: datetime) -> bool:
    """Whether ``last_seen_at`` is old enough to be written again."""
    return now - session.last_seen_at > SEEN_EVERY


def note_seen(cx: Connection, session_id: str, at: datetime) -> None:
    """Write down that a session is in use; no change that anybody is told of."""
    write(cx, _SEEN, [{"of_id": session_id, "at": at}])


def remove_old(cx: Connection, *, now: datetime) -> bool:
    """Remove the first sessions that have expired; whether more may be left."""
    ids = cx.scalars(_OLD, {"before": now}).all()
    if ids:
        cx.execute(_REMOVE, {"ids": list(ids)})
    return len(ids) == REMOVED_AT_ONCE


def _told(session: SessionRow) -> dict[str, object]:
    """Return what the audit log says of a session."""
    return {
        "id": session.id,
        "principal": session.principal,
        "name": session.name,
        "token_id": session.token_id,
        "groups": list(session.groups),
        "roles": list(session.roles),
        "expires_at": rfc3339(session.expires_at),
    }


def _digest(cookie: str) -> str:
    return hashlib.sha256(cookie.encode("utf-8", "replace")).hexdigest()
