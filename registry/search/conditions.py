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
from registry.persistence.readable import Readable
from registry.persistence.statements import MODEL_TAGS, MODELS, VERSIONS
from registry.persistence.tables import VersionTag
from registry.search import text_matching as texts
from registry.search.language import (
    PATTERNS,
    Attribute,
    Comparison,
    Operator,
    Ordering,
    Search,
)
from registry.search.text_matching import SQLITE, SearchValue

Column = ColumnElement[Any]
Condition = ColumnElement[bool]
#: Where a page ended: the values of the columns that it is ordered by.
Position = Sequence[str | int | datetime]

_MODEL, _VERSION = MODELS.c, VERSIONS.c
_COMPARE: Mapping[Operator, Callable[[Any, Any], Any]] = {
    Operator.EQUAL: operator.eq,
    Operator.UNEQUAL: operator.ne,
    Operator.GREATER: operator.gt,
    Operator.GREATER_OR_EQUAL: operator.ge,
    Operator.LESS: operator.lt,
    Operator.LESS_OR_EQUAL: operator.le,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """What is searched."""

    id: Column
    columns: Mapping[Attribute, Column]
    tag: FromClause
    tag_owner: Column


OF_MODELS = Target(
    id=_MODEL.id,
    columns={
        Attribute.NAME: _MODEL.name,
        Attribute.LAST_UPDATED_TIMESTAMP: _MODEL.mlflow_updated_at,
    },
    tag=MODEL_TAGS,
    tag_owner=MODEL_TAGS.c.model_id,
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


class PageRequest(NamedTuple):
    """A search, where its page begins, and which models may be shown."""

    search: Search
    after: Position | None
    readable: Readable = ()

    @property
    def form(self) -> object:
        """Return what it has in common with all that the same statement finds."""
        return (
            tuple(
                (it.attribute, it.tag is None, it.operator, _form(it))
                for it in self.comparisons
            ),
            self.search.ordering,
            self.search.hides_prompts,
            self.after is None,
            not self.readable,
        )

    @property
    def is_simple(self) -> bool:
        """Whether its statement is worth keeping.

        A search of many comparisons is seldom repeated, and holds up to 4 MB; each
        long text in a list is a comparison of its own.
        """
        if len(self.search.comparisons) > 1:
            return False
        values = [comparison.value for comparison in self.search.comparisons]
        lists = [value for value in values if isinstance(value, tuple)]
        return not any(texts.is_long(text) for value in lists for text in value)

    @property
    def comparisons(self) -> Sequence[Comparison]:
        """Return the comparisons without repetitions."""
        return tuple(dict.fromkeys(self.search.comparisons))


def _form(comparison: Comparison) -> object:
    """Return what of a value decides how it is compared, not only with what."""
    value = comparison.value
    if isinstance(value, int):
        return None
    holds_of_empty = _holds_of_empty(comparison)
    if isinstance(value, tuple):
        long = (place for place, text in enumerate(value) if texts.is_long(text))
        return holds_of_empty, *long
    bounds = bool(texts.beginning(value)), bool(texts.end(value))
    return holds_of_empty, bounds, texts.is_long(value)


@dataclass(frozen=True)
class Conditions:
    """Writes the conditions of searches of one form, for one database.

    Attributes:
        binds: gathers how to find the value of each parameter in a request.
    """

    target: Target
    dialect: str
    binds: dict[str, Callable[[PageRequest], Any]] = field(default_factory=dict)

    def all_hold(self, request: PageRequest, *, leading: int) -> Iterator[Condition]:
        """Whether the comparisons hold; the first ``leading`` may lead."""
        for place, comparison in enumerate(request.comparisons):
            yield self._holds(comparison, place, leads=place < leading)

    def _holds(self, comparison: Comparison, place: int, *, leads: bool) -> Condition:
        value = SearchValue(
            comparison.value, lambda page: page.comparisons[place].value, self.binds
        )
        how = comparison.operator
        if comparison.tag is not None:
            tag = SearchValue(
                comparison.tag, lambda page: page.comparisons[place].tag, self.binds
            )
            return self._tag_holds(how, tag, value, leads=leads)
        column = self.target.columns[Attribute(str(comparison.attribute))]
        if comparison.attribute is Attribute.VERSION_NUMBER:
            compared: Condition = _COMPARE[how](column, value.bind(type_=BigInteger))
            return compared
        is_name = comparison.attribute is Attribute.NAME
        condition = self._text_holds(column, how, value, is_short=is_name)
        is_optional = comparison.attribute is Attribute.RUN_ID
        if is_optional and _holds_of_empty(comparison):
            return column.is_(None) | condition
        return condition

    def is_no_prompt(self) -> Condition:
        """Whether what is looked at is not tagged as a prompt."""
        tag, value = SearchValue(PROMPT_TAG), SearchValue("true")
        return ~exists(self._tags_of_row(Operator.EQUAL, tag, value))

    def behind(self, ordering: Sequence[Ordering]) -> Condition:
        """Whether a row comes behind the position; both go by the same columns."""
        return _behind(
            [
                (step.is_descending, column, self._position(place, column))
                for place, (step, column) in enumerate(
                    zip(ordering, self.columns(ordering), strict=True)
                )
            ]
        )

    def _position(self, place: int, column: Column) -> Column:
        """Return the value that the last row of the page before has in a column."""
        value = SearchValue(None, lambda page: page.after[place], self.binds)
        return value.bind(type_=column.type)

    def order(self, ordering: Sequence[Ordering]) -> Iterator[Column]:
        """Give the columns of ORDER BY."""
        for step, column in zip(ordering, self.columns(ordering), strict=True):
            yield column.desc() if step.is_descending else column

    def columns(self, ordering: Sequence[Ordering]) -> Iterator[Column]:
        """Give the columns that an ordering goes by."""
        by_number = ordering[0].column is Attribute.VERSION_NUMBER
        for step in ordering:
            column = self.target.columns[step.column]
            if step.column is Attribute.NAME:
                # Beside the number, so that one index has both.
                name = _VERSION.model_name if by_number else column
                yield texts.by_code_point(name, self.dialect)
            elif step.column is Attribute.VERSION_NUMBER and by_number:
                # As those indexes have it, so that nothing else is led by them.
                yield column + literal_column("0", Integer)
            else:
                yield column

    def _text_holds(
        self, text: Column, how: Operator, value: SearchValue, *, is_short: bool
    ) -> Condition:
        if how in PATTERNS:
            return self._is_like(text, how, value, is_short=is_short)
        if how is Operator.UNEQUAL:
            return text != value.bind()
        if how is Operator.NOT_IN:
            return text.not_in(value.bind(list, expanding=True))
        if how is Operator.IN:
            return (
                text.in_(value.bind(list, expanding=True))
                if is_short
                else texts.equals_any(text, value, self.dialect)
            )
        return (
            text == value.bind()
            if is_short
            else texts.equals(text, value, self.dialect)
        )

    def _is_like(
        self, text: Column, how: Operator, pattern: SearchValue, *, is_short: bool
    ) -> Condition:
        compare = texts.matches if is_short else texts.long_matches
        ignore_case = how is Operator.ILIKE
        is_like = compare(text, pattern, ignore_case=ignore_case, dialect=self.dialect)
        if ignore_case:
            return is_like
        indexed = text if is_short else texts.head(text, self.dialect)
        return and_(is_like, *texts.within_beginning(indexed, pattern, self.dialect))

    def _tag_holds(
        self, how: Operator, tag: SearchValue, value: SearchValue, *, leads: bool
    ) -> Condition:
        """Write the lookup that leads, or the question that is put to one row."""
        if not leads:
            tags = self._tags_of_row(how, tag, value)
            # PostgreSQL would make one more join of it, but for the offset.
            return exists(tags if self.dialect == SQLITE else tags.offset(0))
        owners = select(self.target.tag_owner).where(*self._is_tag(how, tag, value))
        return self.target.id.in_(owners)

    def _tags_of_row(
        self, how: Operator, tag: SearchValue, value: SearchValue
    ) -> Select[Any]:
        """Select the tag of one row for which a comparison holds."""
        return select(literal_column("1", Integer)).where(
            self.target.tag_owner == self.target.id, *self._is_tag(how, tag, value)
        )

    def _is_tag(
        self, how: Operator, tag: SearchValue, value: SearchValue
    ) -> Iterator[Condition]:
        yield self.target.tag.c.key == tag.bind()
        yield self._text_holds(self.target.tag.c.value, how, value, is_short=False)


def _behind(columns: Sequence[tuple[bool, Column, Column]]) -> Condition:
    (is_descending, column, value), *rest = columns
    beyond: Condition = column < value if is_descending else column > value
    if not rest:
        return beyond
    # Said apart from the rest, so that an index finds where to begin.
    not_before: Condition = column <= value if is_descending else column >= value
    return not_before & (beyond | _behind(rest))


def _holds_of_empty(comparison: Comparison) -> bool:
    """Whether it holds of an empty text."""
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
