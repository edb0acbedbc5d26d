"""Renaming a registered model."""

from tests.mlflow.conformance.cases import section
from tests.mlflow.conformance.world import World

CASES = section(__name__)


@CASES.case
def everything_moves_with_the_name(world: World) -> None:
    name, new_name = world.model(tags={"team": "risk"}, description="d"), world.name()
    version = world.bring(world.version(name, tags={"k": "v"}), "Staging")
    world.client.set_registered_model_alias(name, "best", version.version)
    world.client.rename_registered_model(name, new_name)
    model = world.client.get_registered_model(new_name)
    assert (model.tags, model.description) == ({"team": "risk"}, "d")
    moved = world.client.get_model_version_by_alias(new_name, "best")
    assert (moved.name, moved.version) == (new_name, version.version)
    assert (moved.current_stage, moved.tags) == ("Staging", {"k": "v"})


@CASES.case
def the_old_name_is_free_again(world: World) -> None:
    name = world.model()
    world.client.rename_registered_model(name, world.name())
    world.refused("RESOURCE_DOES_NOT_EXIST", world.client.get_registered_model, name)
    world.client.create_registered_model(name)
    assert world.version(name).version == "1"


@CASES.case
def numbers_go_on_after_a_renaming(world: World) -> None:
    name, new_name = world.model(), world.name()
    world.version(name)
    world.client.rename_registered_model(name, new_name)
    assert world.version(new_name).version == "2"


@CASES.case
def a_name_that_is_taken_is_refused(world: World) -> None:
    name, other = world.model(), world.model()
    message = world.refused(
        "RESOURCE_ALREADY_EXISTS",
        world.client.rename_registered_model,
        name,
        other,
    )
    assert other in message
    assert world.client.get_registered_model(name).name == name


@CASES.case
def the_same_name_is_no_error(world: World) -> None:
    name = world.model()
    world.client.rename_registered_model(name, name)
    assert world.client.get_registered_model(name).name == name


@CASES.each(("a/b", "a:b", ".."))
def a_name_that_is_a_path_is_refused(world: World, new_name: str) -> None:
    name = world.model()
    answer = world.post(
        "/registered-models/rename", {"name": name, "new_name": new_name}
    )
    answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.case
def an_unknown_model_is_404(world: World) -> None:
    answer = world.post(
        "/registered-models/rename", {"name": world.name(), "new_name": world.name()}
    )
    answer.refuses(404, "RESOURCE_DOES_NOT_EXIST")


@CASES.case
def a_missing_new_name_is_named(world: World) -> None:
    answer = world.post("/registered-models/rename", {"name": world.model()})
    answer.refuses(400, "INVALID_PARAMETER_VALUE", "new_name")


@CASES.case
def the_answer_holds_the_model(world: World) -> None:
    name, new_name = world.model(), world.name()
    answer = world.post(
        "/registered-models/rename", {"name": name, "new_name": new_name}
    )
    assert answer.document["registered_model"]["name"] == new_name
