"""The audit log: one entry for each change, in the change's own transaction.

Rules (security reference, section 1):

- An entry that cannot be written fails the change.
- Each model has its chain; tokens and webhooks share the chain ``system``.
- The caller holds the model row's lock; the chain's row is locked besides, so
  that the system chain has one writer at a time too.
- Credentials never enter an entry, only their ids.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row, String, exists, literal, select, tuple_
from sqlalchemy.orm import Session

from registry.domain import audit_chain
from registry.domain.actors import Caller
from registry.domain.audit_chain import Head, SealedEntry, VerificationReport
from registry.domain.timestamps import rfc3339
from registry.persistence.tables import AuditChain, AuditEntry, RegisteredModel
from registry.services.transaction import Transaction

SYSTEM_CHAIN = "system"
_ENTRY_VERSION = 1
_PORTION_ROWS = 100


@dataclass(frozen=True, kw_only=True)
class Change:
    """What an entry says of a change, beside who made it and when."""

    action: str
    model: str | None = None
    version: int | None = None
    before: Mapping[str, object] | None = None
    after: Mapping[str, object] | None = None
    reason: str = ""
    details: Mapping[str, object] = field(default_factory=dict)


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
    sealed = audit_chain.seal(chain, head, _text(tx.caller, change, at))
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
        "source_ip": caller.source_ip,
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
    return audit_chain.verify_chains(
        (list(entries), head) for entries, head in _chains(session, chain)
    )


def export(session: Session) -> Iterator[str]:
    """The whole log as the JSON lines that ``verify_export`` takes."""
    return audit_chain.export_lines(_chains(session, None))


def _chains(
    session: Session, chain: str | None
) -> Iterator[tuple[Iterator[SealedEntry], Head | None]]:
    """Chain after chain with its head; a chain may have entries and no head.

    Every model has a chain of one entry at least: one that has lost all of it, head
    and entries, is answered with the head it must have had, so that it is missed.
    """
    names = (
        select(AuditEntry.chain)
        .union(
            select(AuditChain.chain),
            select(literal("model:", String) + RegisteredModel.id),
        )
        .subquery()
    )
    has_entries = exists().where(AuditEntry.chain == names.c.chain)
    query = (
        select(names.c.chain, AuditChain.n, AuditChain.hash, has_entries)
        .outerjoin(AuditChain, AuditChain.chain == names.c.chain)
        .order_by(names.c.chain)
    )
    if chain is not None:
        query = query.where(names.c.chain == chain)
    for name, n, head_hash, is_there in session.execute(query).all():
        head = Head(chain=name, n=n, hash=head_hash) if n is not None else None
        if head is None and not is_there:
            head = Head(chain=name, n=1, hash=audit_chain.GENESIS_HASH)
        yield _entries(session, name), head


def _entries(session: Session, chain: str) -> Iterator[SealedEntry]:
    """A chain, read in portions: no statement is open while somebody takes his time."""
    query = (
        select(
            AuditEntry.id,
            AuditEntry.n,
            AuditEntry.prev_hash,
            AuditEntry.hash,
            AuditEntry.canonical,
            AuditEntry.at,
            AuditEntry.action,
            AuditEntry.model,
            AuditEntry.version,
            AuditEntry.actor,
        )
        .where(AuditEntry.chain == chain)
        .order_by(AuditEntry.n, AuditEntry.id)
        .limit(_PORTION_ROWS)
    )
    rows = session.execute(query).all()
    while rows:
        yield from (_sealed(chain, row) for row in rows)
        last = rows[-1]
        behind = tuple_(AuditEntry.n, AuditEntry.id) > (last.n, last.id)
        rows = session.execute(query.where(behind)).all()


def _sealed(chain: str, row: Row[*tuple[Any, ...]]) -> SealedEntry:
    return SealedEntry(
        chain=chain,
        n=row.n,
        prev_hash=row.prev_hash,
        hash=row.hash,
        canonical=row.canonical,
        columns={
            "at": row.at,
            "action": row.action,
            "model": row.model,
            "version": row.version,
            "actor.name": row.actor,
        },
    )
