"""The token a delivery carries: made by the registry alone, and always the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.deployment_token import (
    DeploymentTokens,
    TokenSubject,
    is_deployment_token,
)
from registry.errors import NotSignedInError

KEY, OTHER_KEY = "k" * 32, "o" * 32
SUBJECT = TokenSubject("msg_abc234", "sub_0123ff")


def test_token_names_what_it_speaks_of_and_is_the_same_each_time() -> None:
    first = DeploymentTokens([KEY]).issue(SUBJECT)
    again = DeploymentTokens([KEY, OTHER_KEY]).issue(SUBJECT)

    assert first == again
    assert first.startswith("sg_dep_msg_abc234.sub_0123ff.")
    assert is_deployment_token(first)
    assert DeploymentTokens([KEY]).read(first) == SUBJECT


def test_key_that_was_rotated_out_of_first_place_still_verifies() -> None:
    token = DeploymentTokens([KEY]).issue(SUBJECT)

    assert DeploymentTokens([OTHER_KEY, KEY]).read(token) == SUBJECT
    with pytest.raises(NotSignedInError, match="not the registry's"):
        DeploymentTokens([OTHER_KEY]).read(token)


def test_token_does_not_show_the_operators_key() -> None:
    assert KEY not in DeploymentTokens([KEY]).issue(SUBJECT)


@given(st.data())
def test_no_character_of_a_token_can_be_changed(data: st.DataObject) -> None:
    token = DeploymentTokens([KEY]).issue(SUBJECT)
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(min_codepoint=33, max_codepoint=383))
    changed = token[:place] + other + token[place + 1 :]

    if changed != token:
        with pytest.raises(NotSignedInError):
            DeploymentTokens([KEY]).read(changed)


@pytest.mark.parametrize(
    "text", ["", "sg_dep_", "sg_dep_a.b", "sg_pat_abc", "sg_dep_a.b." + "é" * 43]
)
def test_text_of_another_form_is_no_token(text: str) -> None:
    with pytest.raises(NotSignedInError, match="mistyped"):
        DeploymentTokens([KEY]).read(text)


def test_tokens_without_a_key_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one key"):
        DeploymentTokens([])
