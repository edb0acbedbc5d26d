"""Sources that only the tracking server can read."""

import pytest

from tests.integration.api.driver import (
    MODEL,
)
from tests.integration.mlflow_api.driver import Mlflow
from tests.integration.mlflow_api.tracked import CREATE, OTHER_RUN, created
from tests.tracking_server import MODEL_ID, RUN_ID, FakeTracking


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
