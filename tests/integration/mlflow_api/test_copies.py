"""Sources that are versions of this registry."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.domain.commands.registration import RegisterVersion
from registry.services.preparing import prepare_version
from tests.integration.api.driver import (
    FILES,
    MODEL,
    ON_BOTH_DATABASES,
    Document,
    problem_of,
)
from tests.integration.mlflow_api.driver import SOURCE, Mlflow
from tests.integration.mlflow_api.tracked import (
    CREATE,
    OTHER_RUN,
    created,
    place_of,
)
from tests.tracking_server import MODEL_ID, RUN_ID, FakeTracking


def after_looking_up(
    monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object]
) -> None:
    """Let something happen between the look at a source and the registration."""

    def prepare_then(*given: Any, **options: Any) -> RegisterVersion:  # noqa: ANN401  # handed on
        prepared = prepare_version(*given, **options)
        meanwhile()
        return prepared

    monkeypatch.setattr("registry.mlflow_api.versions.prepare_version", prepare_then)


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
