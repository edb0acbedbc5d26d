"""Which sources a version may have, and where its bytes are said to be."""

from tests.mlflow.conformance.cases import section
from tests.mlflow.conformance.world import World

CASES = section(__name__)

RUN = "0123456789abcdef0123456789abcdef"
ACCEPTED = (
    "s3://elsewhere/path/to/model",
    "s3://a//b",
    "s3://elsewhere/with space/grüße",
    "gs://bucket/model",
    "dbfs:/models/1",
    "wasbs://container@account.blob.example/model",
)
REFUSED_SCHEMES = (
    "http://host/model",
    "https://host/model",
    "ftp://host/model",
    "sftp://host/model",
    "hdfs://host/model",
    "viewfs://host/model",
    "r2://host/model",
    "b2://host/model",
    "abfss://host/model",
    "HTTP://host/model",
    "mlflow-artifacts://host/model",
    "git+http://host/model",
    "jar:http://host/model.jar!/x",
)
LOCAL = ("/etc/passwd", "./model", "plain", "file:///etc", "file:model", "../model")
ESCAPES = (
    "s3://bucket/a/../b",
    "s3://bucket/a/..%2fb",
    "s3://bucket/a/%2e%2e/b",
    "s3://bucket/a/%252e%252e/b",
    "s3://bucket/..",
    "s3://bucket/a\x00b",
    "s3://bucket/a%00b",
    "s3a://bucket/api/2.0/mlflow-artifacts/artifacts/../../../",
)
EMPTY = ("s3://bucket", "unknown://x")
UNKNOWN_PLACES = (
    "models:/{name}/7",
    "models:/{name}@none",
    "models:/nobody-has-this-name/1",
)


@CASES.each(ACCEPTED)
def a_store_elsewhere_is_taken_unread(world: World, source: str) -> None:
    version = world.version(source=source)
    assert version.source == source
    uri = world.client.get_model_version_download_uri(version.name, "1")
    assert uri == source


@CASES.each((*REFUSED_SCHEMES, *LOCAL, *ESCAPES, *EMPTY))
def a_source_that_could_harm_is_refused(world: World, source: str) -> None:
    name = world.model()
    answer = world.post("/model-versions/create", {"name": name, "source": source})
    answer.refuses(400, "INVALID_PARAMETER_VALUE")
    assert world.client.search_model_versions(f"name = '{name}'") == []


@CASES.stricter("MLflow takes an address that its clients have no reader for")
def a_source_that_no_client_could_load_is_refused(world: World) -> None:
    for source in ("unknown://host/model", "hf://host/model"):
        answer = world.post(
            "/model-versions/create", {"name": world.model(), "source": source}
        )
        if world.is_mlflow:
            assert answer.status == 200
        else:
            answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.each((7, True, ["s3://a/b"], {"uri": "s3://a/b"}))
def a_source_that_is_no_text_is_refused(world: World, source: object) -> None:
    answer = world.post(
        "/model-versions/create", {"name": world.model(), "source": source}
    )
    answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.each(LOCAL[:4])
def a_local_path_is_refused_with_a_run_that_is_not_there_too(
    world: World, source: str
) -> None:
    body = {"name": world.model(), "source": source, "run_id": RUN}
    answer = world.post("/model-versions/create", body)
    assert answer.status in {400, 404}, answer


@CASES.case
def the_version_of_another_model_can_be_the_source(world: World) -> None:
    origin = world.version(source="s3://elsewhere/origin", run_id=RUN)
    source = f"models:/{origin.name}/1"
    copy = world.version(source=source)
    assert copy.source == source
    assert copy.run_id == RUN
    uri = world.client.get_model_version_download_uri(copy.name, "1")
    assert uri == "s3://elsewhere/origin"


@CASES.case
def the_copy_of_a_copy_leads_to_the_first_bytes(world: World) -> None:
    origin = world.version(source="s3://elsewhere/origin")
    copy = world.version(source=f"models:/{origin.name}/1")
    second = world.version(source=f"models:/{copy.name}/1")
    uri = world.client.get_model_version_download_uri(second.name, "1")
    assert uri == "s3://elsewhere/origin"


@CASES.case
def a_copy_outlives_its_origin(world: World) -> None:
    origin = world.version(source="s3://elsewhere/origin")
    copy = world.version(source=f"models:/{origin.name}/1")
    world.client.delete_registered_model(origin.name)
    uri = world.client.get_model_version_download_uri(copy.name, "1")
    assert uri == "s3://elsewhere/origin"


@CASES.each(("@best", "/Staging", "/staging", "/latest"))
def a_word_for_a_version_is_kept_as_its_number(world: World, word: str) -> None:
    origin = world.bring(world.version(), "Staging")
    world.client.set_registered_model_alias(origin.name, "best", "1")
    copy = world.version(source=f"models:/{origin.name}{word}")
    assert copy.source == f"models:/{origin.name}/1"


@CASES.each(UNKNOWN_PLACES)
def a_source_in_this_registry_must_be_there(world: World, pattern: str) -> None:
    source = pattern.format(name=world.version().name)
    answer = world.post(
        "/model-versions/create", {"name": world.model(), "source": source}
    )
    assert answer.status in {400, 404}, answer
    assert answer.code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}


@CASES.stricter("MLflow fails when nobody holds the stage")
def a_stage_that_nobody_holds_is_no_source(world: World) -> None:
    source = f"models:/{world.version().name}/Production"
    answer = world.post(
        "/model-versions/create", {"name": world.model(), "source": source}
    )
    if world.is_mlflow:
        assert answer.status == 500
    else:
        assert answer.status in {400, 404}, answer


@CASES.case
def another_run_than_that_of_the_source_is_refused(world: World) -> None:
    origin = world.version(run_id=RUN)
    body = {
        "name": world.model(),
        "source": f"models:/{origin.name}/1",
        "run_id": "f" * 32,
    }
    world.post("/model-versions/create", body).refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.case
def the_source_of_a_run_needs_that_run(world: World) -> None:
    for body in ({"run_id": "f" * 32}, {}):
        answer = world.post(
            "/model-versions/create",
            {"name": world.model(), "source": f"runs:/{RUN}/model", **body},
        )
        answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.case
def the_source_of_a_logged_model_needs_that_model(world: World) -> None:
    model = f"m-{RUN}"
    answer = world.post(
        "/model-versions/create",
        {"name": world.model(), "source": f"models:/{model}", "model_id": "m-x"},
    )
    assert answer.status in {400, 404}, answer


@CASES.stricter("MLflow looks for the logged model in its own store and fails")
def a_logged_model_of_another_server_is_taken_unread(world: World) -> None:
    model = f"m-{RUN}"
    answer = world.post(
        "/model-versions/create",
        {"name": world.model(), "source": f"models:/{model}", "model_id": model},
    )
    if world.is_mlflow:
        assert answer.status >= 400
    else:
        assert answer.document["model_version"]["source"] == f"models:/{model}"
        assert answer.document["model_version"]["status"] == "READY"


@CASES.case
def the_place_of_a_version_that_is_not_there_is_404(world: World) -> None:
    answer = world.get(
        "/model-versions/get-download-uri", name=world.model(), version="1"
    )
    answer.refuses(404, "RESOURCE_DOES_NOT_EXIST")


@CASES.each(("name", "version"))
def the_place_of_nothing_is_not_asked_for(world: World, field: str) -> None:
    fields = {"name": world.version().name, "version": "1"}
    del fields[field]
    answer = world.get("/model-versions/get-download-uri", **fields)
    answer.refuses(400, "INVALID_PARAMETER_VALUE", field)
