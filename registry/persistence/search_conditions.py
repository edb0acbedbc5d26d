"""Each comparison of a search as a condition of SQL, on either database.

Rules, as MLflow's server and clients have them:

- A comparison of a tag, ``!=`` too, needs the tag to be there.
- A run that is not set is an empty text, as MLflow's server stores it.
- A comparison of a tag leads when an index may say by it what to look at; otherwise
  it is only asked of what something else leads to.
"""

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    and_,
    exists,
    literal,
    literal_column,
    select,
)

from registry.domain.prompts import PROMPT_TAG
from registry.domain.search_filter import (
    Attribute,
    Comparison,
    Operator,
    Ordering,
)
from registry.persistence.tables import (
    ModelTag,
    ModelVersion,
    RegisteredModel,
    VersionTag,
)
from registry.persistence.text_matching import (
    HEAD_CHARACTERS,
    SQLITE,
    by_code_point,
    equals,
    equals_any,
    head,
    long_matches,
    matches,
    within_beginning,
)

Condition = ColumnElement[bool]
#: Where a page ended: the values of the columns that it is ordered by.
Position = Sequence[str | int | datetime]

_MODEL = RegisteredModel.__table__.c
_VERSION = ModelVersion.__table__.c
_PROMPT = Comparison(tag=PROMPT_TAG, operator=Operator.EQUAL, value="true")
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


@dataclass(frozen=True)
class Conditions:
    """Writes the conditions of one search, for one database."""

    target: Target
    dialect: str

    def holds(self, comparison: Comparison, *, leads: bool) -> Condition:
        """Whether a comparison holds."""
        if comparison.tag is not None:
            return self._tag_holds(comparison, leads=leads)
        column = self.target.columns[Attribute(str(comparison.attribute))]
        if comparison.attribute is Attribute.VERSION_NUMBER:
            number = literal(comparison.value, BigInteger)
            compared: Condition = _COMPARE[comparison.operator](column, number)
            return compared
        if comparison.operator in _PATTERNS:
            condition = self._is_like(column, comparison)
        else:
            condition = self._text_compares(column, comparison)
        is_optional = comparison.attribute is Attribute.RUN_ID
        if is_optional and _holds_of_empty(comparison):
            return column.is_(None) | condition
        return condition

    def is_no_prompt(self) -> Condition:
        """Whether what is found is not tagged as a prompt."""
        return ~exists(self._tags_of_row(_PROMPT))

    def behind(self, ordering: Sequence[Ordering], position: Position) -> Condition:
        """Whether a row comes behind a position; both go by the same columns."""
        return _behind(
            list(zip(ordering, self.columns(ordering), strict=True)), position
        )

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

    def _is_like(self, column: ColumnElement[Any], comparison: Comparison) -> Condition:
        compare = matches if comparison.attribute is Attribute.NAME else long_matches
        return and_(
            compare(
                column,
                str(comparison.value),
                ignore_case=comparison.operator is Operator.ILIKE,
                dialect=self.dialect,
            ),
            *self._bounds(column, comparison),
        )

    def _text_compares(
        self, column: ColumnElement[Any], comparison: Comparison
    ) -> Condition:
        value = comparison.value
        if comparison.operator is Operator.UNEQUAL:
            return column != value
        is_short = comparison.attribute is Attribute.NAME
        if isinstance(value, tuple):
            if comparison.operator is Operator.NOT_IN:
                return column.not_in(value)
            return (
                column.in_(value)
                if is_short
                else equals_any(column, value, self.dialect)
            )
        return column == value if is_short else equals(column, str(value), self.dialect)

    def _bounds(
        self, column: ColumnElement[Any], comparison: Comparison
    ) -> Iterator[Condition]:
        """What an index can find of a pattern."""
        if comparison.operator is Operator.LIKE:
            is_name = comparison.attribute is Attribute.NAME
            indexed = column if is_name else head(column, self.dialect)
            beginning = str(comparison.value)[:HEAD_CHARACTERS]
            yield from within_beginning(indexed, beginning, self.dialect)

    def _tag_holds(self, comparison: Comparison, *, leads: bool) -> Condition:
        """The lookup that leads, or the question asked of one row."""
        if not leads:
            asked = self._tags_of_row(comparison)
            # PostgreSQL would make one more join of it, but for the offset.
            return exists(asked if self.dialect == SQLITE else asked.offset(0))
        rows = select(self.target.tag_owner).where(*self._tag_bounds(comparison))
        if comparison.operator is not Operator.EQUAL:
            rows = rows.where(self._tag_value_holds(comparison))
        return self.target.id.in_(rows)

    def _tags_of_row(self, comparison: Comparison) -> Select[Any]:
        """The tag of one row for which a comparison holds."""
        target, tag = self.target, self.target.tag.c
        rows = select(literal_column("1", Integer))
        if comparison.operator is not Operator.EQUAL:
            return rows.where(
                target.tag_owner == target.id,
                tag.key == comparison.tag,
                self._tag_value_holds(comparison),
            )
        same_value = equals(tag.value, str(comparison.value), self.dialect)
        return rows.where(
            tag.key == comparison.tag, same_value, target.tag_owner == target.id
        )

    def _tag_value_holds(self, comparison: Comparison) -> Condition:
        value = self.target.tag.c.value
        if comparison.operator in _PATTERNS:
            return long_matches(
                value,
                str(comparison.value),
                ignore_case=comparison.operator is Operator.ILIKE,
                dialect=self.dialect,
            )
        return value != comparison.value

    def _tag_bounds(self, comparison: Comparison) -> Iterator[Condition]:
        """What the index on keys and values can find."""
        value = self.target.tag.c.value
        yield self.target.tag.c.key == comparison.tag
        if comparison.operator is Operator.EQUAL:
            yield equals(value, str(comparison.value), self.dialect)
        else:
            yield from self._bounds(value, comparison)


def _behind(
    columns: Sequence[tuple[Ordering, ColumnElement[Any]]], position: Position
) -> Condition:
    (first, column), *rest = columns
    value = position[0]
    down = first.is_descending
    beyond: Condition = column < value if down else column > value
    if not rest:
        return beyond
    # Said apart from the rest, so that an index finds where to begin.
    not_before: Condition = column <= value if down else column >= value
    return not_before & (beyond | _behind(rest, position[1:]))


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
