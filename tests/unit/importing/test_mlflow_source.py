"""How an MLflow server is asked, and what is made of its answers."""

import base64
from collections.abc import Mapping

import pytest

from registry.errors import (
    InvalidInputError,
    PermissionDeniedError,
    RegistryError,
    ServerUnreachableError,
)
from registry.importing.mlflow_source import MlflowServer, NotToldError
from registry.importing.states import SourceModel, SourceVersion
from tests.services.processes import free_port
from tests.unit.fake_registry import Answer, FakeRegistry, json_answer
from tests.unit.importing.mlflow_pages import API, MlflowPages, error_answer


def server_of(
    pages: MlflowPages, *, token: str | None = None, **environ: str
) -> MlflowServer:
    return MlflowServer(pages.fake.url, token=token, environ=environ)


def everything(server: MlflowServer) -> dict[str, SourceModel]:
    with server:
        return {one.name: server.with_versions(one) for one in server.models()}


def test_models_and_versions_are_read_to_their_last_page(pages: MlflowPages) -> None:
    for number in range(5):
        pages.model(f"m{number}", "None", None, "Staging", "Production")

    found = everything(server_of(pages))

    assert sorted(found) == ["m0", "m1", "m2", "m3", "m4"]
    assert all(sorted(one.versions) == [1, 3, 4] for one in found.values())
    assert len(pages.asked_for("registered-models/search")) == 3


def test_everything_a_server_says_of_a_version_is_read(pages: MlflowPages) -> None:
    pages.model("fraud", aliases={"champion": 2})
    pages.version(
        "fraud",
        2,
        current_stage="Staging",
        description="better",
        tags=[{"key": "mlflow.user", "value": "ann"}, {"key": "empty"}],
        user_id="ann",
        run_link="https://runs.example/2",
    )

    model = everything(server_of(pages))["fraud"]

    assert model.description == "about fraud"
    assert model.tags == {"team": "risk"}
    assert model.aliases == {"champion": 2}
    assert model.created_at == "2026-11-21T12:00:00.123Z"
    assert model.versions[2] == SourceVersion(
        number=2,
        source="gs://models/fraud/2",
        stage="Staging",
        status="READY",
        description="better",
        tags={"mlflow.user": "ann", "empty": ""},
        run_id="run-2",
        run_link="https://runs.example/2",
        created_at="2026-11-21T12:00:00.123Z",
        created_by="ann",
    )


def test_what_a_server_leaves_out_is_taken_as_empty(pages: MlflowPages) -> None:
    pages.models.append({"name": "bare"})
    pages.versions.append({"name": "bare", "version": "1", "source": "gs://b/1"})

    model = everything(server_of(pages))["bare"]

    assert model.versions == {1: SourceVersion(number=1, source="gs://b/1")}
    assert (model.description, model.tags, model.aliases) == ("", {}, {})


def test_timestamps_may_be_text(pages: MlflowPages) -> None:
    """Protobuf's own JSON has 64-bit integers so."""
    pages.models.append({"name": "old", "creation_timestamp": "0"})

    assert everything(server_of(pages))["old"].created_at == "1970-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    "name",
    [
        "it's",
        'a "quoted" one',
        "both ' and \"",
        "back\\slash",
        "100% sure_",
        "naïve 🎉",
    ],
)
def test_versions_are_found_whatever_the_name(pages: MlflowPages, name: str) -> None:
    pages.page_size = 1
    for other in (name, name.replace("'", "x"), name.replace("\\", "y"), "other"):
        if other not in {one["name"] for one in pages.models}:
            pages.model(other, "None", "None")

    found = everything(server_of(pages))[name]

    assert [one.source for one in found.versions.values()] == [
        f"gs://models/{name}/1",
        f"gs://models/{name}/2",
    ]


def test_text_is_read_in_the_form_that_it_is_stored_in_here(
    pages: MlflowPages,
) -> None:
    decomposed = "nai\u0308ve"
    pages.model(decomposed, aliases={decomposed: 1})
    pages.version(decomposed, 1, tags=[{"key": decomposed, "value": decomposed}])

    model = everything(server_of(pages))[decomposed]

    assert model.aliases == {"na\u00efve": 1}
    assert model.versions[1].tags == {"na\u00efve": "na\u00efve"}


def test_prompts_are_found_apart_from_models(pages: MlflowPages) -> None:
    pages.model("fraud", "None")
    pages.prompt("greet", "Hello", None, "Hi", aliases={"champion": 3})

    with server_of(pages) as server:
        (prompt,) = map(server.with_versions, server.prompts())

    assert list(everything(server_of(pages))) == ["fraud"]
    assert (prompt.name, prompt.aliases) == ("greet", {"champion": 3})
    assert prompt.is_prompt
    texts = {n: one.tags["mlflow.prompt.text"] for n, one in prompt.versions.items()}
    assert texts == {1: "Hello", 3: "Hi"}


def test_a_server_that_knows_no_prompts_has_none(pages: MlflowPages) -> None:
    """Before prompts, MLflow took the filter for one of any tag."""
    pages.model("fraud")

    assert list(server_of(pages).prompts()) == []


@pytest.mark.parametrize(
    ("source", "answered", "address"),
    [
        ("models:/m-1", "s3://bucket/1", "s3://bucket/1"),
        ("runs:/abc/model", "gs://bucket/1", "gs://bucket/1"),
        ("models:/other/3", "mlflow-artifacts:/1/m-1", "models:/other/3"),
        ("models:/other/3", "S3://bucket/1", "S3://bucket/1"),
        ("models:/m-1", "mlflow-artifacts:/1/m-1", "models:/m-1"),
        ("models:/m-1", "/var/mlruns/1", "models:/m-1"),
        ("models:/m-1", "", "models:/m-1"),
        ("models:/m-1", None, "models:/m-1"),
        ("s3://bucket/2", "s3://never/asked", "s3://bucket/2"),
        ("mlflow-artifacts:/1/m-1", "s3://never/asked", "mlflow-artifacts:/1/m-1"),
    ],
)
def test_an_artifact_lies_in_a_store_where_the_server_knows_one(
    pages: MlflowPages, source: str, answered: str | None, address: str
) -> None:
    if answered is not None:
        pages.addresses["fraud", "1"] = answered
    version = SourceVersion(number=1, source=source)

    found = server_of(pages).address_of(SourceModel(name="fraud"), version)

    assert found == address


@pytest.mark.parametrize("status", [400, 404])
def test_a_server_that_knows_no_place_leaves_the_source(
    pages: MlflowPages, status: int
) -> None:
    pages.no_address = error_answer(status, "INVALID_PARAMETER_VALUE", "no")
    version = SourceVersion(number=1, source="models:/m-1")

    found = server_of(pages).address_of(SourceModel(name="fraud"), version)

    assert found == "models:/m-1"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (error_answer(500, "INTERNAL_ERROR", "database is locked"), RegistryError),
        (error_answer(503, "TEMPORARILY_UNAVAILABLE", "later"), RegistryError),
        (error_answer(429, "REQUEST_LIMIT_EXCEEDED", "slowly"), RegistryError),
        (error_answer(401, "UNAUTHENTICATED", "who?"), PermissionDeniedError),
        (error_answer(403, "PERMISSION_DENIED", "no"), PermissionDeniedError),
        (Answer(502, b"<html>"), RegistryError),
        (Answer(404, b"default backend"), RegistryError),
    ],
)
def test_a_fault_that_may_pass_is_no_answer_where_an_artifact_lies(
    pages: MlflowPages, answer: Answer, error: type[RegistryError]
) -> None:
    pages.no_address = answer
    version = SourceVersion(number=1, source="models:/m-1")

    with pytest.raises(error) as caught:
        server_of(pages).address_of(SourceModel(name="fraud"), version)

    assert not isinstance(caught.value, InvalidInputError | NotToldError)


def test_one_version_is_read_by_its_number(pages: MlflowPages) -> None:
    pages.versions.append({"name": "fraud", "version": "1", "source": "gs://b/1"})
    server = server_of(pages)

    assert server.version("fraud", 1).source == "gs://b/1"
    with pytest.raises(NotToldError, match="404: no such version"):
        server.version("fraud", 2)


def test_an_answer_without_a_version_is_told() -> None:
    with FakeRegistry() as fake:
        path = f"{API}/model-versions/get"
        fake.on("GET", path, lambda _asked: json_answer({"model_version": None}))
        server = MlflowServer(fake.url, environ={})

        with pytest.raises(RegistryError, match="without a version of fraud"):
            server.version("fraud", 1)


def test_a_server_that_is_gone_says_nothing_of_an_artifact() -> None:
    server = MlflowServer(f"http://127.0.0.1:{free_port()}", environ={})
    version = SourceVersion(number=1, source="models:/m-1")

    with pytest.raises(ServerUnreachableError, match=r"127\.0\.0\.1"):
        server.address_of(SourceModel(name="fraud"), version)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("environ", "token", "header"),
    [
        ({}, None, None),
        ({"MLFLOW_TRACKING_TOKEN": "t"}, None, "Bearer t"),
        (
            {"MLFLOW_TRACKING_USERNAME": "ü", "MLFLOW_TRACKING_PASSWORD": "p"},
            None,
            basic("ü", "p"),
        ),
        (
            {
                "MLFLOW_TRACKING_USERNAME": "u",
                "MLFLOW_TRACKING_PASSWORD": "p",
                "MLFLOW_TRACKING_TOKEN": "t",
            },
            None,
            basic("u", "p"),
        ),
        ({"MLFLOW_TRACKING_USERNAME": "u"}, None, None),
        (
            {"MLFLOW_TRACKING_USERNAME": "u", "MLFLOW_TRACKING_PASSWORD": "p"},
            "given",
            "Bearer given",
        ),
    ],
)
def test_credentials_are_read_as_mlflows_client_reads_them(
    pages: MlflowPages,
    environ: Mapping[str, str],
    token: str | None,
    header: str | None,
) -> None:
    everything(server_of(pages, token=token, **environ))

    assert pages.fake.asked[0].headers.get("Authorization") == header


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_lets_nobody_in_says_which_credentials_are_wanted(
    pages: MlflowPages, status: int
) -> None:
    pages.instead = Answer(status, b"no entry")

    with pytest.raises(PermissionDeniedError, match="MLFLOW_TRACKING_TOKEN"):
        everything(server_of(pages))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (error_answer(400, "INVALID_PARAMETER_VALUE", "bad token"), "400: bad token"),
        (json_answer({"error_code": "ENDPOINT_NOT_FOUND"}, status=404), "NOT_FOUND"),
        (json_answer([]), "is this an MLflow server"),
        (Answer(200, b"<html>"), "is this an MLflow server"),
        (Answer(302, b"", {"Location": "https://elsewhere.example"}), "answered 302"),
        (json_answer({"next_page_token": "same"}), "without an end"),
    ],
)
def test_an_answer_that_is_none_is_told(
    pages: MlflowPages, answer: Answer, message: str
) -> None:
    pages.instead = answer

    with pytest.raises(RegistryError, match=message):
        everything(server_of(pages))


@pytest.mark.parametrize(
    "uri",
    ["sqlite:///mlflow.db", "postgresql://u:p@db/mlflow", "mysql+pymysql://u:p@db/m"],
)
def test_a_database_is_refused_with_what_to_point_at(uri: str) -> None:
    with pytest.raises(InvalidInputError, match="mlflow server --backend-store-uri"):
        MlflowServer(uri, environ={})


@pytest.mark.parametrize(
    "uri", ["", "./mlruns", "file:///mlruns", "databricks", "http://", "mlflow:5000"]
)
def test_what_is_no_server_is_refused(uri: str) -> None:
    with pytest.raises(InvalidInputError, match="not the address of an MLflow server"):
        MlflowServer(uri, environ={})


@pytest.mark.parametrize("uri", ["http://u:p@host", "http://host/?a=b", "http://h/#x"])
def test_an_address_with_more_than_an_address_is_refused(uri: str) -> None:
    with pytest.raises(InvalidInputError, match="without user, password") as caught:
        MlflowServer(uri, environ={})
    assert "u:p" not in str(caught.value)


def test_an_address_may_have_a_path_and_what_pastes_bring_along() -> None:
    assert MlflowServer(" https://h/mlflow/ ", environ={}).origin == "https://h/mlflow"
    whole = f"https://h/mlflow{API}"
    assert MlflowServer(whole, environ={}).origin == "https://h/mlflow"
