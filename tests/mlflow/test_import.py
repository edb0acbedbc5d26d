"""``stagegate import mlflow`` from MLflow's own server, filled over its REST API."""

import io
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.integration.here import Here, registry_in
from tests.mlflow.servers import POLICY_FILES, MLflowServer
from tests.services.minio import ObjectStoreServer

ANSWER_SECONDS = 60.0
#: More than a page has, of models and of one model's versions.
MANY_MODELS = 215
ODD_NAMES = (
    "it's",
    "both ' and \"",
    "back\\slash",
    "100%_sure",
    "nai\u0308ve %&=?#+;, @",
    "\u6a21\u578b 🎉",
    "x" * 256,
)
CONFLICT = 4


@dataclass
class Filler:
    """Fills an MLflow server, as a client of it would."""

    url: str
    session: requests.Session = field(default_factory=requests.Session)

    def call(self, method: str, path: str, **body: object) -> Any:  # noqa: ANN401  the answer
        answer = self.session.request(
            method,
            f"{self.url}/api/2.0/mlflow/{path}",
            json=body,
            timeout=ANSWER_SECONDS,
        )
        assert answer.status_code == 200, (path, answer.text)
        return answer.json()

    def count(self) -> int:
        found = self.session.get(
            f"{self.url}/api/2.0/mlflow/registered-models/search",
            params={"max_results": 1000},
            timeout=ANSWER_SECONDS,
        )
        return len(found.json()["registered_models"])

    def model(self, name: str, **members: object) -> None:
        self.call("POST", "registered-models/create", name=name, **members)

    def version(self, name: str, stage: str = "None", **members: object) -> int:
        body = {"name": name, "source": f"gs://models/{len(name)}", **members}
        made = self.call("POST", "model-versions/create", **body)["model_version"]
        if stage != "None":
            self.move(name, made["version"], stage)
        return int(made["version"])

    def move(self, name: str, version: int | str, stage: str) -> None:
        self.call(
            "POST",
            "model-versions/transition-stage",
            name=name,
            version=str(version),
            stage=stage,
            archive_existing_versions=False,
        )

    def delete(self, name: str, version: int) -> None:
        self.call("DELETE", "model-versions/delete", name=name, version=str(version))

    def alias(self, name: str, alias: str, version: int) -> None:
        path = "registered-models/alias"
        self.call("POST", path, name=name, alias=alias, version=str(version))


@pytest.fixture(scope="module")
def filled(mlflows_own: MLflowServer, minio: ObjectStoreServer) -> Iterator[Filler]:
    """MLflow's server with something of everything, its artifacts in the store."""
    minio.client().make_bucket(bucket_name="imported")
    filler = Filler(mlflows_own.url)
    fill_with_many(filler, mlflows_own.directory / "mlflow.db")
    fill_with_odd_names(filler)
    fill_with_a_story(filler)
    fill_with_artifacts(filler, minio)
    fill_with_a_prompt(filler)
    yield filler
    minio.remove_bucket("imported")


def fill_with_many(filler: Filler, database: Path) -> None:
    """One model made by the server, its row copied: each request takes a while."""
    filler.model("many-000")
    with closing(sqlite3.connect(database)) as connection, connection:
        query = "SELECT * FROM registered_models WHERE name = 'many-000'"
        cursor = connection.execute(query)
        row = dict(zip([one[0] for one in cursor.description], *cursor, strict=True))
        copies = [{**row, "name": f"many-{n:03}"} for n in range(1, MANY_MODELS)]
        columns = ", ".join(row)
        values = ", ".join(f":{name}" for name in row)
        connection.executemany(
            f"INSERT INTO registered_models ({columns}) VALUES ({values})",  # noqa: S608  its own columns
            copies,
        )
    filler.version("many-001")


def fill_with_odd_names(filler: Filler) -> None:
    for name in ODD_NAMES:
        filler.model(name, description=name, tags=[{"key": "é/x y", "value": "ü 🎉"}])
        filler.version(name, run_id="r1", description=name)
        filler.version(name, "Staging", run_id="r2")
        filler.alias(name, "größte", 1)


def fill_with_a_story(filler: Filler) -> None:
    """Six versions, of which two were deleted, one of them the last."""
    filler.model("fraud", description="finds fraud")
    for number in range(1, 7):
        filler.version(
            "fraud",
            source=f"gs://models/fraud/{number}",
            run_id=f"run-{number}",
            run_link=f"https://runs.example/{number}",
            tags=[
                {"key": "mlflow.user", "value": "ann"},
                {"key": "empty", "value": ""},
            ],
        )
    for number, stage in ((1, "Archived"), (3, "Production"), (5, "Production")):
        filler.move("fraud", number, stage)
    filler.delete("fraud", 2)
    filler.delete("fraud", 6)
    filler.alias("fraud", "champion", 5)


def fill_with_artifacts(filler: Filler, minio: ObjectStoreServer) -> None:
    """A logged model in the store, registered as MLflow 3 does it, and a copy."""
    place = {"name": "in-the-store", "artifact_location": "s3://imported/mlflow"}
    logged = filler.call(
        "POST",
        "logged-models",
        name="model",
        **filler.call("POST", "experiments/create", **place),  # its id
    )
    info = logged["model"]["info"]
    key = info["artifact_uri"].removeprefix("s3://imported/")
    minio.client().put_object(
        bucket_name="imported",
        object_name=f"{key}/MLmodel",
        data=io.BytesIO(b"flavors: {}\n"),
        length=12,
    )
    filler.call(
        "PATCH",
        f"logged-models/{info['model_id']}",
        model_id=info["model_id"],
        status="LOGGED_MODEL_READY",
    )
    source = f"models:/{info['model_id']}"
    filler.model("stored")
    filler.version("stored", "Production", source=source, model_id=info["model_id"])
    filler.model("a-copy")  # before what it is a copy of
    filler.version("a-copy", source="models:/stored/1")


def fill_with_a_prompt(filler: Filler) -> None:
    """Three versions, of which the second was deleted."""
    is_prompt = {"key": "mlflow.prompt.is_prompt", "value": "true"}
    filler.model("greet", tags=[is_prompt], description="greets")
    for text in ("Hello {{name}}", "Hey", "x" * 100_000):
        tags = [is_prompt, {"key": "mlflow.prompt.text", "value": text}]
        filler.version("greet", source="dummy-source", tags=tags, description=text[:5])
    filler.delete("greet", 2)
    filler.alias("greet", "champion", 1)


@pytest.fixture
def here(tmp_path: Path, minio: ObjectStoreServer, bucket: str) -> Iterator[Here]:
    """An empty registry on the same store."""
    store = {
        name.removeprefix("STAGEGATE_"): value
        for name, value in minio.settings().items()
    }
    with registry_in(tmp_path, ARTIFACT_ROOT=f"s3://{bucket}/own", **store) as here:
        yield here


def test_everything_arrives_from_mlflows_own_server(filled: Filler, here: Here) -> None:
    """Of the many, which are all alike, some of the first page and some of the next."""
    chosen = [("--model", pattern) for pattern in ("[!m]*", "many-00[01]", "many-21*")]
    left_out = MANY_MODELS - 2 - 5

    report = here.imported(filled.url, *(option for pair in chosen for option in pair))

    # And the prompt; other tests may have added some.
    total = filled.count() + 1 - left_out
    assert total >= 2 + 5 + len(ODD_NAMES) + 3
    assert (report["models"], report["models_created"]) == (total, total)
    assert (report["conflicts"], report["refused"]) == ([], [])
    fraud = here.versions("fraud")
    assert {number: one.stage for number, one in fraud.items()} == {
        1: "Archived",
        3: "Archived",
        4: "None",
        5: "Production",
    }
    assert fraud[5].source == "gs://models/fraud/5"
    assert fraud[5].run_id == "run-5"
    assert fraud[5].raw["run_link"] == "https://runs.example/5"
    assert fraud[5].aliases == ["champion"]
    assert {"mlflow.user": "ann", "empty": ""}.items() <= fraud[5].tags.items()


def test_names_tags_and_aliases_of_any_script_arrive(
    filled: Filler, here: Here
) -> None:
    patterns = [
        ("--model", pattern) for pattern in ("i*", "b*", "1*", "n*", "x*", "模*")
    ]

    here.imported(filled.url, *(option for pair in patterns for option in pair))

    with here.client() as client:
        for name in ("na\u00efve %&=?#+;, @", *ODD_NAMES[:4], *ODD_NAMES[5:]):
            model = client.get_model(name)
            assert model.description == name
            assert model.aliases == {"größte": 1}
            assert model.tags["é/x y"] == "ü 🎉"
            assert here.stages(name) == {1: "None", 2: "Staging"}


def test_artifacts_are_pinned_where_they_lie(filled: Filler, here: Here) -> None:
    """Neither the import nor whoever loads them needs the old server for that."""
    here.imported(filled.url, "--model", "stored", "--model", "a-copy")

    for name in ("stored", "a-copy"):
        version = here.versions(name)[1]
        assert version.verified
        assert version.artifact_digest is not None
        assert version.source is not None
        assert version.source.startswith("s3://imported/mlflow/")
    assert here.versions("stored")[1].stage == "Production"
    origin = here.versions("a-copy")[1].tags["stagegate.import.source"]
    assert origin == "models:/stored/1"


def test_a_prompt_arrives_as_it_is_at_the_source(filled: Filler, here: Here) -> None:
    report = here.imported(filled.url, "--model", "greet")

    assert (report["conflicts"], report["refused"]) == ([], [])
    found = here.versions("greet")
    texts = {n: one.tags["mlflow.prompt.text"] for n, one in found.items()}
    assert texts == {1: "Hello {{name}}", 3: "x" * 100_000}
    assert found[1].aliases == ["champion"]
    assert (found[3].description, found[3].artifact_digest) == ("xxxxx", None)
    assert here.imported(filled.url, "--model", "greet")["changes"] == 0


def test_a_second_run_changes_nothing_and_a_dry_run_never_does(
    filled: Filler, here: Here
) -> None:
    chosen = ("--model", "fraud", "--model", "stored", "--model", "many-00[01]")
    nothing = here.entries()
    here.imported(filled.url, *chosen, "--dry-run")
    assert here.entries() == nothing
    here.imported(filled.url, *chosen)
    before = here.entries()

    again = here.imported(filled.url, *chosen)

    assert again["changes"] == 0
    assert again["models_unchanged"] == again["models"] == 4
    assert here.entries() == before


@pytest.mark.parametrize(
    "change", [5, *(pytest.param(n, marks=pytest.mark.long) for n in (3, 11, 13))]
)
def test_an_import_that_was_killed_is_continued(
    filled: Filler, here: Here, change: int
) -> None:
    here.import_killed_at(change, filled.url, "--model", "fraud")

    report = here.imported(filled.url, "--model", "fraud")

    assert (report["conflicts"], report["refused"]) == ([], [])
    assert here.stages("fraud") == {
        1: "Archived",
        3: "Archived",
        4: "None",
        5: "Production",
    }
    assert here.imported(filled.url, "--model", "fraud")["changes"] == 0


def test_what_happens_at_the_source_later_follows(filled: Filler, here: Here) -> None:
    filled.model("later")
    filled.version("later", "Production")
    here.imported(filled.url, "--model", "later")
    filled.version("later", "Production", source="gs://models/new")
    filled.move("later", 1, "Archived")

    here.imported(filled.url, "--model", "later")

    assert here.stages("later") == {1: "Archived", 2: "Production"}


def test_the_open_policy_takes_everything_as_it_is(
    filled: Filler, tmp_path: Path
) -> None:
    with registry_in(tmp_path, POLICY_FILE=str(POLICY_FILES["open"])) as here:
        report = here.imported(filled.url, "--model", "fraud")

        assert here.stages("fraud") == {
            1: "Archived",
            3: "Production",
            4: "None",
            5: "Production",
        }
    assert report["notes"] == []


def test_a_registry_of_ours_can_be_read_like_mlflows(
    filled: Filler, here: Here, tmp_path: Path
) -> None:
    """It speaks the same protocol: an import goes from one to the next."""
    here.imported(filled.url, "--model", "fraud", "--model", ODD_NAMES[1])
    (tmp_path / "next").mkdir()

    with registry_in(tmp_path / "next") as following:
        from_token = ("--from-token", "test-token-of-no-value")
        report = following.imported(here.url, *from_token)

        assert following.stages("fraud") == here.stages("fraud")
        assert following.stages(ODD_NAMES[1]) == here.stages(ODD_NAMES[1])
    assert report["numbers_left_empty"] == 1
