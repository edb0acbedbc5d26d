"""LIKE and ILIKE on PostgreSQL: short texts as it compares them, long ones as we do."""

import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, literal, select, text

from registry.search.like import Pattern
from registry.search.text_matching import HEAD_CHARACTERS, SearchValue, long_matches

pytestmark = pytest.mark.service

#: Wildcards, what means something in a regular expression, and letters of both cases.
CHARACTERS = "aAbB%_\\.^$|?*+(){}[]-:#=!&<> \nд"
texts = st.text(st.sampled_from(CHARACTERS), max_size=6)
HOSTILE = ("%{a}b%", "%b{a}%", "%{a_}b%", "%{a%}b%", "%a{_}b%", "%{ab_}a%")


@pytest.fixture
def connection(postgres_url: str) -> Iterator[Connection]:
    engine = create_engine(postgres_url)
    with engine.connect() as connected:
        yield connected
    engine.dispose()


def is_like(
    connection: Connection, compared: str, pattern: str, *, ignore_case: bool
) -> bool:
    condition = long_matches(
        literal(compared),
        SearchValue(pattern),
        ignore_case=ignore_case,
        dialect="postgresql",
    )
    return bool(connection.scalar(select(condition)))


@pytest.mark.parametrize("beginning", ["", "x" * HEAD_CHARACTERS])
@pytest.mark.parametrize("ignore_case", [False, True])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(compared=texts, pattern=texts)
def test_text_is_like_a_pattern_as_the_definition_has_it(
    connection: Connection,
    compared: str,
    pattern: str,
    beginning: str,
    *,
    ignore_case: bool,
) -> None:
    compared, pattern = beginning + compared, beginning + pattern

    found = is_like(connection, compared, pattern, ignore_case=ignore_case)

    assert found == Pattern(pattern, ignore_case=ignore_case).matches(compared)


@pytest.mark.parametrize("ignore_case", [False, True])
@pytest.mark.parametrize("shape", HOSTILE)
def test_hostile_pattern_is_answered_in_one_pass(
    connection: Connection, shape: str, *, ignore_case: bool
) -> None:
    """PostgreSQL's own LIKE takes one to three seconds for such a text."""
    before, repeated, after = shape.replace("}", "{").split("{")
    pattern = before + repeated * (1_990 // len(repeated)) + after
    connection.execute(text("SET statement_timeout = 0"))
    for compared in ("a" * 100_000, "ab" * 50_000):
        began = time.monotonic()

        found = is_like(connection, compared, pattern, ignore_case=ignore_case)

        assert time.monotonic() - began < 1.0
        assert found == Pattern(pattern, ignore_case=ignore_case).matches(compared)
