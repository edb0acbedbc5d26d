"""Aliases of registered models."""

from tests.mlflow.conformance.cases import section
from tests.mlflow.conformance.world import World

CASES = section(__name__)

LEGAL = ("champion", "v1x", "a-b_c", "1", "größter", "最新", "V", "x" * 255)
ILLEGAL = ("latest", "LATEST", "Latest", "v1", "V22", "a b", "a.b", "a/b", "a@b", "a:b")


@CASES.each(LEGAL)
def a_legal_alias_leads_to_its_version(world: World, alias: str) -> None:
    version = world.version()
    world.client.set_registered_model_alias(version.name, alias, "1")
    found = world.client.get_model_version_by_alias(version.name, alias)
    assert (found.version, found.aliases) == ("1", [alias])


@CASES.each(ILLEGAL)
def an_alias_that_could_be_something_else_is_refused(world: World, alias: str) -> None:
    answer = world.post(
        "/registered-models/alias",
        {"name": world.version().name, "alias": alias, "version": "1"},
    )
    answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.case
def an_alias_of_256_characters_is_refused(world: World) -> None:
    answer = world.post(
        "/registered-models/alias",
        {"name": world.version().name, "alias": "x" * 256, "version": "1"},
    )
    answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.case
def setting_an_alias_again_moves_it(world: World) -> None:
    name = world.version().name
    world.version(name)
    for number in ("1", "2"):
        world.client.set_registered_model_alias(name, "best", number)
    assert world.client.get_model_version_by_alias(name, "best").version == "2"
    assert world.client.get_registered_model(name).aliases == {"best": "2"}
    assert world.client.get_model_version(name, "1").aliases == []


@CASES.case
def aliases_differ_by_case(world: World) -> None:
    name = world.version().name
    world.version(name)
    world.client.set_registered_model_alias(name, "best", "1")
    world.client.set_registered_model_alias(name, "Best", "2")
    assert world.client.get_model_version_by_alias(name, "best").version == "1"
    assert world.client.get_model_version_by_alias(name, "Best").version == "2"


@CASES.case
def a_deleted_alias_is_not_found(world: World) -> None:
    name = world.version().name
    world.client.set_registered_model_alias(name, "best", "1")
    world.client.delete_registered_model_alias(name, "best")
    assert world.client.get_registered_model(name).aliases == {}
    message = world.refused(
        "INVALID_PARAMETER_VALUE",
        world.client.get_model_version_by_alias,
        name,
        "best",
    )
    assert "Registered model alias best not found." in message


@CASES.case
def deleting_an_alias_that_is_not_there_is_no_error(world: World) -> None:
    answer = world.delete(
        "/registered-models/alias", {"name": world.model(), "alias": "none"}
    )
    assert answer.document == {}


@CASES.case
def an_alias_that_is_not_set_is_400(world: World) -> None:
    answer = world.get("/registered-models/alias", name=world.model(), alias="none")
    answer.refuses(400, "INVALID_PARAMETER_VALUE", "alias none not found")


@CASES.case
def an_alias_of_a_model_that_is_not_there_is_404(world: World) -> None:
    name = world.name()
    for method in ("POST", "DELETE"):
        answer = world.send(
            method,
            "/registered-models/alias",
            json={"name": name, "alias": "best", "version": "1"},
        )
        answer.refuses(404, "RESOURCE_DOES_NOT_EXIST")
    answer = world.get("/registered-models/alias", name=name, alias="best")
    answer.refuses(404, "RESOURCE_DOES_NOT_EXIST")


@CASES.case
def an_alias_of_a_version_that_is_not_there_is_404(world: World) -> None:
    name = world.version().name
    message = world.refused(
        "RESOURCE_DOES_NOT_EXIST",
        world.client.set_registered_model_alias,
        name,
        "best",
        "7",
    )
    assert f"Model Version (name={name}, version=7) not found" in message


@CASES.case
def latest_is_the_highest_version_that_is_not_deleted(world: World) -> None:
    name = world.model()
    for _ in range(3):
        world.version(name)
    assert world.client.get_model_version_by_alias(name, "latest").version == "3"
    world.client.delete_model_version(name, "3")
    assert world.client.get_model_version_by_alias(name, "latest").version == "2"


@CASES.case
def latest_of_a_model_without_versions_is_404(world: World) -> None:
    answer = world.get("/registered-models/alias", name=world.model(), alias="latest")
    answer.refuses(404, "RESOURCE_DOES_NOT_EXIST")


@CASES.case
def deleting_a_version_drops_its_aliases(world: World) -> None:
    name = world.version().name
    world.client.set_registered_model_alias(name, "best", "1")
    world.client.delete_model_version(name, "1")
    assert world.client.get_registered_model(name).aliases == {}
    answer = world.get("/registered-models/alias", name=name, alias="best")
    answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.each(("name", "alias", "version"))
def a_missing_field_is_named(world: World, field: str) -> None:
    body = {"name": world.version().name, "alias": "best", "version": "1"}
    del body[field]
    answer = world.post("/registered-models/alias", body)
    answer.refuses(400, "INVALID_PARAMETER_VALUE", field)


@CASES.case
def a_version_may_have_several_aliases(world: World) -> None:
    name = world.version().name
    for alias in ("one", "two", "three"):
        world.client.set_registered_model_alias(name, alias, "1")
    found = world.client.get_model_version(name, "1")
    assert sorted(found.aliases) == ["one", "three", "two"]
