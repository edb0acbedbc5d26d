"""What a version keeps of its run."""

from pathlib import Path

import pytest

from tests.integration.api.driver import (
    MODEL,
    ON_BOTH_DATABASES,
    Driver,
)
from tests.integration.mlflow_api.driver import SOURCE, Mlflow
from tests.integration.mlflow_api.tracked import CREATE, LOGGED, created
from tests.tracking_server import MODEL_ID, RUN_ID, FakeTracking
from tests.unit.fake_registry import Answer


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
