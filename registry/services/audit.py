"""The audit log: one entry for each change, in the change's own transaction.

Rules:

- An entry that cannot be written fails the change.
- Each model has its chain; tokens and webhooks share the chain ``system``.
- The caller holds the model row's lock; the chain's row is locked besides, so
  that the system chain has one writer at a time too.
- Credentials never enter an entry, only their ids. What only admins may read enters
  its private part (``domain.audit_privacy``).
- A change's entry, its head and every head that is verified are read here alone.
"""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, String, exists, literal, select, tuple_
from sqlalchemy.orm import Session

from registry.domain import audit_chain, audit_export, audit_privacy
from registry.domain.actors import Caller
from registry.domain.audit_chain import (
    Chain,
    Head,
    SealedEntry,
    VerificationReport,
)
from registry.domain.timestamps import rfc3339
from registry.persistence.tables import AuditChain, AuditEntry, RegisteredModel, Token
from registry.services.transaction import Transaction

SYSTEM_CHAIN = audit_chain.SYSTEM_CHAIN
#: 1 had the source address in the text that everybody may read.
_ENTRY_VERSION = 2
_SALT_BYTES = 16
_PORTION_ROWS = 25


@dataclass(frozen=True, kw_only=True)
class Change:
    """What an entry says of a change, besides who made it and when.

    ``private`` is what it says to admins alone.
    """

    action: str
    model: str | None = None
    version: int | None = None
    before: Mapping[str, object] | None = None
    after: Mapping[str, object] | None = None
    reason: str = ""
    details: Mapping[str, object] = field(default_factory=dict)
    private: Mapping[str, object] = field(default_factory=dict)


def chain_of(model: RegisteredModel) -> str:
    """The name of a model's chain; it outlives renaming."""
    return f"model:{model.id}"


def record(
    tx: Transaction, change: Change, *, chain: str, at: datetime | None = None
) -> AuditEntry:
    """Append one entry to ``chain``; ``at`` is the change's instant, else now."""
    session, at = tx.session, at or tx.now
    row = session.scalar(
        select(AuditChain).where(AuditChain.chain == chain).with_for_update()
    )
    head = Head(chain=chain, n=row.n, hash=row.hash) if row else None
    sealed = audit_chain.seal(
        chain,
        head,
        _text(tx.caller, change, at),
        private={
            **change.private,
            audit_privacy.SOURCE_IP: tx.caller.source_ip,
            "salt": secrets.token_hex(_SALT_BYTES),
        },
    )
    if row is None:
        session.add(AuditChain(chain=chain, n=sealed.n, hash=sealed.hash))
    else:
        row.n, row.hash = sealed.n, sealed.hash
    entry = AuditEntry(
        chain=chain,
        n=sealed.n,
        at=rfc3339(at),
        action=change.action,
        actor=tx.caller.actor.name,
        model=change.model,
        version=change.version,
        prev_hash=sealed.prev_hash,
        hash=sealed.hash,
        canonical=sealed.canonical,
        private=sealed.private,
    )
    session.add(entry)
    session.flush()
    return entry


def _text(caller: Caller, change: Change, at: datetime) -> dict[str, object]:
    actor = caller.actor
    return {
        "v": _ENTRY_VERSION,
        "at": rfc3339(at),
        "action": change.action,
        "outcome": "done",
        "actor": {"kind": actor.kind, "name": actor.name, "role": actor.role.value},
        "token_id": actor.token_id,
        "request_id": caller.request_id,
        "user_agent": caller.user_agent,
        "idempotency_key_hash": caller.idempotency_key_hash,
        "model": change.model,
        "version": change.version,
        "before": dict(change.before) if change.before is not None else None,
        "after": dict(change.after) if change.after is not None else None,
        "reason": change.reason,
        **change.details,
    }


def verify_database(
    session: Session, *, chain: str | None = None
) -> VerificationReport:
    """Verify every chain in the database, or one."""
    return audit_chain.verify_chains(_chains(session, chain))


def export(session: Session, *, with_private: bool) -> Iterator[str]:
    """The whole log as the JSON lines that ``verify_export`` takes.

    Without private parts it is as others than admins may see it.
    """
    chains = _chains(session, None)
    if not with_private:
        chains = (
            replace(chain, entries=map(audit_privacy.public, chain.entries))
            for chain in chains
        )
    return audit_export.export_lines(chains, with_private=with_private)


def sealed_entry(row: AuditEntry | Row[Any]) -> SealedEntry:
    """A stored entry, with the columns that repeat its text."""
    return SealedEntry(
        chain=row.chain,
        n=row.n,
        prev_hash=row.prev_hash,
        hash=row.hash,
        canonical=row.canonical,
        private=row.private,
        columns={
            "at": row.at,
            "action": row.action,
            "model": row.model,
            "version": row.version,
            "actor.name": row.actor,
        },
    )


def _chains(session: Session, name: str | None) -> Iterator[Chain]:
    """Chain after chain as it was found, those too that should be there and are not.

    Every model has a chain, and so has the system as soon as there is a token.
    """
    names = (
        select(AuditEntry.chain)
        .union(
            select(AuditChain.chain),
            select(literal("model:", String) + RegisteredModel.id),
            select(literal(SYSTEM_CHAIN, String)),
        )
        .subquery()
    )
    query = (
        select(names.c.chain, AuditChain.n, AuditChain.hash, exists(Token.id))
        .outerjoin(AuditChain, AuditChain.chain == names.c.chain)
        .order_by(names.c.chain)
    )
    if name is not None:
        query = query.where(names.c.chain == name)
    for chain, n, head_hash, has_tokens in session.execute(query).all():
        yield Chain(
            name=chain,
            entries=_entries(session, chain),
            head=Head(chain=chain, n=n, hash=head_hash) if n is not None else None,
            may_be_empty=chain == SYSTEM_CHAIN and not has_tokens,
        )


def _entries(session: Session, chain: str) -> Iterator[SealedEntry]:
    """A chain, read in portions: no statement is open while somebody takes his time."""
    query = (
        select(*AuditEntry.__table__.columns)
        .where(AuditEntry.chain == chain)
        .order_by(AuditEntry.n, AuditEntry.id)
        .limit(_PORTION_ROWS)
    )
    rows = session.execute(query).all()
    while rows:
        yield from map(sealed_entry, rows)
        last = rows[-1]
        behind = tuple_(AuditEntry.n, AuditEntry.id) > (last.n, last.id)
        rows = session.execute(query.where(behind)).all()
