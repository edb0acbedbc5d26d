"""Placeholders are filled where they were written, and nowhere else."""

import json
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.formats.writing import (
    FORM_CONTENT_TYPE,
    Template,
    fill,
    fill_body,
    form_bytes,
    json_bytes,
    names_in,
    names_in_body,
)

JSON = "application/json"
# What an event may carry, the marks and the placeholders themselves among it.
HOSTILE = st.one_of(
    st.text(), st.sampled_from(["${token}", "\0token\0", "\\u0000token\\u0000", '"}'])
)


def test_placeholders_are_named_and_filled() -> None:
    text = "Bearer ${token}-${_2}"

    assert names_in(text) == {"token", "_2"}
    assert fill(text, {"token": "a", "_2": "${token}"}) == "Bearer a-${token}"


@pytest.mark.parametrize("text", ["${", "${}", "${a b}", "${1}", "x${a", "${${a}}"])
def test_a_placeholder_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a placeholder is"):
        names_in(text)


def test_a_name_without_value_is_an_error() -> None:
    with pytest.raises(KeyError):
        fill("${gone}", {})
    with pytest.raises(KeyError):
        fill_body(b"\0gone\0", JSON, {})


@given(st.text(), HOSTILE, HOSTILE)
def test_json_has_the_value_where_it_belongs_and_data_as_it_was(
    secret: str, data: str, literal: str
) -> None:
    body = json_bytes({"s": Template("a ${token}"), "d": [data, {"k": literal}]})

    filled = fill_body(body, JSON, {"token": secret})

    assert names_in_body(body) == {"token"}
    assert json.loads(filled) == {"s": f"a {secret}", "d": [data, {"k": literal}]}


@given(st.text(st.characters(exclude_categories=["Cs"])), HOSTILE)
def test_a_form_has_the_value_where_it_belongs_and_data_as_it_was(
    secret: str, data: str
) -> None:
    data = data.encode(errors="replace").decode()
    body = form_bytes({"t": Template("${token}"), "d&": data})

    filled = fill_body(body, FORM_CONTENT_TYPE, {"token": secret})

    assert parse_qs(filled.decode(), keep_blank_values=True) == {
        "t": [secret],
        "d&": [data],
    }
