"""Model versions: making, reading, describing, deleting."""

from tests.mlflow.conformance.cases import section
from tests.mlflow.conformance.world import SOURCE, World

CASES = section(__name__)

RUN = "0123456789abcdef0123456789abcdef"


@CASES.case
def a_new_version_has_what_it_was_made_with(world: World) -> None:
    name = world.model()
    made = world.client.create_model_version(
        name,
        SOURCE,
        run_id=RUN,
        tags={"k": "v"},
        run_link="https://runs.example/1",
        description="first",
    )
    for version in (made, world.client.get_model_version(name, "1")):
        assert (version.name, version.version) == (name, "1")
        assert (version.source, version.run_id) == (SOURCE, RUN)
        assert version.run_link == "https://runs.example/1"
        assert (version.tags, version.description) == ({"k": "v"}, "first")
        assert (version.current_stage, version.status) == ("None", "READY")
        assert version.aliases == []


@CASES.case
def a_version_made_of_nothing_but_a_source_has_empty_fields(world: World) -> None:
    version = world.version()
    found = world.client.get_model_version(version.name, version.version)
    assert not found.run_id
    assert not found.run_link
    assert not found.description
    assert found.tags == {}


@CASES.case
def creation_is_one_request_without_polling(world: World) -> None:
    name = world.model()
    with world.watched() as seen:
        world.version(name)
    assert seen == ["POST /model-versions/create"]


@CASES.case
def the_number_is_text_and_a_timestamp_is_a_number(world: World) -> None:
    name = world.model()
    answer = world.post("/model-versions/create", {"name": name, "source": SOURCE})
    document = answer.document["model_version"]
    assert document["version"] == "1"
    assert type(document["creation_timestamp"]) is int
    assert type(document["last_updated_timestamp"]) is int
    assert document["status"] == "READY"
    assert document["current_stage"] == "None"


@CASES.case
def numbers_run_from_one_without_a_gap(world: World) -> None:
    name = world.model()
    assert [world.version(name).version for _ in range(4)] == ["1", "2", "3", "4"]


@CASES.case
def the_number_of_a_deleted_version_is_never_used_again(world: World) -> None:
    name = world.model()
    for _ in range(2):
        world.version(name)
    world.client.delete_model_version(name, "2")
    assert world.version(name).version == "3"


@CASES.case
def a_version_of_an_unknown_model_is_404(world: World) -> None:
    name = world.name()
    message = world.refused(
        "RESOURCE_DOES_NOT_EXIST", world.client.create_model_version, name, SOURCE
    )
    assert f"Registered Model with name={name} not found" in message


@CASES.each(("name", "source"))
def a_missing_field_is_named(world: World, field: str) -> None:
    body = {"name": world.model(), "source": SOURCE}
    del body[field]
    answer = world.post("/model-versions/create", body)
    answer.refuses(400, "INVALID_PARAMETER_VALUE", field)


@CASES.each(("1.0", "one", "1a", "v1", "-"))
def a_number_that_is_none_is_refused(world: World, number: str) -> None:
    name = world.version().name
    answer = world.get("/model-versions/get", name=name, version=number)
    answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.each(("2", "-1", "0", "2000000000"))
def an_unknown_number_is_404(world: World, number: str) -> None:
    name = world.version().name
    message = world.refused(
        "RESOURCE_DOES_NOT_EXIST", world.client.get_model_version, name, number
    )
    assert f"Model Version (name={name}, version={number}) not found" in message


@CASES.stricter("MLflow on PostgreSQL fails at a number beyond its integer")
def a_number_beyond_every_integer_is_404(world: World) -> None:
    answer = world.get(
        "/model-versions/get", name=world.version().name, version="9" * 30
    )
    if not world.is_mlflow:
        assert answer.status in {400, 404}, answer


@CASES.case
def a_version_of_a_model_that_is_not_there_is_404(world: World) -> None:
    answer = world.get("/model-versions/get", name=world.name(), version="1")
    answer.refuses(404, "RESOURCE_DOES_NOT_EXIST")


@CASES.case
def reading_without_a_number_says_what_is_missing(world: World) -> None:
    answer = world.get("/model-versions/get", name=world.version().name)
    answer.refuses(400, "INVALID_PARAMETER_VALUE", "version")


@CASES.each((1, 1.0, True, ["1"]))
def a_number_in_json_must_be_text(world: World, number: object) -> None:
    answer = world.patch(
        "/model-versions/update",
        {"name": world.version().name, "version": number, "description": "x"},
    )
    answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.case
def the_description_can_be_changed(world: World) -> None:
    version = world.version(description="old")
    changed = world.client.update_model_version(version.name, "1", "new")
    assert changed.description == "new"
    assert world.client.get_model_version(version.name, "1").description == "new"


@CASES.case
def an_update_without_description_clears_it(world: World) -> None:
    version = world.version(description="old")
    world.patch(
        "/model-versions/update", {"name": version.name, "version": "1"}
    ).succeeds()
    assert not world.client.get_model_version(version.name, "1").description


@CASES.case
def a_description_of_5000_characters_is_kept(world: World) -> None:
    version = world.version(description="é" * 5000)
    found = world.client.get_model_version(version.name, "1")
    assert found.description == "é" * 5000


@CASES.case
def an_update_of_an_unknown_version_is_404(world: World) -> None:
    answer = world.patch(
        "/model-versions/update",
        {"name": world.model(), "version": "1", "description": "x"},
    )
    answer.refuses(404, "RESOURCE_DOES_NOT_EXIST")


@CASES.case
def a_deleted_version_is_gone_for_every_call(world: World) -> None:
    version = world.version()
    name, number = version.name, version.version
    world.client.set_registered_model_alias(name, "best", number)
    world.client.delete_model_version(name, number)
    client = world.client
    for call, arguments in (
        (client.get_model_version, (name, number)),
        (client.delete_model_version, (name, number)),
        (client.update_model_version, (name, number, "x")),
        (client.transition_model_version_stage, (name, number, "Staging")),
        (client.set_model_version_tag, (name, number, "k", "v")),
        (client.delete_model_version_tag, (name, number, "k")),
        (client.set_registered_model_alias, (name, "other", number)),
        (client.get_model_version_download_uri, (name, number)),
    ):
        world.refused("RESOURCE_DOES_NOT_EXIST", call, *arguments)
    assert client.get_registered_model(name).latest_versions == []
    assert client.get_registered_model(name).aliases == {}
    assert client.search_model_versions(f"name = '{name}'") == []


@CASES.stricter("MLflow deletes a version that serves; a policy may protect its stage")
def a_version_in_production_goes_only_where_the_policy_lets_it(world: World) -> None:
    version = world.bring(world.version(), "Production")
    answer = world.delete(
        "/model-versions/delete", {"name": version.name, "version": "1"}
    )
    if world.is_strict:
        assert answer.status in {400, 409}, answer
        assert answer.code, answer
        assert world.stage_of(version) == "Production"
    else:
        assert answer.document == {}


@CASES.case
def the_aliases_of_a_version_are_in_the_answer_about_it(world: World) -> None:
    version = world.version()
    world.client.set_registered_model_alias(version.name, "best", "1")
    assert world.client.get_model_version(version.name, "1").aliases == ["best"]
    updated = world.client.update_model_version(version.name, "1", "x")
    assert updated.aliases == ["best"]
    moved = world.move(version, "Staging")
    assert moved.aliases == ["best"]
    latest = world.client.get_latest_versions(version.name)
    assert [found.aliases for found in latest] == [["best"]]


@CASES.case
def the_aliases_of_a_version_are_not_in_lists(world: World) -> None:
    version = world.version()
    world.client.set_registered_model_alias(version.name, "best", "1")
    model = world.get("/registered-models/get", name=version.name).document
    assert "aliases" not in model["registered_model"]["latest_versions"][0]
    found = world.get("/model-versions/search", filter=f"name = '{version.name}'")
    assert "aliases" not in found.document["model_versions"][0]


@CASES.case
def a_run_id_need_not_exist(world: World) -> None:
    version = world.version(run_id="f" * 32)
    assert version.run_id == "f" * 32


@CASES.case
def the_stages_are_known_without_a_request(world: World) -> None:
    with world.watched() as seen:
        found = world.client.get_model_version_stages("any", "1")
    assert found == ["None", "Staging", "Production", "Archived"]
    assert seen == []
