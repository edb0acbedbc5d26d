"""A small MLflow tracking server: the answers that a registry reads.

Its shapes are those that MLflow's own server was seen to send. The real one is asked
in tests/mlflow; this one is quick, and says on demand what no sound server says.
"""

from collections.abc import Callable, Mapping
from typing import Any, Self
from urllib.parse import unquote

from tests.unit.fake_registry import Answer, Asked, FakeRegistry, json_answer

PREFIX = "/api/2.0/mlflow"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
RUN_ID = "3f2a" * 8
MODEL_ID = f"m-{'7c' * 16}"


def pairs(given: dict[str, Any]) -> list[dict[str, Any]]:
    """A mapping as MLflow writes it."""
    return [{"key": key, "value": value} for key, value in given.items()]


def run_document(run_id: str = RUN_ID, **members: Any) -> dict[str, Any]:  # noqa: ANN401  # as the server has them
    """What ``runs/get`` says of a run."""
    data = {name: pairs(members.get(name, {})) for name in ("params", "tags")}
    metrics = [
        {"key": key, "value": value, "timestamp": 1_700_000_000_000, "step": 0}
        for key, value in members.get("metrics", {}).items()
    ]
    info = {
        "run_uuid": run_id,
        "run_id": run_id,
        "run_name": "clever-crab-7",
        "experiment_id": "1",
        "user_id": "alice",
        "status": "FINISHED",
        "start_time": 1_700_000_000_000,
        "end_time": 1_700_000_060_500,
        "artifact_uri": f"mlflow-artifacts:/1/{run_id}/artifacts",
        "lifecycle_stage": "active",
        **members.get("info", {}),
    }
    outputs = [
        {"model_id": model_id, "step": step}
        for model_id, step in members.get("model_steps", {}).items()
    ]
    return {
        "run": {
            "info": info,
            "data": {**data, "metrics": metrics},
            "inputs": {"dataset_inputs": members.get("datasets", [])},
            "outputs": {"model_outputs": outputs} if outputs else {},
        }
    }


def logged_model_document(
    model_id: str = MODEL_ID,
    **members: Any,  # noqa: ANN401  # as the server has them
) -> dict[str, Any]:
    """What ``logged-models/{id}`` says of a logged model."""
    info = {
        "model_id": model_id,
        "experiment_id": "1",
        "name": "model",
        "creation_timestamp_ms": 1_700_000_000_500,
        "artifact_uri": f"mlflow-artifacts:/1/models/{model_id}/artifacts",
        "status": "LOGGED_MODEL_READY",
        "source_run_id": RUN_ID,
        **members.get("info", {}),
    }
    data = {name: pairs(members.get(name, {})) for name in ("params", "metrics")}
    return {"model": {"info": info, "data": data}}


class FakeTracking(FakeRegistry):
    """Knows what it was told; all else does not exist."""

    def __init__(self) -> None:
        super().__init__()
        self.start_anew()

    def start_anew(self) -> None:
        """Know nothing, as at first."""
        self.asked.clear()
        self._scripts.clear()
        self._runs: dict[str, Any] = {}
        self._files: dict[str, bytes] = {}
        self.failing: Answer | None = None
        #: What is answered in place of a file.
        self.failing_files: Answer | None = None
        #: Called while a client waits for a run.
        self.before_answering: Callable[[], None] = lambda: None
        self.on("GET", f"{PREFIX}/runs/get", self._get_run)

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def add_run(self, run_id: str = RUN_ID, **members: Any) -> None:  # noqa: ANN401  # as ``run_document``
        self._runs[run_id] = run_document(run_id, **members)

    def add_logged_model(self, model_id: str = MODEL_ID, **members: Any) -> None:  # noqa: ANN401  # as ``logged_model_document``
        document = logged_model_document(model_id, **members)
        path = f"{PREFIX}/logged-models/{model_id}"
        self.on("GET", path, lambda _: self.failing or json_answer(document))

    def add_files(self, directory: str, files: Mapping[str, bytes]) -> None:
        """Hand these out; without any, it hands out no artifacts at all."""
        self._files |= {f"{directory}/{path}": data for path, data in files.items()}

    def list_as(self, directory: str, *files: dict[str, Any]) -> None:
        """Say of a directory what no sound server says, whatever is asked."""
        self._files |= {f"{directory}/x": b""}
        self.on("GET", ARTIFACTS, lambda _: json_answer({"files": list(files)}))

    def _list(self, directory: str) -> Answer:
        found: dict[str, dict[str, Any]] = {}
        for place, data in self._files.items():
            if place.startswith(f"{directory}/"):
                name, slash, _ = place.removeprefix(f"{directory}/").partition("/")
                size = {"file_size": len(data)} if data and not slash else {}
                found[name] = {"path": name, "is_dir": bool(slash), **size}
        return json_answer({"files": list(found.values())} if found else {})

    def _get_file(self, place: str) -> Answer:
        if self.failing_files is not None:
            return self.failing_files
        data = self._files.get(unquote(place))
        return _no_such(place) if data is None else Answer(200, data)

    def _get_run(self, asked: Asked) -> Answer:
        self.before_answering()
        document = self._runs.get(asked.query.get("run_id", ""))
        return self.failing or (
            json_answer(document) if document else _no_such("Run not found")
        )

    def handle_unknown(self, asked: Asked) -> Answer:
        if self.failing or not self._files:
            return self.failing or _no_such(f"{asked.path} not found")
        if asked.path == ARTIFACTS:
            return self._list(asked.query["path"])
        return self._get_file(asked.path.removeprefix(f"{ARTIFACTS}/"))


def _no_such(message: str) -> Answer:
    document = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": message}
    return json_answer(document, status=404)
