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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
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
    """What the caller said, completed by what is known of the run.

    ``details`` names the run and the logged model already. Asks the tracking server,
    so nothing may be locked.
    """
    if resolved is not None and resolved.copied is not None:
        return _as_copied(details, resolved.copied)
    model = resolved.logged_model if resolved else None
    if tracking is None or not details.run_id:
        return _completed(details, _Facts.of(None, model))
    run = resolved.run if resolved else None
    if run is None or run.run_id != details.run_id:
        try:
            run = tracking.get_run(details.run_id)
        except (NotFoundError, TrackingServerError) as error:
            problem = {"run_id": details.run_id, "problem": error.message}
            return replace(_completed(details, _Facts.of(None, model)), run=problem)
    link = tracking.run_url(run.experiment_id, run.run_id)
    completed = _completed(details, _Facts.of(run, model))
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


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """What is kept of a run and a logged model; ``snapshot`` is None without a run."""

    params: Mapping[str, str]
    metrics: Mapping[str, float]
    datasets: Sequence[Mapping[str, str]]
    git_commit: str | None
    snapshot: Snapshot | None

    @classmethod
    def of(cls, run: Run | None, model: LoggedModel | None) -> "_Facts":
        """The logged model's word wins: a run may have made several."""
        parts = [part for part in (run, model) if part is not None]
        all_params = {k: v for part in parts for k, v in part.params.items()}
        all_metrics = {
            k: v
            for part in parts
            for k, v in part.metrics.items()
            if not (part is model and _is_outrun(k, model, run))
        }
        params = _texts(all_params, MAX_PARAMS_CHARACTERS)
        unusable = {
            k: said for k, v in all_metrics.items() if (said := _flaw(k, v, model, run))
        }
        metrics = _metrics({k: v for k, v in all_metrics.items() if k not in unusable})
        datasets = _datasets(run.datasets if run else ())
        tags = run.tags if run else {}
        kept = {k: v for k, v in tags.items() if k not in _TAGS_LEFT_OUT}
        kept_tags = _texts(kept, MAX_TAGS_CHARACTERS)
        omitted = {
            "params": len(all_params) - len(params),
            "metrics": len(all_metrics) - len(metrics),
            "datasets": len(run.datasets if run else ()) - len(datasets),
            "tags": len(kept) - len(kept_tags),
        }
        return cls(
            params=params,
            metrics=metrics,
            datasets=datasets,
            git_commit=_text(tags.get(_COMMIT)),
            snapshot=_snapshot(run, kept_tags, omitted, unusable) if run else None,
        )


def _is_outrun(name: str, model: LoggedModel | None, run: Run | None) -> bool:
    """Whether a metric of a logged model is but the first of the run's series.

    MLflow 3 gives a model the run's metrics of step 0 unless its caller names a
    step: after a training of many steps, the loss before it.
    """
    if model is None or run is None:
        return False
    return name in run.metric_steps and name not in model.metric_steps


def _flaw(
    name: str, value: float, model: LoggedModel | None, run: Run | None
) -> str | None:
    """What is said of a metric that is no number to go by; None of a sound one."""
    of_run = run.metrics.get(name, value) if run else value
    if math.isnan(value) or (value == 0 and math.isnan(of_run)):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return "0 or NaN" if _is_doubtful(name, model, run) else None


def _is_doubtful(name: str, model: LoggedModel | None, run: Run | None) -> bool:
    """Whether a metric is a 0 that may stand for no number at all.

    MLflow 3 stores NaN of a logged model as 0. A loss of 0 would open any gate, so
    it counts only where the run has it too.
    """
    is_zero = model is not None and model.metrics.get(name) == 0
    if not is_zero or _is_outrun(name, model, run):
        return False
    return run is None or run.metrics.get(name) != 0


def _completed(details: VersionDetails, facts: _Facts) -> VersionDetails:
    return replace(
        details,
        params={**facts.params, **details.params},
        metrics={**facts.metrics, **details.metrics},
        datasets=details.datasets or facts.datasets,
        git_commit=details.git_commit or facts.git_commit,
        run=facts.snapshot,
    )


def _snapshot(
    run: Run,
    tags: Mapping[str, str],
    omitted: Mapping[str, int],
    unusable: Mapping[str, str],
) -> Snapshot:
    """The run as a document; what it does not say is left out."""
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


def _texts(given: Mapping[str, str], limit: int) -> dict[str, str]:
    """Those that fit, in the order of their names."""
    pairs = ((_key(key), _stored(value)) for key, value in sorted(given.items()))
    return dict(_fitting(pairs, limit))


def _fitting(
    pairs: Iterable[tuple[str | None, str | None]], limit: int
) -> Iterable[tuple[str, str]]:
    left = limit
    for key, value in pairs:
        if key is None or value is None or len(key) + len(value) > left:
            continue
        left -= len(key) + len(value)
        yield key, value


def _metrics(given: Mapping[str, float]) -> dict[str, float]:
    pairs = ((_key(key), value) for key, value in sorted(given.items())[:MAX_METRICS])
    return {key: value for key, value in pairs if key is not None}


def _datasets(given: Sequence[DatasetInput]) -> list[dict[str, str]]:
    kept, left = [], MAX_DATASETS_CHARACTERS
    for dataset in given[:MAX_DATASETS]:
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
    """A short text as it can be stored; None when there is none or it cannot.

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
