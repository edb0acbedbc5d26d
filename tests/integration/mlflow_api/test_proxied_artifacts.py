"""Sources that the tracking server hands out, read through it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.artifacts import tracked as tracked_artifacts
from tests.integration.api.driver import FILES, MODEL, document_of, problem_of
from tests.integration.conftest import close_app, make_app
from tests.integration.mlflow_api.driver import Mlflow, mlflow_client
from tests.integration.mlflow_api.test_downloads import (
    download_uri,
    downloaded,
    path_of,
)
from tests.integration.mlflow_api.tracked import CREATE, LOGGED, OTHER_RUN, created
from tests.tracking_server import MODEL_ID, RUN_ID, FakeTracking
from tests.unit.fake_registry import Answer

ROOT = f"1/{RUN_ID}/artifacts"
PLACE = f"{ROOT}/model"
SOURCE = f"mlflow-artifacts:/{PLACE}"
FILE = f"/models/{MODEL}/versions/1/artifacts/model.bin"


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


@pytest.fixture
def logged(tracking: FakeTracking) -> FakeTracking:
    """A tracking server that hands out what a run logged."""
    tracking.add_run()
    tracking.add_files(PLACE, FILES)
    return tracking


def register(tracked: Mlflow, source: str = SOURCE) -> dict[str, object]:
    return created(tracked, source, run_id=RUN_ID)


def test_it_is_read_through_the_tracking_server_pinned_and_verified(
    tracked: Mlflow, logged: FakeTracking
) -> None:
    version = register(tracked)

    assert (version["status"], version["verified"]) == ("READY", True)
    assert version["source"] == version["download_uri"] == SOURCE
    items = tracked.api.read(f"/models/{MODEL}/versions/1/artifacts")["items"]
    assert {item["path"]: item["size_bytes"] for item in items} == {
        path: len(content) for path, content in FILES.items()
    }
    moved = tracked.api.moved(1, "Staging", "Production")
    assert moved["verified"] is True
    logged.add_files(PLACE, {"data/labels.txt": b"2\n"})
    problem_of(
        tracked.api.post(f"/models/{MODEL}/versions/1/verify"), 409, "artifact-changed"
    )


def test_changed_at_the_tracking_server_it_is_not_promoted(
    tracked: Mlflow, logged: FakeTracking
) -> None:
    register(tracked)
    logged.add_files(PLACE, {"model.bin": b"weighty"})

    problem_of(tracked.api.move(1, "Staging"), 409, "artifact-changed")

    assert tracked.api.version(1)["verified"] is False


def test_what_a_run_or_logged_model_keeps_there_is_pinned_too(
    tracked: Mlflow, logged: FakeTracking
) -> None:
    logged.add_logged_model(info={"artifact_uri": SOURCE})

    of_run = register(tracked, f"runs:/{RUN_ID}/model")
    of_model = created(tracked, LOGGED, model_id=MODEL_ID)

    assert of_run["artifact_digest"] == of_model["artifact_digest"] is not None
    assert of_run["download_uri"] == of_model["download_uri"] == SOURCE
    assert of_model["source"] == LOGGED


def test_a_registry_token_alone_downloads_it(
    tracked: Mlflow, logged: FakeTracking
) -> None:
    register(tracked)
    viewer = tracked.with_role("viewer")

    root = path_of(download_uri(viewer))

    assert downloaded(viewer.api, root) == FILES
    # The tracking server may know no ranges, so that all of it is sent.
    part = viewer.api.get(FILE, headers={"Range": "bytes=1-2"})
    assert (part.status_code, part.data) == (200, FILES["model.bin"])
    logged.add_files(PLACE, {"model.bin": b"weighty"})
    problem_of(viewer.api.get(FILE), 409, "artifact-changed")


def test_one_file_is_an_artifact_too(tracked: Mlflow, logged: FakeTracking) -> None:
    logged.add_files(ROOT, {"single.bin": b"x", "empty": b""})

    register(tracked, f"mlflow-artifacts:/{ROOT}/single.bin")
    register(tracked, f"mlflow-artifacts:/{ROOT}/empty")

    items = tracked.api.read(f"/models/{MODEL}/versions/1/artifacts")["items"]
    assert [(item["path"], item["size_bytes"]) for item in items] == [("single.bin", 1)]
    answer = tracked.api.get(f"/models/{MODEL}/versions/1/artifacts/single.bin")
    assert answer.data == b"x"
    assert tracked.api.moved(2, "Staging")["verified"] is True


def test_large_one_is_hashed_in_the_background(
    tracked: Mlflow, logged: FakeTracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    del logged
    monkeypatch.setattr("registry.services.artifacts.INLINE_BYTES", 3)

    before = register(tracked)["status"]
    tracked.api.work_in_background()

    assert before == "PENDING_REGISTRATION"
    assert tracked.api.version(1)["verified"] is True


@pytest.mark.parametrize("path", ["absent", "model/absent", "model/model.bin/x"])
def test_nothing_there_is_refused(
    tracked: Mlflow, logged: FakeTracking, path: str
) -> None:
    del logged
    fields = {"source": f"mlflow-artifacts:/{ROOT}/{path}", "run_id": RUN_ID}

    message = tracked.refused(
        "INVALID_PARAMETER_VALUE", "POST", CREATE, name=MODEL, **fields
    )

    assert "there is no artifact at" in message


@pytest.mark.parametrize("status", [400, 401, 403, 302])
def test_what_it_will_not_hand_out_is_unverified(
    tracked: Mlflow, logged: FakeTracking, status: int
) -> None:
    logged.failing_files = Answer(status)

    version = register(tracked)

    assert (version["status"], version["verified"]) == ("READY", False)


@pytest.mark.parametrize(
    "answer", [Answer(500), Answer(429), Answer(200, b"weights", cut_at=3)]
)
def test_server_that_fails_is_asked_again(
    tracked: Mlflow, logged: FakeTracking, answer: Answer
) -> None:
    logged.failing_files = answer

    refused = tracked.send("POST", CREATE, name=MODEL, source=SOURCE, run_id=RUN_ID)
    logged.failing_files = None

    assert refused.status_code == 503
    assert refused.headers["Retry-After"]
    assert register(tracked)["verified"] is True


@pytest.mark.parametrize("name", ["..", ".", "a/b", "/etc", "a\\b", ""])
@pytest.mark.parametrize("is_dir", [True, False])
def test_name_that_leads_elsewhere_is_refused(
    tracked: Mlflow, tracking: FakeTracking, name: str, *, is_dir: bool
) -> None:
    tracking.add_run()
    tracking.list_as(PLACE, {"path": name, "is_dir": is_dir})

    tracked.refused(
        *("INVALID_PARAMETER_VALUE", "POST", CREATE),
        name=MODEL,
        source=SOURCE,
        run_id=RUN_ID,
    )


def test_directories_without_end_are_refused(
    tracked: Mlflow, tracking: FakeTracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracked_artifacts, "MAX_FILES", 50)
    tracking.add_run()
    tracking.list_as(PLACE, *({"path": f"d{n}", "is_dir": True} for n in range(3)))

    message = tracked.refused(
        *("INVALID_PARAMETER_VALUE", "POST", CREATE),
        name=MODEL,
        source=SOURCE,
        run_id=RUN_ID,
    )

    assert "more than 50 directories" in message


@pytest.fixture
def without_tracking(tracked: Mlflow, tmp_path: Path) -> Iterator[Mlflow]:
    """The same registry, once nobody tells it of the tracking server any more."""
    app = make_app(tmp_path, DATABASE_URL=tracked.api.parts.settings.database_url)
    yield mlflow_client(app)
    close_app(app)


def test_without_the_tracking_server_it_is_not_taken_for_changed(
    tracked: Mlflow, logged: FakeTracking, without_tracking: Mlflow
) -> None:
    del logged
    register(tracked)

    problem = problem_of(without_tracking.api.move(1, "Staging"), 409, "conflict")

    assert "not set up to read any more" in problem["detail"]
    assert document_of(without_tracking.api.get(f"/models/{MODEL}/versions/1"))[
        "verified"
    ]
