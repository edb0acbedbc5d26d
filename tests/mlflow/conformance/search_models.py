"""Searching registered models by MLflow's grammar."""

from typing import Any

from tests.mlflow.conformance.cases import section
from tests.mlflow.conformance.world import World

CASES = section(__name__)

PATH = "/registered-models/search"
REFUSED_FILTERS = (
    "name = 'a' OR name = 'b'",
    "(name = 'a')",
    "name = 'a';",
    "name = a",
    "name",
    "name =",
    "= 'a'",
    "name == 'a'",
    "name > 'a'",
    "name BETWEEN 'a' AND 'b'",
    "creation_timestamp > 1",
    "last_updated_timestamp > 1",
    "attributes.name = 'a'",
    "version_number = 1",
    "run_id = 'a'",
    "description = 'a'",
    "tags.k IN ('a')",
    "tag.k > 'a'",
    "name IN 'a'",
    "name IN ()",
    "name = 'a' -- comment",
    "name = 'a'; DROP TABLE x",
    "unknown.k = 'a'",
    "unknown = true",
    "name!=a",
    "source_path = 'a'",
    "name = 1",
)
READ_PAST = ("name = 'a' name = 'b'", "name = 'a' AND", "AND name = 'a'")
REFUSED_ORDERS = (
    "creation_timestamp",
    "name, timestamp",
    "name UP",
    "description",
    "name ASC DESC",
    "tags.k",
    "",
)
#: MLflow takes any white space, and any case.
ORDERS = ("name   DESC", "name\tDESC", "name\r\rDESC", "name\nDESC", "name deSc")


def names(found: list[Any]) -> list[str]:
    return [model.name for model in found]


def three(world: World) -> tuple[str, list[str]]:
    """A common beginning and three models: …-Alpha, …-beta, …-gamma_1."""
    start = world.name("")
    made = [start + ending for ending in ("Alpha", "beta", "gamma_1")]
    for name in made:
        world.client.create_registered_model(name)
    return start, made


@CASES.case
def a_model_is_found_by_its_name(world: World) -> None:
    _, (alpha, *_rest) = three(world)
    for text in (f"name = '{alpha}'", f'name = "{alpha}"', f"name='{alpha}'"):
        assert names(world.client.search_registered_models(text)) == [alpha]


@CASES.case
def the_name_is_an_attribute(world: World) -> None:
    _, (alpha, *_rest) = three(world)
    found = world.client.search_registered_models(f"attribute.name = '{alpha}'")
    assert names(found) == [alpha]


@CASES.case
def nothing_found_is_an_empty_object(world: World) -> None:
    answer = world.get(PATH, filter=f"name = '{world.name()}'")
    assert answer.document == {}


@CASES.each(
    (
        ("LIKE", "%Alpha", ["Alpha"]),
        ("LIKE", "%alpha", []),
        ("ILIKE", "%ALPHA", ["Alpha"]),
        ("LIKE", "%", ["Alpha", "beta", "gamma_1"]),
        ("LIKE", "%_eta", ["beta"]),
        ("LIKE", "%gamma__", ["gamma_1"]),
        ("ILIKE", "%BE%", ["beta"]),
        ("like", "%beta", ["beta"]),
        ("ilike", "%BETA", ["beta"]),
    )
)
def patterns_match_as_in_sql(world: World, case: tuple[str, str, list[str]]) -> None:
    operator, pattern, endings = case
    start, _ = three(world)
    pattern = pattern.replace("%", f"{start}%", 1)
    found = world.client.search_registered_models(f"name {operator} '{pattern}'")
    assert names(found) == [start + ending for ending in endings]


@CASES.case
def a_pattern_without_wildcards_is_the_whole_name(world: World) -> None:
    start, (alpha, *_rest) = three(world)
    search = world.client.search_registered_models
    assert names(search(f"name LIKE '{alpha}'")) == [alpha]
    assert names(search(f"name LIKE '{start}'")) == []


@CASES.case
def signs_of_other_pattern_languages_mean_themselves(world: World) -> None:
    start = world.name("")
    made = [f"{start}{ending}" for ending in ("a*b", "a?b", "a[b]c", "a\\b", "axb")]
    for name in made:
        world.client.create_registered_model(name)
    search = world.client.search_registered_models
    for name in made[:3]:
        assert names(search(f"name LIKE '{name}'")) == [name]


@CASES.case
def names_can_be_listed(world: World) -> None:
    start, (alpha, beta, gamma) = three(world)
    search = world.client.search_registered_models
    assert names(search(f"name IN ('{alpha}', '{gamma}')")) == [alpha, gamma]
    others = search(f"name LIKE '{start}%' AND name NOT IN ('{alpha}')")
    assert names(others) == [beta, gamma]
    assert names(search(f"name IN ('{beta}')")) == [beta]


@CASES.case
def comparisons_are_joined_by_and(world: World) -> None:
    start, (alpha, beta, gamma) = three(world)
    search = world.client.search_registered_models
    found = search(f"name LIKE '{start}%' and name != '{alpha}' AND name != '{beta}'")
    assert names(found) == [gamma]


@CASES.case
def a_tag_is_found_by_its_value(world: World) -> None:
    start, (alpha, beta, _) = three(world)
    world.client.set_registered_model_tag(alpha, "team", "risk")
    world.client.set_registered_model_tag(beta, "team", "Sales")
    search = world.client.search_registered_models
    here = f"name LIKE '{start}%' AND "
    assert names(search(here + "tag.team = 'risk'")) == [alpha]
    assert names(search(here + "tags.team = 'risk'")) == [alpha]
    assert names(search(here + "tags.team != 'risk'")) == [beta]
    assert names(search(here + "tags.team LIKE '%s%'")) == [alpha, beta]
    assert names(search(here + "tags.team LIKE 'sales'")) == []
    assert names(search(here + "tags.team ILIKE 'sales'")) == [beta]
    assert names(search(here + "tags.other = 'risk'")) == []


@CASES.case
def several_tags_must_all_be_so(world: World) -> None:
    start, (alpha, beta, _) = three(world)
    for name, tier in ((alpha, "1"), (beta, "2")):
        world.client.set_registered_model_tag(name, "team", "risk")
        world.client.set_registered_model_tag(name, "tier", tier)
    found = world.client.search_registered_models(
        f"name LIKE '{start}%' AND tags.team = 'risk' AND tags.tier = '2'"
    )
    assert names(found) == [beta]


@CASES.case
def a_tag_may_be_compared_twice(world: World) -> None:
    start, (alpha, beta, gamma) = three(world)
    for name, value in ((alpha, "abc"), (beta, "abcd"), (gamma, "xyz")):
        world.client.set_registered_model_tag(name, "k", value)
    here = f"name LIKE '{start}%' AND "
    search = world.client.search_registered_models
    assert names(search(f"{here}tag.k != 'abcd' and tag.k LIKE 'ab%'")) == [alpha]
    assert names(search(f"{here}tag.K = 'abc'")) == []
    assert names(search(f"{here}tag.k = 'ABC'")) == []


@CASES.each(("`odd key`", '"odd key"', "`odd.key`", "`a/b`", "`größe`"))
def a_key_of_odd_signs_is_quoted(world: World, key: str) -> None:
    name = world.model()
    world.client.set_registered_model_tag(name, key[1:-1], "v")
    found = world.client.search_registered_models(f"tags.{key} = 'v'")
    assert name in names(found)


@CASES.each(REFUSED_FILTERS)
def a_filter_outside_the_grammar_is_refused(world: World, text: str) -> None:
    world.get(PATH, filter=text).refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.each(READ_PAST, stricter="MLflow reads past what it does not expect")
def a_filter_with_too_much_or_too_little_is_refused(world: World, text: str) -> None:
    answer = world.get(PATH, filter=text)
    if not world.is_mlflow:
        answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.case
def a_quote_in_a_value_does_no_harm(world: World) -> None:
    name = world.model("it's")
    found = world.client.search_registered_models(f'name = "{name}"')
    assert names(found) == [name]


@CASES.each(("name", "name ASC", "name asc", None))
def names_go_up_unless_told_otherwise(world: World, order: str | None) -> None:
    start, (alpha, beta, gamma) = three(world)
    found = world.client.search_registered_models(
        f"name LIKE '{start}%'", order_by=[order] if order else None
    )
    assert names(found) == [alpha, beta, gamma]


@CASES.each(ORDERS)
def an_order_may_be_spaced_and_written_in_any_way(world: World, order: str) -> None:
    start, (alpha, beta, gamma) = three(world)
    found = world.client.search_registered_models(
        f"name LIKE '{start}%'", order_by=[order]
    )
    assert names(found) == [gamma, beta, alpha]


@CASES.each(("creation_timestamp DESC", "last_updated_timestamp DESC blah", "name,"))
def an_order_is_refused_after_a_good_one_too(world: World, order: str) -> None:
    answer = world.get(PATH, order_by=["name ASC", order])
    answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.case
def names_go_down_when_told(world: World) -> None:
    start, (alpha, beta, gamma) = three(world)
    found = world.client.search_registered_models(
        f"name LIKE '{start}%'", order_by=["name DESC"]
    )
    assert names(found) == [gamma, beta, alpha]


@CASES.each(("timestamp", "last_updated_timestamp"))
def the_last_updated_can_be_first(world: World, column: str) -> None:
    start, (alpha, beta, gamma) = three(world)
    world.client.update_registered_model(alpha, "newest")
    found = world.client.search_registered_models(
        f"name LIKE '{start}%'", order_by=[f"{column} DESC", "name DESC"]
    )
    assert names(found) == [alpha, gamma, beta]


@CASES.each(REFUSED_ORDERS)
def an_order_outside_the_grammar_is_refused(world: World, order: str) -> None:
    world.get(PATH, order_by=order).refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.stricter("MLflow fails at a column that is named twice")
def a_column_named_twice_is_refused(world: World) -> None:
    answer = world.get(PATH, order_by=["name ASC", "name DESC"])
    if world.is_mlflow:
        assert answer.status == 500
    else:
        answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.case
def a_model_that_was_found_is_whole(world: World) -> None:
    name = world.model(tags={"k": "v"}, description="d")
    world.bring(world.version(name), "Staging")
    world.version(name)
    world.client.set_registered_model_alias(name, "best", "1")
    (found,) = world.client.search_registered_models(f"name = '{name}'")
    assert (found.tags, found.description) == ({"k": "v"}, "d")
    stages = {item.current_stage: item.version for item in found.latest_versions}
    assert stages == {"Staging": "1", "None": "2"}
    assert found.aliases == {"best": "1"}


@CASES.case
def prompts_are_hidden_unless_asked_for(world: World) -> None:
    start, (alpha, beta, gamma) = three(world)
    key = "mlflow.prompt.is_prompt"
    world.client.set_registered_model_tag(beta, key, "true")
    world.client.set_registered_model_tag(gamma, key, "false")
    here = f"name LIKE '{start}%'"
    plain = world.get(PATH, filter=here).document["registered_models"]
    assert [model["name"] for model in plain] == [alpha, gamma]
    assert names(world.client.search_registered_models(here)) == [alpha, gamma]
    prompts = world.get(PATH, filter=f"{here} AND tags.`{key}` = 'true'").document
    assert [model["name"] for model in prompts["registered_models"]] == [beta]


@CASES.case
def the_client_asks_for_models_that_are_no_prompts(world: World) -> None:
    before = len(world.exchanges)
    world.client.search_registered_models(f"name = '{world.model()}'")
    query = world.exchanges[-1].query
    assert "is_prompt" in query
    assert len(world.exchanges) == before + 2
