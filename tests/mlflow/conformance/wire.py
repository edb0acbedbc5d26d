"""The frame of the protocol: paths, spellings, types, bodies."""

from tests.mlflow.conformance.cases import section
from tests.mlflow.conformance.world import SOURCE, World

CASES = section(__name__)

PREFIXES = ("/api/2.0/mlflow", "/ajax-api/2.0/mlflow")
NO_JSON_TYPES = ("text/plain", "application/x-www-form-urlencoded", "application/xml")
BROKEN = ("{", "[1", "{'name': 'x'}")
NO_OBJECTS = ('"text"', "[1]", "7", "true")


@CASES.each(PREFIXES)
def every_path_is_there_under_both_prefixes(world: World, prefix: str) -> None:
    name = world.name()
    made = world.send(
        "POST", "/registered-models/create", prefix=prefix, json={"name": name}
    )
    assert made.document["registered_model"]["name"] == name
    found = world.send(
        "GET", "/registered-models/get", prefix=prefix, params={"name": name}
    )
    assert found.document["registered_model"]["name"] == name
    version = world.send(
        "POST",
        "/model-versions/create",
        prefix=prefix,
        json={"name": name, "source": SOURCE},
    )
    assert version.document["model_version"]["version"] == "1"
    gone = world.send(
        "DELETE", "/registered-models/delete", prefix=prefix, json={"name": name}
    )
    assert gone.document == {}


@CASES.case
def answers_are_json(world: World) -> None:
    name = world.model()
    for answer in (
        world.get("/registered-models/get", name=name),
        world.get("/registered-models/get", name=world.name()),
        world.get("/registered-models/get"),
    ):
        assert answer.content_type.startswith("application/json")
        assert answer.body is not None


@CASES.case
def an_error_has_a_code_and_a_message(world: World) -> None:
    answer = world.get("/registered-models/get", name=world.name())
    assert answer.body is not None
    assert isinstance(answer.body["error_code"], str)
    assert isinstance(answer.body["message"], str)


@CASES.case
def what_is_empty_is_left_out(world: World) -> None:
    name = world.model()
    model = world.get("/registered-models/get", name=name).document["registered_model"]
    for field in ("tags", "aliases", "latest_versions"):
        assert field not in model
    world.version(name)
    answer = world.get("/model-versions/get", name=name, version="1").document
    for field in ("tags", "aliases"):
        assert field not in answer["model_version"]


@CASES.case
def tags_are_pairs_on_the_wire(world: World) -> None:
    name = world.model(tags={"k": "v"})
    answer = world.get("/registered-models/get", name=name).document
    assert answer["registered_model"]["tags"] == [{"key": "k", "value": "v"}]


@CASES.case
def aliases_of_a_model_are_pairs_on_the_wire(world: World) -> None:
    name = world.version().name
    world.client.set_registered_model_alias(name, "best", "1")
    model = world.get("/registered-models/get", name=name).document["registered_model"]
    assert model["aliases"] == [{"alias": "best", "version": "1"}]
    version = world.get("/model-versions/get", name=name, version="1").document
    assert version["model_version"]["aliases"] == ["best"]


@CASES.case
def fields_may_be_spelt_in_camel_case(world: World) -> None:
    name = world.model()
    body = {"name": name, "source": SOURCE, "runId": "r", "runLink": "link"}
    version = world.post("/model-versions/create", body).document["model_version"]
    assert (version["run_id"], version["run_link"]) == ("r", "link")


@CASES.case
def both_spellings_at_once_are_refused(world: World) -> None:
    body = {"name": world.model(), "source": SOURCE, "runId": "r", "run_id": "r"}
    answer = world.post("/model-versions/create", body)
    answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.case
def null_is_the_same_as_absent(world: World) -> None:
    name = world.model()
    body = {
        "name": name,
        "source": SOURCE,
        "run_id": None,
        "tags": None,
        "description": None,
    }
    version = world.post("/model-versions/create", body).document["model_version"]
    assert not version.get("run_id")
    assert "tags" not in version
    answer = world.post("/registered-models/create", {"name": None})
    answer.refuses(400, "INVALID_PARAMETER_VALUE", "name")


@CASES.case
def unknown_fields_are_ignored(world: World) -> None:
    name = world.name()
    body = {"name": name, "colour": "red", "nested": {"a": [1]}}
    world.post("/registered-models/create", body).succeeds()
    world.get("/registered-models/get", name=name, colour="red").succeeds()


@CASES.each(NO_JSON_TYPES)
def a_body_of_another_type_is_refused(world: World, content_type: str) -> None:
    answer = world.send(
        "POST",
        "/registered-models/create",
        data=f'{{"name": "{world.name()}"}}',
        headers={"Content-Type": content_type},
    )
    answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.case
def a_type_with_a_character_set_is_taken(world: World) -> None:
    name = world.name("grüße")
    answer = world.send(
        "POST",
        "/registered-models/create",
        data=f'{{"name": "{name}"}}'.encode(),
        headers={"Content-Type": "application/json; charset=utf-8"},
    )
    assert answer.document["registered_model"]["name"] == name


@CASES.each(BROKEN)
def a_body_that_is_no_json_is_refused(world: World, body: str) -> None:
    answer = world.send(
        "POST",
        "/registered-models/create",
        data=body,
        headers={"Content-Type": "application/json"},
    )
    assert answer.status == 400, answer
    assert answer.code in {"INVALID_PARAMETER_VALUE", "BAD_REQUEST"}, answer


@CASES.each(NO_OBJECTS, stricter="MLflow fails at JSON that is no object")
def a_body_that_is_no_object_is_refused(world: World, body: str) -> None:
    answer = world.send(
        "POST",
        "/registered-models/create",
        data=body,
        headers={"Content-Type": "application/json"},
    )
    if world.is_mlflow:
        assert answer.status == 500
    else:
        answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.case
def deletion_reads_its_body(world: World) -> None:
    name = world.model()
    refused = world.send("DELETE", "/registered-models/delete", params={"name": name})
    refused.refuses(400, "INVALID_PARAMETER_VALUE")
    assert world.client.get_registered_model(name).name == name
    assert world.delete("/registered-models/delete", {"name": name}).document == {}


@CASES.case
def reading_ignores_a_body_beside_its_query(world: World) -> None:
    name = world.model()
    answer = world.send(
        "GET",
        "/registered-models/get",
        params={"name": name},
        json={"name": "another"},
    )
    assert answer.document["registered_model"]["name"] == name


@CASES.case
def reading_may_have_its_fields_in_a_body_alone(world: World) -> None:
    name = world.model()
    answer = world.send("GET", "/registered-models/get", json={"name": name})
    assert answer.document["registered_model"]["name"] == name


@CASES.each(
    (
        ("GET", "/registered-models/list"),
        ("GET", "/registered-models/nothing"),
        ("POST", "/nothing"),
        ("GET", "/model-versions"),
    )
)
def an_unknown_path_is_404(world: World, request: tuple[str, str]) -> None:
    answer = world.send(*request)
    assert answer.status == 404, answer


@CASES.each(
    (
        ("GET", "/registered-models/create"),
        ("POST", "/registered-models/get"),
        ("PUT", "/registered-models/update"),
        ("POST", "/model-versions/delete"),
    )
)
def a_path_by_another_verb_is_refused(world: World, request: tuple[str, str]) -> None:
    answer = world.send(*request)
    assert answer.status in {404, 405}, answer


@CASES.each(("1", 1, 0, 1.5, "x"))
def archiving_is_no_number_and_no_text(world: World, flag: object) -> None:
    answer = world.post(
        "/model-versions/transition-stage",
        {
            "name": world.version().name,
            "version": "1",
            "stage": "Staging",
            "archive_existing_versions": flag,
        },
    )
    answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.case
def a_limit_may_be_text_in_a_query(world: World) -> None:
    world.model()
    answer = world.get("/registered-models/search", max_results="1")
    assert len(answer.document["registered_models"]) == 1


@CASES.case
def unicode_survives_in_queries_and_bodies(world: World) -> None:
    name = world.name("模型 é & = + % # 🚀")
    world.post("/registered-models/create", {"name": name}).succeeds()
    answer = world.get("/registered-models/get", name=name)
    assert answer.document["registered_model"]["name"] == name
