"""Searching model versions by MLflow's grammar."""

import time
from typing import Any

from tests.mlflow.conformance.cases import section
from tests.mlflow.conformance.world import World

CASES = section(__name__)

PATH = "/model-versions/search"
TICK_SECONDS = 0.005
REFUSED_FILTERS = (
    "name = 'a' OR name = 'b'",
    "(name = 'a')",
    "version = '1'",
    "current_stage = 'None'",
    "creation_timestamp > 1",
    "last_updated_timestamp > 1",
    "attributes.name = 'a'",
    "version_number = 1.5",
    "version_number = 'x'",
    "version_number LIKE '1'",
    "version_number IN (1)",
    "source_path IN ('a')",
    "name > 'a'",
    "run_id > 'a'",
    "tags.k > 'a'",
    "name = a",
    "name!=a",
    "unknown = true",
    "name LIKE",
    "run_id IN",
    "run_id IN (",
    "run_id IN ()",
    "run_id IN (,)",
    "run_id IN (1,2,3)",
    "run_id IN ('a',,'b')",
    "run_id IN ('a'",
)
REFUSED_ORDERS = (
    "version",
    "run_id",
    "name, version_number",
    "name SIDEWAYS",
    "current_stage",
    "timestamp",
    "",
)


def numbers(found: list[Any]) -> list[int]:
    return [int(version.version) for version in found]


def four(world: World) -> str:
    """The name of a model with versions 1 to 4 of runs a, a, b and none."""
    name = world.model()
    for number, run in enumerate(("a", "a", "b", None), start=1):
        world.version(name, source=f"s3://elsewhere/Path/{number}", run_id=run)
    return name


def search(world: World, name: str, text: str = "") -> list[int]:
    """Which versions of the model the filter finds, in order of their numbers."""
    found = world.client.search_model_versions(
        f"name = '{name}'{text and ' AND ' + text}", order_by=["version_number ASC"]
    )
    return numbers(found)


@CASES.each(
    (
        ("", [1, 2, 3, 4]),
        ("version_number = 2", [2]),
        ("version_number = '2'", [2]),
        ("version_number != 2", [1, 3, 4]),
        ("version_number > 2", [3, 4]),
        ("version_number >= 2", [2, 3, 4]),
        ("version_number < 2", [1]),
        ("version_number <= 2", [1, 2]),
        ("version_number > 1 AND version_number < 4", [2, 3]),
        ("run_id = 'a'", [1, 2]),
        ("run_id != 'a'", [3, 4]),
        ("run_id = ''", [4]),
        ("run_id IN ('a', 'b')", [1, 2, 3]),
        ("run_id IN ('a', '')", [1, 2, 4]),
        ("run_id IN ('a','b')", [1, 2, 3]),
        ("run_id IN ('A', 'b')", [3]),
        ("version_number = 2 AND run_id IN ('a', 'b')", [2]),
        ("run_id NOT IN ('a')", [3, 4]),
        ("run_id NOT IN ('a', '')", [3]),
        ("run_id LIKE '%'", [1, 2, 3, 4]),
        ("run_id ILIKE '%'", [1, 2, 3, 4]),
        ("run_id LIKE ''", [4]),
        ("run_id LIKE 'b%'", [3]),
        ("run_id ILIKE 'B'", [3]),
        ("attribute.run_id = 'a'", [1, 2]),
        ("source_path = 's3://elsewhere/Path/3'", [3]),
        ("source_path != 's3://elsewhere/Path/3'", [1, 2, 4]),
        ("source_path = 's3://elsewhere/Path/'", []),
        ("source_path = ''", []),
        ("source_path LIKE '%/Path/_'", [1, 2, 3, 4]),
        ("source_path LIKE '%/path/_'", []),
        ("source_path ILIKE '%/path/4'", [4]),
    )
)
def a_filter_finds_what_it_describes(world: World, case: tuple[str, list[int]]) -> None:
    text, expected = case
    assert search(world, four(world), text) == expected


@CASES.case
def names_can_be_listed(world: World) -> None:
    one, two, three = (world.version().name for _ in range(3))
    find = world.client.search_model_versions
    found = find(f"name IN ('{one}', '{three}')")
    assert {version.name for version in found} == {one, three}
    found = find(f"name IN ('{one}', '{two}') AND name NOT IN ('{one}')")
    assert [version.name for version in found] == [two]


@CASES.case
def tags_are_found_by_their_values(world: World) -> None:
    name = world.model()
    for tags in ({"k": "one"}, {"k": "Two", "odd key": "x"}, {}):
        world.version(name, tags=tags)
    assert search(world, name, "tags.k = 'one'") == [1]
    assert search(world, name, "tag.k = 'one'") == [1]
    assert search(world, name, "tags.k != 'one'") == [2]
    assert search(world, name, "tags.k ILIKE 't%'") == [2]
    assert search(world, name, "tags.k LIKE 't%'") == []
    assert search(world, name, "tags.K = 'one'") == []
    assert search(world, name, "tags.k LIKE '%o%' AND tags.k != 'one'") == [2]
    assert search(world, name, "tags.`odd key` = 'x'") == [2]
    assert search(world, name, "tags.k = 'Two' AND tags.`odd key` = 'x'") == [2]


@CASES.each(REFUSED_FILTERS)
def a_filter_outside_the_grammar_is_refused(world: World, text: str) -> None:
    world.get(PATH, filter=text).refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.each(REFUSED_ORDERS)
def an_order_outside_the_grammar_is_refused(world: World, order: str) -> None:
    world.get(PATH, order_by=order).refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.case
def the_last_updated_is_first(world: World) -> None:
    name = world.model()
    for _ in range(3):
        world.version(name)
        time.sleep(TICK_SECONDS)
    world.client.update_model_version(name, "2", "newest")
    found = world.client.search_model_versions(f"name = '{name}'")
    assert numbers(found) == [2, 3, 1]


@CASES.each(
    (
        ("version_number ASC", [1, 2, 3, 4]),
        ("version_number DESC", [4, 3, 2, 1]),
        ("version_number", [1, 2, 3, 4]),
        ("creation_timestamp ASC", [1, 2, 3, 4]),
        ("creation_timestamp DESC", [4, 3, 2, 1]),
        ("last_updated_timestamp ASC", [1, 2, 3, 4]),
        ("name ASC", [4, 3, 2, 1]),
    )
)
def versions_come_in_the_order_asked_for(
    world: World, case: tuple[str, list[int]]
) -> None:
    order, expected = case
    name = world.model()
    for _ in range(4):
        world.version(name)
        time.sleep(TICK_SECONDS)
    found = world.client.search_model_versions(f"name = '{name}'", order_by=[order])
    assert numbers(found) == expected


@CASES.case
def several_orders_are_taken_in_turn(world: World) -> None:
    first, second = sorted(world.model() for _ in range(2))
    for name in (second, first, second, first):
        world.version(name)
    found = world.client.search_model_versions(
        f"name IN ('{first}', '{second}')", order_by=["name DESC", "version_number ASC"]
    )
    assert [(version.name, version.version) for version in found] == [
        (second, "1"),
        (second, "2"),
        (first, "1"),
        (first, "2"),
    ]


@CASES.each(("run_id DESC", "last_updated_timestamp DESC blah", "name,"))
def an_order_is_refused_after_a_good_one_too(world: World, order: str) -> None:
    answer = world.get(PATH, order_by=["name ASC", order])
    answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.case
def a_version_that_was_deleted_is_not_found(world: World) -> None:
    name = four(world)
    world.client.delete_model_version(name, "3")
    assert search(world, name) == [1, 2, 4]
    assert search(world, name, "run_id = 'b'") == []


@CASES.case
def what_was_changed_is_found_as_it_is_now(world: World) -> None:
    version = world.bring(world.version(run_id="r"), "Staging")
    world.client.update_model_version(version.name, "1", "now")
    (found,) = world.client.search_model_versions(f"name = '{version.name}'")
    assert (found.current_stage, found.description) == ("Staging", "now")


@CASES.case
def nothing_found_is_an_empty_object(world: World) -> None:
    answer = world.get(PATH, filter=f"name = '{world.name()}'")
    assert answer.document == {}


@CASES.case
def a_version_that_was_found_is_whole_but_for_its_aliases(world: World) -> None:
    made = world.version(run_id="r", tags={"k": "v"}, description="d")
    world.bring(made, "Staging")
    world.client.set_registered_model_alias(made.name, "best", "1")
    (found,) = world.client.search_model_versions(f"name = '{made.name}'")
    assert (found.source, found.run_id) == (made.source, "r")
    assert (found.tags, found.description) == ({"k": "v"}, "d")
    assert (found.current_stage, found.status) == ("Staging", "READY")
    assert found.aliases == []


@CASES.case
def the_number_beyond_every_integer_finds_nothing_or_is_refused(world: World) -> None:
    answer = world.get(PATH, filter="version_number = 2000000000")
    assert answer.document == {}


@CASES.case
def versions_of_prompts_are_hidden_unless_asked_for(world: World) -> None:
    model, prompt = world.version().name, world.version().name
    key = "mlflow.prompt.is_prompt"
    world.client.set_model_version_tag(prompt, "1", key, "true")
    here = f"name IN ('{model}', '{prompt}')"
    plain = world.get(PATH, filter=here).document["model_versions"]
    assert [version["name"] for version in plain] == [model]
    asked = world.get(PATH, filter=f"{here} AND tags.`{key}` = 'true'").document
    assert [version["name"] for version in asked["model_versions"]] == [prompt]
