"""Tags of registered models and of versions."""

from tests.mlflow.conformance.cases import section
from tests.mlflow.conformance.world import SOURCE, World

CASES = section(__name__)

LEGAL_KEYS = (
    "plain",
    "with space",
    "dotted.key",
    "path/like/key",
    "a-b_c:d",
    "ключ",
    "鍵",
    "k" * 250,
    "1",
)
ILLEGAL_KEYS = ("a//b", "../a", "/a", "a/../b", "k@", "k=", "k,", "k?", "🚀")
BODIES = ({"key": "k"}, {"key": "k", "value": ""}, {"key": "k", "value": None})


def both(world: World) -> list[tuple[str, dict[str, str]]]:
    """Where tags are kept: the resource and the fields that name a new one."""
    version = world.version()
    return [
        ("registered-models", {"name": version.name}),
        ("model-versions", {"name": version.name, "version": version.version}),
    ]


def read(world: World, name: str, resource: str) -> dict[str, str]:
    """The tags that the server has now."""
    if resource == "registered-models":
        tags: dict[str, str] = world.client.get_registered_model(name).tags
    else:
        tags = world.client.get_model_version(name, "1").tags
    return tags


@CASES.each(LEGAL_KEYS)
def a_legal_key_is_kept_as_it_is(world: World, key: str) -> None:
    for resource, fields in both(world):
        answer = world.post(
            f"/{resource}/set-tag", {**fields, "key": key, "value": "1"}
        )
        assert answer.document == {}
        assert read(world, fields["name"], resource) == {key: "1"}
        answer = world.delete(f"/{resource}/delete-tag", {**fields, "key": key})
        assert answer.document == {}
        assert read(world, fields["name"], resource) == {}


@CASES.each(ILLEGAL_KEYS)
def an_illegal_key_is_refused(world: World, key: str) -> None:
    for resource, fields in both(world):
        answer = world.post(
            f"/{resource}/set-tag", {**fields, "key": key, "value": "1"}
        )
        answer.refuses(400, "INVALID_PARAMETER_VALUE")
        assert read(world, fields["name"], resource) == {}


@CASES.case
def a_key_of_251_characters_is_refused(world: World) -> None:
    for resource, fields in both(world):
        body = {**fields, "key": "k" * 251, "value": "1"}
        world.post(f"/{resource}/set-tag", body).refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.case
def a_missing_key_is_named(world: World) -> None:
    for resource, fields in both(world):
        for verb in ("set-tag", "delete-tag"):
            method = "POST" if verb == "set-tag" else "DELETE"
            answer = world.send(
                method, f"/{resource}/{verb}", json={**fields, "value": "1"}
            )
            answer.refuses(400, "INVALID_PARAMETER_VALUE", "key")


@CASES.each(BODIES)
def an_absent_value_is_an_empty_one(world: World, body: dict[str, object]) -> None:
    for resource, fields in both(world):
        world.post(f"/{resource}/set-tag", {**fields, **body}).succeeds()
        assert read(world, fields["name"], resource) == {"k": ""}


@CASES.case
def a_value_may_have_100000_characters_and_no_more(world: World) -> None:
    for resource, fields in both(world):
        long = {**fields, "key": "k", "value": "x" * 100_000}
        world.post(f"/{resource}/set-tag", long).succeeds()
        assert read(world, fields["name"], resource) == {"k": "x" * 100_000}
        longer = {**long, "value": "x" * 100_001}
        answer = world.post(f"/{resource}/set-tag", longer)
        answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.each((1, 1.5, True, ["a"], {"a": 1}))
def a_value_that_is_no_text_is_refused(world: World, value: object) -> None:
    for resource, fields in both(world):
        body = {**fields, "key": "k", "value": value}
        answer = world.post(f"/{resource}/set-tag", body)
        answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.case
def the_client_makes_text_of_values(world: World) -> None:
    version = world.version()
    world.client.set_registered_model_tag(version.name, "number", 3.5)
    world.client.set_model_version_tag(version.name, "1", key="flag", value=True)
    assert world.client.get_registered_model(version.name).tags == {"number": "3.5"}
    assert world.client.get_model_version(version.name, "1").tags == {"flag": "True"}


@CASES.case
def setting_a_tag_again_changes_its_value(world: World) -> None:
    version = world.version()
    for value in ("one", "two"):
        world.client.set_registered_model_tag(version.name, "k", value)
        world.client.set_model_version_tag(version.name, "1", "k", value)
    assert world.client.get_registered_model(version.name).tags == {"k": "two"}
    assert world.client.get_model_version(version.name, "1").tags == {"k": "two"}


@CASES.case
def deleting_a_tag_that_is_not_there_is_no_error(world: World) -> None:
    for resource, fields in both(world):
        answer = world.delete(f"/{resource}/delete-tag", {**fields, "key": "none"})
        assert answer.document == {}


@CASES.case
def the_last_of_repeated_keys_wins_at_creation(world: World) -> None:
    tags = [{"key": "k", "value": "one"}, {"key": "k", "value": "two"}]
    name = world.name()
    world.post("/registered-models/create", {"name": name, "tags": tags}).succeeds()
    world.post(
        "/model-versions/create", {"name": name, "source": SOURCE, "tags": tags}
    ).succeeds()
    assert world.client.get_registered_model(name).tags == {"k": "two"}
    assert world.client.get_model_version(name, "1").tags == {"k": "two"}


@CASES.each(ILLEGAL_KEYS[:3])
def an_illegal_key_is_refused_at_creation(world: World, key: str) -> None:
    tags = [{"key": key, "value": "one"}]
    name = world.name()
    answer = world.post("/registered-models/create", {"name": name, "tags": tags})
    answer.refuses(400, "INVALID_PARAMETER_VALUE")
    world.get("/registered-models/get", name=name).refuses(
        404, "RESOURCE_DOES_NOT_EXIST"
    )


@CASES.each(("x", {"key": "k"}, [1], [["k", "v"]], [{"key": 1, "value": "v"}]))
def tags_of_another_shape_are_refused(world: World, tags: object) -> None:
    answer = world.post(
        "/registered-models/create", {"name": world.name(), "tags": tags}
    )
    answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.case
def tags_of_what_is_not_there_are_404(world: World) -> None:
    name = world.name()
    for resource, fields in (
        ("registered-models", {"name": name}),
        ("model-versions", {"name": name, "version": "1"}),
        ("model-versions", {"name": world.model(), "version": "1"}),
    ):
        body = {**fields, "key": "k", "value": "v"}
        for method, verb in (("POST", "set-tag"), ("DELETE", "delete-tag")):
            answer = world.send(method, f"/{resource}/{verb}", json=body)
            answer.refuses(404, "RESOURCE_DOES_NOT_EXIST")


@CASES.case
def a_version_can_be_tagged_by_its_stage(world: World) -> None:
    version = world.bring(world.version(), "Production")
    with world.watched() as seen:
        world.client.set_model_version_tag(
            version.name, key="k", value="v", stage="Production"
        )
    assert seen[-2:] == [
        "POST /registered-models/get-latest-versions",
        "POST /model-versions/set-tag",
    ]
    assert world.client.get_model_version(version.name, "1").tags == {"k": "v"}


@CASES.case
def tags_hold_any_text(world: World) -> None:
    text = "line one\nline two\t'quoted' \"double\" grüße 🚀 \\ %"
    version = world.version(tags={"k": text})
    assert world.client.get_model_version(version.name, "1").tags == {"k": text}
