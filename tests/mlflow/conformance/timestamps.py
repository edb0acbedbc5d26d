"""What moves the time of the last update, and what does not."""

import time
from collections.abc import Callable
from typing import Any

from tests.mlflow.conformance.cases import section
from tests.mlflow.conformance.world import World

CASES = section(__name__)

TICK_SECONDS = 0.005  # times are told in milliseconds

Change = Callable[[World, str], Any]

MODEL_MOVES: dict[str, Change] = {
    "update": lambda world, name: world.client.update_registered_model(name, "x"),
    "version create": lambda world, name: world.version(name),
    "version delete": lambda world, name: world.client.delete_model_version(name, "1"),
    "transition": lambda world, name: world.client.transition_model_version_stage(
        name, "1", "Staging"
    ),
}
MODEL_STAYS: dict[str, Change] = {
    "tag": lambda world, name: world.client.set_registered_model_tag(name, "k", "v"),
    "version tag": lambda world, name: world.client.set_model_version_tag(
        name, "1", "k", "v"
    ),
    "alias": lambda world, name: world.client.set_registered_model_alias(
        name, "best", "1"
    ),
    "version update": lambda world, name: world.client.update_model_version(
        name, "1", "x"
    ),
}
VERSION_STAYS = ("tag", "version tag", "alias")


def model_time(world: World, name: str) -> int:
    moment: int = world.client.get_registered_model(name).last_updated_timestamp
    return moment


def version_time(world: World, name: str, number: str = "1") -> int:
    found = world.client.get_model_version(name, number)
    moment: int = found.last_updated_timestamp
    return moment


@CASES.each(tuple(MODEL_MOVES))
def it_moves_the_time_of_the_model(world: World, change: str) -> None:
    name = world.version().name
    before = model_time(world, name)
    time.sleep(TICK_SECONDS)
    MODEL_MOVES[change](world, name)
    assert model_time(world, name) > before


@CASES.each(tuple(MODEL_STAYS))
def it_leaves_the_time_of_the_model(world: World, change: str) -> None:
    name = world.version().name
    before = model_time(world, name)
    time.sleep(TICK_SECONDS)
    MODEL_STAYS[change](world, name)
    assert model_time(world, name) == before


@CASES.case
def removing_tags_and_aliases_leaves_the_times(world: World) -> None:
    name = world.version(tags={"k": "v"}).name
    client = world.client
    client.set_registered_model_tag(name, "k", "v")
    client.set_registered_model_alias(name, "best", "1")
    before = model_time(world, name), version_time(world, name)
    time.sleep(TICK_SECONDS)
    client.delete_registered_model_tag(name, "k")
    client.delete_model_version_tag(name, "1", "k")
    client.delete_registered_model_alias(name, "best")
    assert (model_time(world, name), version_time(world, name)) == before


@CASES.each(VERSION_STAYS)
def it_leaves_the_time_of_the_version(world: World, change: str) -> None:
    name = world.version().name
    before = version_time(world, name)
    time.sleep(TICK_SECONDS)
    MODEL_STAYS[change](world, name)
    assert version_time(world, name) == before


@CASES.case
def a_description_moves_the_time_of_its_version(world: World) -> None:
    name = world.version().name
    before = version_time(world, name)
    time.sleep(TICK_SECONDS)
    world.client.update_model_version(name, "1", "x")
    assert version_time(world, name) > before


@CASES.case
def a_transition_moves_the_times_of_all_that_move(world: World) -> None:
    first = world.bring(world.version(), "Production")
    second = world.bring(world.version(first.name), "Staging")
    bystander = world.version(first.name)
    name = first.name
    before = [version_time(world, name, number) for number in ("1", "2", "3")]
    time.sleep(TICK_SECONDS)
    world.move(second, "Production", archive_existing_versions=True)
    after = [version_time(world, name, number) for number in ("1", "2", "3")]
    assert after[0] > before[0]
    assert after[1] > before[1]
    assert after[0] == after[1]
    assert after[2] == before[2], bystander


@CASES.case
def a_renaming_moves_the_times_of_the_model_and_its_versions(world: World) -> None:
    name, new_name = world.version().name, world.name()
    before = model_time(world, name), version_time(world, name)
    time.sleep(TICK_SECONDS)
    world.client.rename_registered_model(name, new_name)
    assert model_time(world, new_name) > before[0]
    assert version_time(world, new_name) > before[1]


@CASES.case
def creation_times_never_move(world: World) -> None:
    version = world.version()
    model = world.client.get_registered_model(version.name)
    time.sleep(TICK_SECONDS)
    world.move(version, "Staging")
    world.client.update_registered_model(version.name, "x")
    found = world.client.get_registered_model(version.name)
    assert found.creation_timestamp == model.creation_timestamp
    again = world.client.get_model_version(version.name, "1")
    assert again.creation_timestamp == version.creation_timestamp
