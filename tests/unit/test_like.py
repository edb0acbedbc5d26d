"""LIKE by its definition, and in a time that no pattern makes long."""

import sys
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.names import MAX_TAG_VALUE_CHARACTERS
from registry.search.language import MAX_PATTERN_CHARACTERS
from registry.search.like import Pattern, cases_of, folded

#: Every character that has another case.
CASED = [
    each
    for each in map(chr, range(sys.maxunicode + 1))
    if each.lower() != each or each.upper() != each
]

texts = st.text(st.sampled_from("ab%_AB\u03c3\u03c2\u03a3İßẞ"), max_size=8)


def is_like(text: str, pattern: str) -> bool:
    """LIKE by its definition, one character after the other."""
    if not pattern:
        return not text
    if pattern[0] == "%":
        return any(is_like(text[skip:], pattern[1:]) for skip in range(len(text) + 1))
    is_met = bool(text) and pattern[0] in {"_", text[0]}
    return is_met and is_like(text[1:], pattern[1:])


@given(texts, texts)
def test_pattern_matches_as_the_definition_has_it(text: str, pattern: str) -> None:
    assert Pattern(pattern, ignore_case=False).matches(text) == is_like(text, pattern)


@given(texts, texts)
def test_case_is_ignored_character_by_character(text: str, pattern: str) -> None:
    is_met = Pattern(pattern, ignore_case=True).matches(text)

    assert is_met == is_like(folded(text), folded(pattern))


def test_folding_changes_no_length_and_each_character_by_itself() -> None:
    everything = "".join(CASED)

    assert folded(everything) == "".join(map(folded, CASED))
    assert len(folded(everything)) == len(CASED)


def test_cases_are_all_the_characters_that_fold_alike() -> None:
    """Of those that are stored: others become one of them in Unicode NFC."""
    alike: dict[str, set[str]] = {}
    for character in CASED:
        if unicodedata.normalize("NFC", character) == character:
            alike.setdefault(folded(character), set()).add(character)

    assert all(cases_of(each) == found for found in alike.values() for each in found)


@pytest.mark.parametrize("ignore_case", [False, True])
@pytest.mark.parametrize(
    "repeated", ["a", "a_", "_a", "%a", "a%", "_%a", "%_a_", "ab", "b_a"]
)
def test_no_pattern_takes_longer_than_a_pass_over_the_text(
    repeated: str, *, ignore_case: bool
) -> None:
    longest = "a" * MAX_TAG_VALUE_CHARACTERS
    pattern = f"%{repeated * (MAX_PATTERN_CHARACTERS // len(repeated))}"[:-3] + "b%"
    compiled = Pattern(pattern, ignore_case=ignore_case)

    began = time.process_time()
    is_met = compiled.matches(longest)

    assert not is_met
    assert time.process_time() - began < 1.0
