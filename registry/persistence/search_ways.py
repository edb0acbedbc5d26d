"""The ways to find a page: one on PostgreSQL, one of several on SQLite.

PostgreSQL's planner knows how often a value occurs. SQLite's does not, and each of
its two ways is slow at the wrong time: to look up all that has a tag and sort it,
or to walk in the order asked for until a page is full. So its statement holds one
way for each comparison that may be rare, and the walk. As it begins it counts, up to
``RARE``, what each comparison could lead to; a limit of nothing closes every way but
the first that is rare. What is looked at then is ``RARE`` rows at most, or those
walked until the page is full, a page's worth in each ``1/RARE`` of the registry.

What remains in proportion to the registry: a walk for what no comparison finds by
an index, as ``name LIKE '%rare%'``.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    Subquery,
    case,
    func,
    literal,
    select,
    union_all,
)

from registry.domain.search_filter import Attribute, Comparison, Operator, Search
from registry.persistence.search_conditions import VERSIONS, Conditions, Position
from registry.persistence.tables import ModelVersion, RegisteredModel
from registry.persistence.text_matching import SQLITE

_MODELS = RegisteredModel.__table__
_VERSIONS = ModelVersion.__table__
RARE = 1_000
#: Each makes SQLite's statement longer, and is one more join for PostgreSQL to place:
#: with a hundred, its planner takes twenty seconds.
_MAX_LEADS = 4
_OF_VERSIONS = frozenset({Attribute.RUN_ID, Attribute.SOURCE_PATH})
_EQUAL = frozenset({Operator.EQUAL, Operator.IN})


def page_of(
    conditions: Conditions, search: Search, *, after: Position | None, limit: int
) -> Subquery:
    """The ids of a page, in a column ``id``."""
    asked = list(dict.fromkeys(search.comparisons))
    if conditions.dialect != SQLITE:
        leads = asked[:_MAX_LEADS]
        return _way(conditions, search, after, leads).limit(limit).subquery("page")
    walk = _way(conditions, search, after, ())
    leads, rare = _leads(conditions, asked)
    if not leads:
        return walk.limit(limit).subquery("page")
    ways = [
        _way(conditions, search, after, [lead]).limit(
            case(
                *((earlier, literal(0)) for earlier in rare[:place]),
                (rare[place], literal(limit)),
                else_=0,
            )
        )
        for place, lead in enumerate(leads)
    ]
    ways.append(walk.limit(case(*((each, literal(0)) for each in rare), else_=limit)))
    return union_all(*(select(way.subquery().c.id) for way in ways)).subquery("page")


def _leads(
    conditions: Conditions, comparisons: Sequence[Comparison]
) -> tuple[list[Comparison], list[ColumnElement[bool]]]:
    """What may lead, and whether each is rare."""
    leads: list[Comparison] = []
    rare: list[ColumnElement[bool]] = []
    for comparison in comparisons:
        candidates = conditions.candidates(comparison)
        if candidates is not None and len(leads) < _MAX_LEADS:
            some = candidates.limit(RARE + 1).subquery()
            count = select(func.count()).select_from(some).scalar_subquery()
            leads.append(comparison)
            rare.append(count <= RARE)
    return leads, rare


def _way(
    conditions: Conditions,
    search: Search,
    after: Position | None,
    leads: Sequence[Comparison],
) -> Select[Any]:
    """Ids in the order asked for, without a limit."""
    query = select(conditions.target.id.label("id")).where(
        _MODELS.c.deleted_at.is_(None),
        *(
            conditions.holds(each, leads=each in leads)
            for each in dict.fromkeys(search.comparisons)
        ),
    )
    if conditions.target is VERSIONS:
        by_model = conditions.dialect == SQLITE and _goes_by_model(search, leads)
        # SQLite cannot look up what is put together, so it begins with it.
        model_id = _MODELS.c.id.concat("") if by_model else _MODELS.c.id
        query = query.join(_MODELS, _VERSIONS.c.model_id == model_id).where(
            _VERSIONS.c.deleted_at.is_(None)
        )
    if search.hides_prompts:
        query = query.where(conditions.is_no_prompt())
    if after is not None:
        query = query.where(conditions.behind(search.ordering, after))
    return query.order_by(*conditions.order(search.ordering))


def _goes_by_model(search: Search, leads: Sequence[Comparison]) -> bool:
    """Whether to go from model to model, each with its versions."""
    if leads:
        return leads[0].attribute is Attribute.NAME
    finds_versions = any(
        each.attribute in _OF_VERSIONS and each.operator in _EQUAL
        for each in search.comparisons
    )
    return search.ordering[0].column is Attribute.NAME and not finds_versions
