"""Sources that name a run or a logged model, looked up at the tracking server."""

from pathlib import Path

import pytest

from tests.integration.api.driver import (
    FILES,
    MODEL,
    problem_of,
)
from tests.integration.mlflow_api.driver import Mlflow
from tests.integration.mlflow_api.tracked import (
    CREATE,
    LOGGED,
    OTHER_RUN,
    created,
    place_of,
)
from tests.tracking_server import MODEL_ID, RUN_ID, FakeTracking
from tests.unit.fake_registry import Answer


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
