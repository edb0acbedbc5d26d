"""The audit log: entries of what belongs to no model, and all of it read again.

Rules:

- An entry that cannot be written fails the change.
- Each model has its chain, whose head stands in the model's row (``services.commands``
  appends to it); tokens and webhooks share the chain ``system``, whose row is locked.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

from sqlalchemy import (
    Row,
    String,
    Table,
    bindparam,
    exists,
    func,
    literal,
    select,
    tuple_,
)
from sqlalchemy.orm import Session

from registry.domain import audit_chain, audit_export, audit_privacy
from registry.domain.audit_chain import (
    Chain,
    Head,
    SealedEntry,
    VerificationReport,
)
from registry.domain.entries import Change, appended
from registry.persistence.apply import append
from registry.persistence.tables import AuditChain, AuditEntry, RegisteredModel, Token
from registry.services.transaction import Transaction

SYSTEM_CHAIN = audit_chain.SYSTEM_CHAIN
_PORTION_ROWS = 25
_HEADS = cast("Table", AuditChain.__table__)
_OF_CHAIN = _HEADS.c.chain == bindparam("of_chain")
_LOCK_HEAD = select(_HEADS).where(_OF_CHAIN).with_for_update()


def log(tx: Transaction, change: Change) -> None:
    """Append one entry to the chain ``system``."""
    of_chain = {"of_chain": SYSTEM_CHAIN}
    row = tx.cx.execute(_LOCK_HEAD, of_chain).one_or_none()
    head = None if row is None else Head(chain=row.chain, n=row.n, hash=row.hash)
    entry = appended(SYSTEM_CHAIN, head, change, caller=tx.caller, at=tx.now)
    new = {"n": entry.n, "hash": entry.hash}
    if head is None:
        tx.cx.execute(_HEADS.insert(), {"chain": SYSTEM_CHAIN, **new})
    else:
        tx.cx.execute(_HEADS.update().where(_OF_CHAIN), {**of_chain, **new})
    append(tx.cx, entry)


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


def sealed_entry(row: Row[Any]) -> SealedEntry:
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
    of_model = names.c.chain == literal("model:", String) + RegisteredModel.id
    query = (
        select(
            names.c.chain,
            func.coalesce(RegisteredModel.chain_n, AuditChain.n),
            func.coalesce(RegisteredModel.chain_hash, AuditChain.hash),
            exists(Token.id),
        )
        .outerjoin(AuditChain, AuditChain.chain == names.c.chain)
        .outerjoin(RegisteredModel, of_model)
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
