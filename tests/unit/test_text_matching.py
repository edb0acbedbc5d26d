"""Patterns and ranges of texts, tried on SQLite itself."""

import sqlite3
import time
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import ColumnElement, create_engine, literal, select
from sqlalchemy.pool import StaticPool

from registry.persistence.database import prepare_engine
from registry.search.like import Pattern
from registry.search.text_matching import (
    HEAD_CHARACTERS,
    SQLITE,
    SearchValue,
    equals,
    equals_any,
    long_matches,
    matches,
    within_beginning,
)

ENGINE = create_engine("sqlite://", poolclass=StaticPool)
prepare_engine(ENGINE)
#: Wildcards of LIKE and GLOB, letters in both cases, what follows and ends ranges.
CHARACTERS = "ab%_*?[]^-\\'AB\ud7ff\ue000\U0010ffffäÄ\u03c3\u03c2\u03a3İ"
texts = st.text(st.sampled_from(CHARACTERS), max_size=6)


def holds(*conditions: ColumnElement[bool]) -> bool:
    with ENGINE.connect() as connection:
        return all(connection.scalar(select(each)) == 1 for each in conditions)


#: What makes a text one that SQLite's own functions do not compare.
LONG = "x" * HEAD_CHARACTERS


@pytest.mark.parametrize("beginning", ["", LONG])
@pytest.mark.parametrize("ignore_case", [False, True])
@given(text=texts, pattern=texts)
def test_text_is_like_a_pattern_as_the_definition_has_it(
    text: str, pattern: str, beginning: str, *, ignore_case: bool
) -> None:
    text, pattern = beginning + text, beginning + pattern
    condition = long_matches(
        literal(text), SearchValue(pattern), ignore_case=ignore_case, dialect=SQLITE
    )

    by_definition = Pattern(pattern, ignore_case=ignore_case)
    assert holds(condition) == by_definition.matches(text)


@given(texts)
def test_pattern_of_wildcards_alone_is_like_any_text_of_its_length(text: str) -> None:
    for pattern in ("%", "_" * len(text), "%" + "_" * len(text)):
        assert holds(
            matches(
                literal(text), SearchValue(pattern), ignore_case=True, dialect=SQLITE
            )
        )


@given(texts)
def test_text_is_like_itself_in_other_cases_when_case_is_ignored(text: str) -> None:
    for pattern in (text, text.swapcase()):
        if len(pattern) == len(text) and "İ" not in text:
            is_met = holds(
                matches(
                    literal(text),
                    SearchValue(pattern),
                    ignore_case=True,
                    dialect=SQLITE,
                )
            )

            assert is_met


@given(texts, texts)
def test_what_is_like_a_pattern_lies_within_its_beginning(
    text: str, pattern: str
) -> None:
    is_within = holds(*within_beginning(literal(text), SearchValue(pattern), SQLITE))

    assert is_within or not Pattern(pattern, ignore_case=False).matches(text)


@given(texts, texts)
def test_what_begins_otherwise_lies_outside(text: str, beginning: str) -> None:
    literally = beginning.translate(str.maketrans("%_", "--"))
    is_within = holds(
        *within_beginning(literal(text), SearchValue(literally + "%"), SQLITE)
    )

    assert is_within == text.startswith(literally)


@pytest.mark.parametrize("length", [0, 1, HEAD_CHARACTERS - 1, HEAD_CHARACTERS, 1_000])
def test_long_text_equals_itself_alone(length: int) -> None:
    text = "é" * length
    for other in (text + "x", text[:-1], text[:-1] + "x", ""):
        if other != text:
            assert not holds(equals(literal(text), SearchValue(other), SQLITE))
            assert not holds(
                equals_any(literal(text), SearchValue([other, "y"]), SQLITE)
            )
            assert holds(
                equals_any(literal(text), SearchValue(["y", other, text]), SQLITE)
            )
    assert holds(equals(literal(text), SearchValue(text), SQLITE))


@pytest.mark.parametrize("length", [HEAD_CHARACTERS, 2_000])
def test_pattern_at_its_limit_is_one_that_sqlite_takes(length: int) -> None:
    longest = "ǆ" * 2_000
    condition = long_matches(
        literal("ǆ" * length), SearchValue(longest), ignore_case=True, dialect=SQLITE
    )

    assert holds(condition) == (length == 2_000)
    with (
        closing(sqlite3.connect(":memory:")) as connection,
        pytest.raises(sqlite3.OperationalError, match="too complex"),
    ):
        connection.execute("SELECT 'x' GLOB ?", ("x" * 50_001,))


@pytest.mark.parametrize("repeated", ["%a", "a", "_a"])
@pytest.mark.parametrize("length", [HEAD_CHARACTERS, 100_000])
def test_hostile_pattern_is_answered_in_one_pass(repeated: str, length: int) -> None:
    pattern = "%" + repeated * (1_990 // len(repeated)) + "b%"
    condition = long_matches(
        literal("a" * length), SearchValue(pattern), ignore_case=True, dialect=SQLITE
    )

    began = time.process_time()

    assert not holds(condition)
    assert time.process_time() - began < 1.0
