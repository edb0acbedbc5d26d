"""What a version keeps of its run: taken once, when it is registered.

Rules:

- A run can be changed or deleted at the tracking server later; what a version was
  made from is then still known here, and its metrics are what gates decide by.
- What the caller says of the version wins over what the run says.
- A copy of a version keeps what that version knows; nobody is asked again.
- A tracking server that does not answer keeps no artifact from being registered: the
  snapshot then holds the problem in place of the run.
- The state of a run is kept once it has ended. One that registers from inside is
  still running, and would be said to run for ever.
- Texts that cannot be stored, and what goes beyond the bounds, are left out and
  counted under ``omitted``. So are metrics that are no number to go by (NaN,
  infinite), and those have their names and values under ``omitted_metrics``.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from registry.addresses import without_user
from registry.domain import names
from registry.domain.commands.registration import VersionDetails
from registry.domain.rows import VersionRow
from registry.domain.timestamps import rfc3339
from registry.errors import InvalidInputError, NotFoundError, TrackingServerError
from registry.services.sources import ResolvedSource
from registry.tracking.client import TrackingServer
from registry.tracking.documents import DatasetInput, LoggedModel, Run

Snapshot = dict[str, Any]

MAX_KEY_CHARACTERS = 250
MAX_METRICS = 1000
MAX_PARAMS_CHARACTERS = 64 * 1024
MAX_TAGS_CHARACTERS = 16 * 1024
MAX_OMITTED_CHARACTERS = 16 * 1024
MAX_DATASETS = 100
MAX_DATASETS_CHARACTERS = 16 * 1024
_MAX_TEXT_CHARACTERS = 1000
#: The year 9999; MLflow checks no time.
_MAX_MS = 253_370_764_800_000

_ENDED = frozenset({"FINISHED", "FAILED", "KILLED"})
_COMMIT = "mlflow.source.git.commit"
_REPOSITORY = "mlflow.source.git.repoURL"
_SOURCE_NAME = "mlflow.source.name"
_SOURCE_TYPE = "mlflow.source.type"
_ENTRY_POINT = "mlflow.project.entryPoint"
_USER = "mlflow.user"
#: Said elsewhere in the snapshot, or long and of no use without the run.
_TAGS_LEFT_OUT = frozenset(
    {
        *(_COMMIT, _REPOSITORY, _SOURCE_NAME, _SOURCE_TYPE, _ENTRY_POINT, _USER),
        "mlflow.log-model.history",
        "mlflow.loggedArtifacts",
        "mlflow.runName",
    }
)


def with_run(
    details: VersionDetails,
    tracking: TrackingServer | None,
    resolved: ResolvedSource | None = None,
) -> VersionDetails:
    """Complete what the caller said by what is known of the run.

    ``details`` names the run and the logged model already. Asks the tracking server,
    so nothing may be locked.
    """
    if resolved is not None and resolved.copied is not None:
        return _as_copied(details, resolved.copied)
    model = resolved.logged_model if resolved else None
    if tracking is None or not details.run_id:
        return _complete(details, None, model)
    run = resolved.run if resolved else None
    if run is None or run.run_id != details.run_id:
        try:
            run = tracking.get_run(details.run_id)
        except (NotFoundError, TrackingServerError) as error:
            problem = {"run_id": details.run_id, "problem": error.message}
            return replace(_complete(details, None, model), run=problem)
    link = tracking.run_url(run.experiment_id, run.run_id)
    completed = _complete(details, run, model)
    return replace(completed, run_link=details.run_link or link)


def _as_copied(details: VersionDetails, version: VersionRow) -> VersionDetails:
    return replace(
        details,
        params={**version.params, **details.params},
        metrics={**version.metrics, **details.metrics},
        datasets=details.datasets or version.datasets,
        git_commit=details.git_commit or version.git_commit,
        run_link=details.run_link or version.run_link,
        run=version.run,
    )


def _complete(
    details: VersionDetails, read: Run | None, logged: LoggedModel | None
) -> VersionDetails:
    """Complete what was said by the run and by the logged model.

    The logged model's word wins: a run may have made several.
    """
    run, model = read or Run(run_id=""), logged or LoggedModel(model_id="")
    all_params = {**run.params, **model.params}
    all_metrics = _all_metrics(model, run)
    flaws = {name: _flaw(name, all_metrics[name], model, run) for name in all_metrics}
    unusable = {name: flaw for name, flaw in flaws.items() if flaw}
    tags = {key: run.tags[key] for key in run.tags if key not in _TAGS_LEFT_OUT}
    params = _texts(all_params, MAX_PARAMS_CHARACTERS)
    metrics = _metrics(
        {name: all_metrics[name] for name in all_metrics if name not in unusable}
    )
    datasets, kept_tags = _datasets(run.datasets), _texts(tags, MAX_TAGS_CHARACTERS)
    omitted = {
        "params": len(all_params) - len(params),
        "metrics": len(all_metrics) - len(metrics),
        "datasets": len(run.datasets) - len(datasets),
        "tags": len(tags) - len(kept_tags),
    }
    return replace(
        details,
        params={**params, **details.params},
        metrics={**metrics, **details.metrics},
        datasets=details.datasets or datasets,
        git_commit=details.git_commit or _text(run.tags.get(_COMMIT)),
        run=_snapshot(run, kept_tags, omitted, unusable) if read else None,
    )


def _all_metrics(model: LoggedModel, run: Run) -> dict[str, float]:
    of_model = {
        name: value
        for name, value in model.metrics.items()
        if not _is_outrun(name, model, run)
    }
    return {**run.metrics, **of_model}


def _is_outrun(name: str, model: LoggedModel, run: Run) -> bool:
    """Whether a metric of a logged model is but the first of the run's series.

    MLflow 3 gives a model the run's metrics of step 0 unless its caller names a
    step: after a training of many steps, the loss before it.
    """
    return name in run.metric_steps and name not in model.metric_steps


def _flaw(name: str, value: float, model: LoggedModel, run: Run) -> str | None:
    """Return what is said of a metric that is no number to go by."""
    if math.isnan(value) or (value == 0 and math.isnan(run.metrics.get(name, value))):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return "0 or NaN" if _is_doubtful(name, model, run) else None


def _is_doubtful(name: str, model: LoggedModel, run: Run) -> bool:
    """Whether a metric is a 0 that may stand for no number at all.

    MLflow 3 stores NaN of a logged model as 0. A loss of 0 would open any gate, so
    it counts only where the run has it too.
    """
    is_zero = model.metrics.get(name) == 0 and not _is_outrun(name, model, run)
    return is_zero and run.metrics.get(name) != 0


def _snapshot(
    run: Run,
    tags: Mapping[str, str],
    omitted: Mapping[str, int],
    unusable: Mapping[str, str],
) -> Snapshot:
    """Return the run as a document; what it does not say is left out."""
    source_name = _text(run.tags.get(_SOURCE_NAME))
    is_project = run.tags.get(_SOURCE_TYPE) == "PROJECT"
    members = {
        "run_id": _text(run.run_id),
        "run_name": _text(run.name),
        "experiment_id": _text(run.experiment_id),
        "user": _text(run.tags.get(_USER)) or _text(run.user),
        "status": run.status if run.status in _ENDED else None,
        "project": _text(run.tags.get(_REPOSITORY))
        or (source_name if is_project else None),
        "entry_point": _text(run.tags.get(_ENTRY_POINT)) or source_name,
        "source_type": _text(run.tags.get(_SOURCE_TYPE)),
        "start_time": _instant(run.start_ms),
        "end_time": _instant(run.end_ms),
        "tags": dict(tags),
        "omitted": {name: count for name, count in omitted.items() if count},
        "omitted_metrics": _texts(unusable, MAX_OMITTED_CHARACTERS),
    }
    return {name: value for name, value in members.items() if value}


def _instant(milliseconds: int | None) -> str | None:
    if not milliseconds or milliseconds > _MAX_MS:
        return None
    return rfc3339(datetime.fromtimestamp(milliseconds / 1000, UTC))


def _texts(texts: Mapping[str, str], limit: int) -> dict[str, str]:
    """Return those that fit, in the order of their names."""
    kept, left = {}, limit
    for name, text in sorted(texts.items()):
        key, value = _key(name), _stored(text)
        if key is not None and value is not None and len(key) + len(value) <= left:
            left -= len(key) + len(value)
            kept[key] = value
    return kept


def _metrics(values: Mapping[str, float]) -> dict[str, float]:
    pairs = ((_key(key), value) for key, value in sorted(values.items())[:MAX_METRICS])
    return {key: value for key, value in pairs if key is not None}


def _datasets(datasets: Sequence[DatasetInput]) -> list[dict[str, str]]:
    kept, left = [], MAX_DATASETS_CHARACTERS
    for dataset in datasets[:MAX_DATASETS]:
        members = {
            "name": _text(dataset.name),
            "digest": _text(dataset.digest),
            "source": _text(dataset.source),
            "context": _text(dataset.context),
        }
        document = {name: text for name, text in members.items() if text}
        size = sum(map(len, document.values()))
        if "name" in document and size <= left:
            left -= size
            kept.append(document)
    return kept


def _key(text: str) -> str | None:
    return _stored(text) if 0 < len(text) <= MAX_KEY_CHARACTERS else None


def _text(text: str | None) -> str | None:
    """Return a short text as it can be stored; None when it is empty or cannot.

    MLflow keeps the addresses of repositories and data as they were used, with tokens.
    """
    if not text or len(text) > _MAX_TEXT_CHARACTERS:
        return None
    return _stored(without_user(text))


def _stored(text: str) -> str | None:
    try:
        return names.clean_text(text, field="run")
    except InvalidInputError:
        return None
