"""The latest versions of a model, by stage."""

from typing import Any

from tests.mlflow.conformance.cases import section
from tests.mlflow.conformance.world import World

CASES = section(__name__)


def numbers(found: list[Any]) -> dict[str, str]:
    """Which version is the latest of which stage."""
    return {version.current_stage: version.version for version in found}


@CASES.case
def without_stages_each_stage_that_is_held_has_one(world: World) -> None:
    name = world.model()
    for stage in ("Production", "Staging", "Archived", "None"):
        world.bring(world.version(name), stage)
    found = world.client.get_latest_versions(name)
    assert numbers(found) == {
        "Production": "1",
        "Staging": "2",
        "Archived": "3",
        "None": "4",
    }


@CASES.case
def the_highest_number_is_the_latest_not_the_last_moved(world: World) -> None:
    name = world.model()
    first, second = world.version(name), world.version(name)
    world.move(second, "Staging")
    world.move(first, "Staging")
    found = world.client.get_latest_versions(name, ["Staging"])
    assert numbers(found) == {"Staging": "2"}


@CASES.case
def the_tenth_version_is_later_than_the_ninth(world: World) -> None:
    name = world.model()
    for _ in range(10):
        world.version(name)
    assert numbers(world.client.get_latest_versions(name)) == {"None": "10"}


@CASES.case
def several_stages_can_be_asked_for(world: World) -> None:
    name = world.model()
    world.bring(world.version(name), "Production")
    world.bring(world.version(name), "Staging")
    world.version(name)
    found = world.client.get_latest_versions(name, ["Production", "Staging"])
    assert numbers(found) == {"Production": "1", "Staging": "2"}


@CASES.each(("production", "PRODUCTION", "Production"))
def a_stage_may_be_written_in_any_case(world: World, stage: str) -> None:
    name = world.bring(world.version(), "Production").name
    found = world.client.get_latest_versions(name, [stage])
    assert numbers(found) == {"Production": "1"}


@CASES.case
def a_stage_that_nobody_holds_gives_nothing(world: World) -> None:
    name = world.version().name
    assert world.client.get_latest_versions(name, ["Production"]) == []
    answer = world.post(
        "/registered-models/get-latest-versions",
        {"name": name, "stages": ["Production"]},
    )
    assert answer.document == {}


@CASES.case
def a_model_without_versions_gives_nothing(world: World) -> None:
    assert world.client.get_latest_versions(world.model()) == []


@CASES.case
def an_unknown_stage_is_refused(world: World) -> None:
    name = world.version().name
    message = world.refused(
        "INVALID_PARAMETER_VALUE", world.client.get_latest_versions, name, ["Live"]
    )
    assert "Live" in message


@CASES.case
def an_unknown_model_is_404(world: World) -> None:
    answer = world.post(
        "/registered-models/get-latest-versions", {"name": world.name()}
    )
    answer.refuses(404, "RESOURCE_DOES_NOT_EXIST")


@CASES.case
def they_can_be_asked_for_by_get_too(world: World) -> None:
    name = world.bring(world.version(), "Staging").name
    world.version(name)
    path = "/registered-models/get-latest-versions"
    one = world.get(path, name=name, stages="Staging").document["model_versions"]
    assert [version["version"] for version in one] == ["1"]
    two = world.get(path, name=name, stages=["Staging", "None"]).document
    assert len(two["model_versions"]) == 2
    assert len(world.get(path, name=name).document["model_versions"]) == 2


@CASES.case
def the_client_asks_for_the_model_first(world: World) -> None:
    name = world.version().name
    with world.watched() as seen:
        world.client.get_latest_versions(name)
    assert seen == [
        "GET /registered-models/get",
        "POST /registered-models/get-latest-versions",
    ]


@CASES.each(("Staging", {"a": 1}, [1]))
def stages_of_another_shape_are_refused(world: World, stages: object) -> None:
    answer = world.post(
        "/registered-models/get-latest-versions",
        {"name": world.version().name, "stages": stages},
    )
    answer.refuses(400, "INVALID_PARAMETER_VALUE")
