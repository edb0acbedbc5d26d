"""Trusted publishers: made, listed, deleted, and found for a job.

Rules:

- An issuer signs for one platform, and what a publisher asks of a job is one
  publisher's alone: which of them a job is, is never a matter of chance.
- Deleting a publisher revokes the tokens of its jobs in the same transaction.
- All of that, and each exchange, waits for the head of the system's audit chain: no
  token is made for a publisher that is being deleted.
"""

import uuid
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, bindparam, select

from registry import ways_to_sign_in
from registry.domain import names
from registry.domain.documents import PublisherDocument, publisher_document
from registry.domain.entries import Change
from registry.domain.publishers import (
    JobProvider,
    checked_members,
    place_of,
    usual_issuer,
)
from registry.domain.roles import Grant
from registry.domain.rows import PublisherRow
from registry.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    NotSignedInError,
)
from registry.persistence import apply
from registry.persistence.statements import row_of, selected
from registry.persistence.tables import TrustedPublisher
from registry.services import audit, tokens
from registry.services.transaction import Transaction
from webhooks.statements import fetch, fetch_one

CREATED = "publisher.created"
DELETED = "publisher.deleted"

_PUBLISHERS = select(*selected(PublisherRow))
_BY_ID = _PUBLISHERS.where(TrustedPublisher.id == bindparam("of_id"))
_BY_NAME = _PUBLISHERS.where(TrustedPublisher.name == bindparam("of_name"))
_OF_ISSUER = _PUBLISHERS.where(TrustedPublisher.issuer == bindparam("of_issuer"))
_OF_ONE_ISSUER = _OF_ISSUER.limit(1)
_OF_PLACE = _OF_ISSUER.where(TrustedPublisher.place == bindparam("of_place"))
_PAGE = (
    _PUBLISHERS.where(TrustedPublisher.id > bindparam("after"))
    .order_by(TrustedPublisher.id)
    .limit(bindparam("limit"))
)


def create(
    tx: Transaction,
    provider: JobProvider,
    name: str,
    grant: Grant,
    *,
    claims: Mapping[str, str],
    issuer: str = "",
) -> PublisherDocument:
    """Trust jobs of that kind with a role; return the publisher.

    Args:
        tx: the transaction.
        provider: the platform.
        name: for people to read, in the log too.
        grant: what the jobs may do, one of ``ROLES``.
        claims: what is asked of them.
        issuer: who signs for the platform, where that is not the public one.

    Raises:
        InvalidInputError: naming the field at fault.
        ConflictError: a publisher has this name, or asks the same of its jobs.
    """
    said = checked_members(provider, claims)
    row = PublisherRow(
        id=uuid.uuid4().hex,
        provider=provider.value,
        name=names.model_name(name),
        issuer=_issuer(provider, issuer),
        place=place_of(provider, said),
        claims=said,
        role=grant.role.value,
        models=grant.models,
        created_at=tx.now,
        created_by=tx.caller.actor.name,
    )
    audit.lock(tx)
    _refuse_a_second(tx.cx, row)
    apply.add(tx.cx, row)
    document = publisher_document(row)
    audit.log(tx, Change(action=CREATED, after=document))
    return document


def _issuer(provider: JobProvider, text: str) -> str:
    try:
        return ways_to_sign_in.issuer(text or usual_issuer(provider))
    except ValueError as error:
        raise InvalidInputError(str(error), field="issuer") from error


def _refuse_a_second(cx: Connection, new: PublisherRow) -> None:
    if fetch_one(cx, _BY_NAME, {"of_name": new.name}):
        raise ConflictError(f"there is a trusted publisher {new.name!r}")
    other = provider_of(cx, new.issuer)
    if other not in {None, new.provider}:
        raise ConflictError(f"this issuer signs for {other}, by another publisher")
    for each in candidates(cx, new.issuer, new.place):
        if each.claims == new.claims:
            raise ConflictError(f"{each.name!r} asks the same of its jobs")


def delete(tx: Transaction, publisher_id: str) -> None:
    """Trust it no more: neither its jobs, nor the tokens that they have.

    Raises:
        NotFoundError: when there is none.
    """
    audit.lock(tx)
    row = find(tx.cx, publisher_id)
    apply.remove(tx.cx, row)
    tokens.revoke_of_publisher(tx, row.id)
    audit.log(tx, Change(action=DELETED, before=publisher_document(row)))


def find(cx: Connection, publisher_id: str) -> PublisherRow:
    """Return a publisher.

    Raises:
        NotFoundError: when there is none.
    """
    found = fetch_one(cx, _BY_ID, {"of_id": publisher_id})
    if found is None:
        raise NotFoundError(f"there is no trusted publisher {publisher_id!r}")
    return row_of(PublisherRow, found)


def trusted_provider(cx: Connection, issuer: str) -> JobProvider:
    """Return what an issuer signs for.

    Raises:
        NotSignedInError: no publisher has it.
    """
    provider = provider_of(cx, issuer)
    if provider is None:
        raise NotSignedInError("the JWT is of no trusted publisher's issuer")
    return provider


def provider_of(cx: Connection, issuer: str) -> JobProvider | None:
    """Return what an issuer signs for; None where no publisher has it."""
    found = fetch_one(cx, _OF_ONE_ISSUER, {"of_issuer": issuer})
    return JobProvider(row_of(PublisherRow, found).provider) if found else None


def candidates(cx: Connection, issuer: str, place: str) -> Sequence[PublisherRow]:
    """Return the publishers whose jobs are there."""
    found = fetch(cx, _OF_PLACE, {"of_issuer": issuer, "of_place": place})
    return [row_of(PublisherRow, row) for row in found]


def list_publishers(
    cx: Connection, *, after: str | None, limit: int
) -> Sequence[PublisherRow]:
    """List publishers by id."""
    found = fetch(cx, _PAGE, {"after": after or "", "limit": limit})
    return [row_of(PublisherRow, row) for row in found]
