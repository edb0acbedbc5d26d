"""What lies behind a source: looked up here, at the tracking server, or not at all."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.services.preparing import PreparedVersion, prepare_version
from tests.integration.api.driver import (
    FILES,
    MODEL,
    ON_BOTH_DATABASES,
    Document,
    Driver,
    problem_of,
)
from tests.integration.conftest import close_app, make_app
from tests.integration.mlflow_api.driver import SOURCE, Mlflow, mlflow_client
from tests.tracking_server import MODEL_ID, RUN_ID, FakeTracking
from tests.unit.fake_registry import Answer

CREATE = "/model-versions/create"
LOGGED = f"models:/{MODEL_ID}"
OTHER_RUN = "f" * 32


@pytest.fixture
def tracking() -> Iterator[FakeTracking]:
    with FakeTracking() as running:
        yield running


@pytest.fixture
def tracked(
    tmp_path: Path, tracking: FakeTracking, database: dict[str, str]
) -> Iterator[Mlflow]:
    """A registry that knows a tracking server, and has a model."""
    app = make_app(tmp_path, TRACKING_URI=tracking.url, **database)
    mlflow = mlflow_client(app)
    mlflow.create_model()
    yield mlflow
    close_app(app)


@pytest.fixture
def artifacts(tracked: Mlflow) -> Path:
    """A directory of model files that the registry's store can read."""
    directory = Path(tracked.api.parts.settings.artifact_root) / "1" / "artifacts"
    for path, content in FILES.items():
        (directory / "model" / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / "model" / path).write_bytes(content)
    return directory


def place_of(mlflow: Mlflow, number: int = 1, name: str = MODEL) -> str:
    place: str = mlflow.api.version(number, name)["download_uri"]
    return place


def created(mlflow: Mlflow, source: str, **fields: Any) -> Document:  # noqa: ANN401  # what JSON can say
    """The new version as both APIs show it."""
    document = mlflow.create_version(source=source, **fields)
    return {**mlflow.api.version(int(document["version"])), "mlflow": document}


def after_looking_up(
    monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object]
) -> None:
    """Let something happen between the look at a source and the registration."""

    def prepare_then(*given: Any, **options: Any) -> PreparedVersion:  # noqa: ANN401  # handed on
        prepared = prepare_version(*given, **options)
        meanwhile()
        return prepared

    monkeypatch.setattr("registry.mlflow_api.versions.prepare_version", prepare_then)


def test_run_is_resolved_and_its_artifact_pinned(
    tracked: Mlflow, tracking: FakeTracking, artifacts: Path
) -> None:
    tracking.add_run(info={"artifact_uri": artifacts.as_uri()})
    source = f"runs:/{RUN_ID}/model"

    version = created(tracked, source, run_id=RUN_ID)

    assert version["mlflow"]["source"] == version["source"] == source
    assert version["download_uri"] == f"{artifacts.as_uri()}/model"
    assert version["verified"] is True
    file = tracked.api.get(f"/models/{MODEL}/versions/1/artifacts/model.bin")
    assert file.data == FILES["model.bin"]
    announced = tracked.api.read("/events")["items"][-1]["data"]
    assert announced["source"] == source
    assert announced["download_uri"] == version["download_uri"]


def test_logged_model_is_resolved_and_brings_its_run(
    tracked: Mlflow, tracking: FakeTracking, artifacts: Path
) -> None:
    tracking.add_run(params={"depth": "6"})
    tracking.add_logged_model(info={"artifact_uri": f"{artifacts.as_uri()}/model"})

    version = created(tracked, LOGGED, model_id=MODEL_ID)

    assert version["source"] == LOGGED
    assert version["verified"] is True
    assert version["mlflow"]["run_id"] == version["run_id"] == RUN_ID
    assert version["logged_model_id"] == MODEL_ID
    assert version["params"] == {"depth": "6"}


def test_changed_artifact_of_a_logged_model_is_not_promoted(
    tracked: Mlflow, tracking: FakeTracking, artifacts: Path
) -> None:
    tracking.add_logged_model(info={"artifact_uri": f"{artifacts.as_uri()}/model"})
    created(tracked, LOGGED, model_id=MODEL_ID)
    (artifacts / "model" / "model.bin").write_bytes(b"other")

    message = tracked.refused(
        "RESOURCE_CONFLICT",
        "POST",
        "/model-versions/transition-stage",
        name=MODEL,
        version="1",
        stage="Staging",
    )

    assert "not what was registered" in message


def test_large_artifact_of_a_logged_model_keeps_its_source(
    tracked: Mlflow,
    tracking: FakeTracking,
    artifacts: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("registry.services.artifacts.INLINE_BYTES", 3)
    tracking.add_logged_model(info={"artifact_uri": f"{artifacts.as_uri()}/model"})

    before = created(tracked, LOGGED, model_id=MODEL_ID)["status"]
    tracked.api.work_in_background()

    version = tracked.api.version(1)
    assert (before, version["status"]) == ("PENDING_REGISTRATION", "READY")
    assert version["source"] == LOGGED
    assert place_of(tracked) == f"{artifacts.as_uri()}/model"


def test_name_in_a_run_means_the_logged_model_of_that_name(
    tracked: Mlflow, tracking: FakeTracking, artifacts: Path
) -> None:
    other = f"m-{'1' * 32}"
    tracking.add_run(model_steps={other: 0, MODEL_ID: 0})
    tracking.add_logged_model(other, info={"name": "another"})
    tracking.add_logged_model(info={"artifact_uri": f"{artifacts.as_uri()}/model"})

    version = created(tracked, f"runs:/{RUN_ID}/model", run_id=RUN_ID)

    assert version["logged_model_id"] == MODEL_ID
    assert version["verified"] is True


def add_models(
    tracking: FakeTracking, artifacts: Path, models: dict[str, tuple[int, int]]
) -> None:
    """A run that logged ``model`` so often: by a letter, its step and its time."""
    ids = {letter: f"m-{letter * 32}" for letter in models}
    tracking.add_run(
        info={"artifact_uri": artifacts.as_uri()},
        model_steps={ids[letter]: step for letter, (step, _) in models.items()},
    )
    for letter, (_, created_ms) in models.items():
        place = f"{artifacts.as_uri()}/model"
        info = {"creation_timestamp_ms": created_ms, "artifact_uri": place}
        tracking.add_logged_model(ids[letter], info=info)


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        ({"a": (1, 9), "b": (10, 1), "c": (2, 5)}, "b"),
        ({"a": (0, 1), "b": (0, 3), "c": (0, 2)}, "b"),
        ({letter: (ord(letter), 1) for letter in "abcdefghijklmn"}, "n"),
    ],
)
def test_of_several_logged_models_of_a_name_the_last_is_meant(
    tracked: Mlflow,
    tracking: FakeTracking,
    artifacts: Path,
    *,
    models: dict[str, tuple[int, int]],
    expected: str,
) -> None:
    add_models(tracking, artifacts, models)

    version = created(tracked, f"runs:/{RUN_ID}/model", run_id=RUN_ID)

    assert version["logged_model_id"] == f"m-{expected * 32}"


@pytest.mark.parametrize("name", ["model", "another"])
def test_run_of_too_many_logged_models_must_be_told_which(
    tracked: Mlflow, tracking: FakeTracking, artifacts: Path, name: str
) -> None:
    add_models(tracking, artifacts, dict.fromkeys("abcdefghijk", (0, 1)))
    (artifacts / "another").mkdir()
    (artifacts / "another" / "model.bin").write_bytes(b"weights")

    fields = {"name": MODEL, "source": f"runs:/{RUN_ID}/{name}", "run_id": RUN_ID}
    message = tracked.refused("INVALID_PARAMETER_VALUE", "POST", CREATE, **fields)

    assert "logged 11 models" in message
    assert "models:/m-ID" in message


@pytest.mark.parametrize("below", ["data", "/data"])
def test_path_below_a_logged_model_is_found_there(
    tracked: Mlflow, tracking: FakeTracking, artifacts: Path, below: str
) -> None:
    add_models(tracking, artifacts, {"a": (0, 1)})

    version = created(tracked, f"runs:/{RUN_ID}/model/{below}", run_id=RUN_ID)

    assert version["download_uri"] == f"{artifacts.as_uri()}/model/data"
    assert version["logged_model_id"] == f"m-{'a' * 32}"
    assert version["verified"] is True


def test_whole_run_is_a_source_too(
    tracked: Mlflow, tracking: FakeTracking, artifacts: Path
) -> None:
    tracking.add_run(
        info={"artifact_uri": artifacts.as_uri()}, model_steps={MODEL_ID: 0}
    )

    version = created(tracked, f"runs:/{RUN_ID}", run_id=RUN_ID)

    assert version["download_uri"] == artifacts.as_uri()
    assert version["logged_model_id"] is None


@pytest.mark.parametrize(
    ("artifact_uri", "place"),
    [
        ("gs://elsewhere/m", "gs://elsewhere/m"),
        ("mlflow-artifacts:/1/models/m/artifacts", LOGGED),
        ("/srv/mlruns/1/models/m/artifacts", LOGGED),
        ("file:///srv/mlruns/1", LOGGED),
        ("hopsfs://cluster/m", LOGGED),
        ("http://elsewhere/m", LOGGED),
        ("s3://bucket/a/../b", LOGGED),
        ("s3://bucket", LOGGED),
        ("models:/another/1", LOGGED),
        ("", LOGGED),
    ],
)
def test_place_that_is_not_ours_is_left_to_the_client(
    tracked: Mlflow, tracking: FakeTracking, *, artifact_uri: str, place: str
) -> None:
    tracking.add_logged_model(info={"artifact_uri": artifact_uri})

    version = created(tracked, LOGGED, model_id=MODEL_ID)

    assert (version["status"], version["verified"]) == ("READY", False)
    answer = tracked.done(
        "GET", "/model-versions/get-download-uri", name=MODEL, version="1"
    )
    assert answer["artifact_uri"] == place


def test_run_without_the_artifact_is_refused(
    tracked: Mlflow, tracking: FakeTracking, artifacts: Path
) -> None:
    tracking.add_run(info={"artifact_uri": artifacts.as_uri()})

    fields = {"name": MODEL, "source": f"runs:/{RUN_ID}/absent", "run_id": RUN_ID}
    message = tracked.refused("INVALID_PARAMETER_VALUE", "POST", CREATE, **fields)

    assert "there is no artifact at" in message


@pytest.mark.parametrize(
    "fields",
    [
        {"source": f"runs:/{RUN_ID}/model", "run_id": RUN_ID},
        {"source": LOGGED, "model_id": MODEL_ID},
        {"source": f"mlflow-artifacts:/1/{RUN_ID}/artifacts/m", "run_id": RUN_ID},
        {"source": f"mlflow-artifacts:/1/{MODEL_ID}/m", "model_id": MODEL_ID},
    ],
)
class TestSourceThatTheTrackingServerMustResolve:
    def test_what_does_not_exist_there_is_refused(
        self, tracked: Mlflow, fields: dict[str, str]
    ) -> None:
        message = tracked.refused(
            "INVALID_PARAMETER_VALUE", "POST", CREATE, name=MODEL, **fields
        )

        assert "the tracking server has no" in message

    def test_server_that_is_down_is_waited_for(
        self, tracked: Mlflow, tracking: FakeTracking, fields: dict[str, str]
    ) -> None:
        tracking.add_run()
        tracking.add_logged_model()
        tracking.failing = Answer(503)
        before = tracked.api.dump()

        answer = tracked.send("POST", CREATE, name=MODEL, **fields)

        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert tracked.api.dump() == before

    def test_server_that_refuses_us_is_no_reason_to_ask_again(
        self, tracked: Mlflow, tracking: FakeTracking, fields: dict[str, str]
    ) -> None:
        tracking.failing = Answer(401)

        message = tracked.refused(
            "INVALID_PARAMETER_VALUE", "POST", CREATE, name=MODEL, **fields
        )

        assert "401" in message

    def test_without_a_tracking_server_it_is_stored_unread(
        self, mlflow: Mlflow, fields: dict[str, str]
    ) -> None:
        mlflow.create_model()

        version = created(mlflow, **fields)

        assert (version["status"], version["verified"]) == ("READY", False)
        assert version["source"] == fields["source"]
        answer = mlflow.done(
            "GET", "/model-versions/get-download-uri", name=MODEL, version="1"
        )
        assert answer["artifact_uri"] == fields["source"]


@pytest.mark.parametrize(
    "fields",
    [
        {"source": f"runs:/{RUN_ID}/model"},
        {"source": f"runs:/{RUN_ID}/model", "run_id": OTHER_RUN},
        {"source": LOGGED},
        {"source": LOGGED, "model_id": "m-other"},
        {"source": LOGGED, "run_id": RUN_ID},
        {"source": f"mlflow-artifacts:/1/{RUN_ID}/artifacts/model"},
    ],
)
def test_source_of_a_run_or_logged_model_needs_its_id(
    mlflow: Mlflow, fields: dict[str, str]
) -> None:
    mlflow.create_model()

    mlflow.refused("INVALID_PARAMETER_VALUE", "POST", CREATE, name=MODEL, **fields)


def test_our_own_api_reads_the_id_from_the_source(
    tracked: Mlflow, tracking: FakeTracking, artifacts: Path
) -> None:
    tracking.add_run(info={"artifact_uri": artifacts.as_uri()})
    tracking.add_logged_model(info={"artifact_uri": f"{artifacts.as_uri()}/model"})

    first = tracked.api.register(source=f"runs:/{RUN_ID}/model")
    second = tracked.api.register(source=LOGGED)

    assert tracked.api.version(first)["run_id"] == RUN_ID
    assert tracked.api.version(second)["logged_model_id"] == MODEL_ID
    answer = tracked.api.post(
        f"/models/{MODEL}/versions",
        {"source": f"runs:/{RUN_ID}/model", "run_id": OTHER_RUN},
    )
    assert list(problem_of(answer, 422, "invalid")["errors"]) == ["run_id"]


class TestProxiedArtifact:
    """``mlflow-artifacts:/``, which only the tracking server can read."""

    SOURCE = f"mlflow-artifacts:/1/{RUN_ID}/artifacts/model"

    def test_it_must_lie_below_the_run(
        self, tracked: Mlflow, tracking: FakeTracking
    ) -> None:
        tracking.add_run()
        tracking.add_run(OTHER_RUN)

        version = created(tracked, self.SOURCE, run_id=RUN_ID)
        message = tracked.refused(
            "INVALID_PARAMETER_VALUE",
            "POST",
            CREATE,
            name=MODEL,
            source=self.SOURCE,
            run_id=OTHER_RUN,
        )

        assert version["download_uri"] == self.SOURCE
        assert "not below the artifacts" in message

    def test_it_may_lie_below_the_logged_model(
        self, tracked: Mlflow, tracking: FakeTracking
    ) -> None:
        tracking.add_run()
        tracking.add_logged_model()
        source = f"mlflow-artifacts:/1/models/{MODEL_ID}/artifacts"

        both = created(tracked, source, run_id=RUN_ID, model_id=MODEL_ID)
        alone = created(tracked, source, model_id=MODEL_ID)
        fields = {"name": MODEL, "source": self.SOURCE, "model_id": MODEL_ID}
        message = tracked.refused("INVALID_PARAMETER_VALUE", "POST", CREATE, **fields)

        assert both["logged_model_id"] == alone["logged_model_id"] == MODEL_ID
        assert "not below the artifacts" in message

    @pytest.mark.parametrize(
        "artifact_uri", ["", "s3://bucket/1", "mlflow-artifacts:/"]
    )
    def test_run_that_is_stored_elsewhere_has_no_such_artifact(
        self, tracked: Mlflow, tracking: FakeTracking, artifact_uri: str
    ) -> None:
        tracking.add_run(info={"artifact_uri": artifact_uri})

        tracked.refused(
            "INVALID_PARAMETER_VALUE",
            "POST",
            CREATE,
            name=MODEL,
            source=self.SOURCE,
            run_id=RUN_ID,
        )


class TestCopy:
    """``models:/NAME/…``: a version of this registry under another model."""

    @pytest.fixture
    def origin(self, mlflow: Mlflow) -> Mlflow:
        """Version 1 of ``fraud`` with an artifact and all that is known of it."""
        mlflow.create_model()
        mlflow.create_model("copy")
        mlflow.api.register(
            run_id=RUN_ID,
            run_link="https://mlflow.example/run",
            params={"depth": "6", "seed": "1"},
            metrics={"auc": 0.5},
            git_commit="abc",
            datasets=[{"name": "cards"}],
            logged_model_id=MODEL_ID,
        )
        mlflow.api.upload(1)
        return mlflow

    def copied(self, mlflow: Mlflow, source: str, **fields: str) -> Document:
        document = mlflow.create_version("copy", source=source, **fields)
        return mlflow.api.version(int(document["version"]), "copy")

    @ON_BOTH_DATABASES
    def test_it_is_pinned_to_what_the_origin_is(self, origin: Mlflow) -> None:
        copy = self.copied(origin, f"models:/{MODEL}/1")

        first = origin.api.version(1)
        assert copy["source"] == f"models:/{MODEL}/1"
        assert copy["download_uri"] == first["source"]
        assert copy["verified"] is True
        for name in (
            *("artifact_digest", "artifact_size_bytes", "run_id", "run_link"),
            *("params", "metrics", "git_commit", "datasets", "logged_model_id"),
        ):
            assert copy[name] == first[name], name
        file = origin.api.get("/models/copy/versions/1/artifacts/data/labels.txt")
        assert file.data == FILES["data/labels.txt"]

    def test_it_is_verified_when_it_is_promoted(self, origin: Mlflow) -> None:
        self.copied(origin, f"models:/{MODEL}/1")

        origin.move(1, "Staging", "copy")

        assert origin.api.stages("copy") == {1: "Staging"}

    def test_copy_of_a_copy_leads_to_the_first_bytes(self, origin: Mlflow) -> None:
        self.copied(origin, f"models:/{MODEL}/1")

        second = self.copied(origin, "models:/copy/1")

        assert second["source"] == "models:/copy/1"
        assert second["download_uri"] == origin.api.version(1)["source"]

    @pytest.mark.parametrize(
        "word",
        ["@best", "/staging", "/Staging", "/latest", "/LATEST", "@latest", "@LATEST"],
    )
    def test_word_for_a_version_is_stored_as_its_number(
        self, origin: Mlflow, word: str
    ) -> None:
        origin.api.put(f"/models/{MODEL}/aliases/best", json={"version": 1})
        origin.move(1, "Staging")

        assert self.copied(origin, f"models:/{MODEL}{word}")["source"] == (
            f"models:/{MODEL}/1"
        )

    @pytest.mark.parametrize(
        "word",
        ["/9", "/0", "/99999999999999999999", "@none", "/Production", "/None"],
    )
    def test_version_that_is_not_here_is_not_found(
        self, origin: Mlflow, word: str
    ) -> None:
        origin.move(1, "Staging")
        fields = {"name": "copy", "source": f"models:/{MODEL}{word}"}

        origin.refused("RESOURCE_DOES_NOT_EXIST", "POST", CREATE, **fields)

    def test_model_that_is_not_here_is_not_found(self, origin: Mlflow) -> None:
        for source in ("models:/nobody/1", "models:/nobody@a", "models:/nobody/latest"):
            fields = {"name": "copy", "source": source}
            origin.refused("RESOURCE_DOES_NOT_EXIST", "POST", CREATE, **fields)
        problem_of(
            origin.api.post("/models/copy/versions", {"source": "models:/nobody/1"}),
            404,
            "artifact-not-found",
        )

    def test_model_without_versions_has_no_latest(self, origin: Mlflow) -> None:
        fields = {"name": MODEL, "source": "models:/copy/latest"}

        message = origin.refused("RESOURCE_DOES_NOT_EXIST", "POST", CREATE, **fields)

        assert "has no version" in message

    def test_word_that_is_no_stage_is_refused(self, origin: Mlflow) -> None:
        fields = {"name": "copy", "source": f"models:/{MODEL}/Nowhere"}

        origin.refused("INVALID_PARAMETER_VALUE", "POST", CREATE, **fields)

    def test_another_run_than_the_origins_is_refused(self, origin: Mlflow) -> None:
        fields = {"name": "copy", "source": f"models:/{MODEL}/1", "run_id": OTHER_RUN}

        message = origin.refused("INVALID_PARAMETER_VALUE", "POST", CREATE, **fields)

        assert OTHER_RUN in message

    def test_same_run_as_the_origins_is_taken(self, origin: Mlflow) -> None:
        copy = self.copied(origin, f"models:/{MODEL}/1", run_id=RUN_ID)

        assert copy["run_id"] == RUN_ID

    def test_what_is_said_of_the_copy_wins(self, origin: Mlflow) -> None:
        origin.api.register(
            "copy", source=f"models:/{MODEL}/1", params={"seed": "2"}, git_commit="def"
        )

        copy = origin.api.version(1, "copy")
        assert copy["params"] == {"depth": "6", "seed": "2"}
        assert copy["git_commit"] == "def"

    def test_pending_origin_is_not_copied(self, origin: Mlflow) -> None:
        origin.api.register()
        fields = {"name": "copy", "source": f"models:/{MODEL}/2"}

        message = origin.refused("RESOURCE_CONFLICT", "POST", CREATE, **fields)

        assert "PENDING_REGISTRATION" in message

    def test_changed_origin_is_not_copied(self, origin: Mlflow) -> None:
        place = Path(place_of(origin).removeprefix("file://")) / "model.bin"
        place.chmod(0o600)
        place.write_bytes(b"other")
        origin.api.move(1, "Staging")  # refused, and the change is noted
        fields = {"name": "copy", "source": f"models:/{MODEL}/1"}

        message = origin.refused("RESOURCE_CONFLICT", "POST", CREATE, **fields)

        assert "not what was registered" in message

    @pytest.mark.parametrize("what", ["deleted", "changed"])
    def test_origin_that_is_lost_while_it_is_copied_is_not_copied(
        self, origin: Mlflow, monkeypatch: pytest.MonkeyPatch, what: str
    ) -> None:
        def lose() -> None:
            if what == "deleted":
                origin.api.delete(f"/models/{MODEL}/versions/1")
                return
            place = Path(place_of(origin).removeprefix("file://")) / "model.bin"
            place.chmod(0o600)
            place.write_bytes(b"other")
            origin.api.move(1, "Staging")  # refused, and the change is noted

        after_looking_up(monkeypatch, lose)
        fields = {"name": "copy", "source": f"models:/{MODEL}/1"}

        message = origin.refused("RESOURCE_CONFLICT", "POST", CREATE, **fields)

        assert f"models:/{MODEL}/1" in message
        assert origin.api.read("/models/copy/versions")["items"] == []

    def test_origin_that_is_moved_while_it_is_copied_is_copied(
        self, origin: Mlflow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        after_looking_up(monkeypatch, lambda: origin.move(1, "Staging"))

        assert self.copied(origin, f"models:/{MODEL}/1")["verified"] is True
        assert origin.api.stages() == {1: "Staging"}

    def test_copy_of_what_lies_elsewhere_is_unverified(self, origin: Mlflow) -> None:
        origin.create_version()

        copy = self.copied(origin, f"models:/{MODEL}/2")

        assert (copy["download_uri"], copy["verified"]) == (SOURCE, False)


def test_copy_asks_no_tracking_server(tracked: Mlflow, tracking: FakeTracking) -> None:
    tracking.add_run(params={"depth": "6"})
    tracked.create_version(run_id=RUN_ID)
    asked = len(tracking.asked)

    copy = created(tracked, f"models:/{MODEL}/1")

    assert len(tracking.asked) == asked
    assert copy["run"] == tracked.api.version(1)["run"]
    assert copy["params"] == {"depth": "6"}


class TestRunSnapshot:
    @ON_BOTH_DATABASES
    def test_version_keeps_what_is_known_of_its_run(
        self, tracked: Mlflow, tracking: FakeTracking
    ) -> None:
        tracking.add_run(
            params={"depth": "6"},
            metrics={"auc": 0.93},
            tags={"mlflow.source.git.commit": "abc", "team": "risk"},
        )

        version = created(tracked, SOURCE, run_id=RUN_ID)

        assert version["params"] == {"depth": "6"}
        assert version["metrics"] == {"auc": 0.93}
        assert version["git_commit"] == "abc"
        assert version["run"] == {
            "run_id": RUN_ID,
            "run_name": "clever-crab-7",
            "experiment_id": "1",
            "user": "alice",
            "status": "FINISHED",
            "start_time": "2023-11-14T22:13:20.000000Z",
            "end_time": "2023-11-14T22:14:20.500000Z",
            "tags": {"team": "risk"},
        }
        link = f"{tracking.url}/#/experiments/1/runs/{RUN_ID}"
        assert version["run_link"] == version["mlflow"]["run_link"] == link
        assert tracked.api.audit(MODEL)[-1]["after"]["run"] == version["run"]

    def test_what_the_client_says_wins(
        self, tracked: Mlflow, tracking: FakeTracking
    ) -> None:
        tracking.add_run(params={"depth": "6", "seed": "1"}, metrics={"auc": 0.5})

        tracked.api.register(
            source=SOURCE,
            run_id=RUN_ID,
            run_link="https://elsewhere.example/run",
            params={"seed": "2"},
            metrics={"auc": 0.6},
            datasets=[{"name": "cards"}],
        )

        version = tracked.api.version(1)
        assert version["params"] == {"depth": "6", "seed": "2"}
        assert version["metrics"] == {"auc": 0.6}
        assert version["datasets"] == [{"name": "cards"}]
        assert version["run_link"] == "https://elsewhere.example/run"

    @pytest.mark.parametrize("status", [404, 401, 503])
    def test_registration_does_not_hang_on_the_tracking_server(
        self, tracked: Mlflow, tracking: FakeTracking, status: int
    ) -> None:
        tracking.failing = Answer(status)

        version = created(tracked, SOURCE, run_id=RUN_ID)

        assert version["status"] == "READY"
        assert version["run"]["run_id"] == RUN_ID
        assert "the tracking server" in version["run"]["problem"]
        assert version["run_link"] == ""

    def test_upload_has_its_run_too(
        self, tracked: Mlflow, tracking: FakeTracking
    ) -> None:
        tracking.add_run(params={"depth": "6"})

        tracked.api.register(run_id=RUN_ID)

        assert tracked.api.version(1)["params"] == {"depth": "6"}

    def test_version_without_a_run_has_none(
        self, tracked: Mlflow, tracking: FakeTracking
    ) -> None:
        version = created(tracked, SOURCE)

        assert (version["run"], version["run_id"], tracking.asked) == (None, None, [])

    def test_logged_model_without_a_run_is_known_by_itself(
        self, tracked: Mlflow, tracking: FakeTracking
    ) -> None:
        tracking.add_logged_model(
            info={"source_run_id": ""}, params={"depth": "6"}, metrics={"auc": 0.5}
        )

        version = created(tracked, LOGGED, model_id=MODEL_ID)

        assert (version["params"], version["metrics"]) == ({"depth": "6"}, {"auc": 0.5})
        assert (version["run"], version["run_id"]) == (None, None)

    def test_run_is_asked_for_once(
        self, tracked: Mlflow, tracking: FakeTracking, artifacts: Path
    ) -> None:
        tracking.add_run(info={"artifact_uri": artifacts.as_uri()})

        created(tracked, f"runs:/{RUN_ID}/model", run_id=RUN_ID)

        assert len(tracking.asked) == 1

    def test_repeated_request_asks_nobody_again(
        self, tracked: Mlflow, tracking: FakeTracking
    ) -> None:
        tracking.add_run()
        body = {"source": SOURCE, "run_id": RUN_ID}
        key = {"Idempotency-Key": "key-1"}

        for _ in range(2):
            tracked.api.post(f"/models/{MODEL}/versions", body, headers=key)

        assert len(tracking.asked) == 1
        assert tracked.api.stages() == {1: "None"}

    def test_nothing_is_asked_for_a_model_that_is_not_there(
        self, tracked: Mlflow, tracking: FakeTracking
    ) -> None:
        fields = {"name": "nobody", "source": SOURCE, "run_id": RUN_ID}

        tracked.refused("RESOURCE_DOES_NOT_EXIST", "POST", CREATE, **fields)

        assert tracking.asked == []


def test_nothing_is_locked_while_the_tracking_server_is_asked(
    tracked: Mlflow, tracking: FakeTracking
) -> None:
    """The model can be changed meanwhile, which a lock or an open read would show."""
    others: list[int] = []

    def change() -> None:
        other = Driver(tracked.app, tracked.api.client)
        answer = other.patch(f"/models/{MODEL}", {"description": "meanwhile"})
        others.append(answer.status_code)

    tracking.add_run()
    tracking.before_answering = change

    version = created(tracked, SOURCE, run_id=RUN_ID)

    assert others == [200]
    assert version["run"]["run_id"] == RUN_ID
