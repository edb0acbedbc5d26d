"""Texts compared as MLflow means it, on SQLite and PostgreSQL alike.

Rules, as MLflow's server and clients have them:

- LIKE minds case, ILIKE does not; ``%`` and ``_`` are wildcards, and nothing
  escapes them.
- SQLite's own LIKE minds no ASCII case, and a pragma would change that for every
  statement of the connection. GLOB minds case, so both become GLOB patterns there;
  for ILIKE each letter becomes the set of its cases (``like``).
- On PostgreSQL ILIKE folds what the database's locale folds; under ``C`` that is
  ASCII alone.
- LIKE and GLOB try a pattern at each place of a text: seconds for a long one, within
  which no limit ends them. A long text is compared in one pass: on SQLite by a
  function of ours, on PostgreSQL as a regular expression.
- Order, and the range of texts that a pattern's beginning bounds, go by code
  points whatever the locale, so both databases give one order.
- A text without bound is indexed by its first ``HEAD_CHARACTERS``: PostgreSQL
  refuses an index entry above 2.7 kB.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Integer,
    bindparam,
    case,
    collate,
    func,
    literal_column,
    or_,
)
from sqlalchemy import (
    Text as TextType,
)

from registry.search.like import LIKE_FUNCTION, cases_of

SQLITE = "sqlite"
HEAD_CHARACTERS = 200

Text = ColumnElement[Any]

_WILDCARD = re.compile("[%_]")
_SPECIAL = re.compile(r"[][\\^$.|?*+(){}]")
_LAST_BEFORE_SURROGATES, _FIRST_BEHIND_SURROGATES = 0xD7FF, 0xE000
_LAST = 0x10FFFF


@dataclass(frozen=True, slots=True)
class SearchValue:
    """A value of a search, and where another search of the same form has its own.

    Attributes:
        value: says what the statement is to look like, and nothing else.
        read: gives the value of a search; None for a value that all have.
        binds: how to find the value of each parameter; ``bind`` adds to them.
    """

    value: Any
    read: Callable[[Any], Any] | None = None
    binds: dict[str, Callable[[Any], Any]] = field(default_factory=dict)

    def bind(
        self,
        convert: Callable[[Any], Any] = lambda value: value,
        **options: Any,  # noqa: ANN401  # bindparam's
    ) -> BindParameter[Any]:
        """Return a parameter that is the value, converted."""
        options = {"type_": TextType, **options}
        read = self.read
        if read is None:
            return bindparam(None, convert(self.value), unique=True, **options)
        name = f"value_{len(self.binds)}"
        self.binds[name] = lambda search: convert(read(search))
        return bindparam(name, **options)

    def at(self, place: int) -> "SearchValue":
        """Return one value of a list."""
        value, read = self.value[place], self.read
        if read is None:
            return SearchValue(value)
        return SearchValue(value, lambda search: read(search)[place], self.binds)


def by_code_point(text: Text, dialect: str) -> Text:
    """Return the text, to be ordered and compared by its code points."""
    return text if dialect == SQLITE else collate(text, "C")


def matches(
    text: Text, pattern: SearchValue, *, ignore_case: bool, dialect: str
) -> ColumnElement[bool]:
    """Whether a short text is like a pattern."""
    if dialect == SQLITE:
        return text.op("GLOB")(pattern.bind(partial(_glob, ignore_case=ignore_case)))
    # An empty ESCAPE leaves the backslash without meaning.
    if ignore_case:
        return text.ilike(pattern.bind(), escape="")
    return text.like(pattern.bind(), escape="")


def long_matches(
    text: Text, pattern: SearchValue, *, ignore_case: bool, dialect: str
) -> ColumnElement[bool]:
    """Whether a text of any length is like a pattern."""
    if dialect == SQLITE:
        like = getattr(func, LIKE_FUNCTION)
        in_one_pass = like(text, pattern.bind(), int(ignore_case))
    else:
        flags = "i" if ignore_case else None
        in_one_pass = text.regexp_match(pattern.bind(_regular_expression), flags)
    is_long = func.length(text) > HEAD_CHARACTERS
    at_once = matches(text, pattern, ignore_case=ignore_case, dialect=dialect)
    return case((is_long, in_one_pass), else_=at_once)


def _regular_expression(pattern: str) -> str:
    """Return the pattern as PostgreSQL's regular expressions have it."""
    pieces = [
        _SPECIAL.sub(r"\\\g<0>", piece).replace("_", ".")
        for piece in pattern.split("%")
    ]
    return f"^{'.*'.join(pieces)}$".removeprefix("^.*").removesuffix(".*$")


def _glob(pattern: str, *, ignore_case: bool) -> str:
    return "".join(
        _glob_of(character, ignore_case=ignore_case) for character in pattern
    )


def _glob_of(character: str, *, ignore_case: bool) -> str:
    if character in "%_":
        return "*" if character == "%" else "?"
    if character in "*?[":
        return f"[{character}]"
    cases = cases_of(character) if ignore_case else {character}
    return f"[{''.join(sorted(cases))}]" if len(cases) > 1 else character


def within_beginning(
    text: Text, pattern: SearchValue, dialect: str
) -> Iterator[ColumnElement[bool]]:
    """Bound the range of texts that begin as a LIKE pattern does, for an index."""
    if beginning(pattern.value):
        ordered = by_code_point(text, dialect)
        yield ordered >= pattern.bind(beginning)
        if end(pattern.value):
            yield ordered < pattern.bind(end)


def beginning(pattern: str) -> str:
    """Return how all begin that are like a pattern, as far as an index has it."""
    return _WILDCARD.split(pattern[:HEAD_CHARACTERS], maxsplit=1)[0]


def end(pattern: str) -> str:
    """Return the first text behind all that begin so; empty when there is none."""
    kept = beginning(pattern).rstrip(chr(_LAST))
    if not kept:
        return ""
    last = ord(kept[-1])
    at_gap = last == _LAST_BEFORE_SURROGATES
    return kept[:-1] + chr(_FIRST_BEHIND_SURROGATES if at_gap else last + 1)


def head(text: Text, dialect: str) -> Text:
    """Return the indexed part of a long text, as the indexes of 0005 have it."""
    first = literal_column("1", Integer)
    count = literal_column(str(HEAD_CHARACTERS), Integer)
    return by_code_point(func.substr(text, first, count), dialect)


def is_long(value: str) -> bool:
    """Whether an index has but the head of it."""
    return len(value) >= HEAD_CHARACTERS


def equals(text: Text, value: SearchValue, dialect: str) -> ColumnElement[bool]:
    """Whether a long text is a value, by the index on its head.

    The text itself is not compared: SQLite would put the value in its place in the
    head too, and find no index for a constant.
    """
    same_head = head(text, dialect) == value.bind(lambda whole: whole[:HEAD_CHARACTERS])
    if not is_long(value.value):
        return same_head
    behind = literal_column(str(HEAD_CHARACTERS + 1), Integer)
    rest = value.bind(lambda whole: whole[HEAD_CHARACTERS:])
    return same_head & (func.substr(text, behind) == rest)


def equals_any(text: Text, values: SearchValue, dialect: str) -> ColumnElement[bool]:
    """Whether a long text is one of several, by the index on its head."""
    short = values.bind(
        lambda texts: [text for text in texts if not is_long(text)], expanding=True
    )
    long = [place for place, value in enumerate(values.value) if is_long(value)]
    return or_(
        head(text, dialect).in_(short),
        *(equals(text, values.at(place), dialect) for place in long),
    )
