"""The audit log: entries of what belongs to no model, and all of it read again.

Rules:

- An entry that cannot be written fails the change.
- Whoever verifies reads in portions: no statement is open while it takes its time.
- Each model has its chain, whose head stands in the model's row (``services.commands``
  appends to it); tokens, roles, publishers and webhooks share ``system``, whose row is
  locked.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain as chain_of
from typing import Any, cast

from sqlalchemy import (
    Column,
    Row,
    Select,
    String,
    Table,
    and_,
    bindparam,
    exists,
    func,
    literal,
    select,
)
from sqlalchemy.orm import Session

from registry.domain import audit_chain, audit_export, audit_privacy
from registry.domain.audit_chain import (
    Chain,
    Head,
    SealedEntry,
    VerificationReport,
)
from registry.domain.audit_state import Members, Subject, TableComparison
from registry.domain.documents import (
    publisher_document,
    role_binding_document,
    token_document,
)
from registry.domain.entries import Change, appended
from registry.domain.rows import PublisherRow, RoleBindingRow, TokenRow
from registry.domain.timestamps import rfc3339
from registry.persistence.apply import append
from registry.persistence.readable import Readable, is_readable, readable_values
from registry.persistence.statements import (
    ALIASES,
    CHANGES,
    MODELS,
    VERSIONS,
    row_of,
    selected,
    table_of,
)
from registry.persistence.tables import AuditChain, AuditEntry, RegisteredModel, Token
from registry.services.transaction import Transaction
from webhooks.statements import walk

SYSTEM_CHAIN = audit_chain.SYSTEM_CHAIN
_ENTRIES_AT_ONCE = 25
_ROWS_AT_ONCE = 1000
_HEADS = cast("Table", AuditChain.__table__)
_OF_CHAIN = _HEADS.c.chain == bindparam("of_chain")
_LOCK_HEAD = select(_HEADS).where(_OF_CHAIN).with_for_update()
_LOG = cast("Table", AuditEntry.__table__)
_ENTRIES = select(_LOG).where(_LOG.c.chain == bindparam("of_chain"))
_TOKENS = select(*selected(TokenRow))
_TOKEN_ID = table_of(TokenRow).c.id
_ROLES = select(*selected(RoleBindingRow))
_BINDING_ID = table_of(RoleBindingRow).c.id
_PUBLISHERS = select(*selected(PublisherRow))
_PUBLISHER_ID = table_of(PublisherRow).c.id


def _pointing(table: Table) -> Select[Any]:
    """Rows of one model, and which version each points at by its id."""
    is_meant = and_(
        VERSIONS.c.id == table.c.version_id, VERSIONS.c.model_id == table.c.model_id
    )
    query = select(table, VERSIONS.c.number.label("number_by_id"))
    query = query.outerjoin(VERSIONS, is_meant)
    return query.where(table.c.model_id == bindparam("of_model"))


_HISTORY = _pointing(CHANGES)
_MODEL = select(MODELS.c.id, MODELS.c.name).where(
    MODELS.c.id == bindparam("of_model"), MODELS.c.deleted_at.is_(None)
)
_VERSIONS = select(
    *(VERSIONS.c.number, VERSIONS.c.model_name, VERSIONS.c.stage, VERSIONS.c.status),
    *(VERSIONS.c[name] for name in ("artifact_state", "artifact_digest")),
    VERSIONS.c.artifact_size_bytes,
).where(VERSIONS.c.model_id == bindparam("of_model"), VERSIONS.c.deleted_at.is_(None))
#: What a kind of subject is read by, and which of them it is.
_OF_MODEL: Sequence[tuple[str, Select[Any], Column[Any]]] = (
    ("model", _MODEL, MODELS.c.id),
    ("version", _VERSIONS, VERSIONS.c.number),
    ("alias", _pointing(ALIASES), ALIASES.c.alias),
)


def lock(tx: Transaction) -> None:
    """Let nobody else change what belongs to no model, until the transaction ends."""
    tx.cx.execute(_LOCK_HEAD, {"of_chain": SYSTEM_CHAIN})


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
    """Verify every chain in the database, or one, and the tables by it.

    The session sees one instant (``database.begin_snapshot``), unless nobody writes.
    """
    return audit_chain.verify_chains(
        replace(report, comparison=_comparison(session, report.name))
        for report in _chains(session, chain)
    )


def export(
    session: Session, *, with_private: bool, readable: Readable = ()
) -> Iterator[str]:
    """Return the whole log as the JSON lines that ``verify_export`` takes.

    Without private parts it is as others than admins may see it; where ``readable``
    says which models may be read, it has their chains alone.
    """
    chains = _chains(session, None, readable)
    if not with_private:
        chains = (
            replace(chain, entries=map(audit_privacy.public, chain.entries))
            for chain in chains
        )
    return audit_export.export_lines(
        chains, with_private=with_private, is_partial=bool(readable)
    )


def sealed_entry(row: Row[Any]) -> SealedEntry:
    """Return a stored entry, with the columns that repeat its text."""
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


def _chains(
    session: Session, name: str | None, readable: Readable = ()
) -> Iterator[Chain]:
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
    of_model = and_(
        names.c.chain == literal("model:", String) + RegisteredModel.id,
        RegisteredModel.id == func.substr(names.c.chain, 7),  # found by the key
    )
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
    if readable:
        query = query.where(is_readable(RegisteredModel.__table__.c.name))
    values = readable_values(readable) if readable else {}
    for chain, n, head_hash, has_tokens in session.execute(query, values).all():
        yield Chain(
            name=chain,
            entries=_entries(session, chain),
            head=Head(chain=chain, n=n, hash=head_hash) if n is not None else None,
            may_be_empty=chain == SYSTEM_CHAIN and not has_tokens,
        )


def _entries(session: Session, chain: str) -> Iterator[SealedEntry]:
    keys = (_LOG.c.n, _LOG.c.id)
    rows = walk(session, _ENTRIES, *keys, limit=_ENTRIES_AT_ONCE, of_chain=chain)
    return map(sealed_entry, rows)


def _comparison(session: Session, chain: str) -> TableComparison:
    """With what the tables say of what the chain is of."""
    if chain == SYSTEM_CHAIN:
        rows = chain_of(_tokens(session), _bindings(session), _publishers(session))
        return TableComparison(chain, (), rows)
    model_id = chain.removeprefix("model:")
    return TableComparison(chain, _history(session, model_id), _rows(session, model_id))


def _tokens(session: Session) -> Iterator[tuple[Subject, Members]]:
    for row in walk(session, _TOKENS, _TOKEN_ID, limit=_ROWS_AT_ONCE):
        token = token_document(row_of(TokenRow, row))
        yield ("token", token["id"]), token


def _bindings(session: Session) -> Iterator[tuple[Subject, Members]]:
    for row in walk(session, _ROLES, _BINDING_ID, limit=_ROWS_AT_ONCE):
        binding = role_binding_document(row_of(RoleBindingRow, row))
        yield ("binding", binding["id"]), binding


def _publishers(session: Session) -> Iterator[tuple[Subject, Members]]:
    for row in walk(session, _PUBLISHERS, _PUBLISHER_ID, limit=_ROWS_AT_ONCE):
        publisher = publisher_document(row_of(PublisherRow, row))
        yield ("publisher", publisher["id"]), publisher


def _history(session: Session, model_id: str) -> Iterator[Members]:
    key, limit = CHANGES.c.sequence, _ROWS_AT_ONCE
    for row in walk(session, _HISTORY, key, limit=limit, of_model=model_id):
        line = {**row._asdict(), "at": rfc3339(row.at)}
        if line["verified"] is None:  # not known of old changes
            del line["verified"]
        yield line


def _rows(session: Session, model_id: str) -> Iterator[tuple[Subject, Members]]:
    """Yield the model, its versions and its aliases, unless they were deleted."""
    for kind, query, key in _OF_MODEL:
        rows = walk(session, query, key, limit=_ROWS_AT_ONCE, of_model=model_id)
        for row in rows:
            columns = row._asdict()
            yield (kind, columns[key.key]), columns
