"""MLflow's search language: from filter and order_by to a ``Search``, without I/O.

Rules, as MLflow's server has them:

- A filter is comparisons joined by AND. There is no OR, no NOT and no parenthesis
  but around the values of IN.
- A text stands in single or double quotes and is taken as it is, a doubled quote
  too, as MLflow does: nothing escapes. A text with one kind of quote is written in
  the other.
- Keys are case-sensitive, words (AND, LIKE, DESC) are not.
- ``%`` and ``_`` of LIKE and ILIKE are wildcards that nothing escapes.
- Prompts, tagged ``mlflow.prompt.is_prompt``, are hidden unless the first
  comparison of that tag asks for them. Where they are hidden, comparisons of that
  tag say nothing else, so what has no such tag is found.
- Every order is total: ties go by name, then from the highest version down.

A refusal names the place, what stands there and what was expected. The limits below
bound what the database is asked for.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from registry.domain.prompts import PROMPT_TAG
from registry.errors import InvalidInputError
from registry.search.grammar import Word, read_words, refusal

MAX_FILTER_CHARACTERS = 50_000
MAX_COMPARISONS = 100
MAX_LISTED_VALUES = 1_000
#: SQLite refuses a pattern above 50,000 bytes; a character may become 14 of them.
MAX_PATTERN_CHARACTERS = 2_000
MAX_DIGITS = 18

_INTEGER = re.compile(r"\s*(-?)(\d+)\s*")


class Operator(StrEnum):
    """How a value is compared; the text is MLflow's."""

    EQUAL = "="
    UNEQUAL = "!="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    LIKE = "LIKE"
    ILIKE = "ILIKE"
    IN = "IN"
    NOT_IN = "NOT IN"


class Attribute(StrEnum):
    """What can be compared or ordered by, besides tags; the text is MLflow's."""

    NAME = "name"
    RUN_ID = "run_id"
    SOURCE_PATH = "source_path"
    VERSION_NUMBER = "version_number"
    CREATION_TIMESTAMP = "creation_timestamp"
    LAST_UPDATED_TIMESTAMP = "last_updated_timestamp"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One comparison of an attribute, or of the tag ``tag``.

    Attributes:
        value: an integer for the version number, a tuple for a list, else text.
    """

    attribute: Attribute | None = None
    tag: str | None = None
    operator: Operator
    value: str | int | tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Ordering:
    """One column that results are ordered by."""

    column: Attribute
    is_descending: bool = False


@dataclass(frozen=True, kw_only=True)
class Search:
    """What to find, and in which order; all comparisons must hold."""

    comparisons: tuple[Comparison, ...]
    ordering: tuple[Ordering, ...]
    hides_prompts: bool


PATTERNS = frozenset({Operator.LIKE, Operator.ILIKE})
_TEXT = PATTERNS | {Operator.EQUAL, Operator.UNEQUAL}
_LIST = frozenset({Operator.IN, Operator.NOT_IN})
_NUMBER = frozenset(Operator) - _LIST - PATTERNS
_NAME = Ordering(column=Attribute.NAME)
_NEWEST_NUMBER = Ordering(column=Attribute.VERSION_NUMBER, is_descending=True)
_NEWEST_CHANGE = Ordering(column=Attribute.LAST_UPDATED_TIMESTAMP, is_descending=True)


@dataclass(frozen=True, kw_only=True)
class Searchable:
    """What one kind of thing can be searched and ordered by.

    Attributes:
        columns: the words of order_by.
        default_order: the order when none is asked for.
        ties: what an order that was asked for is completed with.
    """

    attributes: Mapping[str, frozenset[Operator]]
    columns: Mapping[str, Attribute]
    default_order: tuple[Ordering, ...]
    ties: tuple[Ordering, ...]


MODELS = Searchable(
    attributes={Attribute.NAME: _TEXT | _LIST},
    columns={
        "name": Attribute.NAME,
        "timestamp": Attribute.LAST_UPDATED_TIMESTAMP,
        "last_updated_timestamp": Attribute.LAST_UPDATED_TIMESTAMP,
    },
    default_order=(_NAME,),
    ties=(_NAME,),
)
VERSIONS = Searchable(
    attributes={
        Attribute.NAME: _TEXT | _LIST,
        Attribute.RUN_ID: _TEXT | _LIST,
        Attribute.SOURCE_PATH: _TEXT,
        Attribute.VERSION_NUMBER: _NUMBER,
    },
    columns={
        "name": Attribute.NAME,
        "version_number": Attribute.VERSION_NUMBER,
        "creation_timestamp": Attribute.CREATION_TIMESTAMP,
        "last_updated_timestamp": Attribute.LAST_UPDATED_TIMESTAMP,
    },
    default_order=(_NEWEST_CHANGE, _NAME, _NEWEST_NUMBER),
    ties=(_NAME, _NEWEST_NUMBER),
)


def parse_search(
    searchable: Searchable, filter_text: str, order_by: Sequence[str]
) -> Search:
    """Read a filter, empty for none, and the columns to order by.

    Raises:
        InvalidInputError: with the field ``filter`` or ``order_by``, saying what
            stands where and what was expected.
    """
    comparisons = _comparisons(searchable, filter_text) if filter_text else ()
    hides_prompts = not _asks_for_prompts(comparisons)
    return Search(
        comparisons=tuple(
            comparison
            for comparison in comparisons
            if not (hides_prompts and comparison.tag == PROMPT_TAG)
        ),
        ordering=_orderings(searchable, order_by),
        hides_prompts=hides_prompts,
    )


def _asks_for_prompts(comparisons: Sequence[Comparison]) -> bool:
    for comparison in comparisons:
        if comparison.tag == PROMPT_TAG:
            condition = (comparison.operator, str(comparison.value).lower())
            return condition in {(Operator.EQUAL, "true"), (Operator.UNEQUAL, "false")}
    return False


def _comparisons(searchable: Searchable, text: str) -> tuple[Comparison, ...]:
    _check_bound("has {} characters", len(text), MAX_FILTER_CHARACTERS)
    parts = read_words("filter", text, "filter")
    _check_bound("has {} comparisons", len(parts), MAX_COMPARISONS)
    comparisons = tuple(_comparison(searchable, words) for words in parts)
    lists = (comparison.value for comparison in comparisons)
    listed = sum(len(values) for values in lists if isinstance(values, tuple))
    _check_bound("lists {} values", listed, MAX_LISTED_VALUES)
    return comparisons


def _check_bound(phrase: str, count: int, most: int) -> None:
    if count > most:
        raise InvalidInputError(
            f"{phrase.format(count)}; expected {most} at most", field="filter"
        )


def _comparison(searchable: Searchable, words: Sequence[Word]) -> Comparison:
    key, comparator, *values = words
    operator = Operator(" ".join(comparator.text.upper().split()))
    prefix, dot, rest = key.text.partition(".")
    if dot and prefix in {"tag", "tags"}:
        _check_operator(comparator, operator, _TEXT, f"tag {rest}")
        return Comparison(
            tag=rest.strip('`"'), operator=operator, value=_text(values[0], operator)
        )
    name = rest if dot and prefix == "attribute" else key.text
    if name not in searchable.attributes:
        known = ", ".join([*searchable.attributes, "tags.<key>"])
        raise refusal(key, f"expected one of {known}")
    attribute = Attribute(name)
    _check_operator(comparator, operator, searchable.attributes[name], name)
    return Comparison(
        attribute=attribute,
        operator=operator,
        value=_value(attribute, operator, values),
    )


def _check_operator(
    comparator: Word, operator: Operator, allowed: Collection[Operator], of: str
) -> None:
    if operator not in allowed:
        known = ", ".join(known for known in Operator if known in allowed)
        raise refusal(comparator, f"{of} can be compared with {known}")


def _value(
    attribute: Attribute, operator: Operator, values: Sequence[Word]
) -> str | int | tuple[str, ...]:
    if attribute is Attribute.VERSION_NUMBER:
        return _integer(values[0])
    if operator in _LIST:
        return tuple(value.unquoted for value in values)
    return _text(values[0], operator)


def _text(value: Word, operator: Operator) -> str:
    if not value.is_quoted:
        raise refusal(value, "expected a text in quotes")
    text = value.unquoted
    if operator in PATTERNS and len(text) > MAX_PATTERN_CHARACTERS:
        raise refusal(
            value, f"expected a pattern of {MAX_PATTERN_CHARACTERS} characters at most"
        )
    return text


def _integer(value: Word) -> int:
    match = _INTEGER.fullmatch(value.unquoted)
    if match is None or len(match[2].lstrip("0")) > MAX_DIGITS:
        raise refusal(value, f"expected an integer of {MAX_DIGITS} digits at most")
    sign, digits = match.groups()
    return int(f"{sign}{digits[-MAX_DIGITS:]}")


def _orderings(searchable: Searchable, order_by: Sequence[str]) -> tuple[Ordering, ...]:
    if not order_by:
        return searchable.default_order
    orderings: dict[Attribute, Ordering] = {}
    for text in order_by:
        ordering = _ordering(searchable, text)
        if ordering.column in orderings:
            raise InvalidInputError(
                f"{ordering.column} is named twice", field="order_by"
            )
        orderings[ordering.column] = ordering
    for tie in searchable.ties:
        orderings.setdefault(tie.column, tie)
    return tuple(orderings.values())


def _ordering(searchable: Searchable, text: str) -> Ordering:
    ((key, *direction),) = read_words("ordering", text, "order_by")
    name = key.text.removeprefix("attribute.")
    if name not in searchable.columns:
        known = ", ".join(searchable.columns)
        raise refusal(key, f"expected one of {known}", "order_by")
    return Ordering(
        column=searchable.columns[name],
        is_descending=bool(direction) and direction[0].text.upper() == "DESC",
    )
