"""MLflow's search language: what is read, what is refused, and how."""

import unicodedata
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.prompts import PROMPT_TAG
from registry.errors import InvalidInputError
from registry.search import language
from registry.search.language import (
    MODELS,
    VERSIONS,
    Attribute,
    Comparison,
    Operator,
    Ordering,
    Searchable,
    parse_search,
)

TEXT_OPERATORS = (Operator.EQUAL, Operator.UNEQUAL, Operator.LIKE, Operator.ILIKE)
LIST_OPERATORS = (Operator.IN, Operator.NOT_IN)
NUMBER_OPERATORS = (
    Operator.EQUAL,
    Operator.UNEQUAL,
    Operator.GREATER,
    Operator.GREATER_OR_EQUAL,
    Operator.LESS,
    Operator.LESS_OR_EQUAL,
)
NAME_UP = Ordering(column=Attribute.NAME)
NUMBER_DOWN = Ordering(column=Attribute.VERSION_NUMBER, is_descending=True)
UPDATED_DOWN = Ordering(column=Attribute.LAST_UPDATED_TIMESTAMP, is_descending=True)


def read(text: str, searchable: Searchable = VERSIONS) -> tuple[Comparison, ...]:
    return parse_search(searchable, text, []).comparisons


def refusal(
    text: str, searchable: Searchable = VERSIONS, order_by: Sequence[str] = ()
) -> InvalidInputError:
    with pytest.raises(InvalidInputError) as caught:
        parse_search(searchable, text, order_by)
    return caught.value


def compares(
    attribute: Attribute, operator: Operator, value: str | int | tuple[str, ...]
) -> tuple[Comparison]:
    return (Comparison(attribute=attribute, operator=operator, value=value),)


def compares_tag(tag: str, operator: Operator, value: str) -> tuple[Comparison]:
    return (Comparison(tag=tag, operator=operator, value=value),)


def test_no_filter_finds_all_but_prompts() -> None:
    search = parse_search(MODELS, "", [])

    assert search.comparisons == ()
    assert search.hides_prompts


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("name = 'fraud'", "fraud"),
        ("name='fraud'", "fraud"),
        ('name = "it\'s"', "it's"),
        ("name = 'say \"so\"'", 'say "so"'),
        ("name = 'it''s'", "it''s"),
        ("name = ''", ""),
        ("\tname\n=\n'fraud'  ", "fraud"),
        ("attribute.name = 'fraud'", "fraud"),
        ("name = 'a AND b = ''c'", "a AND b = ''c"),
        ("name = 'back\\'", "back\\"),
        ("name = 'line\nbreak; DROP TABLE x --'", "line\nbreak; DROP TABLE x --"),
    ],
)
def test_text_in_quotes_is_taken_as_it_is(text: str, value: str) -> None:
    expected = compares(Attribute.NAME, Operator.EQUAL, value)

    assert read(text) == read(text, MODELS) == expected


def test_text_is_compared_in_the_form_it_is_stored_in() -> None:
    decomposed = unicodedata.normalize("NFD", "über")

    assert read(f"name = '{decomposed}'")[0].value == "über"


@pytest.mark.parametrize("attribute", ["name", "run_id", "source_path"])
@pytest.mark.parametrize("operator", TEXT_OPERATORS)
def test_texts_are_compared_and_matched(attribute: str, operator: Operator) -> None:
    text = f"{attribute} {operator.lower()} 'a%'"

    assert read(text) == compares(Attribute(attribute), operator, "a%")


@pytest.mark.parametrize("attribute", ["name", "run_id"])
@pytest.mark.parametrize(
    ("text", "operator", "values"),
    [
        ("IN ('a')", Operator.IN, ("a",)),
        ("in('a',\"b\" , 'c',)", Operator.IN, ("a", "b", "c")),
        ("not   in ('a')", Operator.NOT_IN, ("a",)),
    ],
)
def test_texts_are_looked_up_in_lists(
    attribute: str, text: str, operator: Operator, values: tuple[str, ...]
) -> None:
    expected = compares(Attribute(attribute), operator, values)

    assert read(f"{attribute} {text}") == expected


@pytest.mark.parametrize("operator", NUMBER_OPERATORS)
@pytest.mark.parametrize("number", ["7", "'7'", '" 007 "'])
def test_version_numbers_are_integers_with_or_without_quotes(
    operator: Operator, number: str
) -> None:
    expected = compares(Attribute.VERSION_NUMBER, operator, 7)

    assert read(f"version_number{operator}{number}") == expected


def test_version_number_may_be_one_that_no_version_has() -> None:
    for number in (-1, 0, 10**18 - 1):
        expected = compares(Attribute.VERSION_NUMBER, Operator.EQUAL, number)

        assert read(f"version_number = {number}") == expected


@pytest.mark.parametrize(
    ("key", "tag"),
    [
        ("tag.team", "team"),
        ("tags.team", "team"),
        ("tags.`team`", "team"),
        ('tags."team"', "team"),
        ("tags.`cost centre/of: all-the_rest`", "cost centre/of: all-the_rest"),
        ("tags.mlflow.user", "mlflow.user"),
        ("tags.1st", "1st"),
        ("tags.select", "select"),
        ("tags.größe", "größe"),
        ("tags.name", "name"),
    ],
)
@pytest.mark.parametrize("operator", TEXT_OPERATORS)
def test_tags_are_compared_and_matched(key: str, tag: str, operator: Operator) -> None:
    text = f"{key} {operator} 'risk'"

    assert read(text, MODELS) == read(text) == compares_tag(tag, operator, "risk")


def test_comparisons_are_joined_by_and_in_any_case() -> None:
    text = "name = 'a'AND tags.k LIKE '%' and version_number>1 And run_id='r'"

    assert [comparison.operator for comparison in read(text)] == ["=", "LIKE", ">", "="]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = 'a' OR name = 'b'", "12, found \"OR name = 'b'\": expected AND or"),
        ("(name = 'a')", "1, found \"(name = 'a')\": expected a key such as name or"),
        ("name = 'a';", "11, found ';': expected AND or the end"),
        ("name = 'a' -- so", "12, found '-- so': expected AND or the end"),
        ("name = 'a' AND", "15, found the end: expected a key"),
        ("AND name = 'a'", "5, found \"name = 'a'\": expected a comparator (=, !="),
        ("name = 'a' name = 'b'", "12, found \"name = 'b'\": expected AND or the end"),
        ("NOT name = 'a'", "5, found \"name = 'a'\": expected a comparator"),
        ("name", "5, found the end: expected a comparator"),
        ("name NOT LIKE 'a'", "6, found \"NOT LIKE 'a'\": expected a comparator"),
        ("name LIKEa", "6, found 'LIKEa': expected a comparator"),
        ("name =", "7, found the end: expected a text in quotes or a number"),
        ("name = a", "8, found 'a': expected a text in quotes"),
        ("name = 1", "8, found '1': expected a text in quotes"),
        ("name = 'open", '8, found "\'open": expected a text in quotes'),
        ("name = 'it\\'s'", '13, found "s\'": expected AND or the end'),
        ("name = «a»", "8, found '«a»': expected a text in quotes"),
        ("name == 'a'", "7, found \"= 'a'\": expected a text in quotes"),
        ("name <> 'a'", "7, found \"> 'a'\": expected a text in quotes"),
        ("name = ('a')", "8, found \"('a')\": expected a text in quotes"),
        ("name IN ()", "10, found ')': expected a text in quotes"),
        ("name IN 'a'", "9, found \"'a'\": expected '('"),
        ("name IN ('a' 'b')", "14, found \"'b')\": expected ',' or ')'"),
        ("name IN ('a', 1)", "15, found '1)': expected a text in quotes or ')'"),
        ("name IN ('a'", "13, found the end: expected ',' or ')'"),
        ("= 'a'", "1, found \"= 'a'\": expected a key"),
        (" ", "2, found the end: expected a key"),
        ("`name` = 'a'", "1, found \"`name` = 'a'\": expected a key"),
        ("tags.`` = 'a'", "5, found \".`` = 'a'\": expected a comparator"),
        ("tags.a-b = 'a'", "7, found \"-b = 'a'\": expected a comparator"),
        ("tags. a = 'a'", "5, found \". a = 'a'\": expected a comparator"),
        ("tags.`a``b` = 'a'", "9, found \"`b` = 'a'\": expected a comparator"),
        ("tags.a = 1", "10, found '1': expected a text in quotes"),
        ("version_number = 1.5", "18, found '1.5': expected an integer"),
        ("version_number = '1.0'", "18, found \"'1.0'\": expected an integer"),
        ("version_number = 1e3", "18, found '1e3': expected an integer"),
        ("version_number = 'one'", "18, found \"'one'\": expected an integer"),
        ("version_number = " + "9" * 19, "18, found '" + "9" * 19),
        ("version_number = +1", "18, found '+1': expected"),
    ],
)
def test_refusal_names_place_finding_and_expectation(text: str, message: str) -> None:
    error = refusal(text)

    assert error.message.startswith(f"at character {message}")
    assert error.field == "filter"


@pytest.mark.parametrize(
    "key",
    [
        "NAME",
        "attributes.name",
        "attr.name",
        "attribute.`name`",
        "TAGS.k",
        "creation_timestamp",
        "last_updated_timestamp",
        "current_stage",
        "version",
        "source",
        "description",
        "1",
    ],
)
def test_refusal_of_a_key_lists_the_keys_there_are(key: str) -> None:
    assert refusal(f"{key} = 'a'").message == (
        f"at character 1, found {key!r}: expected one of "
        "name, run_id, source_path, version_number, tags.<key>"
    )
    assert refusal(f"{key} = 'a'", MODELS).message == (
        f"at character 1, found {key!r}: expected one of name, tags.<key>"
    )


@pytest.mark.parametrize("key", ["run_id", "source_path", "version_number"])
def test_models_have_nothing_that_only_versions_have(key: str) -> None:
    assert "expected one of name" in refusal(f"{key} = 'a'", MODELS).message


@pytest.mark.parametrize(
    ("comparison", "allowed"),
    [
        ("name > 'a'", "name can be compared with =, !=, LIKE, ILIKE, IN, NOT IN"),
        ("tags.k IN ('a')", "tag k can be compared with =, !=, LIKE, ILIKE"),
        ("tags.k >= 'a'", "tag k can be compared with =, !=, LIKE, ILIKE"),
        (
            "source_path IN ('a')",
            "source_path can be compared with =, !=, LIKE, ILIKE",
        ),
        (
            "version_number LIKE '1'",
            "version_number can be compared with =, !=, >, >=, <, <=",
        ),
        (
            "version_number IN ('1')",
            "version_number can be compared with =, !=, >, >=, <, <=",
        ),
    ],
)
def test_refusal_of_a_comparator_lists_the_ones_there_are(
    comparison: str, allowed: str
) -> None:
    assert refusal(comparison).message.endswith(f": {allowed}")


@pytest.mark.parametrize(
    ("first", "hides"),
    [
        ("!= 'true'", True),
        ("= 'false'", True),
        ("LIKE 'true'", True),
        ("= 'true'", False),
        ("= 'TRUE'", False),
        ("!= 'false'", False),
    ],
)
def test_prompts_are_hidden_unless_the_first_comparison_asks_for_them(
    first: str,
    hides: bool,  # noqa: FBT001  # a parameter of the test
) -> None:
    text = f"name = 'a' AND tags.`{PROMPT_TAG}` {first} AND tag.{PROMPT_TAG} != 'x'"

    search = parse_search(MODELS, text, [])

    assert search.hides_prompts is hides
    assert len(search.comparisons) == (1 if hides else 3)


@pytest.mark.parametrize(
    ("searchable", "order_by", "ordering"),
    [
        (MODELS, [], [NAME_UP]),
        (VERSIONS, [], [UPDATED_DOWN, NAME_UP, NUMBER_DOWN]),
        (MODELS, ["timestamp DESC"], [UPDATED_DOWN, NAME_UP]),
        (MODELS, ["last_updated_timestamp desc", "name"], [UPDATED_DOWN, NAME_UP]),
        (MODELS, ["name  DESC"], [Ordering(column=Attribute.NAME, is_descending=True)]),
        (VERSIONS, ["name asc"], [NAME_UP, NUMBER_DOWN]),
        (VERSIONS, ["version_number DESC"], [NUMBER_DOWN, NAME_UP]),
        (
            VERSIONS,
            ["attribute.creation_timestamp"],
            [Ordering(column=Attribute.CREATION_TIMESTAMP), NAME_UP, NUMBER_DOWN],
        ),
    ],
)
def test_every_order_is_total(
    searchable: Searchable, order_by: list[str], ordering: list[Ordering]
) -> None:
    assert list(parse_search(searchable, "", order_by).ordering) == ordering


@pytest.mark.parametrize(
    ("searchable", "order_by", "message"),
    [
        (MODELS, ["creation_timestamp"], "expected one of name, timestamp, last_up"),
        (VERSIONS, ["timestamp"], "expected one of name, version_number, creation_"),
        (MODELS, ["NAME"], "at character 1, found 'NAME': expected one of name"),
        (MODELS, [""], "at character 1, found the end: expected a key"),
        (MODELS, ["name foo"], "6, found 'foo': expected ASC, DESC or the end"),
        (MODELS, ["name ASC, timestamp"], "9, found ', timestamp': expected the end"),
        (MODELS, ["name DESC NULLS LAST"], "found 'NULLS LAST': expected the end"),
        (MODELS, ["name;--"], "5, found ';--': expected ASC, DESC or the end"),
        (MODELS, ["name", "name DESC"], "name is named twice"),
        (MODELS, ["timestamp", "last_updated_timestamp"], "is named twice"),
        (MODELS, ["name\0"], "must not contain NUL"),
    ],
)
def test_refusal_of_an_order_names_the_place(
    searchable: Searchable, order_by: list[str], message: str
) -> None:
    error = refusal("", searchable, order_by)

    assert message in error.message
    assert error.field == "order_by"


@pytest.mark.parametrize("text", ["name = 'a\0'", "name = '\ud800'"])
def test_text_that_no_database_stores_is_refused(text: str) -> None:
    assert "must not contain NUL" in refusal(text).message


def test_refusal_quotes_little_of_a_long_text() -> None:
    assert len(refusal("n" * 10_000).message) < 200
    assert len(refusal("name = 'a' " + "n" * 10_000).message) < 200


def test_each_limit_is_named_when_it_is_passed() -> None:
    value = "x" * language.MAX_FILTER_CHARACTERS
    pattern = "x" * (language.MAX_PATTERN_CHARACTERS + 1)
    many = " AND ".join(["name = 'a'"] * (language.MAX_COMPARISONS + 1))
    listed = ",".join(["'a'"] * (language.MAX_LISTED_VALUES + 1))

    assert "expected 50000 at most" in refusal(f"name = '{value}'").message
    assert "2000 characters at most" in refusal(f"name LIKE '{pattern}'").message
    assert "2000 characters at most" in refusal(f"tags.a ILIKE '{pattern}'").message
    assert "expected 100 at most" in refusal(many).message
    assert "lists 1001 values" in refusal(f"name IN ({listed})").message
    half = ",".join(["'a'"] * 501)
    twice = f"name IN ({half}) AND run_id NOT IN ({half})"
    assert "lists 1002 values" in refusal(twice).message


def test_what_is_just_within_the_limits_is_read() -> None:
    pattern = "x" * language.MAX_PATTERN_CHARACTERS
    many = " AND ".join(["name = 'a'"] * language.MAX_COMPARISONS)
    listed = ",".join(["'a'"] * language.MAX_LISTED_VALUES)

    assert read(f"name LIKE '{pattern}'")[0].value == pattern
    assert len(read(many)) == language.MAX_COMPARISONS
    assert read(f"name IN ({listed})")[0].value == ("a",) * 1000


@pytest.mark.parametrize(
    "text",
    [
        "name = " + "'" * 40_001,
        "name = " + "''" * 20_000 + "x",
        "name = " + "'\"" * 20_000,
        "name = 'a' AND " * 3_000,
        "name IN (" + "'a'," * 10_000,
        "tags." + "a." * 20_000 + "` = 'x'",
        "tags.`" + "a" * 40_000,
        "(" * 40_000,
        "name" + " " * 40_000 + "NOT" + " " * 5_000,
        "version_number = " + "1" * 40_000,
        "version_number = '" + " " * 20_000 + "1" + " " * 20_000 + "x'",
        "version_number = " + "0" * 40_000 + "x",
        "name = 'a" + "\\'" * 20_000,
    ],
)
def test_hostile_filter_is_refused_without_backtracking(text: str) -> None:
    """Exponential time would not let this test end."""
    assert refusal(text).field == "filter"


def quoted(value: str) -> str:
    return f'"{value}"' if "'" in value else f"'{value}'"


plain_texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\"'"), max_size=20
)
texts = (
    st.builds(
        lambda a, q, b: a + q + b, plain_texts, st.sampled_from("\"'"), plain_texts
    )
    | plain_texts
).map(lambda text: unicodedata.normalize("NFC", text))
tag_keys = st.text(st.sampled_from("abcÄ0_ /.-:"), min_size=1, max_size=12).filter(
    lambda key: key != PROMPT_TAG
)
text_comparisons = st.builds(
    Comparison,
    attribute=st.sampled_from(
        [Attribute.NAME, Attribute.RUN_ID, Attribute.SOURCE_PATH]
    ),
    operator=st.sampled_from(TEXT_OPERATORS),
    value=texts,
)
list_comparisons = st.builds(
    Comparison,
    attribute=st.sampled_from([Attribute.NAME, Attribute.RUN_ID]),
    operator=st.sampled_from(LIST_OPERATORS),
    value=st.lists(texts, min_size=1, max_size=4).map(tuple),
)
number_comparisons = st.builds(
    Comparison,
    attribute=st.just(Attribute.VERSION_NUMBER),
    operator=st.sampled_from(NUMBER_OPERATORS),
    value=st.integers(-(10**18) + 1, 10**18 - 1),
)
tag_comparisons = st.builds(
    Comparison, tag=tag_keys, operator=st.sampled_from(TEXT_OPERATORS), value=texts
)
comparisons = st.lists(
    text_comparisons | list_comparisons | number_comparisons | tag_comparisons,
    min_size=1,
    max_size=5,
)


def written(comparison: Comparison) -> str:
    key = comparison.attribute or f"tags.`{comparison.tag}`"
    match comparison.value:
        case int(number):
            value = str(number)
        case str(text):
            value = quoted(text)
        case several:
            value = f"({', '.join(quoted(text) for text in several)})"
    return f"{key} {comparison.operator} {value}"


@given(comparisons)
def test_what_is_written_is_read_back(expected: list[Comparison]) -> None:
    text = " AND ".join(written(comparison) for comparison in expected)

    assert read(text) == tuple(expected)


@given(st.text(st.sampled_from("name=tgsr_id.vIKEOA'`\" ()<>!,%12;-\\\n"), max_size=60))
def test_any_text_is_read_or_refused_with_its_field(text: str) -> None:
    problem = None
    try:
        parse_search(VERSIONS, text, [text])
    except InvalidInputError as error:
        problem = error

    if problem is not None:
        assert problem.field in {"filter", "order_by"}
        assert "expected" in problem.message
