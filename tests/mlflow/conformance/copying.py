"""What the client builds out of several calls."""

from tests.mlflow.conformance.cases import section
from tests.mlflow.conformance.world import World

CASES = section(__name__)


@CASES.case
def a_version_is_copied_into_a_new_model(world: World) -> None:
    origin = world.version(
        source="s3://elsewhere/origin", tags={"k": "v"}, description="d"
    )
    target = world.name()
    with world.watched() as seen:
        copy = world.client.copy_model_version(f"models:/{origin.name}/1", target)
    assert seen == [
        "GET /model-versions/get",
        "POST /registered-models/create",
        "POST /model-versions/create",
    ]
    assert (copy.name, copy.version) == (target, "1")
    assert (copy.tags, copy.description) == ({"k": "v"}, "d")
    assert copy.source == f"models:/{origin.name}/1"


@CASES.case
def a_copy_has_what_its_origin_was_made_with_and_begins_anew(world: World) -> None:
    origin = world.version(
        source="s3://elsewhere/origin",
        run_id="r",
        run_link="https://runs.example/1",
        tags={"k": "v", "other": "x"},
        description="d",
    )
    world.bring(origin, "Production")
    copy = world.client.copy_model_version(f"models:/{origin.name}/1", world.name())
    again = world.client.copy_model_version(f"models:/{copy.name}/1", origin.name)
    found = world.client.get_model_version(copy.name, "1")
    assert (found.current_stage, found.status) == ("None", "READY")
    assert (found.run_id, found.run_link) == ("r", "https://runs.example/1")
    assert (found.tags, found.description) == ({"k": "v", "other": "x"}, "d")
    assert found.creation_timestamp >= origin.creation_timestamp
    assert (again.version, again.source) == ("2", f"models:/{copy.name}/1")
    uri = world.client.get_model_version_download_uri(origin.name, "2")
    assert uri == "s3://elsewhere/origin"


@CASES.case
def a_version_is_copied_by_its_alias(world: World) -> None:
    origin = world.version(source="s3://elsewhere/origin")
    world.client.set_registered_model_alias(origin.name, "best", "1")
    copy = world.client.copy_model_version(f"models:/{origin.name}@best", world.name())
    uri = world.client.get_model_version_download_uri(copy.name, copy.version)
    assert uri == "s3://elsewhere/origin"


@CASES.case
def a_copy_into_a_model_that_is_there_is_its_next_version(world: World) -> None:
    origin = world.version()
    target = world.version().name
    copy = world.client.copy_model_version(f"models:/{origin.name}/1", target)
    assert (copy.name, copy.version) == (target, "2")


@CASES.case
def a_copy_of_what_is_not_there_is_refused(world: World) -> None:
    name = world.model()
    # The client wraps the refusal in an error of its own.
    message = world.refused(
        "INTERNAL_ERROR",
        world.client.copy_model_version,
        f"models:/{name}/1",
        world.name(),
    )
    assert "RESOURCE_DOES_NOT_EXIST" in message


@CASES.case
def a_source_in_a_store_is_registered(world: World) -> None:
    name = world.name()
    first = world.module.register_model("s3://elsewhere/m", name)
    second = world.module.register_model("s3://elsewhere/n", name)
    assert (first.name, first.version) == (name, "1")
    assert (second.version, second.source) == ("2", "s3://elsewhere/n")


@CASES.case
def a_source_is_registered_with_tags(world: World) -> None:
    version = world.module.register_model(
        "s3://elsewhere/m", world.name(), tags={"k": "v"}
    )
    assert version.tags == {"k": "v"}


@CASES.case
def the_client_finds_no_prompt_in_a_model(world: World) -> None:
    """Before most changes it looks whether the name is a prompt's."""
    name = world.model()
    with world.watched() as seen:
        world.client.update_registered_model(name, "x")
    assert seen == ["GET /registered-models/get", "PATCH /registered-models/update"]


@CASES.case
def a_change_of_an_unknown_model_is_stopped_by_the_first_request(world: World) -> None:
    name = world.name()
    with world.watched() as seen:
        world.refused(
            "RESOURCE_DOES_NOT_EXIST",
            world.client.set_registered_model_tag,
            name,
            "k",
            "v",
        )
    assert seen == ["GET /registered-models/get"]
