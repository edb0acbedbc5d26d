"""A token is recognised, and a mistyped one told apart, without a database."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain import token_format
from registry.domain.token_format import is_well_formed, new_token, token_digest

BASE62 = string.digits + string.ascii_letters


def test_new_token_is_well_formed_and_found_by_a_secret_scanner() -> None:
    token = new_token()

    assert is_well_formed(token)
    assert re.fullmatch(token_format.PATTERN, token)
    assert len(token) == len("sg_pat_") + 43 + 6


def test_no_two_tokens_are_alike() -> None:
    assert len({new_token() for _ in range(100)}) == 100


@given(st.integers(0, 55), st.sampled_from(BASE62))
def test_any_mistyped_character_is_noticed(position: int, character: str) -> None:
    token = new_token()
    typed = token[:position] + character + token[position + 1 :]

    assert is_well_formed(typed) is (typed == token)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sg_pat_",
        "ghp_" + "a" * 52,
        "sg_pat_" + "a" * 48,
        "sg_pat_" + "a" * 50,
        "sg_pat_" + "é" * 49,
    ],
)
def test_text_of_another_form_is_no_token(text: str) -> None:
    assert not is_well_formed(text)


def test_digest_is_the_sha256_of_the_whole_token() -> None:
    # printf sg_pat_x | sha256sum
    assert token_digest("sg_pat_x") == (
        "db0d6d573691f84f06791fb5fc7860a155e80e298ed3e23dbe629e0b733a77b4"
    )
