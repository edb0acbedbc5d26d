"""What is read of transition requests and checks; each is one statement."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import compress, product
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, select

from registry.domain.commands.requests import no_request
from registry.domain.requests import RequestState, There, standing
from registry.domain.rows import ApprovalRow, CheckRow, RequestRow
from registry.errors import VersionNotFoundError
from registry.persistence.readable import Readable, is_readable, readable_values
from registry.persistence.statements import (
    APPROVALS,
    CHECKS,
    MODELS,
    REQUESTS,
    VERSIONS,
    row_of,
    selected,
    version_entered,
)
from webhooks.statements import fetch, fetch_one, is_among, read_rows
from webhooks.tables import state_in

_BEHIND_ALL = "req_g"  #: ids go on with hexadecimal digits


@dataclass(frozen=True, slots=True)
class FoundRequest:
    """A transition request, with what its version is now.

    Attributes:
        model: the model's present name.
        there: what the version is; None if it was deleted.
    """

    row: RequestRow
    model: str
    there: There | None

    def state(self, policy_digest: str, now: datetime) -> RequestState:
        """Return how it stands."""
        return standing(self.row, self.there, policy_digest, now)


_SHOWN = select(
    *selected(RequestRow),
    MODELS.c.name.label("model"),
    VERSIONS.c.artifact_digest.label("digest"),
    VERSIONS.c.stage,
    version_entered(),
    VERSIONS.c.deleted_at,
)
_FOUND = (
    _SHOWN.select_from(REQUESTS)
    .join(MODELS, MODELS.c.id == REQUESTS.c.model_id)
    .join(VERSIONS, VERSIONS.c.id == REQUESTS.c.version_id)
)
_BY_ID = _FOUND.where(REQUESTS.c.id == bindparam("id"), MODELS.c.deleted_at.is_(None))
_IS_OPEN = state_in(REQUESTS.c.state, RequestState.OPEN)
_OF_MODEL = MODELS.c.name == bindparam("model")


def _page(*conditions: Any) -> Select[Any]:  # noqa: ANN401  # SQLAlchemy's
    return (
        _FOUND.where(
            REQUESTS.c.id < bindparam("before"),
            MODELS.c.deleted_at.is_(None),
            *conditions,
        )
        .order_by(REQUESTS.c.id.desc())
        .limit(bindparam("most"))
    )


#: Open ones that nobody closes are left behind: only these can stand.
_MAY_STAND = and_(
    REQUESTS.c.policy_digest == bindparam("policy"),
    REQUESTS.c.expires_at > bindparam("now"),
)
_CHOICES = (_OF_MODEL, _IS_OPEN, _MAY_STAND, is_readable(MODELS.c.name))
#: By whether they are a model's, are open, may stand, and only some may be read.
_PAGES = {
    chosen: _page(*compress(_CHOICES, chosen))
    for chosen in product((False, True), repeat=len(_CHOICES))
}
_OF_VERSION = (
    and_(MODELS.c.name == bindparam("name"), MODELS.c.deleted_at.is_(None)),
    and_(VERSIONS.c.number == bindparam("number"), VERSIONS.c.deleted_at.is_(None)),
)
_OPEN = (
    _SHOWN.select_from(VERSIONS)
    .join(MODELS, MODELS.c.id == VERSIONS.c.model_id)
    .outerjoin(REQUESTS, and_(REQUESTS.c.version_id == VERSIONS.c.id, _IS_OPEN))
    .where(*_OF_VERSION)
    .order_by(REQUESTS.c.id)
)
APPROVALS_OF_REQUEST = (
    select(*selected(ApprovalRow))
    .where(APPROVALS.c.request_id == bindparam("id"))
    .order_by(APPROVALS.c.at)
)
_APPROVED_BY = {
    database: select(APPROVALS.c.request_id).where(
        APPROVALS.c.approver == bindparam("who"),
        is_among(APPROVALS.c.request_id, "ids", database),
    )
    for database in ("sqlite", "postgresql")
}
_CHECKS = (
    select(*selected(CheckRow))
    .select_from(VERSIONS)
    .join(MODELS, MODELS.c.id == VERSIONS.c.model_id)
    .outerjoin(CHECKS, CHECKS.c.version_id == VERSIONS.c.id)
    .where(*_OF_VERSION)
    .order_by(CHECKS.c.name)
)


def get_request(cx: Connection, request_id: str) -> FoundRequest:
    """The transition request of that id.

    Raises:
        NotFoundError: when there is none.
    """
    found = fetch_one(cx, _BY_ID, {"id": request_id})
    if found is None:
        raise no_request(request_id)
    return _found(found)


def model_of_request(cx: Connection, request_id: str) -> str | None:
    """The name of the model that a request is for, if there is one."""
    found = fetch_one(cx, _BY_ID, {"id": request_id})
    return None if found is None else _found(found).model


def list_requests(
    cx: Connection,
    *,
    model: str | None,
    is_open: bool,
    before: str | None,
    limit: int,
    readable: Readable = (),
    stand: tuple[str, datetime] | None = None,
) -> Iterator[FoundRequest]:
    """Transition requests, newest first; those left open, or all.

    Where ``readable`` says which models may be read, those of them alone. Where
    ``stand`` says the digest of the policy and an instant, those that may stand then.
    """
    values: dict[str, Any] = {"before": before or _BEHIND_ALL, "most": limit}
    if model is not None:
        values["model"] = model
    if readable:
        values |= readable_values(readable)
    if stand:
        values["policy"], values["now"] = stand
    statement = _PAGES[model is not None, is_open, stand is not None, bool(readable)]
    return map(_found, read_rows(cx, statement, limit=limit, values=values))


def open_requests(cx: Connection, name: str, number: int) -> list[FoundRequest]:
    """The requests for a version that nobody closed, at most one for each stage.

    Raises:
        VersionNotFoundError: when there is no such version.
    """
    rows = fetch(cx, _OPEN, {"name": name, "number": number})
    if not rows:
        raise VersionNotFoundError(name, number)
    return [_found(row) for row in rows if row[0] is not None]


def list_approvals(cx: Connection, request_id: str) -> list[ApprovalRow]:
    """The approvals of a request, in their order."""
    rows = fetch(cx, APPROVALS_OF_REQUEST, {"id": request_id})
    return [row_of(ApprovalRow, row) for row in rows]


def approved_by(cx: Connection, principal: str, ids: Sequence[str]) -> set[str]:
    """Which of these requests somebody has approved, whether or not it counts."""
    statement = _APPROVED_BY[cx.dialect.name]
    return {id_ for (id_,) in fetch(cx, statement, {"who": principal, "ids": ids})}


def list_checks(cx: Connection, name: str, number: int) -> list[CheckRow]:
    """The checks of a version, by name.

    Raises:
        VersionNotFoundError: when there is no such version.
    """
    rows = fetch(cx, _CHECKS, {"name": name, "number": number})
    if not rows:
        raise VersionNotFoundError(name, number)
    return [row_of(CheckRow, row) for row in rows if row[0] is not None]


def _found(found: Sequence[Any]) -> FoundRequest:
    *columns, model, digest, stage, entered, deleted_at = found
    there = None if deleted_at else (digest, stage, entered or 0)
    return FoundRequest(row_of(RequestRow, columns), model, there)
