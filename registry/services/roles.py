"""Role bindings: which people and groups have which role, for which models.

Rules:

- A person is known by issuer and subject, as ``issuer#subject``, never by an address of
  mail; a group by its name, as the identity provider says it.
- What is bound is read with every request that needs it: nothing is cached.
- To grant what is granted already changes nothing.
"""

import uuid
from collections.abc import Sequence
from enum import StrEnum, auto
from functools import cache

from sqlalchemy import Connection, Select, and_, bindparam, or_, select

from registry.domain.documents import RoleBindingDocument, role_binding_document
from registry.domain.entries import Change
from registry.domain.names import filled_text
from registry.domain.roles import Grant, Role
from registry.domain.rows import RoleBindingRow
from registry.errors import NotFoundError
from registry.persistence import apply
from registry.persistence.statements import row_of, selected
from registry.persistence.tables import RoleBinding
from registry.services import audit
from registry.services.transaction import Transaction
from webhooks.statements import fetch, is_among

MAX_SUBJECT_CHARACTERS = 1_000
GRANTED = "role.granted"
REVOKED = "role.revoked"


class SubjectKind(StrEnum):
    """Who has a role."""

    USER = auto()
    GROUP = auto()


_BINDINGS = select(*selected(RoleBindingRow))
_BY_ID = _BINDINGS.where(RoleBinding.id == bindparam("of_id"))
_SAME = _BINDINGS.where(
    *(
        getattr(RoleBinding, name) == bindparam(name)
        for name in ("subject_kind", "subject", "role", "models")
    )
)
_PAGE = (
    _BINDINGS.where(RoleBinding.id > bindparam("after"))
    .order_by(RoleBinding.id)
    .limit(bindparam("limit"))
)


def grant(
    tx: Transaction, kind: SubjectKind, subject: str, granted: Grant
) -> RoleBindingDocument:
    """Give a person or a group a role; return what says so.

    Raises:
        InvalidInputError: for a subject that is blank or too long.
    """
    audit.lock(tx)  # of two that grant the same, one finds what the other granted
    said = {
        "subject_kind": kind.value,
        "subject": filled_text(subject, field="subject", most=MAX_SUBJECT_CHARACTERS),
        "role": granted.role.value,
        "models": granted.models,
    }
    found = tx.cx.execute(_SAME, said).one_or_none()
    if found is not None:
        return role_binding_document(row_of(RoleBindingRow, found))
    row = RoleBindingRow(
        id=uuid.uuid4().hex,
        created_at=tx.now,
        created_by=tx.caller.actor.name,
        **said,
    )
    apply.add(tx.cx, row)
    document = role_binding_document(row)
    audit.log(tx, Change(action=GRANTED, after=document))
    return document


def revoke(tx: Transaction, binding_id: str) -> None:
    """Take a role away again.

    Raises:
        NotFoundError: when there is no such binding.
    """
    audit.lock(tx)
    found = tx.cx.execute(_BY_ID, {"of_id": binding_id}).one_or_none()
    if found is None:
        raise NotFoundError(f"there is no role binding {binding_id!r}")
    row = row_of(RoleBindingRow, found)
    apply.remove(tx.cx, row)
    audit.log(tx, Change(action=REVOKED, before=role_binding_document(row)))


def list_bindings(
    cx: Connection, *, after: str | None, limit: int
) -> Sequence[RoleBindingRow]:
    """List who has which role, by the bindings' ids."""
    found = cx.execute(_PAGE, {"after": after or "", "limit": limit})
    return [row_of(RoleBindingRow, row) for row in found]


def grants_of(
    cx: Connection, principal: str, groups: Sequence[str]
) -> tuple[Grant, ...]:
    """Return the roles of a person, by ``issuer#subject`` and the names of groups."""
    values = {"principal": principal, "groups": list(groups)}
    found = fetch(cx, _grants(cx.dialect.name), values)
    return tuple(Grant(Role(role), models) for role, models in found)


@cache
def _grants(database: str) -> Select[str, str]:
    kind, subject = RoleBinding.subject_kind, RoleBinding.__table__.c.subject
    is_theirs = or_(
        and_(kind == SubjectKind.USER.value, subject == bindparam("principal")),
        and_(kind == SubjectKind.GROUP.value, is_among(subject, "groups", database)),
    )
    return (
        select(RoleBinding.role, RoleBinding.models)
        .where(is_theirs)
        .distinct()
        .order_by(RoleBinding.role, RoleBinding.models)
    )
