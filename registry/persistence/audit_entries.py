"""Pages of the audit log, newest first: of everything, or of what is asked for.

Rules:

- Columns find entries; what they say is in the sealed texts. A column can be edited:
  entries of a model whose column says another are found by the text, too, and whoever
  asks for a model looks at the texts.
- Each way to ask has one statement, with an index that its page is read by. An instant
  is found by the index of instants, and the page by ids from there on: what clocks say
  of transactions that overlap, or were put back, differs by less than ``_SLACK``.
"""

import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Select,
    String,
    and_,
    bindparam,
    case,
    literal,
    select,
    union,
)

from registry.domain.timestamps import rfc3339
from registry.persistence.readable import Readable, is_readable, readable_values
from registry.persistence.statements import CHANGES, MODELS
from registry.persistence.tables import AuditEntry
from webhooks.statements import fetch, fetch_one, is_among, read_rows

_ABOVE_ALL = 2**63 - 1  #: no entry has that number
_SLACK = timedelta(hours=1)
_ENTRY = AuditEntry.__table__.c
_ENTRIES = select(*_ENTRY).order_by(_ENTRY.id.desc()).limit(bindparam("most"))
_BELOW = bindparam("below", type_=BigInteger)
#: In words that no index is found by: the page is read by ids.
_instant = _ENTRY.at.concat("")
_ID = AuditEntry.__table__.alias("nearest").c
_FIRST_ID = select(_ID.id).where(_ID.at >= bindparam("since_early")).order_by(_ID.at)
#: One bound from above, since SQLite looks for one: where the page begins, or the last
#: entry of the time that is asked for.
_END = (
    select(case((_ID.id >= _BELOW, _BELOW), else_=_ID.id + 1))
    .where(_ID.at <= bindparam("until_late"))
    .order_by(_ID.at.desc())
)
#: By what the model of the chain is called now; what is no model's is left out.
_IS_READABLE = _ENTRY.chain.in_(
    select(literal("model:", String) + MODELS.c.id).where(is_readable(MODELS.c.name))
)
_CONDITIONS: dict[str, ColumnElement[bool]] = {
    "readable": _IS_READABLE,
    "actor": _ENTRY.actor == bindparam("actor"),
    "action": _ENTRY.action == bindparam("action"),
    "chain": _ENTRY.chain == bindparam("chain"),
    "n": _ENTRY.n == bindparam("n"),
    "at": _ENTRY.at == bindparam("at"),
    "since": and_(
        _instant >= bindparam("since"),
        _ENTRY.id >= _FIRST_ID.limit(1).scalar_subquery(),
    ),
    "until": and_(
        _instant < bindparam("until"),
        _ENTRY.id < _END.limit(1).scalar_subquery(),
    ),
}
_CHANGE = (
    select(CHANGES.c.model_id, CHANGES.c.at)
    .where(CHANGES.c.transition_id == bindparam("id"))
    .limit(1)
)


def _page_that(
    order: ColumnElement[int], *conditions: ColumnElement[bool]
) -> Select[Any]:
    page = (
        select(_ENTRY.id)
        .where(*conditions)
        .order_by(order.desc())
        .limit(bindparam("most"))
    )
    return select(page.subquery().c.id)


def _hidden(*conditions: ColumnElement[bool]) -> Iterator[Select[Any]]:
    """Entries of the model's chain that name it in their text and not beside it.

    One query for each range of the index of chains and models, which has no step for
    what is not equal. They are few, if any, and sorted by themselves: by an index in
    this order all entries without a model would be walked.
    """
    chains = select((literal("model:", String) + MODELS.c.id).label("chain")).where(
        MODELS.c.name == bindparam("model")
    )
    is_of_its_chain = _ENTRY.chain.in_(select(chains.cte("chains").c.chain))
    names_it = _ENTRY.canonical.contains(bindparam("said", type_=String), escape="/")
    for is_other in (
        _ENTRY.model < bindparam("model"),
        _ENTRY.model > bindparam("model"),
        _ENTRY.model.is_(None),
    ):
        yield _page_that(
            _ENTRY.id + 0, is_of_its_chain, is_other, names_it, *conditions
        )


@cache
def _statement(asked: frozenset[str]) -> Select[Any]:
    """Return the statement of a way to ask, by what is asked for."""
    conditions = [_CONDITIONS[name] for name in sorted(asked - {"model"})]
    if "until" not in asked:
        conditions.append(_ENTRY.id < _BELOW)
    if "model" not in asked:
        return _ENTRIES.where(*conditions)
    of_model = _page_that(_ENTRY.id, _ENTRY.model == bindparam("model"), *conditions)
    return _ENTRIES.where(_ENTRY.id.in_(union(of_model, *_hidden(*conditions))))


def list_audit_entries(
    cx: Connection,
    *,
    limit: int,
    below: int | None = None,
    readable: Readable = (),
    since: datetime | None = None,
    until: datetime | None = None,
    **equal: str | int | None,
) -> Iterator[Row[Any]]:
    """Audit entries, newest first.

    Args:
        cx: what is read with.
        limit: how many.
        below: the id behind which they go on.
        readable: which models may be read: entries of their chains alone.
        since: not before it.
        until: before it.
        equal: ``model``, which may be what some are about, ``actor``, ``action``,
            ``chain``, ``n`` and ``at``; None for any.
    """
    asked = {name: value for name, value in equal.items() if value is not None}
    values = {**asked, **_instants(since, until)}
    names = {*asked, *(name for name in ("since", "until") if name in values)}
    model = asked.get("model")
    if model is not None:
        said = f'"model":{json.dumps(model, ensure_ascii=False)}'
        values["said"] = re.sub("[/%_]", r"/\g<0>", said)
    if readable:
        names.add("readable")
        values |= readable_values(readable)
    values |= {"below": below or _ABOVE_ALL, "most": limit}
    statement = _statement(frozenset(names))
    return read_rows(cx, statement, limit=limit, values=values)


def _instants(since: datetime | None, until: datetime | None) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if since is not None:
        early = max(since, datetime.min.replace(tzinfo=since.tzinfo) + _SLACK) - _SLACK
        values |= {"since": rfc3339(since), "since_early": rfc3339(early)}
    if until is not None:
        late = min(until, datetime.max.replace(tzinfo=until.tzinfo) - _SLACK) + _SLACK
        values |= {"until": rfc3339(until), "until_late": rfc3339(late)}
    return values


def place_of_transition(cx: Connection, transition_id: str) -> dict[str, str] | None:
    """The chain and instant of the entries of a stage change, as ``equal`` has them."""
    found = fetch_one(cx, _CHANGE, {"id": transition_id})
    return found and {"chain": f"model:{found[0]}", "at": rfc3339(found[1])}


def models_of_chains(cx: Connection, chains: Iterable[str]) -> dict[str, str]:
    """The present name of the model that a chain is of, by the chain."""
    ids = [chain.removeprefix("model:") for chain in chains]
    rows = fetch(cx, _names(cx.dialect.name), {"ids": ids})
    return {f"model:{model_id}": name for model_id, name in rows}


@cache
def _names(database: str) -> Select[str, str]:
    is_meant = is_among(MODELS.c.id, "ids", database)
    return select(MODELS.c.id, MODELS.c.name).where(is_meant)
