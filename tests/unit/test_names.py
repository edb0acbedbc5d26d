"""Which names, aliases, tags and texts are accepted, and in which form."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain import names
from registry.errors import InvalidInputError

NFD, NFC = "u\u0308ber", "\u00fcber"


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "a\udfffb"])
def test_text_that_no_database_stores_is_refused_with_the_field_named(
    text: str,
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        names.clean_text(text, field="reason")

    assert caught.value.field == "reason"


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_every_other_text_is_kept_in_nfc(text: str) -> None:
    assert names.clean_text(text, field="reason") == unicodedata.normalize("NFC", text)


def test_text_of_ours_can_be_stored_whatever_it_quotes() -> None:
    assert names.told_text(NFD) == NFC
    assert names.told_text("no a\ud800") == "no a\\ud800"
    assert names.told_text("a" + "\u0301" * 150) == "a" + "\\u0301" * 150
    told = names.told_text("x" * (names.MAX_TEXT_CHARACTERS + 1))
    assert (len(told), told[-1]) == (names.MAX_TEXT_CHARACTERS, "…")


MARKS = ["\u0301", "\u0316\u0301", "\u0344", "\u0f73", "\u0f75", "\u0f81"]


@pytest.mark.parametrize("marks", MARKS)
def test_marks_in_a_row_have_a_bound(marks: str) -> None:
    most = (marks * names.MAX_COMBINING_MARKS)[: names.MAX_COMBINING_MARKS]
    text = f"a{most}b{most}"

    assert names.clean_text(text, field="reason") == unicodedata.normalize("NFC", text)
    with pytest.raises(InvalidInputError, match="100 combining marks") as caught:
        names.clean_text(f"a{most}{marks[0]}b", field="reason")
    assert caught.value.field == "reason"


def test_everything_that_falls_apart_into_marks_counts_as_one() -> None:
    characters = map(chr, [*range(0xD800), *range(0xE000, 0x110000)])
    marks = {
        each
        for each in characters
        if unicodedata.combining(unicodedata.normalize("NFD", each)[0])
    }

    unnoticed = []
    for mark in marks:
        try:
            names.clean_text(mark * (names.MAX_COMBINING_MARKS + 1), field="reason")
        except InvalidInputError:
            continue
        unnoticed.append(mark)

    assert len(marks) > 900
    assert unnoticed == []


@pytest.mark.parametrize(
    "name",
    ["fraud", "Fraud Model 2", "模型", "a.b", "...", "%2e%2e", "a\\b", "n" * 256, "😀"],
)
def test_model_may_have_a_name_that_mlflow_accepts(name: str) -> None:
    assert names.model_name(name) == name


def test_two_spellings_of_one_name_are_one_name() -> None:
    assert names.model_name(NFD) == names.model_name(NFC) == NFC


@pytest.mark.parametrize(
    "name",
    ["", " ", "\u00a0", "n" * 257, ".", "..", "a/b", "a:b", "a\nb", "a\x7fb", "a\0b"],
)
def test_model_may_not_have_this_name(name: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        names.model_name(name)

    assert caught.value.field == "name"


@pytest.mark.parametrize("alias", ["champion", "v", "v1x", "Ünicode-1_2", "a" * 255])
def test_alias_of_letters_digits_and_dashes_is_accepted(alias: str) -> None:
    assert names.alias_name(alias) == alias


@pytest.mark.parametrize("alias", ["", "a b", "a/b", "a.b", "a" * 256, "a\n"])
def test_alias_of_other_characters_is_refused(alias: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        names.alias_name(alias)

    assert caught.value.field == "alias"


@pytest.mark.parametrize("alias", ["latest", "LATEST", "v1", "V007"])
def test_alias_that_means_something_else_to_mlflow_is_reserved(alias: str) -> None:
    with pytest.raises(InvalidInputError, match="reserved"):
        names.alias_name(alias)


@pytest.mark.parametrize(
    "key", ["owner", "mlflow.source.name", "a/b-c", "a b:c", "模", "k" * 250]
)
def test_tag_is_kept_and_null_marks_one_to_remove(key: str) -> None:
    given_tags = {key: "", "gone": None, NFD: NFD}

    assert names.tags(given_tags) == {key: "", "gone": None, NFC: NFC}


@pytest.mark.parametrize(
    "key", ["", "a//b", "/a", "a/", "../a", "a/./b", "a=b", "k" * 251, "a\nb", "a\0b"]
)
def test_tag_with_such_a_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        names.tags({key: "value"})

    assert caught.value.field == "tags"


def test_tag_value_has_a_bound() -> None:
    longest = "v" * names.MAX_TAG_VALUE_CHARACTERS

    assert names.tags({"a": longest}) == {"a": longest}
    with pytest.raises(InvalidInputError, match="'a'"):
        names.tags({"a": longest + "v"})


def test_tags_have_a_bound_in_number_and_in_all() -> None:
    most = {f"{number}": "" for number in range(names.MAX_TAGS)}
    longest = {
        f"{number:05}": "v" * 99_995
        for number in range(names.MAX_TAGS_CHARACTERS // 100_000)
    }

    assert names.tags(most) == most
    names.require_room_for_tags({}, most)
    names.require_room_for_tags({}, longest)
    with pytest.raises(InvalidInputError, match="5,001 in one change"):
        names.tags({**most, "one more": ""})
    with pytest.raises(InvalidInputError, match="5,001 with"):
        names.require_room_for_tags(most, {"one more": ""})
    with pytest.raises(InvalidInputError, match="2,000,001 characters"):
        names.require_room_for_tags(longest, {"1": ""})


def test_what_has_too_many_tags_already_may_lose_and_change_some() -> None:
    too_many = {f"{number}": "vv" for number in range(names.MAX_TAGS + 2)}

    names.require_room_for_tags(too_many, {"0": None})
    names.require_room_for_tags(too_many, {"0": "v"})
    names.require_room_for_tags(too_many, {"0": None, "one more": "v"})
    with pytest.raises(InvalidInputError):
        names.require_room_for_tags(too_many, {"one more": ""})


@pytest.mark.parametrize("name", ["production", "eu-west 1", "a/b:c", "e" * 250])
def test_environment_has_any_name_that_can_be_read(name: str) -> None:
    assert names.environment_name(name) == name


@pytest.mark.parametrize("name", ["", " ", "e" * 251, "a\nb", "a\x85b", "a\0b"])
def test_environment_without_a_readable_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        names.environment_name(name)

    assert caught.value.field == "environment"


def test_environment_is_kept_in_nfc() -> None:
    assert names.environment_name(NFD) == NFC
