"""Registered models: making, reading, describing, deleting."""

from tests.mlflow.conformance.cases import section
from tests.mlflow.conformance.world import World

CASES = section(__name__)

LEGAL_ENDINGS = (
    " with spaces",
    "@&%=?#+;,",
    "'quoted'",
    '"double"',
    "back\\slash",
    "`ticks`",
    "grüße-模型-🚀",
    "%2F",
    "a.b..c",
    "-_~!$()*",
    "<b>",
    "{}[]|^",
)
ILLEGAL = ("a/b", "a:b", "/", ":", ".", "..", "a//b", "./a", "a/../b", "/a", "a/")
BLANK = ("", " ", "\t")


@CASES.case
def a_new_model_has_its_name_description_and_tags(world: World) -> None:
    name = world.name()
    made = world.client.create_registered_model(
        name, tags={"team": "risk", "tier": "1"}, description="scores"
    )
    for model in (made, world.client.get_registered_model(name)):
        assert model.name == name
        assert model.description == "scores"
        assert model.tags == {"team": "risk", "tier": "1"}
        assert model.latest_versions == []
        assert model.aliases == {}


@CASES.case
def a_new_model_without_description_has_none(world: World) -> None:
    name = world.name()
    made = world.client.create_registered_model(name)
    assert not made.description
    assert made.tags == {}
    assert not world.client.get_registered_model(name).description


@CASES.case
def creation_is_one_request(world: World) -> None:
    with world.watched() as seen:
        world.model()
    assert seen == ["POST /registered-models/create"]


@CASES.case
def a_new_model_was_last_updated_when_it_was_created(world: World) -> None:
    model = world.client.create_registered_model(world.name())
    assert isinstance(model.creation_timestamp, int)
    assert model.last_updated_timestamp == model.creation_timestamp
    assert model.creation_timestamp > 1_600_000_000_000


@CASES.each(LEGAL_ENDINGS)
def any_name_that_mlflow_takes_is_kept_as_it_is(world: World, ending: str) -> None:
    name = world.name(ending)
    world.client.create_registered_model(name)
    version = world.client.create_model_version(name, "s3://elsewhere/m")
    assert world.client.get_registered_model(name).name == name
    assert world.client.get_model_version(name, version.version).name == name
    world.client.set_registered_model_alias(name, "best", version.version)
    assert world.client.get_model_version_by_alias(name, "best").name == name
    world.client.delete_registered_model(name)
    world.refused("RESOURCE_DOES_NOT_EXIST", world.client.get_registered_model, name)


@CASES.each(ILLEGAL)
def a_name_that_is_a_path_is_refused(world: World, name: str) -> None:
    world.refused("INVALID_PARAMETER_VALUE", world.client.create_registered_model, name)
    answer = world.post("/registered-models/create", {"name": name})
    answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.each(BLANK)
def a_blank_name_is_a_missing_one(world: World, name: str) -> None:
    answer = world.post("/registered-models/create", {"name": name})
    answer.refuses(400, "INVALID_PARAMETER_VALUE", "name")


@CASES.each((7, True, ["a"], {"a": 1}))
def a_name_that_is_no_text_is_refused(world: World, name: object) -> None:
    answer = world.post("/registered-models/create", {"name": name})
    answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.case
def a_name_of_256_characters_is_taken(world: World) -> None:
    name = world.name().ljust(256, "x")
    world.client.create_registered_model(name)
    assert world.client.get_registered_model(name).name == name


@CASES.case
def names_differ_by_case(world: World) -> None:
    name = world.name("Case")
    world.client.create_registered_model(name)
    world.client.create_registered_model(name.upper())
    assert world.client.get_registered_model(name.upper()).name == name.upper()
    world.refused(
        "RESOURCE_DOES_NOT_EXIST", world.client.get_registered_model, name.lower()
    )


@CASES.case
def a_second_model_of_the_same_name_is_refused(world: World) -> None:
    name = world.model()
    message = world.refused(
        "RESOURCE_ALREADY_EXISTS", world.client.create_registered_model, name
    )
    assert f"Registered Model (name={name}) already exists." in message
    answer = world.post("/registered-models/create", {"name": name})
    answer.refuses(400, "RESOURCE_ALREADY_EXISTS")


@CASES.case
def an_unknown_model_is_404(world: World) -> None:
    name = world.name()
    message = world.refused(
        "RESOURCE_DOES_NOT_EXIST", world.client.get_registered_model, name
    )
    assert f"Registered Model with name={name} not found" in message
    answer = world.get("/registered-models/get", name=name)
    answer.refuses(404, "RESOURCE_DOES_NOT_EXIST", name)


@CASES.case
def reading_without_a_name_says_what_is_missing(world: World) -> None:
    answer = world.get("/registered-models/get")
    answer.refuses(400, "INVALID_PARAMETER_VALUE", "Missing value", "'name'")


@CASES.case
def the_description_can_be_changed(world: World) -> None:
    name = world.model(description="old")
    changed = world.client.update_registered_model(name, description="new")
    assert changed.description == "new"
    assert world.client.get_registered_model(name).description == "new"


@CASES.case
def an_update_without_description_clears_it(world: World) -> None:
    name = world.model(description="old")
    answer = world.patch("/registered-models/update", {"name": name})
    assert not answer.document["registered_model"].get("description")
    assert not world.client.get_registered_model(name).description


@CASES.case
def a_description_of_5000_characters_is_kept(world: World) -> None:
    text = "ü" * 5000
    name = world.model(description=text)
    assert world.client.get_registered_model(name).description == text


@CASES.case
def an_update_of_an_unknown_model_is_404(world: World) -> None:
    answer = world.patch(
        "/registered-models/update", {"name": world.name(), "description": "x"}
    )
    answer.refuses(404, "RESOURCE_DOES_NOT_EXIST")


@CASES.case
def a_deleted_model_is_gone_with_its_versions(world: World) -> None:
    version = world.version()
    world.client.delete_registered_model(version.name)
    for call, arguments in (
        (world.client.get_registered_model, (version.name,)),
        (world.client.get_model_version, (version.name, version.version)),
        (world.client.delete_registered_model, (version.name,)),
    ):
        world.refused("RESOURCE_DOES_NOT_EXIST", call, *arguments)


@CASES.case
def deleting_an_unknown_model_is_404(world: World) -> None:
    answer = world.delete("/registered-models/delete", {"name": world.name()})
    answer.refuses(404, "RESOURCE_DOES_NOT_EXIST")


@CASES.case
def a_model_made_anew_starts_at_version_one(world: World) -> None:
    name = world.model()
    for _ in range(3):
        world.version(name)
    world.client.delete_registered_model(name)
    world.client.create_registered_model(name)
    assert world.version(name).version == "1"


@CASES.stricter("MLflow deletes a model that serves; a policy may protect its stage")
def a_model_in_production_goes_only_where_the_policy_lets_it(world: World) -> None:
    version = world.bring(world.version(), "Production")
    answer = world.delete("/registered-models/delete", {"name": version.name})
    if world.is_strict:
        assert answer.status in {400, 409}, answer
        assert answer.code, answer
        assert world.stage_of(version) == "Production"
    else:
        assert answer.document == {}


@CASES.case
def latest_versions_of_a_model_are_one_for_each_stage(world: World) -> None:
    name = world.model()
    staged = world.bring(world.version(name), "Staging")
    first = world.version(name)
    newest = world.version(name)
    found = world.client.get_registered_model(name).latest_versions
    by_stage = {version.current_stage: version.version for version in found}
    assert by_stage == {"Staging": staged.version, "None": newest.version}
    assert first.version not in by_stage.values()


@CASES.case
def aliases_of_a_model_are_listed(world: World) -> None:
    version = world.version()
    world.client.set_registered_model_alias(version.name, "best", "1")
    world.client.set_registered_model_alias(version.name, "shadow", "1")
    model = world.client.get_registered_model(version.name)
    assert model.aliases == {"best": "1", "shadow": "1"}
