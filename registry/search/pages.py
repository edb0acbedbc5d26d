"""Pages of a search: which rows, and then what is shown of them.

Rules:

- A page is found by ids alone, with where each stands in the order; what is shown is
  read by those ids. So the cost of a document is paid for those shown, however many
  are looked at, and only the first statement is made for the search.
- A page begins behind the last row of the page before: the hundredth costs what
  the first does.
- Models that may not be read are left out where the page is found, so it is full.
- Documents are read in portions, so that who has enough of large ones stops.
- What was deleted since the page was found is not shown, and counts.
- The indexes are those of migration 0005.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, TypeVar

from sqlalchemy import (
    JSON,
    Connection,
    Select,
    TableValuedAlias,
    Text,
    bindparam,
    cast,
    func,
    select,
)

from registry.persistence.latest import (
    ModelAndLatest,
    ShownVersion,
    columns_of,
    select_shown,
    shown_model,
)
from registry.persistence.readable import Readable, is_readable, readable_values
from registry.persistence.statements import MODELS, VERSIONS
from registry.search.conditions import (
    OF_MODELS,
    OF_VERSIONS,
    Conditions,
    PageRequest,
    Position,
    Target,
)
from registry.search.language import Search
from registry.search.text_matching import SQLITE
from webhooks.statements import fetch

Shown = TypeVar("Shown")

#: Each is one more join for PostgreSQL to place: with a hundred, its planner takes
#: twenty seconds.
_MAX_LEADS = 4
#: How many documents are read at once; each may have a megabyte. A page of a hundred,
#: and the one behind it, are two portions.
PORTION = 51


#: Where a row stands in the order, and what is shown of it, if it is still there.
Result = tuple[Position, Shown | None]
ModelResult = Result[ModelAndLatest]
VersionResult = Result[tuple[str, ShownVersion]]


def find_models(
    cx: Connection,
    search: Search,
    *,
    after: Position | None,
    limit: int,
    stages: Sequence[str],
    readable: Readable = (),
) -> Iterator[ModelResult]:
    """Find models, each with its latest version of each of ``stages``."""
    statement = _models(cx.dialect.name, tuple(stages))
    request = PageRequest(search, after, readable)
    rows = _page(cx, OF_MODELS, request, statement, limit=limit)
    for position, (_, *row) in rows:
        if row[0] is None:
            yield position, None
            continue
        yield position, shown_model(row)


def find_versions(
    cx: Connection,
    search: Search,
    *,
    after: Position | None,
    limit: int,
    readable: Readable = (),
) -> Iterator[VersionResult]:
    """Find versions, each with the name of its model."""
    statement = _versions(cx.dialect.name)
    request = PageRequest(search, after, readable)
    rows = _page(cx, OF_VERSIONS, request, statement, limit=limit)
    for position, (_, name, *row) in rows:
        yield position, None if name is None else (name, ShownVersion._make(row))


def find_model_ids(
    cx: Connection,
    search: Search,
    *,
    after: Position | None,
    limit: int,
    readable: Readable = (),
) -> list[tuple[str, Position]]:
    """Find models by their ids, for who shows something else of them."""
    request = PageRequest(search, after, readable)
    places = _places(cx, OF_MODELS, request, limit=limit)
    return [(id_, position) for id_, *position in places]


def _page(
    cx: Connection,
    target: Target,
    request: PageRequest,
    statement: Select[Any],
    *,
    limit: int,
) -> Iterator[tuple[Position, Sequence[Any]]]:
    """Read the rows of a page, each with its position."""
    places = _places(cx, target, request, limit=limit)
    for start in range(0, len(places), PORTION):
        portion = places[start : start + PORTION]
        rows = fetch(
            cx, statement, {"ids": json.dumps([place[0] for place in portion])}
        )
        for (_, *position), row in zip(portion, rows, strict=True):
            yield position, row


def _places(
    cx: Connection, target: Target, request: PageRequest, *, limit: int
) -> Sequence[Sequence[Any]]:
    """Find the id of each row of a page, and its position."""
    find = _find if request.is_simple else _find.__wrapped__
    query, binds = find(_Form(target, cx.dialect.name, request.form, request))
    values = {"most": limit} | {name: read(request) for name, read in binds.items()}
    if request.readable:
        values |= readable_values(request.readable)
    if request.is_simple:
        return fetch(cx, query, values)
    options = {"compiled_cache": None}  # held nowhere
    return cx.execute(query, values, execution_options=options).all()


@dataclass(frozen=True)
class _Form:
    """What the requests that one statement serves have in common, and one of them."""

    target: Target
    dialect: str
    form: object
    example: PageRequest = field(compare=False)


@lru_cache(maxsize=128)
def _find(
    form: _Form,
) -> tuple[Select[Any], Mapping[str, Callable[[PageRequest], Any]]]:
    """Select the ids in the order of the search, and the columns of that order."""
    conditions, request = Conditions(form.target, form.dialect), form.example
    ordering = request.search.ordering
    query = select(form.target.id, *conditions.columns(ordering)).where(
        MODELS.c.deleted_at.is_(None),
        *conditions.all_hold(request, leading=_MAX_LEADS),
    )
    if form.target is OF_VERSIONS:
        query = query.join(MODELS, VERSIONS.c.model_id == MODELS.c.id).where(
            VERSIONS.c.deleted_at.is_(None)
        )
    if request.readable:
        query = query.where(is_readable(MODELS.c.name))
    if request.search.hides_prompts:
        query = query.where(conditions.is_no_prompt())
    if request.after is not None:
        query = query.where(conditions.behind(ordering))
    query = query.order_by(*conditions.order(ordering)).limit(bindparam("most"))
    return query, conditions.binds


@cache
def _models(dialect: str, stages: tuple[str, ...]) -> Select[Any]:
    page = _ids(dialect)
    source = page.outerjoin(MODELS, _is_live(MODELS) & (MODELS.c.id == page.c.value))
    query = select_shown(source, stages, dialect, page.c.key)
    return query.order_by(page.c.key)


@cache
def _versions(dialect: str) -> Select[Any]:
    page, version = _ids(dialect), VERSIONS.alias()
    return (
        select(page.c.key, MODELS.c.name, *columns_of(version))
        .select_from(page)
        .outerjoin(version, _is_live(version) & (version.c.id == page.c.value))
        .outerjoin(MODELS, _is_live(MODELS) & (MODELS.c.id == version.c.model_id))
        .order_by(page.c.key)
    )


def _ids(dialect: str) -> TableValuedAlias:
    """Return the ids of a page, a JSON array: ``value``, in the order of ``key``."""
    ids = bindparam("ids", type_=Text)
    if dialect == SQLITE:
        return func.json_each(ids).table_valued("key", "value")
    elements = func.json_array_elements_text(cast(ids, JSON))
    return elements.table_valued("value", with_ordinality="key").render_derived()


def _is_live(table: Any) -> Any:  # noqa: ANN401  # either table, or an alias of it
    return table.c.deleted_at.is_(None)
