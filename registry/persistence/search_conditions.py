"""Each comparison of a search as a condition of SQL, on either database.

Rules, as MLflow's server and clients have them:

- A comparison of a tag, ``!=`` too, needs the tag to be there.
- A run that is not set is an empty text, as MLflow's server stores it.
- A comparison of a tag leads when an index may say by it what to look at; otherwise
  it is only asked of what something else leads to.
"""

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    and_,
    exists,
    literal_column,
    select,
)

from registry.domain.prompts import PROMPT_TAG
from registry.domain.search_filter import (
    Attribute,
    Comparison,
    Operator,
    Ordering,
    Search,
)
from registry.persistence.tables import (
    ModelTag,
    ModelVersion,
    RegisteredModel,
    VersionTag,
)
from registry.persistence.text_matching import (
    SQLITE,
    Given,
    beginning,
    by_code_point,
    end,
    equals,
    equals_any,
    head,
    is_long,
    long_matches,
    matches,
    within_beginning,
)

Condition = ColumnElement[bool]
#: Where a page ended: the values of the columns that it is ordered by.
Position = Sequence[str | int | datetime]

_MODEL = RegisteredModel.__table__.c
_VERSION = ModelVersion.__table__.c
_COMPARE: Mapping[Operator, Callable[[Any, Any], Any]] = {
    Operator.EQUAL: operator.eq,
    Operator.UNEQUAL: operator.ne,
    Operator.GREATER: operator.gt,
    Operator.GREATER_OR_EQUAL: operator.ge,
    Operator.LESS: operator.lt,
    Operator.LESS_OR_EQUAL: operator.le,
}
_PATTERNS = frozenset({Operator.LIKE, Operator.ILIKE})


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """What is searched."""

    id: ColumnElement[Any]
    columns: Mapping[Attribute, ColumnElement[Any]]
    tag: FromClause
    tag_owner: ColumnElement[Any]


OF_MODELS = Target(
    id=_MODEL.id,
    columns={
        Attribute.NAME: _MODEL.name,
        Attribute.LAST_UPDATED_TIMESTAMP: _MODEL.mlflow_updated_at,
    },
    tag=ModelTag.__table__,
    tag_owner=ModelTag.__table__.c.model_id,
)
OF_VERSIONS = Target(
    id=_VERSION.id,
    columns={
        Attribute.NAME: _MODEL.name,
        Attribute.RUN_ID: _VERSION.run_id,
        Attribute.SOURCE_PATH: _VERSION.source,
        Attribute.VERSION_NUMBER: _VERSION.number,
        Attribute.CREATION_TIMESTAMP: _VERSION.created_at,
        Attribute.LAST_UPDATED_TIMESTAMP: _VERSION.mlflow_updated_at,
    },
    tag=VersionTag.__table__,
    tag_owner=VersionTag.__table__.c.version_id,
)


class Asked(NamedTuple):
    """A search, and where its page begins."""

    search: Search
    after: Position | None

    @property
    def form(self) -> object:
        """What another one has in common with it that the same statement finds."""
        return (
            tuple(
                (each.attribute, each.tag is None, each.operator, _form(each))
                for each in self.comparisons
            ),
            self.search.ordering,
            self.search.hides_prompts,
            self.after is None,
        )

    @property
    def is_simple(self) -> bool:
        """Whether its statement is worth keeping.

        One of many comparisons is seldom asked for twice, and holds up to 4 MB; each
        long text in a list is a comparison of its own.
        """
        values = [each.value for each in self.search.comparisons]
        lists = (value for value in values if isinstance(value, tuple))
        return len(values) <= 1 and not any(
            is_long(each) for it in lists for each in it
        )

    @property
    def comparisons(self) -> Sequence[Comparison]:
        """Each comparison once."""
        return tuple(dict.fromkeys(self.search.comparisons))


def _form(comparison: Comparison) -> object:
    """What of a value decides how it is compared, and not only with what."""
    value = comparison.value
    if isinstance(value, int):
        return None
    holds_of_empty = _holds_of_empty(comparison)
    if isinstance(value, tuple):
        long = (place for place, each in enumerate(value) if is_long(each))
        return holds_of_empty, *long
    bounds = bool(beginning(value)), bool(end(value))
    return holds_of_empty, bounds, is_long(value)


@dataclass(frozen=True)
class Conditions:
    """Writes the conditions of searches of one form, for one database.

    Attributes:
        binds: gathers how to find the value of each parameter in what is asked.
    """

    target: Target
    dialect: str
    binds: dict[str, Callable[[Asked], Any]] = field(default_factory=dict)

    def all_hold(self, asked: Asked, *, leading: int) -> Iterator[Condition]:
        """Whether the comparisons hold; the first ``leading`` may lead."""
        for place, comparison in enumerate(asked.comparisons):
            yield self._holds(comparison, place, leads=place < leading)

    def _holds(self, comparison: Comparison, place: int, *, leads: bool) -> Condition:
        given = Given(
            comparison.value, lambda it: it.comparisons[place].value, self.binds
        )
        if comparison.tag is not None:
            tag = Given(
                comparison.tag, lambda it: it.comparisons[place].tag, self.binds
            )
            return self._tag_holds(comparison.operator, tag, given, leads=leads)
        column = self.target.columns[Attribute(str(comparison.attribute))]
        if comparison.attribute is Attribute.VERSION_NUMBER:
            number = given.bind(type_=BigInteger)
            compared: Condition = _COMPARE[comparison.operator](column, number)
            return compared
        is_name = comparison.attribute is Attribute.NAME
        if comparison.operator in _PATTERNS:
            condition = self._is_like(column, comparison.operator, given, is_name)
        else:
            condition = self._text_compares(
                column, comparison.operator, given, is_short=is_name
            )
        is_optional = comparison.attribute is Attribute.RUN_ID
        if is_optional and _holds_of_empty(comparison):
            return column.is_(None) | condition
        return condition

    def is_no_prompt(self) -> Condition:
        """Whether what is found is not tagged as a prompt."""
        tag, value = (
            Given(each, partial(_always, each), self.binds)
            for each in (PROMPT_TAG, "true")
        )
        return ~exists(self._tags_of_row(Operator.EQUAL, tag, value))

    def behind(self, asked: Asked) -> Condition:
        """Whether a row comes behind the position; both go by the same columns."""
        ordering = asked.search.ordering
        columns = list(zip(ordering, self.columns(ordering), strict=True))
        places = [
            Given(None, partial(_at, place), self.binds)
            for place in range(len(columns))
        ]
        return _behind(columns, places)

    def order(self, ordering: Sequence[Ordering]) -> Iterator[ColumnElement[Any]]:
        """The columns of ORDER BY."""
        for each, column in zip(ordering, self.columns(ordering), strict=True):
            yield column.desc() if each.is_descending else column

    def columns(self, ordering: Sequence[Ordering]) -> Iterator[ColumnElement[Any]]:
        """The columns that an ordering goes by."""
        by_number = ordering[0].column is Attribute.VERSION_NUMBER
        for each in ordering:
            column = self.target.columns[each.column]
            if each.column is Attribute.NAME:
                # Beside the number, so that one index has both.
                name = _VERSION.model_name if by_number else column
                yield by_code_point(name, self.dialect)
            elif each.column is Attribute.VERSION_NUMBER and by_number:
                # As those indexes have it, so that nothing else is led by them.
                yield column + literal_column("0", Integer)
            else:
                yield column

    def _is_like(
        self,
        column: ColumnElement[Any],
        how: Operator,
        pattern: Given,
        is_name: bool,  # noqa: FBT001  # as the column is
    ) -> Condition:
        compare = matches if is_name else long_matches
        ignore_case = how is Operator.ILIKE
        indexed = column if is_name else head(column, self.dialect)
        return and_(
            compare(column, pattern, ignore_case=ignore_case, dialect=self.dialect),
            *(
                within_beginning(indexed, pattern, self.dialect)
                if how is Operator.LIKE
                else ()
            ),
        )

    def _text_compares(
        self, column: ColumnElement[Any], how: Operator, given: Given, *, is_short: bool
    ) -> Condition:
        if how is Operator.UNEQUAL:
            return column != given.bind()
        if how is Operator.NOT_IN:
            return column.not_in(given.bind(list, expanding=True))
        if how is Operator.IN:
            return (
                column.in_(given.bind(list, expanding=True))
                if is_short
                else equals_any(column, given, self.dialect)
            )
        return (
            column == given.bind() if is_short else equals(column, given, self.dialect)
        )

    def _tag_holds(
        self, how: Operator, tag: Given, value: Given, *, leads: bool
    ) -> Condition:
        """The lookup that leads, or the question asked of one row."""
        if not leads:
            asked = self._tags_of_row(how, tag, value)
            # PostgreSQL would make one more join of it, but for the offset.
            return exists(asked if self.dialect == SQLITE else asked.offset(0))
        rows = select(self.target.tag_owner).where(
            self.target.tag.c.key == tag.bind(), self._tag_value_holds(how, value)
        )
        return self.target.id.in_(rows)

    def _tags_of_row(self, how: Operator, tag: Given, value: Given) -> Select[Any]:
        """The tag of one row for which a comparison holds."""
        return select(literal_column("1", Integer)).where(
            self.target.tag_owner == self.target.id,
            self.target.tag.c.key == tag.bind(),
            self._tag_value_holds(how, value),
        )

    def _tag_value_holds(self, how: Operator, given: Given) -> Condition:
        value = self.target.tag.c.value
        if how is Operator.EQUAL:
            return equals(value, given, self.dialect)
        if how in _PATTERNS:
            return self._is_like(value, how, given, is_name=False)
        return value != given.bind()


def _always(value: object, _: Asked) -> object:
    return value


def _at(place: int, asked: Asked) -> object:
    return (asked.after or ())[place]


def _behind(
    columns: Sequence[tuple[Ordering, ColumnElement[Any]]], places: Sequence[Given]
) -> Condition:
    (first, column), *rest = columns
    down = first.is_descending

    def value() -> Any:  # noqa: ANN401  # a parameter
        return places[0].bind(type_=column.type)

    beyond: Condition = column < value() if down else column > value()
    if not rest:
        return beyond
    # Said apart from the rest, so that an index finds where to begin.
    not_before: Condition = column <= value() if down else column >= value()
    return not_before & (beyond | _behind(rest, places[1:]))


def _holds_of_empty(comparison: Comparison) -> bool:
    """Whether an empty text would be found."""
    match comparison.operator, comparison.value:
        case Operator.UNEQUAL, value:
            return value != ""
        case Operator.NOT_IN, tuple(values):
            return "" not in values
        case _, tuple(values):
            return "" in values
        case Operator.EQUAL, value:
            return value == ""
        case _, pattern:
            return not str(pattern).strip("%")
