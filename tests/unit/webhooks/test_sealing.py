"""Secrets at rest: opened by the right keys only, and rotated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.errors import UnsealError
from webhooks.roster.secrets import SecretBox


@given(st.text())
def test_what_is_sealed_opens_again(clear: str) -> None:
    box = SecretBox(["first"])

    assert box.open(box.seal(clear)) == clear


def test_sealing_twice_gives_different_text_without_the_secret() -> None:
    box = SecretBox(["first"])

    one, two = box.seal("canary-1f"), box.seal("canary-1f")

    assert one != two
    assert "canary" not in one


def test_an_older_key_still_opens_and_the_new_one_seals() -> None:
    old, both, new = SecretBox(["old"]), SecretBox(["new", "old"]), SecretBox(["new"])
    sealed = old.seal("x")

    assert both.open(sealed) == "x"
    assert new.open(both.seal(both.open(sealed))) == "x"
    with pytest.raises(UnsealError):
        old.open(both.seal("x"))


@pytest.mark.parametrize("sealed", ["", "nonsense", "gAAAAA==", "é"])
def test_what_was_not_sealed_here_does_not_open(sealed: str) -> None:
    with pytest.raises(UnsealError):
        SecretBox(["first"]).open(sealed)


@pytest.mark.parametrize("keys", [[], [""], ["first", ""]])
def test_a_box_without_a_key_cannot_be_made(keys: list[str]) -> None:
    with pytest.raises(ValueError, match="key"):
        SecretBox(keys)
