"""What a tracking server says of runs and logged models, read with care.

Rules:

- A member that is missing or of another type is left out: an odd run must not keep
  a version from being registered.
- A metric may be NaN or infinite: it is not another one's value, nor none. MLflow's
  database writes infinity as the largest number there is.
- The shapes are those of MLflow's tracking API.
"""

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

JSONObject = Mapping[str, Any]

_NOT_FINITE = frozenset({"NaN", "Infinity", "-Infinity"})


@dataclass(frozen=True, kw_only=True)
class DatasetInput:
    """A data set that a run read; texts are empty where none was given."""

    name: str
    digest: str
    source: str
    context: str


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run of an experiment.

    Attributes:
        start_ms: Unix milliseconds; None while unknown, and so ``end_ms``.
        artifact_uri: the root of its artifacts; may be empty.
        metrics: the last value of each, which may be NaN or infinite.
        metric_steps: the steps of those metrics that are of a later one than 0.
        model_steps: the ids of the logged models it made, each with its step.
    """

    run_id: str
    name: str = ""
    experiment_id: str = ""
    user: str = ""
    status: str = ""
    start_ms: int | None = None
    end_ms: int | None = None
    artifact_uri: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    metric_steps: Mapping[str, int] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    datasets: Sequence[DatasetInput] = ()
    model_steps: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LoggedModel:
    """A model that a run logged.

    Attributes:
        run_id: empty where no run made it.
        created_ms: Unix milliseconds; 0 while unknown.
        metrics: as of a run, but NaN is 0 in what MLflow 3 says of a model.
    """

    model_id: str
    name: str = ""
    artifact_uri: str = ""
    run_id: str = ""
    created_ms: int = 0
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    metric_steps: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ListedFile:
    """What stands in a directory of artifacts, by its name in it."""

    name: str
    is_directory: bool
    size_bytes: int


def read_files(document: JSONObject) -> Sequence[ListedFile]:
    """The files in an answer of ``mlflow-artifacts/artifacts``; no size means 0."""
    return [
        ListedFile(
            name=_text(file, "path"),
            is_directory=file.get("is_dir") is True,
            size_bytes=_whole(file.get("file_size")) or 0,
        )
        for file in _objects(document, "files")
    ]


def read_run(document: JSONObject) -> Run | None:
    """The run in an answer of ``runs/get``; None when it holds none."""
    run = _object(document, "run")
    info, data = _object(run, "info"), _object(run, "data")
    run_id = _text(info, "run_id") or _text(info, "run_uuid")
    if not run_id:
        return None
    metrics = _metrics(data)
    return Run(
        run_id=run_id,
        name=_text(info, "run_name"),
        experiment_id=_text(info, "experiment_id"),
        user=_text(info, "user_id"),
        status=_text(info, "status"),
        start_ms=_whole(info.get("start_time")),
        end_ms=_whole(info.get("end_time")),
        artifact_uri=_text(info, "artifact_uri"),
        params=_texts(data, "params"),
        metrics={key: value for key, (_, _, value) in metrics.items()},
        metric_steps={key: step for key, (step, _, _) in metrics.items() if step},
        tags=_texts(data, "tags"),
        datasets=tuple(_datasets(_object(run, "inputs"))),
        model_steps={
            _text(output, "model_id"): _whole(output.get("step")) or 0
            for output in _objects(_object(run, "outputs"), "model_outputs")
            if _text(output, "model_id")
        },
    )


def read_logged_model(document: JSONObject) -> LoggedModel | None:
    """The model in an answer of ``logged-models/{id}``; None when it holds none."""
    model = _object(document, "model")
    info, data = _object(model, "info"), _object(model, "data")
    model_id = _text(info, "model_id")
    if not model_id:
        return None
    metrics = _metrics(data)
    return LoggedModel(
        model_id=model_id,
        name=_text(info, "name"),
        artifact_uri=_text(info, "artifact_uri"),
        run_id=_text(info, "source_run_id"),
        created_ms=_whole(info.get("creation_timestamp_ms")) or 0,
        params=_texts(data, "params"),
        metrics={key: value for key, (_, _, value) in metrics.items()},
        metric_steps={key: step for key, (step, _, _) in metrics.items() if step},
    )


def _datasets(inputs: JSONObject) -> Iterator[DatasetInput]:
    for given in _objects(inputs, "dataset_inputs"):
        dataset = _object(given, "dataset")
        yield DatasetInput(
            name=_text(dataset, "name"),
            digest=_text(dataset, "digest"),
            source=_dataset_source(_text(dataset, "source")),
            context=_texts(given, "tags").get("mlflow.data.context", ""),
        )


def _dataset_source(text: str) -> str:
    """The address in a source that MLflow wrote as JSON, else the text itself."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return text
    found = document if isinstance(document, dict) else {}
    return _text(found, "uri") or _text(found, "path") or text


def _metrics(data: JSONObject) -> dict[str, tuple[int, int, float]]:
    """Step, time and value of the last of each metric, which they decide."""
    last: dict[str, tuple[int, int, float]] = {}
    for metric in _objects(data, "metrics"):
        key, value = _text(metric, "key"), _number(metric.get("value"))
        if not key or value is None:
            continue
        step, at = _whole(metric.get("step")), _whole(metric.get("timestamp"))
        found = (step or 0, at or 0, value)
        last[key] = max(found, last.get(key, found), key=_recency)
    return last


def _recency(metric: tuple[int, int, float]) -> tuple[int, int, float]:
    """What decides which is the last; NaN counts as 0 there, as MLflow has it."""
    step, at, value = metric
    return step, at, 0 if math.isnan(value) else value


def _texts(holder: JSONObject, name: str) -> dict[str, str]:
    return {
        pair["key"]: pair["value"]
        for pair in _objects(holder, name)
        if isinstance(pair.get("key"), str) and isinstance(pair.get("value"), str)
    }


def _object(holder: JSONObject, name: str) -> JSONObject:
    found = holder.get(name)
    return found if isinstance(found, dict) else {}


def _objects(holder: JSONObject, name: str) -> Iterator[JSONObject]:
    found = holder.get(name)
    for each in found if isinstance(found, list) else ():
        if isinstance(each, dict):
            yield each


def _text(holder: JSONObject, name: str) -> str:
    found = holder.get(name)
    return found if isinstance(found, str) else ""


def _whole(value: object) -> int | None:
    """An int64, which a server may send as a number or as a text."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:20])
    return value if type(value) is int and 0 <= value < 2**63 else None


def _number(value: object) -> float | None:
    """A number; protobuf's JSON has NaN as a text, databases infinity as a number."""
    if isinstance(value, str) and value in _NOT_FINITE:
        return float(value)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    if abs(value) >= sys.float_info.max:
        return math.inf if value > 0 else -math.inf
    return float(value)
