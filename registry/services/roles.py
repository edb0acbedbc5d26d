"""Role bindings: which people and groups have which role, for which models.

Rules:

- A person is known by issuer and subject, as ``issuer#subject``, never by an address of
  mail; a group by its name, as the identity provider says it.
- What is bound is read with every request that needs it: nothing is cached.
- To grant what is granted already changes nothing.
"""

import uuid
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum, auto
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, and_, bindparam, or_, select

from registry.domain.documents import RoleBindingDocument, role_binding_document
from registry.domain.entries import Change
from registry.domain.names import filled_text
from registry.domain.roles import Action, Grant, Role
from registry.domain.rows import RoleBindingRow
from registry.errors import InvalidInputError, NotFoundError
from registry.persistence import apply
from registry.persistence.statements import row_of, selected
from registry.persistence.tables import RoleBinding
from registry.services import audit
from registry.services.transaction import Transaction
from webhooks.statements import fetch, is_among

#: PostgreSQL indexes 2.7 kB at most, and a pattern of models is beside it.
MAX_SUBJECT_CHARACTERS = 400
GRANTED = "role.granted"
REVOKED = "role.revoked"


class SubjectKind(StrEnum):
    """Who has a role."""

    USER = auto()
    GROUP = auto()


class Subject(NamedTuple):
    """A person, as ``issuer#subject``, or a group."""

    kind: SubjectKind
    name: str


_BINDINGS = select(*selected(RoleBindingRow))
_BY_ID = _BINDINGS.where(RoleBinding.id == bindparam("of_id"))
_SAME = _BINDINGS.where(
    *(
        getattr(RoleBinding, name) == bindparam(name)
        for name in ("subject_kind", "subject", "role", "models")
    )
)
_IN_ORDER = (RoleBinding.subject_kind, RoleBinding.subject, RoleBinding.id)
_ALL = _BINDINGS.order_by(*_IN_ORDER)
_OF_PATTERN = _ALL.where(RoleBinding.models == bindparam("models"))
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
    _remove(tx, row_of(RoleBindingRow, found))


def _remove(tx: Transaction, row: RoleBindingRow) -> None:
    apply.remove(tx.cx, row)
    audit.log(tx, Change(action=REVOKED, before=role_binding_document(row)))


def set_roles(
    tx: Transaction,
    model: str,
    wanted: Mapping[Subject, Role],
    *,
    among: Collection[Role],
    replaces: bool,
) -> None:
    """Give roles for one model, in place of those ``among`` that its name gives now.

    Those who are not wanted keep theirs, unless ``replaces``.

    Raises:
        InvalidInputError: for a model whose name is a pattern, too.
    """
    if not frozenset("*?[]").isdisjoint(model):
        raise InvalidInputError(
            f"{model!r} as a pattern means other models, too", field="models"
        )
    audit.lock(tx)
    for row in _read(tx.cx, _OF_PATTERN, {"models": model}):
        subject = Subject(SubjectKind(row.subject_kind), row.subject)
        stays = wanted.get(subject) == row.role or row.role not in among
        if not stays and (replaces or subject in wanted):
            _remove(tx, row)
    for (kind, name), role in wanted.items():
        grant(tx, kind, name, Grant(role, model))


def bindings_of(cx: Connection, model: str) -> list[RoleBindingRow]:
    """Return the bindings that are for a model, by its name or a pattern."""
    return [
        row
        for row in _read(cx, _ALL, {})
        if Grant(Role(row.role), row.models).allows(Action.READ, model)
    ]


def _read(
    cx: Connection, statement: Select[Any], values: Mapping[str, str]
) -> list[RoleBindingRow]:
    return [row_of(RoleBindingRow, row) for row in fetch(cx, statement, values)]


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
